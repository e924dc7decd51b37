"""Open directories of one tree, by path, without ever following a link on the way."""

from __future__ import annotations

import os
from collections import OrderedDict

from depotlab._transfer.disk import DIRECTORY

__all__ = ["Folders"]

_MOST_OPEN = 64


class Folders:
    """Descriptors of the directories of a tree.

    A directory is opened from the one above it, name by name, so that a link in the place of one is an error. The
    paths have to be clean; `..` would be followed.

    Args:
        root: Descriptor of the root, which belongs to the caller.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: OrderedDict[bytes, int] = OrderedDict()

    def get(self, path: bytes) -> int:
        """Return a descriptor that is good until the next call; the empty path is the root.

        Raises:
            OSError: There is no such directory, or it may not be entered.
        """
        if not path:
            return self._root
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return found
        missing = []
        above = path
        while above and above not in self._open:
            above, _, name = above.rpartition(b"/")
            missing.append(name)
        descriptor = self._open[above] if above else self._root
        while missing:
            name = missing.pop()
            above = above + b"/" + name if above else name
            descriptor = os.open(name, DIRECTORY, dir_fd=descriptor)
            self._open[above] = descriptor
            if len(self._open) > _MOST_OPEN:
                os.close(self._open.popitem(last=False)[1])
        return descriptor

    def close(self) -> None:
        """Close all of them; the root stays open."""
        while self._open:
            os.close(self._open.popitem()[1])
