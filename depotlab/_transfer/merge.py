"""Puts a finished tree into a directory that has other things already.

Both trees are on one file system, so that things are moved, never copied: a directory that is not there yet with all
that is in it, at once; a file in place of another atomically. Existing directories stay. Of two things of different
kinds the new one wins, as in the Go client's copy mode, also a file over a directory that is full. Only what is mounted
inside the target is on another file system; there, copies are made beside the place and moved to it.

No link of the target is followed: one in the place of a directory is replaced by it.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Mapping

from depotlab._transfer.disk import DIRECTORY, copy_content, temporary_name
from depotlab._transfer.folders import Folders

__all__ = ["Merge"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Merge:
    """One tree into another.

    Args:
        staged: Descriptor of the root of the new tree; its directories may be entered and emptied.
        target: Descriptor of the directory to put it into.
        trash: Descriptor of a directory for what is replaced, on the file system of both.
        delete: Also remove from the target what the new tree does not have.
        reserved: A name in the target that is not touched.

    Attributes:
        placed: What is in the target by now: paths, with `/` at the end of directories that came whole.
        at: The path that it is busy with.
        n_removed: Things that were in the target and are not any more, directories that were replaced included.
    """

    def __init__(
        self, staged: int, target: int, *, trash: int, delete: bool, reserved: bytes
    ) -> None:
        self.placed: list[bytes] = []
        self.at = b""
        self.n_removed = 0
        self._staged = Folders(staged)
        self._target = Folders(target)
        self._trash = trash
        self._delete = delete
        self._reserved = reserved
        self._waiting: list[bytes] = [b""]

    def run(self) -> None:
        """Move everything.

        Raises:
            OSError: Something cannot be moved; `placed` says what was before.
        """
        while self._waiting:
            self._merge(self._waiting.pop())

    def close(self) -> None:
        """Close all directories that were opened."""
        self._staged.close()
        self._target.close()

    def _merge(self, path: bytes) -> None:
        prefix = path + b"/" if path else b""
        source, target = self._staged.get(path), self._target.get(path)
        if path:  # the target itself gets no new mode in the end, so it keeps the one it has
            _make_usable(target)
        with os.scandir(source) as listing:
            entries = sorted(
                (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in listing
            )
        for name, is_dir in entries:
            self.at = prefix + name
            if is_dir:
                self._place_directory(prefix + name, name, source, target)
            else:
                self._place(prefix + name, name, source, target)
        if self._delete:
            kept = {name for name, _ in entries}
            for name in map(os.fsencode, os.listdir(target)):  # noqa: PTH208 - a descriptor
                if name not in kept and (path or name != self._reserved):
                    self.at = prefix + name
                    self._remove(name, target)

    def _place_directory(self, path: bytes, name: bytes, source: int, target: int) -> None:
        found = _kind(name, target)
        if found is None or not stat.S_ISDIR(found):
            if found is not None:
                self._remove(name, target)
            try:
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                os.mkdir(name, 0o700, dir_fd=target)
            else:
                self.placed.append(path + b"/")
                return
        self._waiting.append(path)

    def _place(self, path: bytes, name: bytes, source: int, target: int) -> None:
        try:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        except IsADirectoryError:
            self._remove(name, target)
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(name, source, target)
        self.placed.append(path)

    def _copy(self, name: bytes, source: int, target: int) -> None:
        """Copy something to a place on another file system, where it appears whole."""
        temporary = temporary_name()
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        try:
            if stat.S_ISREG(info.st_mode):
                _copy_file(name, source, temporary, target, info)
            elif stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(name, dir_fd=source), temporary, dir_fd=target)
            else:
                os.mknod(temporary, info.st_mode, info.st_rdev, dir_fd=target)
                os.chmod(temporary, stat.S_IMODE(info.st_mode), dir_fd=target)
            times = (info.st_mtime_ns, info.st_mtime_ns)
            os.utime(temporary, ns=times, dir_fd=target, follow_symlinks=False)
            if stat.S_ISDIR(_kind(name, target) or 0):
                self._remove(name, target)
            os.rename(temporary, name, src_dir_fd=target, dst_dir_fd=target)
        except OSError:
            if _kind(temporary, target) is not None:
                os.unlink(temporary, dir_fd=target)
            raise

    def _remove(self, name: bytes, target: int) -> None:
        """Remove something from the target, a directory with all that is in it."""
        self.n_removed += 1
        kind = _kind(name, target)
        if kind is None:
            return
        if not stat.S_ISDIR(kind):
            os.unlink(name, dir_fd=target)
            return
        removed = f"removed-{self.n_removed}"
        try:
            try:
                os.rename(name, removed, src_dir_fd=target, dst_dir_fd=self._trash)
            except PermissionError:
                # Moving a directory writes its `..`.
                _open_and_make_usable(name, target)
                os.rename(name, removed, src_dir_fd=target, dst_dir_fd=self._trash)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.rmtree(os.fsdecode(name), dir_fd=target)


def _kind(name: bytes | str, directory: int) -> int | None:
    """Return the mode of what has a name, or None if nothing has."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _make_usable(directory: int) -> None:
    mode = os.fstat(directory).st_mode
    if mode & 0o700 != 0o700:
        os.fchmod(directory, stat.S_IMODE(mode) | 0o700)


def _open_and_make_usable(name: bytes, directory: int) -> None:
    descriptor = os.open(name, DIRECTORY, dir_fd=directory)
    try:
        _make_usable(descriptor)
    finally:
        os.close(descriptor)


def _copy_file(name: bytes, source: int, temporary: str, target: int, info: os.stat_result) -> None:
    original = os.open(name, _READ, dir_fd=source)
    try:
        copy = os.open(temporary, _NEW_FILE, 0o600, dir_fd=target)
        try:
            copy_content(original, copy)
            for attribute, value in _xattrs(original).items():
                os.setxattr(copy, attribute, value)
            os.fchmod(copy, stat.S_IMODE(info.st_mode))
        finally:
            os.close(copy)
    finally:
        os.close(original)


def _xattrs(descriptor: int) -> Mapping[str, bytes]:
    if not hasattr(os, "listxattr"):
        return {}
    return {name: os.getxattr(descriptor, name) for name in os.listxattr(descriptor)}
