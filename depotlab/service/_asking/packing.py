"""A folder or an archive on its way to the address of an upload: packed in a file of its own, sent with its length."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import ipaddress
import os
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from depotlab._contexts import Directory, File, Files, OwnRules, Tar, context, offer_of, read_inside
from depotlab._transfer import Content, Entry, Tree
from depotlab._values import bytes_text
from depotlab.errors import ContextError, ServiceError, SessionError, StorageError
from depotlab.service._boundary import Upload

__all__ = ["Packable", "pack", "pack_and_put"]

Packable = str | os.PathLike[str] | bytes | Mapping[str, str | bytes | File]
"""A folder, an archive's path, an archive's bytes, or files by their paths."""

_IN_MEMORY_BYTES = 4 << 20
_TIMEOUT_S = 120.0
_PERMISSIONS = 0o777
# Go's bits for the types of files, as entries have them. Source: golang/go `io/fs/fs.go`.
_DIR, _SYMLINK = 1 << 31, 1 << 27
_OTHERS = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19


async def pack_and_put(upload: Upload, source: Packable, *, dockerfile_path: str) -> None:
    """Pack a folder, or take an archive as it is, and PUT it to the address of an upload. Cancelling stops both.

    Raises:
        ContextError: It cannot be read.
        ServiceError: `invalid_argument`: it is larger than allowed, or the store refuses it.
        StorageError: The store does not answer.
    """
    unwanted = threading.Event()
    try:
        await asyncio.to_thread(_pack_and_put, upload, source, dockerfile_path, unwanted)
    finally:
        # Else the thread went on, and a program that was interrupted would wait for it before it ends.
        unwanted.set()


class _Unwanted(Exception):
    """Nobody waits for it any more."""


def _pack_and_put(
    upload: Upload, source: Packable, dockerfile_path: str, unwanted: threading.Event
) -> None:
    made = pack(source, dockerfile_path=dockerfile_path, is_unwanted=unwanted.is_set)
    with contextlib.closing(made) as archive:
        size_bytes = archive.seek(0, io.SEEK_END)
        archive.seek(0)
        if size_bytes > upload.max_bytes:
            limit = bytes_text(upload.max_bytes)
            raise ServiceError(
                f"The archive has {bytes_text(size_bytes)}, and {limit} are allowed.",
                code="invalid_argument",
                hint="leave out what the build does not need with a .dockerignore",
            )
        _put(upload, _Sending(archive, unwanted.is_set), size_bytes)


def pack(
    source: Packable,
    *,
    dockerfile_path: str = "Dockerfile",
    is_unwanted: Callable[[], bool] = bool,
) -> BinaryIO:
    """Return an archive: files packed with gzip, or what is one already. Close it at the end.

    Times and permissions are kept, owners are not. Equal folders give equal archives.

    Raises:
        ContextError: It cannot be read, or is no archive.
    """
    where = context(source).where
    if isinstance(where, Directory | Files):
        made = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES))  # noqa: SIM115 - the caller closes it
        try:
            _pack_files(where, made, dockerfile_path, is_unwanted)
            made.seek(0)
        except BaseException:
            made.close()
            raise
        return made
    if not isinstance(where, Tar):
        raise ServiceError(
            f"source cannot be {source!r:.60}.",
            code="invalid_argument",
            hint="give a folder, files, the path of an archive, or its bytes; git contexts need no upload",
        )
    if isinstance(source, bytes):
        return io.BytesIO(source)
    assert where.host_path is not None
    return where.host_path.open("rb")


def _pack_files(
    where: Directory | Files,
    made: BinaryIO,
    dockerfile_path: str,
    is_unwanted: Callable[[], bool],
) -> None:
    name = f"{dockerfile_path}.dockerignore"
    rules = _inside(where, name)
    offer = offer_of(where, None if rules is None else OwnRules(name, rules))
    tree = where.tree()
    seen: set[bytes] = set()
    packed = gzip.GzipFile(fileobj=made, mode="wb", mtime=0, filename="")
    with packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in tree.walk(offer.filter):
            if is_unwanted():
                raise _Unwanted
            if entry is not None:
                seen.add(entry.path)
                _add(tar, tree, entry)
        # The builder gets it from the archive, also where an ignore file leaves it out.
        if os.fsencode(dockerfile_path) not in seen:
            content = _inside(where, dockerfile_path)
            if content is not None:
                info = tarfile.TarInfo(dockerfile_path)
                info.size, info.mode = len(content), 0o644
                tar.addfile(info, io.BytesIO(content))


def _inside(where: Directory | Files, name: str) -> bytes | None:
    if isinstance(where, Directory):
        return read_inside(where.host_path, name)
    file = where.files.get(name)
    return None if file is None else file.data


def _add(tar: tarfile.TarFile, tree: Tree, entry: Entry) -> None:
    info = tarfile.TarInfo(os.fsdecode(entry.path))
    info.mode = entry.mode & _PERMISSIONS
    info.mtime = entry.modified_ns // 10**9
    if entry.mode & _DIR:
        info.type = tarfile.DIRTYPE
    elif entry.mode & _SYMLINK:
        info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(entry.link)
    elif entry.mode & _OTHERS:
        return  # pipes and devices are nothing that a build could copy
    elif entry.link:
        info.type, info.linkname = tarfile.LNKTYPE, os.fsdecode(entry.link)
    else:
        with contextlib.closing(tree.open(entry.path)) as file:
            info.size = file.size_bytes
            try:
                tar.addfile(info, cast("BinaryIO", io.BufferedReader(_Reading(file))))
            except SessionError:
                raise
            except OSError as error:
                raise ContextError(
                    f"{tree.describe(entry.path)} changed while it was packed.",
                    path=tree.describe(entry.path),
                    hint="upload again when nothing writes there",
                ) from error
        return
    tar.addfile(info)


class _Reading(io.RawIOBase):
    """A file of a tree, read from its beginning."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        piece = self._content.read(self._at, len(buffer))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class _Sending:
    """An archive while it is sent."""

    def __init__(self, archive: BinaryIO, is_unwanted: Callable[[], bool]) -> None:
        self._archive = archive
        self._is_unwanted = is_unwanted

    def read(self, n_bytes: int = -1) -> bytes:
        if self._is_unwanted():
            raise _Unwanted
        return self._archive.read(n_bytes)


def _put(upload: Upload, archive: _Sending, size_bytes: int) -> None:
    """Send it. Messages do not have the address, which is a secret."""
    request = urllib.request.Request(  # noqa: S310 - the store's own address
        upload.upload_url,
        data=cast("BinaryIO", archive),
        method="PUT",
        headers={
            "Content-Type": "application/octet-stream",
            **upload.headers,
            "Content-Length": str(size_bytes),
        },
    )
    handlers = [urllib.request.ProxyHandler({})] if _is_here(upload.upload_url) else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_S) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
        if status >= 500 or status in (408, 429):
            raise StorageError(f"The store answered HTTP {status}.", is_transient=True) from None
        raise ServiceError(
            f"The store refused the archive with HTTP {status}.",
            code="invalid_argument" if status != 413 else "resource_exhausted",
            hint="ask for a new upload URL; one is good for a while, and for an archive up to its limit",
        ) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise StorageError(f"The store cannot be reached: {reason}.", is_transient=True) from None


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
