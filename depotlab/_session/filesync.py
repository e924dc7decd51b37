"""File sync: the daemon asks for a directory of this machine, and gets what it has not yet.

One call is one transfer. The request names the directory and the filters in its metadata; then
packets go both ways (see `_transfer.packets`, `_transfer.sender`). Two tasks share a call:
one reads what the daemon asks for, the other lists entries and sends files in turns, so that
files are on their way while the tree is still being walked. Each turn is short and ends with
`drain`, which waits for the daemon, and a `sleep(0)`, which lets others run: a session whose
health answer is late is dropped.

What fails on our side is told three times: to the daemon as an ERR packet and as the status of the
call, and to the build as a typed error, which is the one that people see.

A file is sent with as many bytes as it was listed with. One that has grown meanwhile is cut there: a
log that somebody writes is what it was when the list was made. One that is shorter, gone, was empty, or
was replaced by a larger one ends the build with an error that names it. (The Go client sends a file
that is gone as an empty one and the others as they come; the image then has something that never was
in the directory.)

Source: moby/buildkit `session/filesync/filesync.go`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from urllib.parse import unquote_plus

from depotlab._rpc import Call, Handler, RpcFault, Status
from depotlab._session.service import Report
from depotlab._session.versions import Versions
from depotlab._transfer import (
    BadPattern,
    Content,
    Entry,
    Finished,
    ReceiverFailed,
    Sender,
    Tree,
    Wanted,
    data_head,
    encode_error,
    make_filter,
    resolve,
)
from depotlab.errors import DepotlabError, SessionError

__all__ = ["FileSync", "Moved"]

_N_ENTRIES_PER_TURN = 256
_N_FILES_PER_TURN = 64
_BYTES_PER_TURN = 1 << 20
_PIECE_BYTES = 256 << 10


@dataclass(slots=True)
class Moved:
    """What was sent of one local directory, in all its transfers.

    Attributes:
        n_entries: Files, directories and links listed.
        n_files: Files whose content was sent.
        n_bytes: Bytes of content sent.
        n_transfers: How often the daemon asked for the directory.
    """

    n_entries: int = 0
    n_files: int = 0
    n_bytes: int = 0
    n_transfers: int = 0


class FileSync:
    """The service `moby.filesync.v1.FileSync`.

    Args:
        trees: What may be asked for, by name.
        versions: Records for those that are directories of this machine.
        report: Takes what goes wrong on our side.

    Attributes:
        moved: What was sent so far, by name.
        methods: See `Service`.
    """

    def __init__(
        self, trees: Mapping[str, Tree], *, versions: Mapping[str, Versions], report: Report
    ) -> None:
        self._trees = trees
        self._versions = versions
        self._report = report
        self.moved = {name: Moved() for name in trees}
        self.methods: Mapping[str, Handler] = {
            "/moby.filesync.v1.FileSync/DiffCopy": self._diff_copy
        }

    async def _diff_copy(self, call: Call) -> None:
        request = SyncRequest.read(call.metadata)
        tree = self._trees.get(request.name)
        if tree is None:
            # The daemon asks other sessions of the build when it hears this.
            name = json.dumps(request.name, ensure_ascii=False)
            raise RpcFault(Status.NOT_FOUND, f"no access allowed to dir {name}")
        moved = self.moved[request.name]
        moved.n_transfers += 1
        try:
            await _Transfer(call, tree, request, self._versions.get(request.name), moved).run()
        except DepotlabError as error:
            self._report(error)
            text = error.message.encode("utf-8", "backslashreplace").decode()
            call.queue(encode_error(text))
            await call.drain()
            raise RpcFault(Status.UNKNOWN, text) from error


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What the daemon wants of which directory.

    Attributes:
        name: Of the directory.
        include: Include patterns.
        exclude: Exclude patterns.
        follow: Paths whose links are followed, or None when there are none.
    """

    name: str
    include: list[str]
    exclude: list[str]
    follow: list[str] | None

    @classmethod
    def read(cls, metadata: Mapping[str, list[str]]) -> SyncRequest:
        """Read a request from the metadata of its call."""
        return cls(
            name=(_values(metadata, "dir-name") or [""])[0],
            include=_values(metadata, "include-patterns"),
            exclude=_values(metadata, "exclude-patterns"),
            follow=_values(metadata, "followpaths") or None,
        )


