"""File sync: the daemon asks for a directory of this machine, and gets what it has not yet.

One call is one transfer. The request names the directory and the filters in its metadata; then
packets go both ways (see `_transfer.packets`, `_transfer.sender`). Two tasks share a call:
one reads what the daemon asks for, the other lists entries and sends files in turns, so that
files are on their way while the tree is still being walked. Each turn is a few milliseconds of disk
and ends with `drain`, which waits for the daemon, and a `sleep(0)`, which lets others run: a session
whose health answer is late is dropped. After a turn that took long (a slow disk or a network) the next
one runs in a thread. Always to use one was measured: no faster, and a tenth more work. On a slow link pieces
are compressed (see `squeeze`), always in a thread.

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
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import unquote_plus

from depotlab._rpc import Call, Handler, RpcFault, Status
from depotlab._session.listed import Listed
from depotlab._session.service import Report
from depotlab._session.squeeze import Squeeze, squeeze
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
_N_PIECES_PER_TURN = 128  # of 64 small files, each with its end
_BYTES_PER_TURN = 1 << 20
_PIECE_BYTES = 256 << 10
# Pieces up to this are copied behind their heads: that costs less than two objects.
_COPIED_BYTES = 16 << 10
_SLOW_TURN_S = 0.05


@dataclass(slots=True)
class Moved:
    """What was sent of one local directory, in all its transfers.

    Attributes:
        n_entries: Files, directories and links listed.
        n_files: Files whose content was sent.
        n_bytes: Bytes of content sent.
        n_transfers: How often the daemon asked for the directory.
        listed: All that was listed.
    """

    n_entries: int = 0
    n_files: int = 0
    n_bytes: int = 0
    n_transfers: int = 0
    listed: Listed = field(default_factory=Listed, repr=False)


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
        self._trees = dict(trees)
        self._versions = dict(versions)
        self._report = report
        self.moved = {name: Moved() for name in trees}
        self.methods: Mapping[str, Handler] = {
            "/moby.filesync.v1.FileSync/DiffCopy": self._diff_copy
        }

    def add(self, name: str, tree: Tree, versions: Versions) -> None:
        """Serve one more directory of this machine."""
        self._trees[name] = tree
        self._versions[name] = versions
        self.moved[name] = Moved()

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
        self._unlisted: Iterator[Entry | None] | None = self._walk()
        self._squeeze = Squeeze() if call.use_gzip() else None
        self._wanted: deque[Wanted] = deque()
        self._n_read = 0  # of the first in `_wanted`
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
        slow = False
        while True:
            if self._unlisted is None and not self._wanted:
                self._wake.clear()
                await self._wake.wait()
            began_s = time.monotonic()
            squeezing = self._squeeze is not None and self._squeeze.is_on
            in_thread = slow or squeezing
            turn = await asyncio.to_thread(self._look) if in_thread else self._look()
            slow = time.monotonic() - began_s - turn.squeezing_s > _SLOW_TURN_S
            held_up = self._squeeze is not None and self._call.is_link_full()
            wire_bytes = self._queue(turn)
            await self._call.drain()
            if self._squeeze is not None:
                self._squeeze.sent(
                    turn.n_bytes,
                    wire_bytes,
                    took_s=time.monotonic() - began_s,
                    held_up=held_up,
                    squeezing_s=turn.squeezing_s,
                )
            await asyncio.sleep(0)

    def _queue(self, turn: _Turn) -> int:
        """Queue the packets of a turn; return how many bytes of files they are on the wire."""
        wire_bytes = turn.n_bytes
        moved = self._moved
        packets = self._sender.stats(turn.entries)
        moved.n_entries += len(turn.entries)
        moved.listed.add(turn.entries)
        if turn.ends_list:
            packets.append(self._sender.end_of_list())
        moved.n_bytes += turn.n_bytes
        all_squeezed = turn.squeezed or [b""] * len(turn.pieces)
        for (wanted, piece), squeezed in zip(turn.pieces, all_squeezed, strict=True):
            length = len(piece)
            if not length:
                packets.append(self._sender.end_of_file(wanted))
                moved.n_files += 1
            elif squeezed:
                self._call.queue(*packets)
                packets.clear()
                self._call.queue_gzip(squeezed)
                wire_bytes -= length - len(squeezed)
            elif length <= _COPIED_BYTES:
                packets.append(data_head(wanted.id, length) + piece)
            else:
                self._call.queue(*packets)
                packets.clear()
                head = data_head(wanted.id, length)
                self._call.queue_pieces([head, piece], length=len(head) + length)
        self._call.queue(*packets)
        return wire_bytes

    # ------------------------------------------- the disk; may run in a thread, knows no call

    def _look(self) -> _Turn:
        """Take the next entries and the next pieces of files, as much as belongs into one turn."""
        turn = _Turn()
        if self._unlisted is not None:
            some = list(islice(self._unlisted, _N_ENTRIES_PER_TURN))
            if len(some) < _N_ENTRIES_PER_TURN:
                turn.ends_list = True
                self._unlisted = None
            turn.entries = [entry for entry in some if entry is not None]
            if self._versions is not None:
                turn.entries = self._versions.stamp(turn.entries)
        n_left = _BYTES_PER_TURN
        while self._wanted and n_left > 0 and len(turn.pieces) < _N_PIECES_PER_TURN:
            n_left -= self._read_file(self._wanted[0], n_left, turn.pieces)
        turn.n_bytes = _BYTES_PER_TURN - n_left
        if self._squeeze is not None and self._squeeze.is_on:
            began_s = time.monotonic()
            turn.squeezed = [
                squeeze(data_head(wanted.id, len(piece)) + piece) if piece else b""
                for wanted, piece in turn.pieces
            ]
            turn.squeezing_s = time.monotonic() - began_s
        return turn

    def _walk(self) -> Iterator[Entry | None]:
        request = self._request
        try:
            followed = resolve(self._tree, request.follow) if request.follow else None
            yield from self._tree.walk(make_filter(request.include, request.exclude, followed))
        except BadPattern as error:
            raise SessionError(
                f"The files of {request.name!r} cannot be chosen: {error}.",
                hint="correct the pattern, which may come from a .dockerignore file",
            ) from error

    def _read_file(self, wanted: Wanted, most: int, pieces: list[tuple[Wanted, bytes]]) -> int:
        """Read on in the first file; return how many bytes. It is not held open between turns."""
        start = self._n_read
        content = self._tree.open(wanted.path)
        try:
            if wanted.size_bytes < _PIECE_BYTES:
                pieces += self._read_small(wanted, content)
                self._wanted.popleft()
                return wanted.size_bytes
            if not _is_still(wanted, content):
                raise self._changed(wanted)
            while (n_left := wanted.size_bytes - self._n_read) and self._n_read - start < most:
                piece = content.read(self._n_read, min(n_left, _PIECE_BYTES))
                if not piece:
                    raise self._changed(wanted)
                pieces.append((wanted, piece))
                self._n_read += len(piece)
        finally:
            content.close()
        n_read = self._n_read - start
        if self._n_read == wanted.size_bytes:
            pieces.append((wanted, b""))
            self._wanted.popleft()
            self._n_read = 0
        return n_read

    def _read_small(self, wanted: Wanted, content: Content) -> list[tuple[Wanted, bytes]]:
        """Read a file in one piece, and one byte more, which tells whether it has grown without asking."""
        size_bytes = wanted.size_bytes
        piece = content.read(0, size_bytes + 1)
        if len(piece) != size_bytes:
            if not _is_still(wanted, content) or len(piece) < size_bytes:
                raise self._changed(wanted)
            piece = piece[:size_bytes]
        return [(wanted, piece), (wanted, b"")] if piece else [(wanted, b"")]

    def _changed(self, wanted: Wanted) -> SessionError:
        path = self._tree.describe(wanted.path)
        return SessionError(
            f"{path} changed while it was being sent (it was listed with {wanted.size_bytes} bytes).",
            path=path,
            hint="build again when nothing writes to it, or leave it out through .dockerignore",
        )


@dataclass(slots=True)
class _Turn:
    """What is sent in one turn: entries, the end of their list, pieces of files (empty: the end).

    Attributes:
        n_bytes: Of all pieces.
        squeezed: For each piece its packet, compressed; empty where that is not worth it, or for all.
        squeezing_s: How long that took, on a machine that may have other things to do.
    """

    entries: list[Entry] = field(default_factory=list)
    ends_list: bool = False
    pieces: list[tuple[Wanted, bytes]] = field(default_factory=list)
    n_bytes: int = 0
    squeezed: list[bytes] = field(default_factory=list)
    squeezing_s: float = 0.0


def _is_still(wanted: Wanted, content: Content) -> bool:
    """Whether an open file is the one that was listed, or what it has grown to."""
    grown = content.size_bytes > wanted.size_bytes > 0 and content.inode == wanted.inode
    return grown or content.size_bytes == wanted.size_bytes
