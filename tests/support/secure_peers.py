"""Servers of a test on asyncio and Python's own `ssl`, for clients to be refused or accepted."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def server_context(folder: Path, *, asks: bool = True, alpn: str = "h2") -> ssl.SSLContext:
    """Return the settings of a server whose certificates are in a folder.

    Args:
        folder: With `ca.pem`, `cert.pem` and `key.pem`.
        asks: For a certificate of the client.
        alpn: What it offers.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.set_alpn_protocols([alpn])
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
    return context


@contextlib.asynccontextmanager
async def listening(
    answer: Answer, context: ssl.SSLContext | None = None, *, path: Path | None = None
) -> AsyncIterator[str]:
    """Listen on loopback, or on a unix socket; yields the address. What still runs at the end is cancelled."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            with contextlib.suppress(OSError):  # clients that leave are what many tests are about
                await answer(reader, writer)
        finally:
            writer.transport.abort()

    if path is not None:
        server = await asyncio.start_unix_server(serve, path)
        address = f"unix://{path}"
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield address
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0.01)  # the loop lets go of aborted sockets in its next turns


async def tasks_that_stay() -> list[str]:
    """Return the names of this loop's other tasks that do not end by themselves."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, others = await asyncio.wait(others, timeout=20)
    return [task.get_name() for task in others]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
