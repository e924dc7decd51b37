"""Writes what a `Receiver` was sent into a directory that is ours alone.

The directory is new and empty, its mode is 0700, and nobody but us writes there: so whatever is there came from the
sender. Every name is made in an open directory that was reached without a link (`Folders`), files
with O_EXCL and O_NOFOLLOW; a link that was received is a name like any other and is never followed.

As the Go client does: permission bits with setuid, setgid and sticky, times of everything, pipes, other names of
one file. Otherwise than it:

- Device nodes are made only when asked for. Who is root would else get nodes that others may read disks through.
- Of extended attributes only `user.*` and the capabilities of files are kept. The others mean something to the
  system that set them: labels, access lists with its user numbers, marks of overlay file systems.
- Modes and times of directories are kept for the end (`Made`): one that may not be written could not be filled.

Attributes that the file system does not know or that we may not set are left out, as in Go, and with a word.

Source: tonistiigi/fsutil `rootdiskwriter.go`, `rootdiskwriter_unix.go`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from depotlab._transfer import filemode
from depotlab._transfer.disk import cannot_write, write_all
from depotlab._transfer.folders import Folders
from depotlab._transfer.packets import Entry
from depotlab._transfer.receiver import Content, shown
from depotlab.errors import DepotlabError, ProtocolError, SessionError

__all__ = ["Made", "TreeWriter", "Written"]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# The daemon sends four files at a time.
_MOST_OPEN = 64
_WARNED = 20
_NOT_THERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))
# Only on Linux.
_set_xattr: Callable[[int, str, bytes], None] | None = getattr(os, "setxattr", None)


class Made(NamedTuple):
    """What a directory is to become in the end.

    Attributes:
        permissions: For chmod.
        modified_ns: For its time.
        xattrs: See `Entry`.
    """

    permissions: int
    modified_ns: int
    xattrs: Mapping[str, bytes] | None


class Written:
    """What several writers have made in one directory, for several platforms at a time.

    Args:
        host_path: Where it will be, for messages.
        root: Descriptor of the new directory.
        devices: Make device nodes.

    Attributes:
        directories: By path, each after the one it is in.
        n_files: Names of regular files, all complete.
        n_bytes: Their content.
        warnings: What was left out, for people.
    """

    def __init__(self, host_path: Path, root: int, *, devices: bool) -> None:
        self.host_path = host_path
        self.root = root
        self.devices = devices
        self.directories: dict[bytes, Made] = {}
        self.n_files = 0
        self.n_bytes = 0
        self._left_out: list[str] = []
        self._n_left_out = 0
        self.masked = _masked_bits(root)

    @property
    def warnings(self) -> tuple[str, ...]:
        n_more = self._n_left_out - len(self._left_out)
        return (*self._left_out, f"{n_more} more were left out.") if n_more else (*self._left_out,)

    def leave_out(self, path: bytes, why: str, *, what: str = "") -> None:
        """Note something that is not made."""
        self._n_left_out += 1
        if len(self._left_out) < _WARNED:
            self._left_out.append(f"{what}{shown(path)} was left out: {why}.")

    def set_xattrs(self, descriptor: int, path: bytes, xattrs: Mapping[str, bytes]) -> None:
        """Set those attributes that are kept, as far as the file system and our rights allow."""
        for name, value in xattrs.items():
            if "\0" in name or not (name.startswith("user.") or name == "security.capability"):
                continue
            try:
                if _set_xattr is None:
                    raise OSError(errno.ENOTSUP, "not supported by Python on this system")
                _set_xattr(descriptor, name, value)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                self.leave_out(path, f"{name} could not be set: {reason}", what="an attribute of ")

    def describe(self, path: bytes) -> str:
        """Name something for people: where it will be."""
        return os.fsdecode(os.path.join(os.fsencode(self.host_path), path))  # noqa: PTH118 - bytes


def _masked_bits(directory: int) -> int:
    """Return the permission bits that new files here do not get: umask, or what a default access list says.

    Asking for the umask would change it for all threads for a moment.
    """
    name = "mode"
    descriptor = os.open(name, _NEW_FILE, 0o777, dir_fd=directory)
    try:
        return 0o777 & ~os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)
        os.unlink(name, dir_fd=directory)


class TreeWriter:
    """Makes what one stream lists. Call `close` in the end.

    Args:
        written: The directory, and what other streams made there.
    """

    def __init__(self, written: Written) -> None:
        self._written = written
        self._folders = Folders(written.root)
        self._open: dict[int, int] = {}  # descriptors of files by their id, between two bursts
        self._links: list[Entry] = []
        self._at = b""  # the path that we are busy with

    def perform(self, events: Iterable[Entry | Content]) -> None:
        """Make entries and write content, in this order.

        Raises:
            SessionError: It cannot be written; `.path` names it.
            ProtocolError: It cannot be what a sender means.
        """
        try:
            for event in events:
                if isinstance(event, Content):
                    self._at = event.file.entry.path
                    self._fill(event)
                else:
                    self._at = event.path
                    self._make(event)
        except OSError as error:
            raise self._blame(error) from error

    def finish(self) -> None:
        """Make the links to other names of files, now that all files are there.

        Raises:
            SessionError: One cannot be made.
            ProtocolError: One is to something that was not sent.
        """
        try:
            for entry in self._links:
                self._at = entry.path
                self._link(entry)
        except OSError as error:
            raise self._blame(error) from error

    def close(self) -> None:
        """Close all files and directories."""
        while self._open:
            os.close(self._open.popitem()[1])
        self._folders.close()

    def _blame(self, error: OSError) -> DepotlabError:
        if error.errno == errno.EEXIST:
            return SessionError(
                f"{self._written.describe(self._at)} is there twice: several platforms have it, or the file "
                "system takes two of the names for one.",
                path=self._written.describe(self._at),
                hint="use export.tar(), or platform_split=True for several platforms",
            )
        return cannot_write(self._written.describe(self._at), error)

    # ------------------------------------------------------------------------ regular files

    def _fill(self, content: Content) -> None:
        file = content.file
        descriptor = self._open.pop(file.id, -1)
        if descriptor < 0:
            if len(self._open) >= _MOST_OPEN and not content.ended:
                raise ProtocolError(f"The builder sent more than {_MOST_OPEN} files at a time.")
            parent, _, name = file.entry.path.rpartition(b"/")
            descriptor = os.open(
                name, _NEW_FILE, file.entry.mode & 0o777, dir_fd=self._folders.get(parent)
            )
        try:
            if content.pieces:
                self._written.n_bytes += write_all(descriptor, content.pieces)
            if content.ended:
                self._seal(descriptor, file.entry)
            else:
                self._open[file.id] = descriptor
                descriptor = -1
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _seal(self, descriptor: int, file: Entry) -> None:
        # Attributes before the mode: one may be read-only. Both after the content: writing takes
        # capabilities and setuid away.
        if file.xattrs:
            self._written.set_xattrs(descriptor, file.path, file.xattrs)
        permissions = permissions_of(file.mode)
        if permissions & (self._written.masked | 0o7000):
            os.fchmod(descriptor, permissions)
        os.utime(descriptor, ns=(file.modified_ns, file.modified_ns))
        self._written.n_files += 1

    # ---------------------------------------------------------------------- everything else

    def _make(self, entry: Entry) -> None:
        mode = entry.mode
        parent, _, name = entry.path.rpartition(b"/")
        if mode & filemode.DIR:
            self._make_directory(entry, name, self._folders.get(parent))
        elif mode & (filemode.DEVICE | filemode.FIFO):
            self._make_node(entry, name, self._folders.get(parent))
        elif mode & filemode.SYMLINK:
            directory = self._folders.get(parent)
            os.symlink(entry.link, name, dir_fd=directory)
            _touch(name, directory, entry.modified_ns)
        elif mode & filemode.TYPES:
            self._written.leave_out(entry.path, "it is a socket, or of a kind that has no name")
        else:
            self._links.append(entry)

    def _make_directory(self, entry: Entry, name: bytes, directory: int) -> None:
        known = self._written.directories
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            if entry.path not in known:
                raise
        known[entry.path] = Made(permissions_of(entry.mode), entry.modified_ns, entry.xattrs)

    def _make_node(self, entry: Entry, name: bytes, directory: int) -> None:
        permissions = permissions_of(entry.mode)
        if os.mkfifo not in os.supports_dir_fd:  # macOS
            self._written.leave_out(entry.path, "this system cannot make pipes and nodes safely")
            return
        if entry.mode & filemode.FIFO:
            os.mkfifo(name, permissions & 0o777, dir_fd=directory)
        elif not self._written.devices:
            self._written.leave_out(entry.path, "device nodes are made with devices=True only")
            return
        else:
            kind = stat.S_IFCHR if entry.mode & filemode.CHAR_DEVICE else stat.S_IFBLK
            number = os.makedev(*(entry.device or (0, 0)))
            os.mknod(name, permissions & 0o777 | kind, number, dir_fd=directory)
        os.chmod(name, permissions, dir_fd=directory)
        _touch(name, directory, entry.modified_ns)

    def _link(self, entry: Entry) -> None:
        source_parent, _, source_name = entry.link.rpartition(b"/")
        parent, _, name = entry.path.rpartition(b"/")
        # Neither descriptor is good for longer than until the next is asked for.
        source = -1
        try:
            source = os.dup(self._folders.get(source_parent))
            os.link(
                source_name,
                name,
                src_dir_fd=source,
                dst_dir_fd=self._folders.get(parent),
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno in _NOT_THERE:
                raise _unknown_link(entry) from error
            raise
        finally:
            if source >= 0:
                os.close(source)
        self._written.n_files += 1


def permissions_of(mode: int) -> int:
    """Return the bits for chmod of a Go mode: nine permissions, setuid, setgid, sticky."""
    permissions = mode & 0o777
    if mode & filemode.SETUID:
        permissions |= stat.S_ISUID
    if mode & filemode.SETGID:
        permissions |= stat.S_ISGID
    if mode & filemode.STICKY:
        permissions |= stat.S_ISVTX
    return permissions


def _touch(name: bytes, directory: int, modified_ns: int) -> None:
    os.utime(name, ns=(modified_ns, modified_ns), dir_fd=directory, follow_symlinks=False)


def _unknown_link(entry: Entry) -> ProtocolError:
    return ProtocolError(
        f"The builder sent {shown(entry.path)} as another name of {shown(entry.link)}, which it did not send."
    )
