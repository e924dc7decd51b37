"""Shared keys, and why an old copy of a file is never taken for the new one.

The daemon keeps what it received of a local directory under a key that the session gives, the
*shared key*. When a session with the same key comes again, it starts from that copy and asks only
for files whose permissions, size or time (in nanoseconds) differ. Two things can go wrong:

1. Two directories under one key. So the key is made of the names and real paths of all directories
   of the session, and of a random number for each, kept in the user's state directory
   (`$XDG_STATE_HOME/depotlab/contexts`, one small file for each directory, mode 0600). If that
   cannot be written, the number lives as long as the session, and everything is sent again.

2. A file with new content, the old size and the old time: package managers and archives set times
   (everything in a package from npm is from 1985), as do tools for reproducible builds. buildx and
   buildctl use the old content then. We look at the time of the last change of the inode (ctime),
   which programs cannot set. Written plainly, a file has equal times, and its time says enough.
   When they differ, somebody has set the time, or moved, linked or chmod-ed the file; then
   the state file remembers, as hashes, which inode and ctime a path had when it was sent with that
   size and time. Each further version of it is sent with a time that is one nanosecond later than
   that of the one before, so it differs at the daemon, whichever old copy it starts from. The first
   is one nanosecond late already, for what was sent before somebody set the time.

   Records are written before the entry is sent. If that fails, and for files that changed in
   the very moment of the walk (a later write could get the same time from a coarse clock), the entry
   gets a time that no other session will use: it is sent again next time.

Times are no part of BuildKit's cache keys, and image layers keep whole seconds. If the state
file is lost or cut off, it starts again with another random number, so another key.

Source: moby/buildkit `source/local/source.go`; tonistiigi/fsutil `diff_containerd.go`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from depotlab._session.places import state_dir
from depotlab._transfer import Entry, is_requestable

__all__ = ["Versions", "shared_key"]

_N_ID = 16
_RECORD = struct.Struct("<QQ")  # hash of path, size and time as sent; mix of inode and ctime
_TIMES = struct.Struct("<qq")
_MAX_RECORDS = 1 << 20
_MAX_FILES = 512

# Changes within one tick of the file system's clock get the same time. Ticks of Linux are at most
# 10 ms; file systems that count whole seconds may take two for one step.
_TICK_NS = 20_000_000
_COARSE_TICK_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000
_new_entry = tuple.__new__
_blake2b, _from_bytes = hashlib.blake2b, int.from_bytes


def shared_key(versions: Mapping[str, Versions]) -> str:
    """Return the shared key for these directories; without any, one that never comes back."""
    if not versions:
        return secrets.token_hex(16)
    digest = hashlib.sha256()
    for name, one in sorted(versions.items()):
        for part in (os.fsencode(name), os.fsencode(one.host_root), one.id):
            digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


class Versions:
    """Which versions of the files of one directory were sent, as far as their times do not tell.

    Args:
        host_root: The directory, without links.
        host_file: Where to keep records, or None to keep them only in memory.

    Attributes:
        id: Random; another one whenever the records start again.
    """

    def __init__(self, host_root: Path, host_file: Path | None) -> None:
        self.host_root = host_root
        self._host_file = host_file
        self._records: dict[int, int] = {}
        self._n_read = _N_ID
        self._odd_ns = 1_000_000 + secrets.randbelow(100_000_000)
        self.id = secrets.token_bytes(_N_ID)
        if host_file is not None:
            try:
                self.id = self._open(host_file)
            except OSError:
                self._host_file = None  # a key of its own, so nothing old can be met

    @classmethod
    def of(cls, host_root: Path) -> Versions:
        """Return the versions of a directory, kept in the user's state directory."""
        place = f"{_machine()}\0{host_root}".encode("utf-8", "surrogateescape")
        return cls(host_root, state_dir() / "contexts" / hashlib.sha256(place).hexdigest()[:32])

    def stamp(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries with the times to send; most are as they were."""
        now_ns = time.time_ns()
        recent_ns = now_ns - _COARSE_TICK_NS
        out: list[Entry] = []
        unknown: list[int] = []
        # As many as files in a tree, and with dependencies most of them get another time: so it is all in one loop.
        for index, entry in enumerate(entries):
            path, mode, size_bytes, modified_ns, link, device, xattrs, changed_ns, inode = entry
            if (changed_ns == modified_ns and changed_ns <= recent_ns) or not is_requestable(mode):
                continue
            if _is_fresh(changed_ns, now_ns):
                late_ns = self._odd_ns
            elif changed_ns == modified_ns:
                continue
            else:
                late_ns, slot = self._find(link or path, size_bytes, modified_ns, changed_ns, inode)
                if slot is not None:
                    unknown.append(index)
            out = out or list(entries)
            fields = (path, mode, size_bytes, modified_ns + late_ns, link, device, xattrs)
            out[index] = _new_entry(Entry, (*fields, changed_ns, inode))
        if unknown:
            self._remember(entries, unknown, out)
        return out or entries

    def _find(
        self, path: bytes, size_bytes: int, modified_ns: int, changed_ns: int, inode: int
    ) -> tuple[int, int | None]:
        """Return how late to send a file, and the slot for it if it has no record yet.

        Args:
            path: The first name of the inode: all of them have to go with one time.
            size_bytes, modified_ns, changed_ns, inode: As in `Entry`.
        """
        version = _version(changed_ns, inode)
        late_ns = 1
        while True:
            data = path + _TIMES.pack(size_bytes, modified_ns + late_ns)
            slot = _from_bytes(_blake2b(data, digest_size=8).digest(), "little")
            known = self._records.get(slot)
            if known is None:
                return late_ns, slot
            if known == version:
                return late_ns, None
            late_ns += 1

    def _remember(self, entries: list[Entry], unknown: list[int], out: list[Entry]) -> None:
        """Give versions without a record their place, after what other processes have written."""
        try:
            with self._locked() as descriptor:
                new = bytearray()
                for index in unknown:
                    entry = entries[index]
                    late_ns, slot = self._find(
                        entry.link or entry.path,
                        entry.size_bytes,
                        entry.modified_ns,
                        entry.changed_ns,
                        entry.inode,
                    )
                    out[index] = entry._replace(modified_ns=entry.modified_ns + late_ns)
                    if slot is not None:
                        version = self._records[slot] = _version(entry.changed_ns, entry.inode)
                        new += _RECORD.pack(slot, version)
                if descriptor is not None:
                    _write(descriptor, new)
                    self._n_read += len(new)
        except OSError:
            for index in unknown:
                entry = entries[index]
                out[index] = entry._replace(modified_ns=entry.modified_ns + self._odd_ns)

    @contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Hold the state file, with all its records read; None when there is none to write to."""
        if self._host_file is None:
            yield None
            return
        descriptor = os.open(self._host_file, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.pread(descriptor, _N_ID, 0) != self.id:
                raise OSError("the records have started again")
            self._read_new(descriptor)
            os.lseek(descriptor, self._n_read, os.SEEK_SET)
            yield descriptor
        finally:
            os.close(descriptor)

    def _read_new(self, descriptor: int) -> None:
        length = os.fstat(descriptor).st_size - self._n_read
        data = os.pread(descriptor, length, self._n_read) if length > 0 else b""
        self._records.update(_RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size]))
        self._n_read += len(data)

    def _open(self, host_file: Path) -> bytes:
        """Read the id of the state file and its records; start it anew when it is not usable."""
        host_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(host_file, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            length = os.fstat(descriptor).st_size - _N_ID
            if 0 <= length <= _MAX_RECORDS * _RECORD.size and length % _RECORD.size == 0:
                found = os.pread(descriptor, _N_ID, 0)
                self._read_new(descriptor)
                os.utime(descriptor)  # what was not used for long is removed first
                return found
            os.ftruncate(descriptor, 0)
            _write(descriptor, self.id)
            self._n_read = _N_ID
        finally:
            os.close(descriptor)
        _remove_oldest(host_file.parent)
        return self.id


def _is_fresh(changed_ns: int, now_ns: int) -> bool:
    coarse = changed_ns % _SECOND_NS == 0
    return changed_ns > now_ns - (_COARSE_TICK_NS if coarse else _TICK_NS)


def _version(changed_ns: int, inode: int) -> int:
    """Mix the time of the last change and the inode into 64 bits."""
    return (changed_ns + inode * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF


def _write(descriptor: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _remove_oldest(folder: Path) -> None:
    files = [Path(entry.path) for entry in os.scandir(folder)]
    if len(files) > _MAX_FILES:
        for file in sorted(files, key=_age_key)[: len(files) - _MAX_FILES]:
            file.unlink(missing_ok=True)


def _age_key(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _machine() -> str:
    """Name this machine, for home directories that several share."""
    try:
        machine_id = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine_id = ""
    return f"{machine_id}/{socket.gethostname()}"
