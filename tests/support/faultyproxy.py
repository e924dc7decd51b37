"""A way to a server that is cut after so many bytes of answers, a number for each connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Self
from urllib.parse import urlsplit

__all__ = ["FaultyProxy"]


class FaultyProxy:
    """Hands bytes on. To be entered with `async with`.

    Args:
        url: Of the server.
        cut_after: How many bytes of answers each connection lets through before it is cut; the others are left alone.

    Attributes:
        url: To be used instead.
        n_cut: Connections that were cut.
    """

    def __init__(self, url: str, cut_after: Iterable[int] = ()) -> None:
        self._there = urlsplit(url)
        self._left = iter(list(cut_after))
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.n_cut = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await self._hand_on(reader, writer, next(self._left, None))
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _hand_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None
    ) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._there.hostname, self._there.port)
        asking = asyncio.create_task(_copy(reader, up_writer))
        try:
            while piece := await up_reader.read(1024):
                if most is not None and len(piece) >= most:
                    writer.write(piece[:most])
                    await writer.drain()
                    self.n_cut += 1
                    break
                if most is not None:
                    most -= len(piece)
                writer.write(piece)
                await writer.drain()
        finally:
            up_writer.close()
            asking.cancel()
            await asyncio.wait([asking])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
