"""Transports in memory, and small programs that serve as transports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class ScriptedTransport:
    """Answers with given chunks, then says that the peer has closed; keeps what was written."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = list(chunks)
        self.written = b""
        self.n_closed = 0

    async def read(self) -> bytes | None:
        await asyncio.sleep(0)
        return self.chunks.pop(0) if self.chunks else None

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        self.written += b"".join(pieces)

    async def close(self) -> None:
        self.n_closed += 1


async def read_all(transport) -> bytes:
    """Read until the peer has closed."""
    out = bytearray()
    while (data := await transport.read()) is not None:
        assert data, "an empty chunk means nothing"
        out += data
    return bytes(out)


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cut bytes into chunks of the sizes given; the rest is one more chunk."""
    chunks = []
    for size in sizes:
        if not data:
            break
        chunks.append(data[:size])
        data = data[size:]
    return [*chunks, data] if data else chunks
