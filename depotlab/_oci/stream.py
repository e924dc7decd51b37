"""A tar archive as a stream: made while it is read, of entries whose length is known and whose content comes later."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Entry", "tar_stream"]

_BLOCK_BYTES = 512
_RECORD_BYTES = 20 * _BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive.

    Attributes:
        name: Its path in the archive.
        size_bytes: Its length; `pieces` must come to it.
        pieces: Its content; read when its turn has come.
    """

    name: str
    size_bytes: int
    pieces: Iterable[bytes]

    @classmethod
    def of(cls, name: str, data: bytes) -> Entry:
        """Return an entry with content that is here."""
        return cls(name, len(data), (data,))


def tar_stream(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the bytes of an archive. All times are 0, so that equal contents are equal archives.

    What making the contents raises is raised here, after which the archive is cut off.

    Raises:
        ValueError: An entry is not as long as it said.

    Example:
        >>> sum(map(len, tar_stream([Entry.of("a", b"hi")])))
        10240
    """
    n_bytes = 0
    for entry in entries:
        info = tarfile.TarInfo(entry.name)
        info.size, info.mode = entry.size_bytes, 0o644
        head = info.tobuf(tarfile.PAX_FORMAT)
        yield head
        n_content = 0
        for piece in entry.pieces:
            n_content += len(piece)
            yield piece
        if n_content != entry.size_bytes:
            raise ValueError(f"{entry.name} has {n_content} bytes, not {entry.size_bytes}")
        padding = -n_content % _BLOCK_BYTES
        yield bytes(padding)
        n_bytes += len(head) + n_content + padding
    n_bytes += 2 * _BLOCK_BYTES
    yield bytes(2 * _BLOCK_BYTES + -n_bytes % _RECORD_BYTES)
