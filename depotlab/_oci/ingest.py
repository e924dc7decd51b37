"""A blob on its way into a layout: written beside the others under no name, then checked, then named.

A blob gets its name only when its digest is known to be right, in one step that either happens or does not. So a
layout never has half a blob, whatever ends the writing; what a killed process leaves is a file with a name
that nobody looks up, which `Layout.collect_garbage` removes.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from pathlib import Path

from depotlab._oci.documents import hash_for, split_digest
from depotlab.errors import SessionError

__all__ = ["INGEST_PREFIX", "Ingest"]

INGEST_PREFIX = ".ingest-"
"""Files in `blobs/` that are on their way begin so."""

_REREAD_BYTES = 1 << 20


class Ingest:
    """One blob that is being written. Nothing is on disk before the first byte.

    Methods block; `abort` may come from another thread at any time.

    Args:
        host_blobs: The directory `blobs` of a layout; it is there.
        expected: Digest that the blob should have, when it is known already. It decides the algorithm.

    Attributes:
        offset: Bytes written so far.

    Raises:
        ReferenceInvalid: `expected` is no digest.
    """

    def __init__(self, host_blobs: Path, *, expected: str = "") -> None:
        self.offset = 0
        self._expected = expected
        self._hash = hash_for(expected)
        self._host_blobs = host_blobs
        self._host_file = host_blobs / f"{INGEST_PREFIX}{secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._handle = -1
        self._ended = False

    def write(self, data: bytes | memoryview) -> int:
        """Append, and return the new offset.

        Raises:
            SessionError: The disk does not take it, or the blob was given up meanwhile.
        """
        with self._lock:
            self._open()
            left = memoryview(data)
            try:
                while left:
                    left = left[os.write(self._handle, left) :]
            except OSError as error:
                raise self._failed(error) from error
            self._hash.update(data)
            self.offset += len(data)
            return self.offset

    def restart(self) -> None:
        """Forget what was written."""
        with self._lock:
            self._open()
            try:
                os.ftruncate(self._handle, 0)
                os.lseek(self._handle, 0, os.SEEK_SET)
            except OSError as error:
                raise self._failed(error) from error
            self._hash = hash_for(self._expected)
            self.offset = 0

    def commit(self, *, expected: str = "", size_bytes: int | None = None) -> str:
        """Check the blob, give it its name, and return its digest. Nothing is left when that fails.

        Args:
            expected: Digest that it must have; any when empty and none was given before.
            size_bytes: Length that it must have.

        Raises:
            SessionError: It is another blob than was said, or the disk does not take it.
            ReferenceInvalid: `expected` is no digest.
        """
        with self._lock:
            try:
                self._open()
                return self._commit(expected or self._expected, size_bytes)
            finally:
                self._end()

    def abort(self) -> None:
        """Give the blob up and remove what was written. Does nothing after `commit`."""
        with self._lock:
            self._end()

    def _commit(self, expected: str, size_bytes: int | None) -> str:
        if size_bytes is not None and size_bytes != self.offset:
            raise SessionError(
                f"A blob of {size_bytes} bytes arrived with {self.offset} bytes"
                f"{f' ({expected})' if expected else ''}.",
                path=str(self._host_blobs),
                hint="build again; if it happens again, the connection changes what goes over it",
            )
        try:
            found = self._digest_as(expected)
            if expected and found != expected:
                raise SessionError(
                    f"The blob {expected} arrived with another content: that of {found}.",
                    path=str(self._host_blobs),
                    hint="build again; if it happens again, the connection changes what goes over it",
                )
            algorithm, encoded = split_digest(found)
            host_folder = self._host_blobs / algorithm
            host_folder.mkdir(exist_ok=True)
            # Before the name is given: after a power cut, too, a name must mean the content.
            os.fsync(self._handle)
            self._host_file.replace(host_folder / encoded)
        except OSError as error:
            raise self._failed(error) from error
        return found

    def _digest_as(self, expected: str) -> str:
        """Return the digest by the algorithm of `expected`, which may not be the one that was counted along."""
        algorithm = split_digest(expected)[0] if expected else self._hash.name
        if algorithm != self._hash.name:
            again = hash_for(expected)
            at = 0
            while piece := os.pread(self._handle, _REREAD_BYTES, at):
                again.update(piece)
                at += len(piece)
            self._hash = again
        return f"{algorithm}:{self._hash.hexdigest()}"

    def _open(self) -> None:
        if self._ended:
            raise SessionError(
                "A blob was given up before all of it had arrived.", path=str(self._host_blobs)
            )
        if self._handle < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                self._handle = os.open(self._host_file, flags, 0o644)
            except OSError as error:
                raise self._failed(error) from error

    def _end(self) -> None:
        self._ended = True
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            self._host_file.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> SessionError:
        hint = "check the permissions of the directory"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "make room on the disk, or choose a directory on another one"
        return SessionError(
            f"A blob could not be written to {self._host_blobs}: {error.strerror}.",
            path=str(self._host_blobs),
            hint=hint,
        )
