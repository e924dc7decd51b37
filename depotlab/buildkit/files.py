"""Reading the files of a result inside a running build: list, stat, read in pieces.

The daemon mounts a result once and keeps it mounted while the build runs, so a question costs about a millisecond. A
message holds 16 MiB at most: files come in ranges. Links are followed, inside the result only.

A pipe is never opened: the daemon would wait for its other end for ever.
Source: moby/buildkit `cache/util/fsutil.go`, `frontend/gateway/gateway.go`.
"""

from __future__ import annotations

import difflib
import os
import posixpath
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from depotlab._proto import gateway_pb2
from depotlab._rpc import RpcFailed, Status
from depotlab.buildkit.faults import from_failure
from depotlab.buildkit.fileinfo import FileInfo, Listing, file_info
from depotlab.buildkit.gateway import Bridge
from depotlab.errors import DepotlabError, FileMissing, PathError, UsageError

__all__ = ["CHUNK_BYTES", "Files", "GuestPath", "check_range", "decoded", "guest_path"]

GuestPath = str | os.PathLike[str]
"""A path in a state."""

CHUNK_BYTES = 4 << 20
"""Bytes of a file in one message. The daemon holds a message in memory as a whole, as we do."""

_NEAR = 3


def guest_path(path: object, base: str = "/") -> str:
    """Return a path in a state as an absolute one without dots.

    Args:
        path: Text or a `PurePosixPath`.
        base: Where relative paths start.

    Raises:
        UsageError: It is no path.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or "\0" in text:
        raise UsageError(
            f"path={path!r} is not a path in a state.", hint="give text such as '/app/main.py'"
        )
    found = posixpath.normpath(posixpath.join("/", base, text))
    return "/" + found.lstrip("/")  # POSIX lets two slashes at the front stand


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one result.

    Attributes:
        bridge: The gateway of the build.
        ref: Reference of the result, empty for scratch; or the id of a container.
        mount: Which mount of the container, None for a result.
        base: Where relative paths start.
    """

    bridge: Bridge
    ref: str
    mount: int | None = None
    base: str = "/"

    async def list(self, path: object = "/", *, pattern: str = "") -> Listing:
        """Return what is in a directory, by name; links to directories are followed.

        Args:
            path: Of the directory.
            pattern: Only names that match, in the syntax of ignore files.

        Raises:
            FileMissing: There is no such directory.
            PathError: It is no directory, or is too large for one message.
        """
        full = guest_path(path, self.base)
        if not self.ref:
            return self._nothing(full)
        request = gateway_pb2.ReadDirRequest(Ref=self.ref, DirPath=full, IncludePattern=pattern)
        answer = gateway_pb2.ReadDirResponse.FromString(await self._call("ReadDir", request, full))
        entries = [file_info(sent, posixpath.join(full, sent.path)) for sent in answer.entries]
        return Listing(full, entries)

    async def stat(self, path: object, *, follow: bool = True) -> FileInfo:
        """Return what one file is.

        Args:
            path: Of the file.
            follow: Of a symlink say what it points to, else what it is itself.

        Raises:
            FileMissing: There is no such file.
        """
        full = guest_path(path, self.base)
        if not self.ref:
            self._nothing(full)
            return FileInfo("/", "directory", 0o755, 0, 0, 0, datetime.fromtimestamp(0, UTC))
        if follow or full == "/":
            request = gateway_pb2.StatFileRequest(Ref=self.ref, Path=full)
            answer = await self._call("StatFile", request, full)
            return file_info(gateway_pb2.StatFileResponse.FromString(answer).stat, full)
        folder, name = posixpath.split(full)
        found = (await self.list(folder, pattern=_literal(name)))._find(full)  # noqa: SLF001 - its own room
        return found if found is not None else await self._missing(full)

    async def exists(self, path: object) -> bool:
        """Say whether there is such a file; a link that leads nowhere is none."""
        try:
            await self.stat(path)
        except PathError:
            return False  # also where a file stands in place of a directory
        return True

    async def read(self, path: object, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return the content of a file, or a range of it, as a whole.

        Args:
            path: Of the file; links are followed.
            offset: Where to begin, in bytes.
            length: How many bytes at most; None reads to the end.

        Raises:
            FileMissing: There is no such file.
            PathError: It is a directory, or something else that has no content.
        """
        return b"".join([chunk async for chunk in self.chunks(path, offset=offset, length=length)])

    async def chunks(
        self,
        path: object,
        *,
        offset: int = 0,
        length: int | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> AsyncIterator[bytes]:
        """Iterate over the content of a file; no more than one piece is in memory.

        Args:
            path: Of the file; links are followed.
            offset: Where to begin, in bytes.
            length: How many bytes at most; None reads to the end.
            chunk_bytes: Of a piece, at most 8 MiB.
        """
        check_range(offset, length, chunk_bytes)
        full = guest_path(path, self.base)
        found = await self.stat(full)
        if not found.is_file:
            raise PathError(
                f"{full} is a {found.kind}, which has no content to read.",
                path=full,
                hint="list it with ls" if found.is_dir else "only regular files can be read",
            )
        end = found.size_bytes if length is None else min(offset + length, found.size_bytes)
        if self.mount is not None and offset < end:
            # The daemon does not hand ranges on to containers: it sends all of the file at once.
            answer = await self._call(
                "ReadFile", gateway_pb2.ReadFileRequest(Ref=self.ref, FilePath=full), full
            )
            data = gateway_pb2.ReadFileResponse.FromString(answer).Data[offset:end]
            for start in range(0, len(data), chunk_bytes):
                yield data[start : start + chunk_bytes]
            return
        while offset < end:
            wanted = gateway_pb2.FileRange(Offset=offset, Length=min(chunk_bytes, end - offset))
            request = gateway_pb2.ReadFileRequest(Ref=self.ref, FilePath=full, Range=wanted)
            answer = await self._call("ReadFile", request, full)
            data = gateway_pb2.ReadFileResponse.FromString(answer).Data
            if not data:  # a file in a container may have been cut meanwhile
                return
            yield data
            offset += len(data)

    # ----------------------------------------------------------------------------------- below

    async def _call(
        self,
        method: str,
        request: gateway_pb2.ReadDirRequest
        | gateway_pb2.StatFileRequest
        | gateway_pb2.ReadFileRequest,
        path: str,
    ) -> bytes:
        if self.mount is not None:
            request.MountIndex = self.mount
            method += "Container"
        try:
            return await self.bridge.call(method, request.SerializeToString())
        except RpcFailed as failure:
            text = failure.message
            if "no such file or directory" in text:
                await self._missing(path, failure)
            raise self._fault(failure, path) from failure

    def _fault(self, failure: RpcFailed, path: str) -> DepotlabError:
        """The daemon tells what is wrong with a path in words only."""
        text = failure.message
        if "not a directory" in text:
            return PathError(
                f"{path} is not a directory, or a part of it is none.",
                path=path,
                hint="read a file with read",
            )
        if "is not a regular file" in text:
            return PathError(f"{path} has no content to read.", path=path, hint="list it with ls")
        if "too many levels of symbolic links" in text or "too many links" in text:
            return PathError(f"{path} is a link that leads back to itself.", path=path)
        if failure.status is Status.RESOURCE_EXHAUSTED:
            return PathError(
                f"The list of {path} does not fit into one message of the daemon (16 MiB).",
                path=path,
                hint="list a part of it with pattern=, such as 'a*'",
            )
        return from_failure(failure, address=self.bridge.channel.endpoint.address, building=True)

    def _nothing(self, path: str) -> Listing:
        if path != "/":
            raise FileMissing(
                f"There is no {path}: the state is empty, as scratch is.",
                path=path,
                hint="copy something into it first",
            )
        return Listing("/", ())

    async def _missing(self, path: str, cause: RpcFailed | None = None) -> NoReturn:
        """Raise FileMissing, with names near the one that is not there."""
        folder, name = posixpath.split(path)
        while True:
            request = gateway_pb2.ReadDirRequest(Ref=self.ref, DirPath=folder)
            if self.mount is not None:
                request.MountIndex = self.mount
            method = "ReadDir" if self.mount is None else "ReadDirContainer"
            try:
                answer = await self.bridge.call(method, request.SerializeToString())
                break
            except RpcFailed as failure:
                if folder == "/" or "no such file" not in failure.message:
                    raise self._fault(failure, folder) from failure
            folder, name = posixpath.split(folder)
        there = gateway_pb2.ReadDirResponse.FromString(answer).entries
        link = next((entry.linkname for entry in there if entry.path == name), "")
        if link:
            raise FileMissing(
                f"There is no {path}: the link {posixpath.join(folder, name)} points to {link}, which is not there.",
                path=path,
                hint="look at the link itself with stat(..., follow=False)",
            ) from cause
        names = [entry.path for entry in there]
        near = tuple(
            posixpath.join(folder, one) for one in difflib.get_close_matches(name, names, n=_NEAR)
        )
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        elif names:
            some = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            hint = f"{folder} has {some}"
        else:
            hint = f"{folder} is empty"
        raise FileMissing(
            f"There is no {path} in the state.", path=path, near=near, hint=hint
        ) from cause


def decoded(data: bytes, path: str, encoding: str) -> str:
    """Return the content of a file as text.

    Raises:
        UsageError: There is no such encoding.
        PathError: It is no text in this encoding.
    """
    try:
        return data.decode(encoding)
    except LookupError:
        raise UsageError(
            f"encoding={encoding!r} is not known.", hint="for example 'utf-8'"
        ) from None
    except UnicodeDecodeError as error:
        raise PathError(
            f"{path} is no text in {encoding}: byte {error.start} does not fit.",
            path=path,
            hint="get its bytes with read, or give another encoding=",
        ) from None


def check_range(offset: object, length: object, chunk_bytes: object = CHUNK_BYTES) -> None:
    """Refuse ranges that are none.

    Raises:
        UsageError: With the argument that is wrong.
    """
    for name, value, low, high in (
        ("offset", offset, 0, 1 << 62),
        ("length", 0 if length is None else length, 0, 1 << 62),
        ("chunk_bytes", chunk_bytes, 1, 8 << 20),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UsageError(
                f"{name}={value!r} is not a number of bytes that can be read.",
                hint="from 1 to 8 MiB"
                if name == "chunk_bytes"
                else "0 or more; length=None reads to the end",
            )


def _literal(name: str) -> str:
    """Return a pattern that matches only this name. Source: moby/patternmatcher, Go `path/filepath` Match."""
    return "".join(f"\\{letter}" if letter in "\\*?[]" else letter for letter in name)
