"""What an uploaded archive is, and what it would unpack to, found in one pass that keeps nothing.

A customer's bytes are read before a machine is asked for, so nothing in them may cost more than it should. Memory is a
few MiB, or what a packing asks for up to 128 MiB, and reading stops where a limit is crossed: of bytes as uploaded, of
bytes unpacked, of entries, and of parts of the packed stream (a gzip member of twenty bytes takes as long to begin as a
large one). Nothing is written to a disk.

An archive is whole when its packing ends as it should and a tar's end mark is there: 512 zero bytes and, unless it ends
with them, 512 more. That is what the daemon's own reader wants. Paths, devices and links are its business.

Source: POSIX.1-2017 `pax`, ustar interchange format; GNU tar manual, "Basic Tar Format", "Storing Sparse Files"; Go's
`archive/tar/reader.go`; RFC 1952 (gzip); RFC 8878 (zstd).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from depotlab._contexts import compression_of, is_header, looks_like
from depotlab._values import bytes_text
from depotlab.service._boundary import ContextFacts
from depotlab.service._storage.refusals import damaged, no_archive, too_much
from depotlab.service._storage.unpacking import PACKING_ERRORS, Source, Unreadable, unpacked

__all__ = ["check_archive"]

_BLOCK_BYTES = 512
# A name is short; a header that claims more is damaged, or wants our memory. Go's reader has the same limit.
_MOST_EXTENDED_BYTES = 1 << 20
_MOST_ENTRIES = 1_000_000


class _Damaged(Exception):
    """The bytes cannot be read on; the text says why."""


def check_archive(
    file: BinaryIO,
    *,
    max_bytes: int,
    max_unpacked_bytes: int,
    should_stop: Callable[[], bool] = bool,
) -> ContextFacts:
    """Read an archive to its end and return what it is. Blocks; takes a few MiB of memory.

    Args:
        file: From its first byte. Only `read(n)` is used; what that raises passes through.
        max_bytes: It may have so many as uploaded.
        max_unpacked_bytes: Its files, and it itself unpacked, may have so many. Files with holes count as if filled,
            because the daemon fills them.
        should_stop: Asked now and then, from this thread.

    Raises:
        ContextRefused: It is too large, it is none, it is damaged or cut off, or it would unpack to too much.
        Stopped: `should_stop` said so.
    """
    source = Source(file, max_bytes, should_stop)
    try:
        head = source.fill(_BLOCK_BYTES)
        if not head:
            raise no_archive("it is empty")
        source.put_back(head)
        compression = compression_of(head)
        stream = _Stream(unpacked(source, compression), max_unpacked_bytes)
        n_entries, unpacked_bytes = _entries(stream, compression)
        stream.drain()
    except Unreadable as error:
        raise error.cause from None
    except (_Damaged, *PACKING_ERRORS) as error:
        raise damaged(str(error) or "it ends too early") from error
    return ContextFacts(source.n_bytes, unpacked_bytes, n_entries, compression or "none")


class _Stream:
    """What is unpacked, counted, taken in blocks."""

    def __init__(self, pieces: Iterator[bytes], max_bytes: int) -> None:
        self._pieces = pieces
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._piece = b""
        self._at = 0

    def _next(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._n_bytes += len(piece)
        self.check(self._n_bytes)
        self._piece, self._at = piece, 0
        return True

    def check(self, n_bytes: int) -> None:
        """Refuse what is over the limit."""
        if n_bytes > self._max_bytes:
            raise too_much(f"its files come to more than {bytes_text(self._max_bytes)}")

    def take(self, n_bytes: int) -> bytes:
        """Return so many bytes, or fewer at the end."""
        taken = self._piece[self._at : self._at + n_bytes]
        self._at += len(taken)
        if len(taken) == n_bytes:
            return taken
        parts = [taken]
        n_bytes -= len(taken)
        while n_bytes and self._next():
            part = self._piece[:n_bytes]
            self._at = len(part)
            parts.append(part)
            n_bytes -= len(part)
        return b"".join(parts)

    def skip(self, n_bytes: int) -> None:
        """Pass over so many bytes."""
        while n_bytes > len(self._piece) - self._at:
            n_bytes -= len(self._piece) - self._at
            if not self._next():
                raise _Damaged("it ends in the middle of a file")
        self._at += n_bytes

    def drain(self) -> None:
        """Read to the end: only there a packing says that it is whole."""
        while self._next():
            pass


def _entries(stream: _Stream, compression: str) -> tuple[int, int]:
    """Return how many entries there are, and what their contents come to."""
    n_entries = n_headers = total_bytes = 0
    said: dict[bytes, bytes] = {}
    while any(header := stream.take(_BLOCK_BYTES)):
        if not n_headers and not is_header(header):
            raise no_archive(looks_like(header, compression))
        if len(header) < _BLOCK_BYTES:
            raise _Damaged("it ends too early")
        if not is_header(header):
            raise _Damaged("the header of an entry has a wrong checksum")
        n_headers += 1
        if n_headers > 2 * _MOST_ENTRIES or n_entries == _MOST_ENTRIES:
            raise too_much(f"it has more than {_MOST_ENTRIES} entries")
        kind = header[156:157]
        size_bytes = _number(header[124:136])
        if kind in (b"x", b"g", b"L", b"K"):  # they say more of the entry that follows
            if size_bytes > _MOST_EXTENDED_BYTES:
                raise _Damaged("the extended header of an entry is too large")
            content = stream.take(size_bytes)
            if len(content) < size_bytes:
                raise _Damaged("it ends too early")
            stream.skip(-size_bytes % _BLOCK_BYTES)
            match kind:
                case b"x":
                    said = {_LONG_NAME: said.get(_LONG_NAME, b""), **_records(content)}
                case b"L":
                    said[_LONG_NAME] = content.partition(b"\0")[0]
                case b"g":  # the daemon's reader forgets what stood in front of one
                    said = {}
            continue
        n_entries += 1
        if b"size" in said:
            size_bytes = _digits(said[b"size"])
        if kind == b"\0" and _name(header, said).endswith(b"/"):
            kind = b"5"  # a folder of the oldest archives, behind which there is no content, whatever its size
        stored_bytes, whole_bytes = _content(stream, header, kind, size_bytes)
        total_bytes += max(whole_bytes, *(_digits(said[key]) for key in _HOLES if key in said), 0)
        stream.check(total_bytes)
        stream.skip(stored_bytes + -stored_bytes % _BLOCK_BYTES)
        said = {}
    _check_end(stream, header, n_headers)
    if not n_entries:
        raise no_archive("it has no files in it")
    return n_entries, total_bytes


def _check_end(stream: _Stream, mark: bytes, n_headers: int) -> None:
    if len(mark) == _BLOCK_BYTES and not n_headers:
        return  # an empty archive, which is said otherwise
    second = stream.take(_BLOCK_BYTES) if len(mark) == _BLOCK_BYTES else mark
    if len(mark) < _BLOCK_BYTES or 0 < len(second) < _BLOCK_BYTES or any(second):
        raise _Damaged("it ends without the end mark of a tar archive")


def _content(stream: _Stream, header: bytes, kind: bytes, size_bytes: int) -> tuple[int, int]:
    """Return how many bytes of content follow, and how many they come to with their holes."""
    if kind in (b"1", b"2", b"3", b"4", b"5", b"6"):  # links, devices, folders, pipes
        return 0, 0
    if kind != b"S":
        return size_bytes, size_bytes
    whole_bytes = _number(header[483:495])
    more = header[482]
    n_blocks = 0
    while more:  # the list of a file's parts goes on
        block = stream.take(_BLOCK_BYTES)
        n_blocks += 1
        if len(block) < _BLOCK_BYTES or n_blocks > _MOST_EXTENDED_BYTES // _BLOCK_BYTES:
            raise _Damaged("the list of a file's parts is too long, or cut off")
        more = block[504]
    return size_bytes, max(size_bytes, whole_bytes)


_HOLES = (b"GNU.sparse.size", b"GNU.sparse.realsize")
_LONG_NAME = b"\0name"  # no key of an extended header has a zero byte
_SIZES = (b"size", *_HOLES)


def _records(content: bytes) -> dict[bytes, bytes]:
    """Return what counts in an extended header: lines of `LENGTH KEY=VALUE`, whose length counts itself."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        length, blank, _ = content[at : at + 20].partition(b" ")
        n_bytes = _digits(length)
        line = content[at + len(length) + 1 : at + n_bytes]
        if not blank or not line.endswith(b"\n"):
            raise _Damaged("the extended header of an entry is malformed")
        key, _, value = line[:-1].partition(b"=")
        if key in _SIZES:
            _digits(value)  # refused here, too, where no entry follows
        if key in _SIZES or key == b"path":
            found[key] = value
        at += n_bytes
    return found


def _name(header: bytes, said: dict[bytes, bytes]) -> bytes:
    name = said.get(_LONG_NAME) or said.get(b"path") or header[:100].partition(b"\0")[0]
    if not name:  # it may be all in the prefix, of which formats have several
        raise _Damaged("an entry has no name")
    return name


def _digits(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise _Damaged("the extended header of an entry is malformed")
    return int(text)


def _number(field: bytes) -> int:
    """Read a number of a header: octal digits, or with the highest bit set a binary one."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise _Damaged("the size of an entry is malformed")
    return int(digits or b"0", 8)
