"""What was sent of a context, small enough to be kept, and what differs between two of them."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import zstandard

__all__ = ["FileChange", "differences", "pack"]

Row = tuple[bytes, int, int, int, bytes]
"""Path, Go mode, size in bytes, time in ns, link target."""

_N_FIELDS = 5
_N_ROWS = 1000
_GO_DIR = 1 << 31
_GO_LINK = 1 << 27
_LEVEL = 3
_MAX_BYTES = 1 << 30


class FileChange(NamedTuple):
    """One file, directory or link of a context that is not as it was.

    Attributes:
        path: In the context.
        what: `added`, `removed`, `changed`, or `touched`: only its time is another one, so its content may be, too.
        detail: Such as `12 → 15 bytes` or `mode 644 → 755`; empty if nothing more is known.
    """

    path: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.path} ({', '.join(filter(None, (self.what, self.detail)))})"


def pack(rows: Iterable[Row]) -> bytes:
    """Return a listing as bytes, made without holding it twice: there may be hundreds of thousands of rows.

    Args:
        rows: By path, each path once.
    """
    machine = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    out: list[bytes] = []
    between, left = b"", iter(rows)
    while some := list(islice(left, _N_ROWS)):
        fields = [
            field
            for path, mode, size, time, link in some
            for field in (path, b"%x" % mode, b"%d" % size, b"%d" % time, link)
        ]
        out.append(machine.compress(between + b"\0".join(fields)))
        between = b"\0"
    out.append(machine.flush())
    return b"".join(out)


def _unpack(data: bytes) -> dict[bytes, tuple[bytes, ...]]:
    if not data:
        return {}
    plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_BYTES)
    if not plain:
        return {}
    fields = plain.split(b"\0")
    rows = zip(*(fields[number::_N_FIELDS] for number in range(_N_FIELDS)), strict=True)
    return {row[0]: row for row in rows}


def differences(before: bytes, after: bytes) -> tuple[FileChange, ...]:
    """Return what differs between two listings, by path; the times of directories do not count. No bytes: no files."""
    if before == after:
        return ()
    a, b = _unpack(before), _unpack(after)
    found = []
    for path in sorted(a.keys() | b.keys()):
        ours, theirs = a.get(path), b.get(path)
        if ours == theirs:
            continue
        name = path.decode("utf-8", "backslashreplace")
        if ours is None:
            found.append(FileChange(name, "added"))
        elif theirs is None:
            found.append(FileChange(name, "removed"))
        else:
            change = _change(name, ours, theirs)
            if change is not None:
                found.append(change)
    return tuple(found)


def _change(name: str, ours: Sequence[bytes], theirs: Sequence[bytes]) -> FileChange | None:
    (_, mode_a, size_a, time_a, link_a), (_, mode_b, size_b, time_b, link_b) = ours, theirs
    details = []
    if mode_a != mode_b:
        words = [_mode(int(mode, 16)) for mode in (mode_a, mode_b)]
        details.append(f"{words[0]} → {words[1]}")
    is_dir = bool(int(mode_b, 16) & _GO_DIR)
    if size_a != size_b and not is_dir:
        details.append(f"{int(size_a)} → {int(size_b)} bytes")
    if link_a != link_b:
        shown = [link.decode("utf-8", "backslashreplace") for link in (link_a, link_b)]
        details.append(f"link {shown[0]} → {shown[1]}")
    if details:
        return FileChange(name, "changed", ", ".join(details))
    if is_dir or time_a == time_b:
        return None
    return FileChange(name, "touched", "same size, another time")


def _mode(mode: int) -> str:
    kind = "directory" if mode & _GO_DIR else "link" if mode & _GO_LINK else "mode"
    return f"{kind} {stat.S_IMODE(mode & 0o777):o}"
