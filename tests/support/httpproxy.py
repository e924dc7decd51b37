"""An HTTP proxy on loopback that connects whatever it is asked for to one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["HttpProxy", "proxying"]


@dataclass
class HttpProxy:
    """What `proxying` yields.

    Attributes:
        address: `host:port`.
        heads: The head of each request that it got.
        refuses: What it answers to every request, or empty.
    """

    address: str = ""
    heads: list[str] = field(default_factory=list)
    refuses: bytes = b""


@asynccontextmanager
async def proxying(port: int) -> AsyncIterator[HttpProxy]:
    """Connect everybody to a port of loopback."""
    proxy = HttpProxy()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        there = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            proxy.heads.append(head.decode())
            if proxy.refuses:
                writer.write(proxy.refuses)
                await writer.drain()
                return
            answers, there = await asyncio.open_connection("127.0.0.1", port)
            if head.startswith(b"CONNECT "):
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                there.write(head)
            await asyncio.gather(_copy(reader, there), _copy(answers, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            for one in (writer, there):
                if one is not None:
                    one.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # the loop lets go of aborted sockets in its next turns


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()
