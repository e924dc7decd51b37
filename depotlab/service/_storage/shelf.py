"""A private folder of archives, each in a file of its own that appears when all of it is there. Everything blocks."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from depotlab.service._storage.signing import SECRET_BYTES, is_key

__all__ = ["Arriving", "Leaving", "Shelf", "Taken", "etag"]

# What a killed process left half written is nobody's after a day.
_ABANDONED_S = 86_400.0


class Taken(Exception):
    """There is something under this key already."""


class Shelf:
    """The folder. What is in it can be read by its owner only.

    Args:
        host_folder: Made when it is missing.
    """

    def __init__(self, host_folder: Path) -> None:
        self._host_folder = host_folder
        self._host_kept = host_folder / "contexts"
        self._host_arriving = host_folder / "arriving"

    def prepare(self) -> bytes:
        """Make what is missing, and return the secret that addresses are signed with.

        Raises:
            OSError: The folder cannot be used.
            ValueError: The file of the secret is not what was written there.
        """
        self._host_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for host_path in (self._host_kept, self._host_arriving):
            host_path.mkdir(mode=0o700, exist_ok=True)
        host_secret = self._host_folder / "signing.key"
        host_new = self._host_arriving / secrets.token_hex(8)
        with self._written(host_new) as handle:
            os.write(handle, secrets.token_bytes(SECRET_BYTES))
        # Of two that open the folder at once, one finds the secret of the other, whole.
        with contextlib.suppress(FileExistsError):
            os.link(host_new, host_secret)
        host_new.unlink()
        secret = host_secret.read_bytes()
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"{host_secret} is damaged")
        return secret

    def last_port(self) -> int:
        """Return the port that the server had last; 0 when nobody knows."""
        try:
            text = (self._host_folder / "port").read_text("ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            return 0
        return int(text) if text.isdigit() and int(text) < 65536 else 0

    def keep_port(self, port: int) -> None:
        """Remember the port of the server, so that addresses outlive it."""
        (self._host_folder / "port").write_text(str(port), "ascii")

    @contextlib.contextmanager
    def _written(self, host_path: Path) -> Iterator[int]:
        handle = os.open(host_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            yield handle
        finally:
            os.close(handle)

    def path(self, key: str) -> Path:
        """Return where a key's archive is, or would be. A key cannot lead out of the folder: it has no slashes there.

        Raises:
            FileNotFoundError: Nothing can have this key.
        """
        if not is_key(key):
            raise FileNotFoundError(key)
        return self._host_kept / quote(key, safe="").replace(".", "%2E")

    def has(self, key: str) -> bool:
        """Whether there is something under a key."""
        return self.path(key).exists()

    def open(self, key: str) -> Leaving:
        """Open what is under a key.

        Raises:
            FileNotFoundError: There is nothing.
        """
        return Leaving(self.path(key))

    def arrive(self) -> Arriving:
        """Begin an archive; it has no key before it is whole. Nothing is on the disk before its first byte."""
        return Arriving(self._host_arriving / secrets.token_hex(8))

    def remove(self, key: str) -> None:
        """Remove what is under a key, if anything."""
        with contextlib.suppress(FileNotFoundError):
            self.path(key).unlink()

    def sweep(self, older_than_s: float) -> int:
        """Remove archives that came longer ago, and what was left half written; return how many archives."""
        now_s = time.time()
        _remove_old(self._host_arriving, now_s - _ABANDONED_S)
        return _remove_old(self._host_kept, now_s - older_than_s)


def _remove_old(host_folder: Path, before_s: float) -> int:
    n_removed = 0
    for entry in os.scandir(host_folder):
        with contextlib.suppress(FileNotFoundError):  # somebody else removed it
            if entry.stat(follow_symlinks=False).st_mtime < before_s:
                Path(entry.path).unlink()
                n_removed += 1
    return n_removed


class Arriving:
    """An archive that is being written. Call `abandon` at the end, whatever became of it.

    One thread at a time gets in: when an upload is cancelled, what it was writing may still be on its way to the disk.
    """

    def __init__(self, host_path: Path) -> None:
        self._host_path = host_path
        self._handle = -1
        self._ended = False
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        """Append; nothing happens when it was abandoned meanwhile."""
        with self._lock:
            self._open()
            left = memoryview(b"" if self._ended else data)
            while left:
                left = left[os.write(self._handle, left) :]

    def keep(self, host_path: Path) -> os.stat_result:
        """Let it appear under its name.

        Raises:
            Taken: There is another already: what was looked at must stay what is built.
        """
        with self._lock:
            self._open()
            try:
                os.link(self._host_path, host_path)
            except FileExistsError:
                raise Taken from None
            return os.fstat(self._handle)

    def abandon(self) -> None:
        """Close it, and remove its name among those that arrive. Idempotent."""
        with self._lock:
            self._ended = True
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
                self._host_path.unlink(missing_ok=True)

    def _open(self) -> None:
        if self._handle < 0 and not self._ended:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._handle = os.open(self._host_path, flags, 0o600)


class Leaving:
    """An archive that is being sent. Call `close` at the end; one thread at a time gets in.

    Attributes:
        size_bytes: Of all of it.
        etag: It changes when what is under the key does, which it does not while it is there.
    """

    def __init__(self, host_path: Path) -> None:
        self._handle = os.open(host_path, os.O_RDONLY | os.O_CLOEXEC)
        self._lock = threading.Lock()
        found = os.fstat(self._handle)
        self.size_bytes = found.st_size
        self.etag = etag(found)

    def read(self, n_bytes: int) -> bytes:
        """Return the next bytes, or nothing at the end."""
        with self._lock:
            return os.read(self._handle, n_bytes) if self._handle >= 0 else b""

    def close(self) -> None:
        """Let go of it. Idempotent."""
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1


def etag(found: os.stat_result) -> str:
    """Return what stands for an archive: when it came, and its size."""
    return f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
