"""Open files that a forked child must not keep: a lease or a lock ends with the process that took it.

`exec` closes them by itself. A plain fork, as `multiprocessing` does, copies them, and then the
engine would be in use for as long as some forgotten worker lives.
"""

from __future__ import annotations

import os

_mine: set[int] = set()


def keep_from_children(handle: int) -> None:
    """Close this descriptor in every child that is forked from now on."""
    _mine.add(handle)


def close(handle: int) -> None:
    """Close a descriptor given to `keep_from_children`; does nothing when it is closed already."""
    if handle in _mine:
        _mine.discard(handle)
        os.close(handle)


def _in_child() -> None:
    # Emptying the set is what tells every holder in the child that its descriptor is gone.
    while _mine:
        os.close(_mine.pop())


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
