"""The file `index.json` of a layout: read as it is, changed as a whole and under a lock.

The lock is the one that the Go clients take, so several builds of whichever client may add to one layout at a time.
A change is a new file that takes the place of the old one: whoever reads sees one or the other.

Source: opencontainers/image-spec `image-layout.md`; moby/buildkit `client/ociindex/ociindex.go`.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from depotlab._oci.documents import (
    IMAGE_NAME,
    REF_NAME,
    Descriptor,
    as_descriptor,
    parse_document,
)
from depotlab.errors import ContextError, SessionError

__all__ = ["IndexFile", "unreadable", "unwritable"]

_LOCK_TIMEOUT_S = 20.0
_LOCK_POLL_S = 0.02


class IndexFile:
    """`index.json` in a directory, with `oci-layout` beside it.

    Args:
        host_dir: The directory.
    """

    def __init__(self, host_dir: Path) -> None:
        self._host_dir = host_dir
        self._host_file = host_dir / "index.json"

    def listed(self) -> tuple[Descriptor, ...]:
        """Return what it lists.

        Raises:
            ContextError: There is no index, or it cannot be read or understood.
        """
        manifests = self._read().get("manifests") or []
        where = str(self._host_file)
        if not isinstance(manifests, list):
            return (as_descriptor(None, where=where),)
        return tuple(as_descriptor(one, where=where) for one in manifests)

    def add(self, descriptor: Descriptor, *, tag: str, names: Sequence[str]) -> None:
        """List an image by its names, or else by a tag, in place of what had these before.

        Raises:
            SessionError: The files cannot be written, or another process holds the lock.
            ContextError: The index that is there cannot be understood.
        """
        labels = [{REF_NAME: _tag_of(name), IMAGE_NAME: name} for name in names]
        with self.locked():
            index: dict[str, Any] = {}
            if self._host_file.exists():
                self.listed()  # whoever wrote it, it is understood before it is changed
                index = self._read()
            entries = index.get("manifests") or []
            for label in labels or [{REF_NAME: tag}]:
                entries = [one for one in entries if not _has_label(one, label)]
                annotations = {**descriptor.annotations, **label}
                entries.append(replace(descriptor, annotations=annotations).to_json())
            index.setdefault("schemaVersion", 2)
            index.setdefault("mediaType", "application/vnd.oci.image.index.v1+json")
            index["manifests"] = entries
            self._write(self._host_dir / "oci-layout", {"imageLayoutVersion": "1.0.0"})
            self._write(self._host_file, index)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the index. The Go clients remove its file after use, and so do we.

        Raises:
            SessionError: Another process has held it for 20 s, or the directory may not be written to.
        """
        host_lock = self._host_dir / "index.json.lock"
        deadline_s = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                handle = os.open(host_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise unwritable(host_lock, error) from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_same_file(handle, host_lock):
                    break
            except BlockingIOError:
                pass  # it is held
            os.close(handle)
            if time.monotonic() > deadline_s:
                raise SessionError(
                    f"Another process has held {host_lock} for {_LOCK_TIMEOUT_S:g} s.",
                    path=str(host_lock),
                    hint="wait for the build that writes there, or write to another directory",
                )
            time.sleep(_LOCK_POLL_S)
        try:
            yield
        finally:
            host_lock.unlink(missing_ok=True)  # while it is held, so that nobody else's is removed
            os.close(handle)

    def _read(self) -> dict[str, Any]:
        host_dir, where = self._host_dir, self._host_file
        try:
            return parse_document(where.read_bytes(), where=str(where))
        except OSError as error:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise unreadable(where, error) from error
        why = "it has no index.json" if host_dir.is_dir() else "there is no such directory"
        if host_dir.is_file():
            why = "it is a file"
        raise ContextError(
            f"{host_dir} is not an OCI image layout: {why}.",
            path=str(host_dir),
            hint="a layout is a directory with index.json and blobs/; unpack a tar archive first",
        )

    def _write(self, host_file: Path, document: dict[str, Any]) -> None:
        data = json.dumps(document, separators=(",", ":")).encode()
        host_new = self._host_dir / f".{host_file.name}-{secrets.token_hex(8)}"
        try:
            with suppress(OSError):
                if host_file.read_bytes() == data:
                    return
            handle = os.open(host_new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            host_new.replace(host_file)
        except OSError as error:
            raise unwritable(host_file, error) from error
        finally:
            host_new.unlink(missing_ok=True)


def unreadable(host_path: Path, error: OSError) -> ContextError:
    """Return the error for a file that the disk does not give."""
    return ContextError(
        f"{host_path} cannot be read: {_reason(error)}.",
        path=str(host_path),
        hint="check its permissions",
    )


def unwritable(host_path: Path, error: OSError) -> SessionError:
    """Return the error for a file that the disk does not take."""
    return SessionError(
        f"{host_path} cannot be written: {_reason(error)}.",
        path=str(host_path),
        hint="check the permissions of the directory, and the room on the disk",
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _has_label(entry: object, label: dict[str, str]) -> bool:
    annotations = (entry.get("annotations") or {}) if isinstance(entry, dict) else {}
    return all(annotations.get(key) == label.get(key) for key in (REF_NAME, IMAGE_NAME))


def _tag_of(name: str) -> str:
    """Return what follows the last colon of an image name, unless that belongs to a port."""
    last = name.partition("@")[0].rpartition("/")[2]
    return last.partition(":")[2] or "latest"


def _is_same_file(handle: int, host_path: Path) -> bool:
    """Whether an open file still has this name: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), host_path.stat())
    except FileNotFoundError:
        return False
