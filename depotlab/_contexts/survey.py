"""Counting a tree while it is walked: how much is sent of every directory, how much is not, and what is biggest.

Names come in the order of a walk, every directory followed by what is in it. A directory that is complete shrinks
to what anybody will look at: its totals and its biggest children, each shrunk before it. So memory depends on
the depth of a tree and not on its size.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from depotlab._values import Value

__all__ = ["Branch", "Count", "Survey"]

_N_FILES = 10  # of those that are sent, in each directory
_N_DROPPED = 6
_N_DIRECTORIES = 24
_MAX_BRANCHES = 500
_N_BIGGEST = 12
# Of two directories in each other, the inner one is named if it holds nearly all.
_NEARLY_ALL = 0.9


@dataclass(frozen=True, slots=True, repr=False)
class Count(Value):
    """How much there is of something.

    Attributes:
        n_files: Files, links and what else is no directory.
        n_directories: Directories, the top one not counted.
        n_bytes: Content of the files; a file with several names counts once.
    """

    n_files: int = 0
    n_directories: int = 0
    n_bytes: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.n_files + other.n_files,
            self.n_directories + other.n_directories,
            self.n_bytes + other.n_bytes,
        )


@dataclass(frozen=True, slots=True, repr=False)
class Branch(Value):
    """A file, or a directory with the biggest things in it.

    Attributes:
        path: Relative to the context, raw bytes; empty for the top.
        is_directory: Whether it is one.
        is_sent: Whether it is sent; a directory also because of what is below it.
        kept: What is sent of it.
        dropped: What is not.
        children: The biggest that are sent, then the biggest that are not.
        more: Those that are sent and are not among the children.
        more_dropped: Those that are not sent and are not among the children.
        n_branches: How many branches there are here, with this one.
    """

    path: bytes
    is_directory: bool
    is_sent: bool
    kept: Count
    dropped: Count
    children: tuple[Branch, ...] = ()
    more: Count = Count()
    more_dropped: Count = Count()
    n_branches: int = 1

    @property
    def name(self) -> bytes:
        """The last part of the path."""
        return self.path.rpartition(b"/")[2]


_Ranked = tuple[int, int, bytes]


@dataclass(slots=True)
class _Open:
    """A directory whose content is being counted."""

    path: bytes
    keeps: bool
    n_files: int = 0
    n_directories: int = 0
    n_bytes: int = 0
    n_dropped_files: int = 0
    n_dropped_directories: int = 0
    n_dropped_bytes: int = 0
    n_own_files: int = 0
    n_own_bytes: int = 0
    n_own_dropped_files: int = 0
    n_own_dropped_bytes: int = 0
    files: list[_Ranked] = field(default_factory=list)
    dropped: list[_Ranked] = field(default_factory=list)
    directories: list[Branch] = field(default_factory=list)
    more: Count = Count()
    more_dropped: Count = Count()
    biggest_inside: int = 0


class Survey:
    """Takes the entries of a walk; the top directory is open from the start."""

    def __init__(self) -> None:
        self._stack = [_Open(b"", keeps=True)]
        self._n_seen = 0
        self._files: list[_Ranked] = []
        self._directories: list[_Ranked] = []

    def enter(self, path: bytes, *, keeps: bool) -> None:
        """A directory comes, then what is in it."""
        self._stack.append(_Open(path, keeps))

    def file(self, path: bytes, n_bytes: int, *, keeps: bool) -> None:
        """Something else than a directory comes."""
        top = self._stack[-1]
        self._n_seen += 1
        ranked = (n_bytes, -self._n_seen, path)  # of equal ones the first is shown
        if keeps:
            top.n_own_files += 1
            top.n_own_bytes += n_bytes
            _keep_biggest(top.files, ranked, _N_FILES)
            _keep_biggest(self._files, ranked, _N_BIGGEST)
        else:
            top.n_own_dropped_files += 1
            top.n_own_dropped_bytes += n_bytes
            _keep_biggest(top.dropped, ranked, _N_DROPPED)

    def leave(self) -> Count:
        """The directory that was entered last is complete; return what is sent of it."""
        branch = self._close()
        above = self._stack[-1]
        kept, dropped = branch.kept, branch.dropped
        above.n_files += kept.n_files
        above.n_bytes += kept.n_bytes
        above.n_directories += kept.n_directories + branch.is_sent
        above.n_dropped_files += dropped.n_files
        above.n_dropped_bytes += dropped.n_bytes
        above.n_dropped_directories += dropped.n_directories + (not branch.is_sent)
        above.biggest_inside = max(above.biggest_inside, kept.n_bytes)
        above.directories.append(branch)
        if len(above.directories) >= 8 * _N_DIRECTORIES:
            _trim(above)
        return kept

    def finish(self) -> Branch:
        """Return the top directory, complete."""
        top = self._close()
        return top if top.n_branches <= _MAX_BRANCHES else _pruned(top)

    @property
    def biggest_files(self) -> list[tuple[bytes, int]]:
        """Paths and sizes of the biggest files that are sent, the biggest first."""
        return [(path, n_bytes) for n_bytes, _, path in sorted(self._files, reverse=True)]

    @property
    def biggest_directories(self) -> list[tuple[bytes, int]]:
        """The same for directories, without those that only hold another one."""
        return [(path, n_bytes) for n_bytes, _, path in sorted(self._directories, reverse=True)]

    def _close(self) -> Branch:
        top = self._stack.pop()
        _trim(top)
        kept = Count(
            top.n_files + top.n_own_files, top.n_directories, top.n_bytes + top.n_own_bytes
        )
        dropped = Count(
            top.n_dropped_files + top.n_own_dropped_files,
            top.n_dropped_directories,
            top.n_dropped_bytes + top.n_own_dropped_bytes,
        )
        files = [_leaf(*ranked, is_sent=True) for ranked in top.files]
        left_out = [_leaf(*ranked, is_sent=False) for ranked in top.dropped]
        self._n_seen += 1
        if top.path and kept.n_bytes and top.biggest_inside < _NEARLY_ALL * kept.n_bytes:
            ranked = (kept.n_bytes, -self._n_seen, top.path)
            _keep_biggest(self._directories, ranked, _N_BIGGEST)
        children = _ordered([*top.directories, *files, *left_out])
        branch = Branch(
            path=top.path,
            is_directory=True,
            is_sent=top.keeps or kept.n_files + kept.n_directories > 0,
            kept=kept,
            dropped=dropped,
            children=children,
            more=top.more
            + Count(
                top.n_own_files - len(files),
                0,
                top.n_own_bytes - sum(file.kept.n_bytes for file in files),
            ),
            more_dropped=top.more_dropped
            + Count(
                top.n_own_dropped_files - len(left_out),
                0,
                top.n_own_dropped_bytes - sum(file.dropped.n_bytes for file in left_out),
            ),
            n_branches=_n_branches(children),
        )
        return branch if branch.n_branches < 2 * _MAX_BRANCHES else _pruned(branch)


def _n_branches(children: Sequence[Branch]) -> int:
    return 1 + sum(child.n_branches for child in children)


def _leaf(n_bytes: int, _seen: int, path: bytes, *, is_sent: bool) -> Branch:
    count = Count(1, 0, n_bytes)
    return Branch(
        path, False, is_sent, count if is_sent else Count(), Count() if is_sent else count
    )


def _keep_biggest(heap: list[_Ranked], ranked: _Ranked, n_most: int) -> None:
    if len(heap) < n_most:
        heapq.heappush(heap, ranked)
    elif ranked > heap[0]:
        heapq.heapreplace(heap, ranked)


def _rank(branch: Branch) -> tuple[bool, int, int, bytes]:
    count = branch.kept if branch.is_sent else branch.dropped
    return not branch.is_sent, -count.n_bytes, -count.n_files, branch.path


def _total(branch: Branch) -> tuple[int, int, bytes]:
    count = branch.kept + branch.dropped
    return -count.n_bytes, -count.n_files, branch.path


def _ordered(branches: Sequence[Branch]) -> tuple[Branch, ...]:
    return tuple(sorted(branches, key=_rank))


def _trim(top: _Open) -> None:
    """Keep the biggest directories, and of the others the sum."""
    sent = sorted((b for b in top.directories if b.is_sent), key=_rank)
    left_out = sorted((b for b in top.directories if not b.is_sent), key=_rank)
    top.directories = sent[:_N_DIRECTORIES] + left_out[:_N_DROPPED]
    for branch in sent[_N_DIRECTORIES:] + left_out[_N_DROPPED:]:
        more, more_dropped = _sums(branch)
        top.more += more
        top.more_dropped += more_dropped


def _sums(branch: Branch) -> tuple[Count, Count]:
    """Return what a branch that is not shown adds to the sums of the directory that it is in."""
    itself = Count(0, 1 if branch.is_directory else 0, 0)
    if branch.is_sent:
        return branch.kept + itself, branch.dropped
    return branch.kept, branch.dropped + itself


def _pruned(top: Branch) -> Branch:
    """Return the branch with what is directly in it, and of all else only the biggest, `_MAX_BRANCHES` in all.

    Nothing is bigger than what it is in, so going on with the biggest that is known finds them in order. Directories
    in each other may be deeper than Python can call, hence no recursion.
    """
    chosen = [top, *top.children]
    known = [(_total(below), below) for child in top.children for below in child.children]
    heapq.heapify(known)
    while known and len(chosen) < _MAX_BRANCHES:
        _, branch = heapq.heappop(known)
        chosen.append(branch)
        for child in branch.children:
            heapq.heappush(known, (_total(child), child))
    new: dict[bytes, Branch] = {}
    for branch in reversed(chosen):  # what is in a directory was chosen after it
        more, more_dropped = branch.more, branch.more_dropped
        for child in branch.children:
            if child.path not in new:
                of_child, dropped_of_child = _sums(child)
                more, more_dropped = more + of_child, more_dropped + dropped_of_child
        children = tuple(new[child.path] for child in branch.children if child.path in new)
        new[branch.path] = replace(
            branch,
            children=children,
            more=more,
            more_dropped=more_dropped,
            n_branches=_n_branches(children),
        )
    return new[top.path]
