"""The list of files that a build was told of, as columns.

As objects, 200 000 entries would be tens of megabytes that the garbage collector looks through; as columns they are
some, and cost a build of that size some hundredths of a second.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from operator import itemgetter

from depotlab._transfer import Entry

__all__ = ["Listed"]

_PATH, _MODE, _SIZE, _TIME, _LINK = (itemgetter(number) for number in range(5))
_CHANGED = itemgetter(7)


class Listed:
    """Entries of one directory, as far as they were sent, perhaps in several transfers."""

    __slots__ = ("_changed", "_links", "_modes", "_paths", "_sizes", "_times")

    def __init__(self) -> None:
        self._paths: list[bytes] = []
        self._modes = array("Q")
        self._sizes = array("q")
        self._times = array("q")
        self._changed = array("q")
        self._links: dict[int, bytes] = {}

    def add(self, entries: Sequence[Entry]) -> None:
        """Take the entries of one turn."""
        before = len(self._paths)
        self._paths.extend(map(_PATH, entries))
        self._modes.extend(map(_MODE, entries))
        self._sizes.extend(map(_SIZE, entries))
        self._times.extend(map(_TIME, entries))
        self._changed.extend(map(_CHANGED, entries))
        if any(map(_LINK, entries)):
            self._links |= {
                n: _LINK(entry) for n, entry in enumerate(entries, before) if _LINK(entry)
            }

    def clear(self) -> None:
        """Forget everything."""
        self._paths = []
        self._links = {}
        for column in (self._modes, self._sizes, self._times, self._changed):
            del column[:]

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[tuple[bytes, int, int, int, bytes]]:
        """Yield path, Go mode, size in bytes, time in ns, and link target: by path, each once, as it was sent last.

        The time is that of the last change of the inode, which no program can set; it was not sent. Where there is
        none, as for files in memory, it is the time that was sent.
        """
        paths, links = self._paths, self._links
        order = sorted(
            range(len(paths)), key=paths.__getitem__
        )  # stable: of equal paths the last sent comes last
        following = iter([*order[1:], -1])
        for number in order:
            after = next(following)
            if after >= 0 and paths[after] == paths[number]:
                continue
            time_ns = self._changed[number] or self._times[number]
            yield (
                paths[number],
                self._modes[number],
                self._sizes[number],
                time_ns,
                links.get(number, b""),
            )
