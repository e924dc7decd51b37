"""A directory on this machine, walked and read. The only file of this room that opens files.

Order: the receiver keeps one cursor and refuses an entry that is behind it ("changes out of
order"), so names are sorted by their bytes directory by directory, and a directory is followed at
once by what is in it.

What the file system does while we look:

- A file that is gone between listing and `lstat` was not there.
- A file that is gone when its content is asked for ends the transfer with an error that names it.
  (The Go client sends it empty, and says nothing.)
- What may not be read ends the transfer too, unless a filter leaves it out anyway.

Sockets mean nothing on another machine and are left out. A root entry called `.fsutil-metadata`
is left out too: receivers of metadata use that name for themselves and do not count it, so that
the numbers of all later entries would be off by one.

Owners are not read at all; times and permissions are sent as they are. Another name of an inode
that was sent is sent as a link to the first name, whichever the filters let through first.

Source: tonistiigi/fsutil `fs.go`, `stat.go`, `stat_unix.go`, `hardlinks.go`, `receive.go`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from depotlab._transfer import filemode
from depotlab._transfer.filters import Inherited, TreeFilter
from depotlab._transfer.packets import Entry
from depotlab.errors import ContextError, SessionError

__all__ = ["HostTree"]

_METADATA_NAME = b".fsutil-metadata"
_GONE = frozenset((errno.ENOENT, errno.ENOTDIR))
# The file system has no attributes, or none that we may read, or it is gone by now.
_NO_XATTRS = frozenset(
    (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENODATA)
)
# Only on Linux. Elsewhere Python cannot read them, and nothing is sent.
_list_xattrs: Callable[..., list[str]] | None = getattr(os, "listxattr", None)
_by_name = attrgetter("name")
_new_entry = (
    tuple.__new__
)  # what Entry() does, without the way through Python; one for each file of a tree
_SEEN_PER_PAUSE = 1024  # a few milliseconds


class HostTree:
    """A directory on this machine. See `Tree` for its methods.

    Args:
        host_root: The directory; links on the way to it are followed, once, now.
        offered: What may be sent of it at all, whatever is asked for; None is everything.

    Attributes:
        host_root: Where it really is.
        offers_all: Whether everything may be sent.

    Raises:
        ContextError: There is no such directory, or it may not be entered.
    """

    def __init__(self, host_root: Path, *, offered: TreeFilter | None = None) -> None:
        try:
            self.host_root = host_root.resolve(strict=True)
            is_dir = self.host_root.is_dir()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, up to 3.12
            raise _no_context(host_root, error) from error
        if not is_dir:
            raise ContextError(
                f"{host_root} is not a directory, so it cannot be sent to the builder.",
                path=str(host_root),
                hint="name the directory that the file is in",
            )
        self._prefix = os.fsencode(self.host_root).rstrip(b"/") + b"/"
        self._offered = offered
        self.offers_all = offered is None or offered.keeps_all

    def __repr__(self) -> str:
        return f"<HostTree {self.host_root}>"

    def names(self, path: str) -> list[str]:
        host_path = self._prefix + _encode(path)
        try:
            return [_decode(name) for name in os.listdir(host_path)]  # noqa: PTH208 - bytes
        except OSError as error:
            if error.errno in _GONE:
                return []
            raise _unreadable(host_path, error) from error

    def target(self, path: str) -> str | None:
        host_path = self._prefix + _encode(path)
        try:
            return _decode(os.readlink(host_path))  # noqa: PTH115 - bytes
        except OSError as error:
            if error.errno in _GONE or error.errno == errno.EINVAL:
                return None
            raise _unreadable(host_path, error) from error

    def describe(self, path: bytes) -> str:
        return os.fsdecode(self._prefix + path)

    def open(self, path: bytes) -> HostFile:
        # What was a regular file may have become something else since it was listed: a link is
        # not followed, and a pipe without a writer does not make us wait.
        host_path = self._prefix + path
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return HostFile(os.open(host_path, flags), host_path)
        except OSError as error:
            raise _unreadable(host_path, error) from error

    def walk(self, wanted: TreeFilter) -> Iterator[Entry | None]:
        return _Walk(self._prefix, wanted.within(self._offered)).entries()


class HostFile:
    """An open file of a directory on this machine. See `Content`."""

    __slots__ = ("_descriptor", "_host_path")

    def __init__(self, descriptor: int, host_path: bytes) -> None:
        self._descriptor = descriptor
        self._host_path = host_path

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._descriptor).st_size

    @property
    def inode(self) -> int:
        return os.fstat(self._descriptor).st_ino

    def read(self, start: int, n_bytes: int) -> bytes:
        try:
            return os.pread(self._descriptor, n_bytes, start)
        except OSError as error:
            if error.errno == errno.ESPIPE:
                return b""  # it has become a pipe, which has no content
            raise _unreadable(self._host_path, error) from error

    def close(self) -> None:
        os.close(self._descriptor)


class _Level(NamedTuple):
    """A directory that is being walked."""

    prefix: bytes
    children: Iterator[os.DirEntry[bytes]]
    inherited: Inherited
    waits: bool  # not sent yet: only if something below it is


class _Walk:
    """One walk. Directories that are only on the way to something wanted wait to be sent."""

    def __init__(self, root: bytes, wanted: TreeFilter) -> None:
        self._root = root
        self._wanted = wanted
        self._waiting: list[tuple[bytes, os.DirEntry[bytes]]] = []
        self._first_names: dict[tuple[int, int], bytes] = {}

    def entries(self) -> Iterator[Entry | None]:
        top = self._wanted.top
        judge = None if self._wanted.keeps_all else self._wanted.judge
        keep, enter, handed = True, False, top
        n_seen = 0
        stack = [_Level(b"", self._list(self._root, wanted=True), top, waits=False)]
        while stack:
            prefix, children, inherited, waits = stack[-1]
            for child in children:
                path = prefix + child.name
                entry = None
                try:
                    if judge is not None:
                        n_seen += 1
                        if not n_seen % _SEEN_PER_PAUSE:
                            yield None
                        is_dir = child.is_dir(follow_symlinks=False)
                        keep, enter, handed = judge(_decode(path), inherited, is_dir=is_dir)
                    if keep:
                        entry = self._look(path, child)
                        if entry is None:
                            continue
                        if self._waiting:
                            yield from self._release()
                except OSError as error:
                    if error.errno in _GONE:
                        continue
                    raise _unreadable(child.path, error) from error
                if entry is not None:
                    yield entry
                    enter = entry.mode >= filemode.DIR
                if enter:
                    if not keep:
                        self._waiting.append((path, child))
                    listing = self._list(child.path, wanted=keep)
                    stack.append(_Level(path + b"/", listing, handed, waits=not keep))
                    break
            else:
                stack.pop()
                if waits and self._waiting:
                    self._waiting.pop()

    def _release(self) -> Iterator[Entry]:
        """Send the directories above an entry that were held back."""
        released = [self._look(path, child) for path, child in self._waiting]
        self._waiting.clear()
        yield from filter(None, released)

    def _list(self, host_path: bytes, *, wanted: bool) -> Iterator[os.DirEntry[bytes]]:
        try:
            with os.scandir(host_path) as listing:
                children = sorted(listing, key=_by_name)
        except OSError as error:
            if error.errno in _GONE and host_path != self._root:
                return iter(())
            if not wanted and isinstance(error, PermissionError):
                return iter(())
            raise _unreadable(host_path, error) from error
        if host_path == self._root:
            children = [child for child in children if child.name != _METADATA_NAME]
        return iter(children)

    def _look(self, path: bytes, child: os.DirEntry[bytes]) -> Entry | None:
        """Return the entry for a child of a directory, or None for what is never sent."""
        info = child.stat(follow_symlinks=False)
        mode = _modes.get(info.st_mode)
        if mode is None:
            mode = _modes[info.st_mode] = filemode.from_unix(info.st_mode)
        size_bytes = info.st_size
        link = b""
        device = xattrs = None
        if mode & filemode.TYPES or info.st_nlink > 1:
            if mode & filemode.SOCKET:
                return None
            if mode & filemode.DIR:
                size_bytes = 0
            elif mode & filemode.SYMLINK:
                link = os.readlink(child.path)  # noqa: PTH115 - bytes
            else:
                if mode & filemode.DEVICE:
                    device = (os.major(info.st_rdev), os.minor(info.st_rdev))
                first = self._first_names.setdefault((info.st_dev, info.st_ino), path)
                link = first if first != path else b""
        if _list_xattrs is not None:
            try:
                names = _list_xattrs(child.path, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_XATTRS:
                    raise
            else:
                if names:
                    xattrs = _read_xattrs(child.path, names)
        return _new_entry(
            Entry,
            (
                path,
                mode,
                size_bytes,
                info.st_mtime_ns,
                link,
                device,
                xattrs,
                info.st_ctime_ns,
                info.st_ino,
            ),
        )


_modes: dict[int, int] = {}


def _read_xattrs(host_path: bytes, names: list[str]) -> dict[str, bytes] | None:
    found: dict[str, bytes] = {}
    for name in names:
        try:
            found[name] = os.getxattr(host_path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_XATTRS:
                raise
    return found or None


def _decode(path: bytes) -> str:
    # Not os.fsdecode: patterns are UTF-8 whatever the locale of this process is.
    return path.decode("utf-8", "surrogateescape")


def _encode(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _no_context(host_root: Path, error: Exception) -> ContextError:
    if isinstance(error, PermissionError):
        return ContextError(
            f"{host_root} may not be entered.",
            path=str(host_root),
            hint="check the permissions of the directory and of those above it",
        )
    return ContextError(
        f"{host_root} is not there, so it cannot be sent to the builder.",
        path=str(host_root),
        hint=f"check the path; the working directory is {Path.cwd()}",
    )


def _unreadable(host_path: bytes, error: OSError) -> SessionError:
    path = os.fsdecode(host_path)
    if error.errno in _GONE:
        return SessionError(
            f"{path} was listed, but is gone now that the builder wants it.",
            path=path,
            hint="build again when nothing changes the directory, or leave the file out of it",
        )
    if error.errno == errno.ELOOP:
        reason = "it has become a symbolic link since it was listed"
    else:
        reason = (error.strerror or str(error)).lower()
    return SessionError(
        f"{path} could not be read: {reason}.",
        path=path,
        hint="make it readable, or leave it out, for example through .dockerignore",
    )
