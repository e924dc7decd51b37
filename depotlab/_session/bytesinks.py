"""Where an archive goes that the daemon sends: a file, a file object of the caller, or memory.

All methods block and may run in any thread. A build that is cancelled does not wait for a write that is under
way: `clear` may come meanwhile, and nothing is begun after it.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from depotlab._transfer import cannot_write, temporary_name, write_all
from depotlab.errors import SessionError

__all__ = ["ByteSink", "FileSink", "MemorySink", "StreamSink"]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ByteSink:
    """Takes the bytes of one archive.

    Args:
        host_path: Where it will be on this machine, or None.
        limit_bytes: The most that may be written, or None. Kept by the caller.

    Attributes:
        may_block: A write may take any time: always in a thread.
        n_bytes: Written so far.
    """

    may_block = False

    def __init__(self, host_path: Path | None, limit_bytes: int | None) -> None:
        self.host_path = host_path
        self.limit_bytes = limit_bytes
        self.n_bytes = 0

    def check(self) -> None:
        """Look whether it can be written, without writing anything.

        Raises:
            SessionError: It cannot.
        """

    def open(self) -> None:
        """Begin.

        Raises:
            SessionError: It cannot be written.
        """

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take the next bytes.

        Raises:
            SessionError: They cannot be written.
        """
        raise NotImplementedError

    def end(self) -> None:
        """Note that all bytes are here.

        Raises:
            SessionError: The last of them could not be written.
        """

    def commit(self) -> None:
        """Let the archive appear.

        Raises:
            SessionError: It cannot.
        """

    def clear(self) -> None:
        """Remove what is not finished, and give back everything; can be called twice."""

    def taken(self) -> str:
        """Say what has got an incomplete archive by now, or nothing."""
        return ""

    def data(self) -> bytes | None:
        """Return the archive if it is in memory."""
        return None


class FileSink(ByteSink):
    """A file. It is written beside its place under a hidden name, and renamed in the end.

    Of a file that is replaced the permissions are kept. A device or a pipe is written as it is: it
    has no content that could be replaced.
    """

    def __init__(self, host_path: Path, limit_bytes: int | None = None) -> None:
        self._path = Path(os.path.realpath(host_path))
        super().__init__(self._path, limit_bytes)
        self.may_block = self._is_special()
        self._temporary: Path | None = None
        self._descriptor = -1
        self._over = False
        # A descriptor that is closed in the middle of a write may be another file's by then.
        self._lock = threading.Lock()

    def _is_special(self) -> bool:
        try:
            mode = self._path.stat().st_mode
        except OSError:
            return False
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))

    def check(self) -> None:
        folder = self._path.parent
        if self._path.is_dir():
            raise cannot_write(self._path, IsADirectoryError(errno.EISDIR, "it is a directory"))
        if not folder.is_dir():
            raise cannot_write(
                self._path, FileNotFoundError(errno.ENOENT, f"there is no directory {folder}")
            )
        place = self._path if self.may_block else folder
        if not os.access(place, os.W_OK):
            raise cannot_write(place, PermissionError(errno.EACCES, "permission denied"))

    def open(self) -> None:
        with self._writing():
            if self.may_block:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
                return
            temporary = self._path.with_name(temporary_name())
            self._descriptor = os.open(temporary, _NEW_FILE, 0o666)
            self._temporary = temporary
            if self._path.exists():
                os.fchmod(self._descriptor, self._path.stat().st_mode & 0o777)

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        with self._writing():
            self.n_bytes += write_all(self._descriptor, pieces)

    def end(self) -> None:
        with self._writing():
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def commit(self) -> None:
        with self._writing():
            if self._temporary is not None:
                self._temporary.replace(self._path)
                self._temporary = None

    def clear(self) -> None:
        self._over = True
        # Whoever reads a pipe may never come: then the write that waits for it cleans up, if it ever ends.
        if self._lock.acquire(blocking=not self.may_block):
            try:
                self._let_go()
            finally:
                self._lock.release()

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None

    def taken(self) -> str:
        return str(self._path) if self.may_block and self.n_bytes else ""

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            if self._over:
                raise SessionError(f"{self._path} is not written any more: the build is over.")
            try:
                yield
            except OSError as error:
                raise cannot_write(self._path, error) from error
            finally:
                if self._over:
                    self._let_go()


class StreamSink(ByteSink):
    """A binary file object of the caller: it gets bytes as they come, and is never closed."""

    def __init__(self, stream: BinaryIO, limit_bytes: int | None = None) -> None:
        super().__init__(None, limit_bytes)
        self.may_block = not _is_prompt(stream)
        self._stream = stream
        self._over = False

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        # Joined: a call for each piece costs more than a copy of it.
        rest = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        while rest and not self._over:
            rest = rest[self._write_some(rest) :]

    def clear(self) -> None:
        """See `ByteSink`. It does not wait for a write that is under way: that may take for ever."""
        self._over = True

    def _write_some(self, rest: memoryview) -> int:
        """Write some of what is left. Objects that do not say how much they took have taken all."""
        try:
            n_written: object = self._stream.write(rest)
        except Exception as error:
            raise self._failed(repr(error)) from error
        if n_written is None and isinstance(self._stream, io.RawIOBase):
            raise self._failed("it does not wait for what reads it (non-blocking)")
        if n_written is None:
            n_written = len(rest)
        if not isinstance(n_written, int) or not 0 < n_written <= len(rest):
            raise self._failed(f"its write() returned {n_written!r} for {len(rest)} bytes")
        self.n_bytes += n_written
        return n_written

    def end(self) -> None:
        flush = getattr(self._stream, "flush", None)
        try:
            if callable(flush):
                flush()
        except Exception as error:
            raise self._failed(repr(error)) from error

    def taken(self) -> str:
        return f"the {type(self._stream).__name__}" if self.n_bytes else ""

    def _failed(self, reason: str) -> SessionError:
        name = type(self._stream).__name__
        return SessionError(
            f"The {name} that an output goes to failed after {self.n_bytes} bytes, which it keeps: {reason}.",
            hint="give a path: a file appears only when it is complete",
        )


def _is_prompt(stream: BinaryIO) -> bool:
    """Whether a write does not wait for somebody else: memory, a file, or what throws it away."""
    kind = type(stream)
    if kind is io.BytesIO:
        return True
    if kind not in (io.FileIO, io.BufferedWriter, io.BufferedRandom):
        return False
    try:
        found = os.fstat(stream.fileno())
        return stat.S_ISREG(found.st_mode) or os.path.samestat(found, Path(os.devnull).stat())
    except (OSError, ValueError):  # closed, or not a file: the write will say so
        return False


class MemorySink(ByteSink):
    """Memory of this process."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        super().__init__(None, limit_bytes)
        self._buffer = io.BytesIO()

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        try:
            for piece in pieces:
                self.n_bytes += self._buffer.write(piece)
        except MemoryError as error:
            raise SessionError(
                f"There is no memory for an output of more than {self.n_bytes} bytes.",
                hint="give a path instead of None",
            ) from error

    def data(self) -> bytes:
        return self._buffer.getvalue()

    def clear(self) -> None:
        self._buffer = io.BytesIO()
