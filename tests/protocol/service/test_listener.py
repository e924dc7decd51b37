"""What serves the API lets go of clients that have left, long before an idle connection would be closed."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded

from depotlab._serving import Listener


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers everything with no content."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def test_what_comes_after_an_answer_does_not_end_the_other_streams() -> None:
    """Over HTTP/2, where a client may be answered before it has sent all, and shares one connection among calls."""

    async def main() -> list[int]:
        listener = Listener(nothing, log=logging.getLogger(__name__))
        bound = socket.create_server(("127.0.0.1", 0))
        await listener.listen(bound)
        try:
            reader, writer = await asyncio.open_connection(*bound.getsockname())
            client = H2Connection(H2Configuration(header_encoding="utf-8"))
            client.initiate_connection()
            head = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
            ended: list[int] = []
            for stream_id in (1, 3):
                client.send_headers(stream_id, head)
                while stream_id not in ended:
                    writer.write(client.data_to_send())
                    events = client.receive_data(await reader.read(65_536))
                    ended += [event.stream_id for event in events if isinstance(event, StreamEnded)]
                client.send_data(stream_id, b"more of the request")
            writer.close()
            return ended
        finally:
            await listener.close()

    assert asyncio.run(main()) == [1, 3]


def test_a_client_that_has_left_holds_no_socket() -> None:
    async def main() -> None:
        listener = Listener(nothing, log=logging.getLogger(__name__))
        bound = socket.create_server(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        await listener.listen(bound)
        try:
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 204")
                assert len(listener._connections) == 1
                writer.close()
                await writer.wait_closed()
                async with asyncio.timeout(30):
                    while listener._connections:  # noqa: ASYNC110 - what is asked is whether it ends
                        await asyncio.sleep(0.001)
        finally:
            await listener.close()

    asyncio.run(main())
