"""Where a tree is kept while it arrives, and how it becomes the directory that was asked for.

A build may fail after its files have come, and a transfer may break off. So a tree is received into a hidden directory
of ours, `.depotlab-….tmp`, and put in place when all is well:

- If the destination is not there, the hidden directory is made beside it, and what was received is renamed to
  it: the destination appears whole.
- If it is there, the hidden directory is made in it (what is beside it may be another file system, or not
  ours to write), and what was received is moved into place (`merge.py`). If that breaks off, the error says
  what is there.

The hidden directory is made when the first stream begins, not before: the destination may lie in the context of
the same build.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from depotlab._transfer.disk import DIRECTORY, cannot_write, remove_tree, temporary_name
from depotlab._transfer.folders import Folders
from depotlab._transfer.merge import Merge
from depotlab._transfer.treewriter import TreeWriter, Written
from depotlab.errors import SessionError

__all__ = ["Staging"]

_TREE, _TRASH = "tree", "trash"
# As the Go client makes it: what a build gives may be private. Source: moby/buildkit session/filesync/diffcopy.go.
_NEW_DIRECTORY = 0o700
_OUTER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TAKEN = frozenset((errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR))
_N_SHOWN = 8


class Staging:
    """A directory of this machine that is to get a tree.

    Args:
        host_path: The directory; links on the way to it are followed.
        delete: Leave nothing in it that the tree does not have.
        devices: Make device nodes.

    Attributes:
        host_path: Where it really is.
        lock: Held by whoever works on it, in whichever thread.
        placed: After a commit that failed: what is in the directory already, as in `Merge.placed`.
    """

    def __init__(self, host_path: Path, *, delete: bool = False, devices: bool = False) -> None:
        self.host_path = Path(os.path.realpath(host_path))
        self.lock = threading.Lock()
        self.placed: tuple[str, ...] = ()
        self._delete = delete
        self._devices = devices
        self._open: list[int] = []
        self._outer = -1  # the directory that the hidden one is in
        self._is_inside = False
        self._hidden = ""
        self._hidden_descriptor = -1
        self._made_above: list[Path] = []
        self._written: Written | None = None
        self._over = False

    @property
    def n_files(self) -> int:
        """Regular files received so far."""
        return self._written.n_files if self._written else 0

    @property
    def n_bytes(self) -> int:
        """Their content so far."""
        return self._written.n_bytes if self._written else 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out."""
        return self._written.warnings if self._written else ()

    def check(self) -> None:
        """Look whether the directory can be written, without writing anything.

        Raises:
            SessionError: It cannot.
        """
        place = self.host_path
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            raise cannot_write(place, NotADirectoryError(errno.ENOTDIR, "it is no directory"))
        if not os.access(place, os.W_OK | os.X_OK):
            raise cannot_write(place, PermissionError(errno.EACCES, "permission denied"))

    def writer(self) -> TreeWriter:
        """Return what writes one stream; the first call makes the hidden directory.

        Raises:
            SessionError: It cannot be made.
        """
        if self._over:
            raise SessionError(f"{self.host_path} is not written any more: the build is over.")
        if self._written is None:
            try:
                self._written = self._begin()
            except OSError as error:
                raise cannot_write(self.host_path, error) from error
        return TreeWriter(self._written)

    def commit(self) -> None:
        """Put in place what was received. Call `clear` afterwards.

        Raises:
            SessionError: It did not work, or not wholly; `placed` says what is there.
        """
        written = self._written
        assert written is not None, "nothing was received"
        try:
            if self._is_inside:
                self._merge(written)
            else:
                _finish_directories(written.root, written)
                os.rename(
                    _TREE,
                    self.host_path.name,
                    src_dir_fd=self._hidden_descriptor,
                    dst_dir_fd=self._outer,
                )
        except OSError as error:
            if error.errno in _TAKEN and not self._is_inside:
                error = OSError(error.errno, "something else made it meanwhile")
            raise cannot_write(self.host_path, error) from error

    def clear(self) -> None:
        """Remove what is left of the hidden directory, and give back everything; can be called twice.

        Raises:
            SessionError: Something of it cannot be removed.
        """
        self._over = True
        if self._outer < 0:
            return
        try:
            while self._open:
                os.close(self._open.pop())
            if self._hidden:
                remove_tree(self._hidden, self._outer)
            while self._made_above and not any(self._made_above[-1].iterdir()):
                self._made_above.pop().rmdir()
        except OSError as error:
            left = self._outer_path / self._hidden
            raise SessionError(
                f"{left} could not be removed: {(error.strerror or str(error)).lower()}.",
                path=str(left),
                hint="it is not needed any more; remove it by hand",
            ) from error
        finally:
            os.close(self._outer)
            self._outer = -1

    @property
    def _outer_path(self) -> Path:
        return self.host_path if self._is_inside else self.host_path.parent

    def _begin(self) -> Written:
        self._is_inside = self.host_path.exists()
        if not self._is_inside:
            for above in reversed(self.host_path.parents):
                if not above.exists():
                    above.mkdir(_NEW_DIRECTORY)
                    self._made_above.append(above)
        self._outer = os.open(self._outer_path, _OUTER)
        hidden = temporary_name()
        os.mkdir(hidden, 0o700, dir_fd=self._outer)
        self._hidden = hidden
        self._hidden_descriptor = self._enter(hidden, self._outer)
        os.mkdir(_TREE, _NEW_DIRECTORY, dir_fd=self._hidden_descriptor)
        tree = self._enter(_TREE, self._hidden_descriptor)
        return Written(self.host_path, tree, devices=self._devices)

    def _enter(self, name: str, directory: int) -> int:
        descriptor = os.open(name, DIRECTORY, dir_fd=directory)
        self._open.append(descriptor)
        return descriptor

    def _merge(self, written: Written) -> None:
        os.mkdir(_TRASH, 0o700, dir_fd=self._hidden_descriptor)
        merge = Merge(
            written.root,
            self._outer,
            trash=self._enter(_TRASH, self._hidden_descriptor),
            delete=self._delete,
            reserved=os.fsencode(self._hidden),
        )
        try:
            merge.run()
            _finish_directories(self._outer, written)
        except OSError as error:
            self.placed = tuple(map(os.fsdecode, merge.placed))
            raise self._not_merged(merge.at, error) from error
        finally:
            merge.close()

    def _not_merged(self, path: bytes, error: OSError) -> SessionError:
        reason = (error.strerror or str(error)).lower()
        return SessionError(
            f"The result could not be put into {self.host_path}, at {os.fsdecode(path)!r}: {reason}. "
            f"{_in_place(self.placed)}",
            path=str(self.host_path / os.fsdecode(path)),
            hint="what is not named here is as it was before; build again when it can be written",
        )


def _in_place(placed: Sequence[str]) -> str:
    """Say what of a result is in a directory that did not get all of it."""
    if not placed:
        return "Nothing of it is there."
    shown = ", ".join(placed[:_N_SHOWN])
    more = f" and {len(placed) - _N_SHOWN} more" if len(placed) > _N_SHOWN else ""
    return f"Of it, {len(placed)} are there: {shown}{more}."


def _finish_directories(root: int, written: Written) -> None:
    """Set attributes, modes and times of directories, each before the one it is in."""
    folders = Folders(root)
    try:
        for path, made in reversed(written.directories.items()):
            descriptor = folders.get(path)
            if made.xattrs:
                written.set_xattrs(descriptor, path, made.xattrs)
            os.fchmod(descriptor, made.permissions)
            os.utime(descriptor, ns=(made.modified_ns, made.modified_ns))
    finally:
        folders.close()
