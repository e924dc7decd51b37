"""A large file of a state, in pieces: for `for` and for `async for`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from depotlab._inside.look import Look
from depotlab._inside.opened import Opened
from depotlab._inside.warm import opened_state
from depotlab._portal import portal
from depotlab._values import Value
from depotlab._verbs import AnyBuilder
from depotlab.buildkit import CHUNK_BYTES, check_range

__all__ = ["FileChunks", "file_chunks"]


@dataclass(frozen=True, slots=True, repr=False)
class FileChunks(Value):
    """The content of a file, piece by piece; each iteration reads it anew.

    No more than one piece is in memory, and the state is open while somebody iterates.

    Attributes:
        path: In the state.
        offset: Where to begin, in bytes.
        length: How many bytes at most; None is all.
        chunk_bytes: Of a piece.

    Example:
        >>> with open("model.bin", "wb") as file:  # doctest: +SKIP
        ...     for piece in bk.read_chunks(app, "/model.bin"):
        ...         file.write(piece)
    """

    path: str
    offset: int
    length: int | None
    chunk_bytes: int
    _builder: AnyBuilder
    _look: Look

    def __repr__(self) -> str:
        return f"<FileChunks of {self.path}, {self.chunk_bytes} bytes each>"

    def __iter__(self) -> Iterator[bytes]:
        door = portal()
        held = opened_state(self._builder, self._look.request, step=self._look.step)
        pieces = door.run(self._begin(held))
        try:
            while (piece := door.run(_next(pieces))) is not None:
                yield piece
        finally:
            # A loop that is left half way may be cleaned up on any thread: nothing waits here.
            door.submit(held.__aexit__(None, None, None))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        door = portal()
        held = opened_state(self._builder, self._look.request, step=self._look.step)
        pieces = await door.wait_for(self._begin(held))
        try:
            while (piece := await door.wait_for(_next(pieces))) is not None:
                yield piece
        finally:
            door.submit(held.__aexit__(None, None, None))

    async def _begin(self, held: AbstractAsyncContextManager[Opened]) -> AsyncIterator[bytes]:
        opened = await held.__aenter__()
        return opened.files.chunks(
            self.path, offset=self.offset, length=self.length, chunk_bytes=self.chunk_bytes
        )


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


def file_chunks(
    builder: AnyBuilder,
    look: Look,
    path: str,
    *,
    offset: int,
    length: int | None,
    chunk_bytes: int = CHUNK_BYTES,
) -> FileChunks:
    """Return a file in pieces. Nothing is read yet.

    Raises:
        UsageError: The range is none.
    """
    check_range(offset, length, chunk_bytes)
    return FileChunks(path, offset, length, chunk_bytes, builder, look)
