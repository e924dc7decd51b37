"""File modes as Go's `os.FileMode` has them, which is what file sync sends.

The nine permission bits are those of Unix; the type of the file and setuid, setgid and sticky
have bits of their own at the other end of the word, so `st_mode` is never sent as it is.

Source: golang/go `io/fs/fs.go`, `os/stat_linux.go`.
"""

from __future__ import annotations

import stat

__all__ = ["DEVICE", "DIR", "FIFO", "SOCKET", "SYMLINK", "TYPES", "from_unix", "is_requestable"]

DIR = 1 << 31
SYMLINK = 1 << 27
DEVICE = 1 << 26
FIFO = 1 << 25
SOCKET = 1 << 24
SETUID = 1 << 23
SETGID = 1 << 22
CHAR_DEVICE = 1 << 21
STICKY = 1 << 20
IRREGULAR = 1 << 19
TYPES = DIR | SYMLINK | FIFO | SOCKET | DEVICE | CHAR_DEVICE | IRREGULAR

_TYPES = {
    stat.S_IFREG: 0,
    stat.S_IFDIR: DIR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFBLK: DEVICE,
    stat.S_IFCHR: DEVICE | CHAR_DEVICE,
    stat.S_IFIFO: FIFO,
    stat.S_IFSOCK: SOCKET,
}


def from_unix(st_mode: int) -> int:
    """Return the Go mode for the mode that `lstat` gives."""
    mode = st_mode & 0o777 | _TYPES.get(stat.S_IFMT(st_mode), IRREGULAR)
    if st_mode & stat.S_ISUID:
        mode |= SETUID
    if st_mode & stat.S_ISGID:
        mode |= SETGID
    if st_mode & stat.S_ISVTX:
        mode |= STICKY
    return mode


def is_requestable(mode: int) -> bool:
    """Tell whether the content of an entry may be asked for: only regular files have one."""
    return not mode & TYPES
