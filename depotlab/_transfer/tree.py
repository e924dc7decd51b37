"""What can be sent: anything that lists entries in order and opens them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from depotlab._transfer.filters import TreeFilter
from depotlab._transfer.follow import Links
from depotlab._transfer.packets import Entry

__all__ = ["Content", "Tree"]


class Content(Protocol):
    """An open file of a tree."""

    @property
    def size_bytes(self) -> int:
        """Its length now."""

    @property
    def inode(self) -> int:
        """Of the file that was opened, 0 if there is none."""

    def read(self, start: int, n_bytes: int) -> bytes:
        """Return at most `n_bytes` from byte `start` on; nothing at the end.

        Raises:
            SessionError: It cannot be read; `.path` names the file.
        """

    def close(self) -> None:
        """Give back what it holds."""


class Tree(Links, Protocol):
    """A directory on this machine, or one in memory."""

    def walk(self, wanted: TreeFilter) -> Iterator[Entry | None]:
        """Yield the entries that the filter keeps, in the order that the receiver wants.

        Depth first, names of a directory in the order of their bytes, every directory before what
        is in it and only if it is kept or something below is. The root is not among them. None
        comes now and then when nothing was found for a while, so that a caller can do other things.

        Raises:
            SessionError: A directory cannot be listed; `.path` names it.
            BadPattern: A pattern of the filter is malformed.
        """

    def describe(self, path: bytes) -> str:
        """Name a file for people: its path on this machine, if it has one."""

    def open(self, path: bytes) -> Content:
        """Open a regular file for reading.

        Raises:
            SessionError: It is gone or cannot be read; `.path` names the file.
        """
