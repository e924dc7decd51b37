"""Unpacking zstd as a stream: block by block, so that memory is bounded and an end that comes too early is noticed.

A frame is a header, then blocks, each with its kind and size in front, then a checksum if the header says so. No
block unpacks to more than 128 KiB. Readers of the package `zstandard` take the end of a file that is cut off for
the end of its content, so this file follows the frames itself and has only blocks unpacked.

Source: RFC 8878, section 3.1.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from depotlab.errors import UsageError

__all__ = ["ZSTD_MAGIC", "ZstdDamaged", "ZstdReader"]

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPED = range(0x184D2A50, 0x184D2A60)
_DICTIONARY_BYTES = (0, 1, 2, 4)
_SIZE_BYTES = (0, 2, 4, 8)
_RLE, _RESERVED = 1, 3
_SKIP_BYTES = 1 << 20


class ZstdDamaged(Exception):
    """The file cannot be unpacked; the text says why."""


class ZstdReader(io.RawIOBase):
    """A file that reads what is packed in another, all its frames one after the other.

    Args:
        file: From where it stands now.

    Raises:
        UsageError: The package that unpacks is not installed.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._pieces = _unpack(file, _module())
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return at most so many bytes, and at least one as long as there are any.

        Raises:
            ZstdDamaged: The file is cut off, or damaged.
        """
        if size < 0:
            return self._rest + b"".join(self._pieces)
        while not self._rest and (piece := next(self._pieces, None)) is not None:
            self._rest = piece
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def _module() -> Any:
    for name in ("compression.zstd", "zstandard"):  # Python 3.14 and newer have their own
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise UsageError(
        "This archive is packed with zstd, which this Python cannot unpack.",
        hint="run: pip install zstandard",
    )


def _unpack(file: BinaryIO, module: Any) -> Iterator[bytes]:
    while magic := file.read(4):
        magic += _exactly(file, 4 - len(magic))
        if int.from_bytes(magic, "little") in _SKIPPED:
            _skip(file, int.from_bytes(_exactly(file, 4), "little"))
        elif magic == ZSTD_MAGIC:
            decompressor = module.ZstdDecompressor()
            # The package has a factory where the standard library has the object itself.
            factory = getattr(decompressor, "decompressobj", None)
            unpacker = decompressor if factory is None else factory()
            for packed in _blocks(file):
                try:
                    yield unpacker.decompress(packed)
                except module.ZstdError as error:
                    raise ZstdDamaged(str(error)) from error
        else:
            raise ZstdDamaged("something that is not zstd follows")


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the parts of a frame, still packed: the header, every block, the checksum."""
    descriptor = _exactly(file, 1)
    flags = descriptor[0]
    is_single = flags >> 5 & 1
    n_size = _SIZE_BYTES[flags >> 6] or is_single
    n_header = (1 - is_single) + _DICTIONARY_BYTES[flags & 3] + n_size
    yield ZSTD_MAGIC + descriptor + _exactly(file, n_header)
    is_last = False
    while not is_last:
        head = _exactly(file, 3)
        value = int.from_bytes(head, "little")
        is_last, kind, n_bytes = bool(value & 1), value >> 1 & 3, value >> 3
        if kind == _RESERVED:
            raise ZstdDamaged("a block of zstd has no known kind")
        yield head + _exactly(file, 1 if kind == _RLE else n_bytes)
    if flags >> 2 & 1:
        yield _exactly(file, 4)


def _exactly(file: BinaryIO, n_bytes: int) -> bytes:
    data = file.read(n_bytes) if n_bytes else b""
    while len(data) < n_bytes:
        more = file.read(n_bytes - len(data))
        if not more:
            raise ZstdDamaged("it ends too early")
        data += more
    return data


def _skip(file: BinaryIO, n_bytes: int) -> None:
    while n_bytes:
        n_bytes -= len(_exactly(file, min(n_bytes, _SKIP_BYTES)))
