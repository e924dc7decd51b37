"""What serves the API lets go of clients that have left, long before an idle connection would be closed."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from depotlab._serving import Listener


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers everything with no content."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


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