def _values(metadata: Mapping[str, list[str]], key: str) -> list[str]:
    values = metadata.get(key, [])
    encoded = metadata.get(f"{key}-encoded", [""])[0]
    if encoded in ("1", "t", "T", "true", "TRUE", "True"):
        return [unquote_plus(value, errors="surrogateescape") for value in values]
    return list(values)


class _Transfer:
    def __init__(
        self, call: Call, tree: Tree, request: SyncRequest, versions: Versions | None, moved: Moved
    ) -> None:
        self._call = call
        self._tree = tree
        self._request = request
        self._versions = versions
        self._moved = moved
        self._sender = Sender()
        self._wanted: deque[Wanted] = deque()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Serve the transfer to its end.

        Raises:
            RpcFault: The daemon gave up.
            DepotlabError: We have to.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send())
                answer = await self._listen()
                sending.cancel()
        except ExceptionGroup as group:
            # One of the two fails, the other is cancelled for it.
            raise group.exceptions[0] from None
        self._call.queue(answer)
        await self._call.drain()

    async def _listen(self) -> bytes:
        """Take what the daemon asks for until it has everything; return the last packet."""
        while messages := await self._call.receive_many():
            for message in messages:
                try:
                    wish = self._sender.receive(message)
                except ReceiverFailed as error:
                    raise RpcFault(Status.UNKNOWN, f"error from receiver: {error}") from error
                if isinstance(wish, Finished):
                    return wish.answer
                self._wanted.append(wish)
            self._wake.set()
        raise RpcFault(Status.CANCELLED, "the transfer was given up before its end")

    async def _send(self) -> None:
        """List entries and send files, in turns."""
        entries: Iterator[Entry] | None = self._entries()
        while True:
            if entries is not None and not self._list(entries):
                entries = None
            n_files, n_bytes_before = 0, self._moved.n_bytes
            while self._wanted and n_files < _N_FILES_PER_TURN:
                await self._send_file(self._wanted.popleft())
                n_files += 1
                if self._moved.n_bytes - n_bytes_before >= _BYTES_PER_TURN:
                    break
            if entries is None and not self._wanted:
                self._wake.clear()
                await self._wake.wait()
            await self._call.drain()
            await asyncio.sleep(0)

    def _entries(self) -> Iterator[Entry]:
        request = self._request
        try:
            followed = resolve(self._tree, request.follow) if request.follow else None
            wanted = make_filter(request.include, request.exclude, followed)
            yield from self._tree.walk(wanted)
        except BadPattern as error:
            raise SessionError(
                f"The files of {self._request.name!r} cannot be chosen: {error}.",
                hint="correct the pattern, which may come from a .dockerignore file",
            ) from error

    def _list(self, entries: Iterator[Entry]) -> bool:
        """Send the next entries; False when that was the last of them."""
        some = list(islice(entries, _N_ENTRIES_PER_TURN))
        if self._versions is not None:
            some = self._versions.stamp(some)
        self._call.queue(*map(self._sender.stat, some))
        self._moved.n_entries += len(some)
        if len(some) < _N_ENTRIES_PER_TURN:
            self._call.queue(self._sender.end_of_list())
            return False
        return True

    async def _send_file(self, wanted: Wanted) -> None:
        content = self._tree.open(wanted.path)
        try:
            if not _is_still(wanted, content):
                raise self._changed(wanted)
            n_left = wanted.size_bytes
            while n_left:
                piece = content.read(min(n_left, _PIECE_BYTES))
                if not piece:
                    raise self._changed(wanted)
                n_left -= len(piece)
                head = data_head(wanted.id, len(piece))
                self._call.queue_pieces([head, piece], length=len(head) + len(piece))
                self._moved.n_bytes += len(piece)
                if n_left:
                    await self._call.drain()
                    await asyncio.sleep(0)
        finally:
            content.close()
        self._call.queue(self._sender.end_of_file(wanted))
        self._moved.n_files += 1

    def _changed(self, wanted: Wanted) -> SessionError:
        path = self._tree.describe(wanted.path)
        return SessionError(
            f"{path} changed while it was being sent (it was listed with {wanted.size_bytes} bytes).",
            path=path,
            hint="build again when nothing writes to it, or leave it out through .dockerignore",
        )


def _is_still(wanted: Wanted, content: Content) -> bool:
    """Whether an open file is the one that was listed, or what it has grown to."""
    grown = content.size_bytes > wanted.size_bytes > 0 and content.inode == wanted.inode
    return grown or content.size_bytes == wanted.size_bytes
