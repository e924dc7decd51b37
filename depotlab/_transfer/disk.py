"""Writing to this machine's disk: whole writes, removing trees, and errors that say what to do."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from depotlab.errors import SessionError

__all__ = [
    "DIRECTORY",
    "cannot_write",
    "copy_content",
    "remove_tree",
    "temporary_name",
    "write_all",
]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How directories are opened: never through a link."""

_N_PIECES = 1000  # the kernel takes 1024 at a time
_COPY_BYTES = 1 << 20
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_HINTS = {
    errno.EACCES: "check the permissions, or choose another destination",
    errno.EPERM: "check the permissions, or choose another destination",
    errno.EROFS: "the file system is read-only: choose another destination",
    errno.ENOSPC: "free some space, or choose another destination",
    errno.EDQUOT: "the quota is used up: free some space, or choose another destination",
    errno.ENAMETOOLONG: "the file system of the destination does not take names that long",
    errno.EILSEQ: "the file system of the destination does not take this name: use export.tar()",
    errno.EINVAL: "the file system of the destination does not take this name: use export.tar()",
    errno.EFBIG: "the file system of the destination does not take files that large",
    errno.EMFILE: "the process has too many open files: raise its limit (ulimit -n)",
    errno.EBUSY: "something uses it, perhaps as a mount point",
}


def temporary_name() -> str:
    """Return a name that nothing has, for what is not finished."""
    return f".depotlab-{secrets.token_hex(6)}.tmp"


def write_all(descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
    """Write all pieces, one after the other, and return how many bytes they are."""
    n_bytes = 0
    for start in range(0, len(pieces), _N_PIECES):
        batch = pieces[start : start + _N_PIECES]
        n_batch = sum(map(len, batch))
        n_written = os.writev(descriptor, batch)
        if n_written < n_batch:  # a signal, or a disk that is nearly full
            rest = memoryview(b"".join(batch))[n_written:]
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        n_bytes += n_batch
    return n_bytes


def copy_content(source: int, target: int) -> None:
    """Copy what is left of one open file to another."""
    while piece := os.read(source, _COPY_BYTES):
        write_all(target, [piece])


def remove_tree(name: str, directory: int) -> None:
    """Remove a directory of ours, `name` in an open directory, however deep it is and whatever its modes are.

    Subdirectories are first moved to its top, so that neither the depth of a tree nor the number
    of open files limits us. (`shutil.rmtree` holds one open for every level.)
    """
    _make_movable(name, directory)
    top = os.open(name, DIRECTORY, dir_fd=directory)
    try:
        waiting = _unlink_files(top)
        unique = secrets.token_hex(6)
        n_moved = 0
        while waiting:
            child = os.open(waiting[-1], DIRECTORY, dir_fd=top)
            try:
                found = _unlink_files(child)
                moved = []
                for below in found:
                    _make_movable(below, child)
                    n_moved += 1
                    moved.append(f"{unique}-{n_moved}")
                    os.rename(below, moved[-1], src_dir_fd=child, dst_dir_fd=top)
            finally:
                os.close(child)
            os.rmdir(waiting.pop(), dir_fd=top)
            waiting += moved
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=directory)


def _unlink_files(directory: int) -> list[str]:
    """Remove all that is no directory from an open one, and return the names of the others."""
    if os.fstat(directory).st_mode & 0o700 != 0o700:
        os.fchmod(directory, 0o700)
    below = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=directory)
    return below


def _make_movable(name: str, directory: int) -> None:
    """Give a directory the permissions to be entered and moved; moving writes its `..`."""
    info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if info.st_mode & 0o700 != 0o700:
        os.chmod(name, 0o700, dir_fd=directory)


def cannot_write(host_path: Path | str, error: OSError) -> SessionError:
    """Return the error for something on this machine that could not be written."""
    path = str(host_path)
    code = error.errno or 0
    reason = (error.strerror or str(error)).lower()
    if code in _FULL:
        reason = f"{reason} ({_free(path)})"
    return SessionError(
        f"{path} could not be written: {reason}.",
        path=path,
        hint=_HINTS.get(code, "check the destination of the output"),
    )


def _free(path: str) -> str:
    for place in (Path(path), *Path(path).parents):
        if place.exists():
            return f"{shutil.disk_usage(place).free} bytes are free on the file system of {place}"
    return "nothing is free"
