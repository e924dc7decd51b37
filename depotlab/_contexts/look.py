"""Walking a context only to look: every entry with its size and whether it is sent.

Of contents only the beginning of what may be a secret is read.
The walk goes where that of file sync goes, and besides into what is left out, to count it; of that it looks at so
many entries at most. What cannot be read is a problem only where it would be sent.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from depotlab._contexts.advice import Advisor, shown
from depotlab._contexts.kinds import Directory, Files
from depotlab._contexts.survey import Branch, Survey
from depotlab._contexts.tar import Tar
from depotlab._contexts.tarlist import members
from depotlab._transfer import TreeFilter

__all__ = ["Seen", "look"]

_MAX_DROPPED = 200_000
_MAX_PROBLEMS = 20
_KNOWS_EFFECTIVE_IDS = os.access in os.supports_effective_ids
_METADATA_NAME = b".fsutil-metadata"


@dataclass(slots=True)
class Seen:
    """What a walk found.

    Attributes:
        survey: The counts; complete.
        top: The tree.
        advisor: What was noticed.
        problems: What would fail, or is never sent, for people.
        dropped_is_partial: Whether there was too much that is not sent to count all of it.
    """

    survey: Survey
    top: Branch
    advisor: Advisor
    problems: list[str] = field(default_factory=list)
    dropped_is_partial: bool = False


def look(where: Directory | Files | Tar, wanted: TreeFilter) -> Seen:
    """Walk a context.

    Raises:
        ContextError: It cannot be read at all.
        BadPattern: A pattern is malformed.
    """
    if isinstance(where, Directory):
        return _Look(os.fsencode(where.tree().host_root), wanted).run()
    if isinstance(where, Files):
        return _look_at_files(where, wanted)
    return _look_at_tar(where)


class _Level(NamedTuple):
    path: bytes
    children: Iterator[os.DirEntry[bytes]]
    inherited: Any  # None below what is left out


class _Look:
    """One walk of a directory."""

    def __init__(self, root: bytes, wanted: TreeFilter) -> None:
        self._root = root.rstrip(b"/") + b"/"
        self._wanted = wanted
        self._survey = Survey()
        self._advisor = Advisor(self._beginning)
        self._problems: list[str] = []
        self._names: set[tuple[int, int]] = set()
        self._n_dropped = 0

    def run(self) -> Seen:
        stack = [_Level(b"", self._list(b"", wanted=True), self._wanted.top)]
        while stack:
            level = stack[-1]
            for child in level.children:
                path = level.path + child.name
                below = self._child(path, child, level.inherited)
                if below is not None:
                    stack.append(below)
                    break
            else:
                stack.pop()
                if stack:
                    self._leave(level)
        return Seen(
            self._survey,
            self._survey.finish(),
            self._advisor,
            self._problems,
            self._n_dropped > _MAX_DROPPED,
        )

    def _child(self, path: bytes, child: os.DirEntry[bytes], inherited: Any) -> _Level | None:
        """Count an entry; return a directory that is to be walked."""
        keeps, enters, handed = False, False, None
        try:
            is_dir = child.is_dir(follow_symlinks=False)
            if inherited is not None:
                name = path.decode("utf-8", "surrogateescape")
                keeps, enters, handed = self._wanted.judge(name, inherited, is_dir=is_dir)
            if not keeps and not is_dir:
                self._n_dropped += 1
            info = child.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            if keeps:
                self._problem(path, error)
            return None
        if is_dir:
            is_too_much = not enters and self._n_dropped > _MAX_DROPPED
            listing = iter(()) if is_too_much else self._list(path, wanted=keeps)
            self._survey.enter(path, keeps=keeps)
            if enters:
                self._advisor.enter(path)
            return _Level(path + b"/", listing, handed if enters else None)
        if stat.S_ISSOCK(info.st_mode) or path == _METADATA_NAME:
            return None
        n_bytes = self._size(info, keeps=keeps)
        self._survey.file(path, n_bytes, keeps=keeps)
        if keeps:
            self._advisor.file(path, n_bytes)
            if stat.S_ISREG(info.st_mode) and not _is_readable(info, self._root + path):
                self._problem(path, PermissionError("permission denied"))
        return None

    def _size(self, info: os.stat_result, *, keeps: bool) -> int:
        if not stat.S_ISREG(info.st_mode):
            return 0
        if info.st_nlink > 1 and keeps:
            inode = (info.st_dev, info.st_ino)
            if inode in self._names:
                return 0
            self._names.add(inode)
        return info.st_size

    def _leave(self, level: _Level) -> None:
        kept = self._survey.leave()
        if level.inherited is not None:
            self._advisor.leave(level.path[:-1], kept)

    def _list(self, path: bytes, *, wanted: bool) -> Iterator[os.DirEntry[bytes]]:
        try:
            with os.scandir(self._root + path) as listing:
                return iter(sorted(listing, key=lambda entry: entry.name))
        except OSError as error:
            if wanted and not isinstance(error, FileNotFoundError):
                self._problem(path, error)
            return iter(())

    def _problem(self, path: bytes, error: OSError) -> None:
        if len(self._problems) < _MAX_PROBLEMS:
            reason = (error.strerror or str(error)).lower()
            self._problems.append(f"{shown(path) or '.'} cannot be read: {reason}")

    def _beginning(self, path: bytes, n_bytes: int) -> bytes:
        try:
            descriptor = os.open(
                self._root + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError:
            return b""  # that it cannot be read is told as a problem
        try:
            return os.read(descriptor, n_bytes)
        except OSError:
            return b""
        finally:
            os.close(descriptor)


def _is_readable(info: os.stat_result, host_path: bytes) -> bool:
    """Whether we may read a file. Most are readable for everybody, which their mode tells."""
    if info.st_mode & 0o444 == 0o444:
        return True
    return os.access(host_path, os.R_OK, effective_ids=_KNOWS_EFFECTIVE_IDS)


def _look_at_files(where: Files, wanted: TreeFilter) -> Seen:
    contents = {path.encode("utf-8", "surrogateescape"): f.data for path, f in where.files.items()}
    advisor = Advisor(lambda path, n_bytes: contents[path][:n_bytes])
    entries = {path: (False, len(data)) for path, data in contents.items()}
    return _count(entries, wanted, advisor)


def _look_at_tar(where: Tar) -> Seen:
    # A path may come several times, and the last one counts, as when it is unpacked.
    entries = {m.path: (m.kind == "directory", m.size_bytes) for m in members(where)}
    return _count(entries, TreeFilter(), Advisor(None))


def _count(entries: dict[bytes, tuple[bool, int]], wanted: TreeFilter, advisor: Advisor) -> Seen:
    """Count entries that are known by path: whether each is a directory, and its size."""
    for path in list(entries):
        while (path := path.rpartition(b"/")[0]) and not entries.get(path, (False, 0))[0]:
            entries[path] = (True, 0)
    survey = Survey()
    open_dirs: list[tuple[bytes, Any]] = [(b"", wanted.top)]

    def leave() -> None:
        path, inherited = open_dirs.pop()
        kept = survey.leave()
        if inherited is not None:
            advisor.leave(path, kept)

    for path in sorted(entries, key=lambda one: one.split(b"/")):
        while open_dirs[-1][0] != path.rpartition(b"/")[0]:
            leave()
        is_dir, n_bytes = entries[path]
        keeps, enters, handed = False, False, None
        if open_dirs[-1][1] is not None:
            name = path.decode("utf-8", "surrogateescape")
            keeps, enters, handed = wanted.judge(name, open_dirs[-1][1], is_dir=is_dir)
        if is_dir:
            survey.enter(path, keeps=keeps)
            if enters:
                advisor.enter(path)
            open_dirs.append((path, handed if enters else None))
            continue
        survey.file(path, n_bytes, keeps=keeps)
        if keeps:
            advisor.file(path, n_bytes)
    while len(open_dirs) > 1:
        leave()
    return Seen(survey, survey.finish(), advisor)
