"""What an archive may be given as: a path, bytes, a file object, an iterator of bytes, or a function that makes one."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from depotlab._contexts.tar import Tar
from depotlab.errors import ContextError, UsageError

__all__ = ["tar_of_bytes", "tar_of_file", "tar_of_path", "tar_of_stream"]

_BUFFER_BYTES = 1 << 20


def tar_of_path(host_path: Path) -> Tar:
    """Return an archive in a file of this machine, looked at."""
    tar = Tar(
        str(host_path), host_path.stat().st_size, host_path, False, lambda: host_path.open("rb")
    )
    tar.check()
    return tar


def tar_of_bytes(data: bytes | bytearray | memoryview) -> Tar:
    """Return an archive that is in memory, looked at."""
    content = bytes(data)
    label = f"{len(content):,} bytes"
    tar = Tar(label, len(content), None, False, lambda: io.BytesIO(content))
    tar.check()
    return tar


def tar_of_file(file: BinaryIO) -> Tar:
    """Return an archive that an open file has from where it stands now; looked at if it can be wound back.

    The file stays open, and belongs to the caller.
    """
    name = getattr(file, "name", None)
    label = f"the open file {name}" if isinstance(name, str) else f"a {type(file).__name__}"
    _check_open(file, label)
    if not _can_wind_back(file):
        return Tar(label, None, None, True, _Once(lambda: _Borrowed(file), label))
    start = file.tell()
    size_bytes = file.seek(0, io.SEEK_END) - start
    file.seek(start)
    lock = threading.Lock()

    def open_again() -> BinaryIO:
        if not lock.acquire(blocking=False):
            raise UsageError(
                f"The archive from {label} is being read by another build.",
                hint="give each build a file object of its own, or the path of the file",
            )
        file.seek(start)
        return cast("BinaryIO", _Borrowed(file, lock))

    tar = Tar(label, size_bytes, None, False, open_again)
    tar.check()
    file.seek(start)
    return tar


def tar_of_stream(stream: Iterator[bytes] | Callable[[], Iterator[bytes]]) -> Tar:
    """Return an archive whose bytes an iterator yields, or an iterator that a function makes anew each time."""
    if callable(stream):
        make = stream
        name = getattr(stream, "__name__", "")
        label = f"{name}()" if name.isidentifier() else "a function"
        return Tar(label, None, None, False, lambda: _buffered(iter(make()), label))
    iterator = stream
    label = f"a {type(stream).__name__}"
    return Tar(label, None, None, True, _Once(lambda: _buffered(iterator, label), label))


def _check_open(file: BinaryIO, label: str) -> None:
    closed = bool(getattr(file, "closed", False))
    readable = getattr(file, "readable", None)
    if closed or (readable is not None and not readable()):
        raise UsageError(
            f"The archive from {label} cannot be read: it is {'closed' if closed else 'open for writing only'}.",
            hint="open it with mode 'rb', and leave it open until the build has ended",
        )


def _can_wind_back(file: BinaryIO) -> bool:
    seekable = getattr(file, "seekable", None)
    return bool(seekable is not None and seekable())


def _buffered(iterator: Iterator[bytes], label: str) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(_Chunks(iterator, label), _BUFFER_BYTES))


class _Once:
    """Opens what can be read only once, once."""

    def __init__(self, open_it: Callable[[], Any], label: str) -> None:
        self._open = open_it
        self._label = label
        self._lock = threading.Lock()

    def __call__(self) -> BinaryIO:
        if not self._lock.acquire(blocking=False):
            raise UsageError(
                f"The archive from {self._label} can be read only once, and was.",
                hint="give a path, bytes, a file that can be wound back, or a function that returns the iterator",
            )
        return cast("BinaryIO", self._open())


class _Borrowed(io.RawIOBase):
    """A file of somebody else, which is not closed."""

    def __init__(self, file: BinaryIO, lock: threading.Lock | None = None) -> None:
        self._file = file
        self._lock = lock

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        if not isinstance(data, bytes):
            raise _wrong_pieces(f"the file object {self._file!r}", data)
        return data

    def close(self) -> None:
        if self._lock is not None and not self.closed:
            self._lock.release()
        super().close()


class _Chunks(io.RawIOBase):
    """The pieces of an iterator as a file."""

    def __init__(self, iterator: Iterator[bytes], label: str) -> None:
        self._iterator = iterator
        self._label = label
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            piece = next(self._iterator, None)
            if piece is None:
                return 0
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise _wrong_pieces(self._label, piece)
            self._rest = memoryview(bytes(piece))
        n_bytes = min(len(buffer), len(self._rest))
        buffer[:n_bytes] = self._rest[:n_bytes]
        self._rest = self._rest[n_bytes:]
        return n_bytes

    def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None and not self.closed:
            close()
        super().close()


def _wrong_pieces(what: str, piece: object) -> ContextError:
    return ContextError(
        f"{what} gave {type(piece).__name__}, not bytes.",
        path=what,
        hint="open the file in binary mode, 'rb'" if isinstance(piece, str) else "yield bytes",
    )
