"""Tar archives as contexts, sent as they are read.

The builder pulls the archive once over the upload service and unpacks it. What it cannot unpack is found here,
as early as it costs nothing: a path, bytes and a seekable file are looked at when the context is made, what can
be read only once when it is sent. The kind is told by the first bytes, never by a suffix.

`.tar`, `.tar.gz`, `.tar.bz2` and `.tar.xz` are sent as they are (for xz the builder needs the program `xz`,
which BuildKit's own image has). Old builders do not know zstd, so it is unpacked on the way.

Source: moby/go-archive `compression/compression.go`; moby/moby pull request 42862.
"""

from __future__ import annotations

import gzip
import importlib
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from depotlab._contexts.zstd import ZSTD_MAGIC, ZstdDamaged, ZstdReader
from depotlab._values import Value
from depotlab.errors import ContextError, UsageError

try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without it
    LZMAError = EOFError  # type: ignore[misc,assignment]

__all__ = ["BLOCK_BYTES", "UNPACKING_ERRORS", "Tar", "compression_of", "is_header", "looks_like"]

BLOCK_BYTES = 512
UNPACKING_ERRORS = (zlib.error, LZMAError, EOFError, ZstdDamaged, OSError)
_PIECE_BYTES = 1 << 20  # more than one block of bzip2
_MAGIC = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    ZSTD_MAGIC: "zstd",
    # Frames that are skipped may come first. Source: RFC 8878, section 3.1.2.
    **{bytes((n, 0x2A, 0x4D, 0x18)): "zstd" for n in range(0x50, 0x60)},
}
_OTHERS = {
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x7fELF": "a program",
    b"%PDF": "a PDF document",
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tar(Value):
    """An archive. Calling it reads it from the start: that is what the session's upload service does.

    Attributes:
        label: What messages call it: the name of the file, or `a generator`.
        size_bytes: As it is, packed; None where only reading tells.
        host_path: The file on this machine, or None.
        once: Whether it can be read only once.
    """

    label: str
    size_bytes: int | None
    host_path: Path | None
    once: bool
    _open: Callable[[], BinaryIO] = field(repr=False)

    def __str__(self) -> str:
        return self.label

    def __call__(self) -> Iterator[bytes]:
        """Yield the archive as it is sent, in pieces of up to 1 MiB.

        Raises:
            ContextError: It cannot be read, is none, is damaged, or is empty.
            UsageError: It can be read only once, and was; or it needs a package that is not installed.
        """
        with self._opened() as file:
            head = _fill(file, BLOCK_BYTES)
            if compression_of(head):
                head += _fill(file, _PIECE_BYTES - len(head))
            compression = self._check(head)
            if compression != "zstd":
                # What is there is sent, and a build that is cancelled lets go of a source that is slow.
                read = getattr(file, "read1", file.read)
                while head:
                    yield head
                    head = read(_PIECE_BYTES)
                return
            reader = ZstdReader(cast("BinaryIO", _Chained(head, file)))
            while piece := self._unpack_on(reader):
                yield piece

    @property
    def _name(self) -> str:
        return (
            f"archive {self.label}" if self.host_path is not None else f"archive from {self.label}"
        )

    def check(self) -> None:
        """Look at the first bytes of what can be read again.

        Raises:
            ContextError: It cannot be read, is none, is damaged, or is empty.
            UsageError: It needs a package that is not installed.
        """
        if not self.once:
            with self._opened() as file:
                self._check(_fill(file, _PIECE_BYTES))

    @contextmanager
    def plain(self) -> Iterator[BinaryIO]:
        """Open the archive unpacked, to read what is in it. Errors are those of a call."""
        with self._opened() as file:
            head = _fill(file, _PIECE_BYTES)
            compression = self._check(head)
            if not compression and file.seekable():
                file.seek(-len(head), io.SEEK_CUR)
                yield file
                return
            yield _unpacked(_Chained(head, file), compression)

    def damaged(self, reason: str) -> ContextError:
        """Return the error for an archive that cannot be read to its end."""
        return ContextError(
            f"The {self._name} is damaged: {reason}.",
            path=self.label,
            hint="make it again; `tar -tf` shows how far it can be read",
        )

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            file = self._open()
        except OSError as error:
            raise ContextError(
                f"The {self._name} cannot be read: {error.strerror}.",
                path=self.label,
                hint="check the path and its permissions",
            ) from error
        with file:
            yield file

    def _check(self, head: bytes) -> str:
        """Return how it is packed, if it is an archive with something in it."""
        if not head:
            raise self._no_tar("it is empty")
        compression = compression_of(head)
        block = head[:BLOCK_BYTES]
        if compression:
            try:
                block = _fill(_unpacked(io.BytesIO(head), compression), BLOCK_BYTES)
            except UNPACKING_ERRORS as error:
                raise self.damaged(str(error) or type(error).__name__) from error
        if len(block) == BLOCK_BYTES and not any(block):
            raise ContextError(
                f"The {self._name} has no files in it.",
                path=self.label,
                hint="for an empty context write {}",
            )
        if not is_header(block):
            raise self._no_tar(looks_like(block, compression))
        return compression

    def _unpack_on(self, reader: ZstdReader) -> bytes:
        try:
            return reader.read(_PIECE_BYTES)
        except ZstdDamaged as error:
            raise self.damaged(str(error)) from error

    def _no_tar(self, why: str) -> ContextError:
        if "Dockerfile" in why:
            hint = "give its text with dockerfile(text=...), or its path with filename="
        else:
            hint = "BuildKit unpacks tar archives, plain or packed with gzip, bzip2, xz or zstd"
        if self.host_path is not None:
            what = f"{self.label} is not a directory, and no tar archive"
        else:
            what = f"The {self._name} is no tar archive"
        return ContextError(f"{what}: {why}.", path=self.label, hint=hint)


def compression_of(head: bytes) -> str:
    """Return `gzip`, `bzip2`, `xz` or `zstd` by the first bytes, or an empty string."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def is_header(block: bytes) -> bool:
    """Whether 512 bytes are the header of an entry: their sum stands in them, in octal digits.

    Source: POSIX.1-2017 `pax`, ustar interchange format; old programs summed signed bytes.
    """
    if len(block) != BLOCK_BYTES:
        return False
    try:
        written = int(block[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        return False
    others = block[:148] + block[156:]
    total = sum(others) + 8 * ord(" ")
    return written == total or written == total - 256 * sum(byte > 127 for byte in others)


def _unpacked(file: Any, compression: str) -> BinaryIO:
    """Return a file that reads what is packed in another, all its parts one after the other.

    Raises:
        UsageError: It needs a package that is not installed.
    """
    match compression:
        case "gzip":
            return cast("BinaryIO", gzip.GzipFile(fileobj=file))
        case "bzip2":
            return cast("BinaryIO", _module("bz2").BZ2File(file))
        case "xz":
            return cast("BinaryIO", _module("lzma").LZMAFile(file))
        case "zstd":
            return cast("BinaryIO", ZstdReader(file))
    return cast("BinaryIO", file)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"This archive needs {name}, which this Python was built without.",
            hint="pack it with gzip, or use another build of Python",
        ) from error


class _Chained(io.RawIOBase):
    """What was read already, and then the rest of a file."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not self._head:
            return self._file.read(size)
        if size < 0:
            piece, self._head = self._head, b""
            return piece + self._file.read()
        piece, self._head = self._head[:size], self._head[size:]
        return piece


def _fill(file: BinaryIO, n_bytes: int) -> bytes:
    """Read until there are so many bytes, or no more: files that are no files may give fewer at a time."""
    pieces: list[bytes] = []
    while n_bytes > 0 and (piece := file.read(n_bytes)):
        pieces.append(piece)
        n_bytes -= len(piece)
    return b"".join(pieces)


def looks_like(block: bytes, compression: str) -> str:
    """Return what something is that is no archive, as the end of a sentence, by its first bytes unpacked."""
    if compression:
        return f"what is packed with {compression} in it is no tar archive"
    known = next((name for magic, name in _OTHERS.items() if block.startswith(magic)), "")
    if known:
        return f"it is {known}"
    words = block.lstrip().split(None, 1)
    if (words and words[0].upper() in (b"FROM", b"ARG")) or block.startswith(b"# syntax"):
        return "it looks like a Dockerfile"
    return "its first bytes are not those of an archive"
