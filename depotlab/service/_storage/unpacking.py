"""Unpacking of uploads as a stream, one part after the other, with limits on what each byte may cost."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, cast

from depotlab._contexts import ZstdDamaged, ZstdReader
from depotlab.service._storage.refusals import too_large, too_much

__all__ = ["PACKING_ERRORS", "Source", "Stopped", "Unreadable", "unpacked"]

PACKING_ERRORS = (ZstdDamaged, zlib.error, lzma.LZMAError, EOFError, OSError)
MOST_PARTS = 1_000_000
_PIECE_BYTES = 64 << 10
_PLAIN_PIECE_BYTES = 1 << 20
# `xz -9` wants 65 MiB; a header may ask for 4 GiB.
_MOST_XZ_BYTES = 128 << 20


class Stopped(Exception):
    """Nobody wants to know any more."""


class Unreadable(Exception):
    """The file itself failed, which says nothing about the archive."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__()
        self.cause = cause


class Source(io.RawIOBase):
    """The bytes as uploaded, counted.

    Args:
        file: From its first byte; only `read(n)` is used.
        max_bytes: Beyond them it is refused.
        should_stop: Asked before each piece.

    Attributes:
        n_bytes: As many were read.
    """

    def __init__(self, file: BinaryIO, max_bytes: int, should_stop: Callable[[], bool]) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._should_stop = should_stop
        self._ready = memoryview(b"")
        self._n_reads = 0
        self.n_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return at least one byte and at most so many, or nothing at the end."""
        # Packings are read part by part, so this bounds their parts as well.
        self._n_reads += 1
        if self._n_reads > 2 * MOST_PARTS:
            raise too_much(f"it has more than {MOST_PARTS} parts")
        if not self._ready:
            self._ready = memoryview(self._more())
        piece = self._ready[: size if size >= 0 else len(self._ready)]
        self._ready = self._ready[len(piece) :]
        return bytes(piece)

    def _more(self) -> bytes:
        if self._should_stop():
            raise Stopped
        try:
            piece = self._file.read(_PIECE_BYTES)
        except Exception as error:  # told from damage by who knows the file
            raise Unreadable(error) from error
        self.n_bytes += len(piece)
        if self.n_bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        return piece

    def fill(self, n_bytes: int) -> bytes:
        """Return so many bytes, or fewer at the end."""
        pieces: list[bytes] = []
        while n_bytes and (piece := self.read(n_bytes)):
            pieces.append(piece)
            n_bytes -= len(piece)
        return b"".join(pieces)

    def put_back(self, data: bytes) -> None:
        """Let what was read be read again."""
        self._ready = memoryview(data + bytes(self._ready))


class _Unpacker(Protocol):
    """What `bz2` and `lzma` have, for one member of a packed stream."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """`zlib` with the face of the others, which keep for themselves what they have not unpacked yet."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        piece = self._member.decompress(self._member.unconsumed_tail + data, max_length)
        # As much as was allowed: there may be more, although all of the input is taken.
        self.needs_input = len(piece) < max_length
        return piece


def unpacked(source: Source, compression: str) -> Iterator[bytes]:
    """Yield what is packed in an upload, in pieces of up to 1 MiB.

    Args:
        source: From its first byte.
        compression: `gzip`, `bzip2`, `xz` or `zstd`; empty for none.

    Raises:
        ContextRefused: It has too many parts, or is too large.
        PACKING_ERRORS: It is damaged, or ends too early.
    """
    match compression:
        case "gzip":
            return _members(source, _Gzip)
        case "bzip2":
            return _members(source, bz2.BZ2Decompressor)
        case "xz":
            return _members(
                source, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_XZ_BYTES)
            )
        case "zstd":
            return _pieces(ZstdReader(cast("BinaryIO", source)))
    return _pieces(source)


def _pieces(file: Any) -> Iterator[bytes]:
    while piece := file.read(_PLAIN_PIECE_BYTES):
        yield piece


def _members(source: Source, make: Callable[[], _Unpacker]) -> Iterator[bytes]:
    """Unpack one member after the other; zeros may fill up what is behind one, as tapes did."""
    n_members = 0
    data = source.read()
    while data:
        n_members += 1
        if n_members > MOST_PARTS:
            raise too_much(f"it has more than {MOST_PARTS} parts")
        member = make()
        while not member.eof:
            if not data and member.needs_input and not (data := source.read()):
                raise EOFError
            piece = member.decompress(data, _PLAIN_PIECE_BYTES)
            data = b""
            if piece:
                yield piece
        data = member.unused_data.lstrip(b"\0")
        while not data and (data := source.read()):
            data = data.lstrip(b"\0")
