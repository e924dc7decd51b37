"""File send: the daemon gives us what a build made, and we keep it where the user wants it.

One call is one stream, and names the exporter that it comes from by its number. Archives (`tar`, `oci`, `docker`) come
as pieces of bytes until the daemon half-closes; directories (`local`) as file sync packets, with the daemon as the
sender (`_transfer.receiver`); several platforms are several streams at a time into one directory.

A stream that ended well is not a build that ended well, so nothing appears before `commit`. Who
calls: after Solve has succeeded `commit`, in every other case `discard`.

Messages are worked off in turns, as in `filesync.py`: after one that took long (a slow disk) the next runs in a thread,
and what the user gave us to write to always does. Then the stream waits, and with it the daemon; health
answers do not.

What fails on our side is told three times: to the daemon as an ERR packet (directories) and as the status of the
call, and to the build as a typed error, which is the one that people see.

Source: moby/buildkit `session/filesync/filesync.go`, `session/filesync/diffcopy.go`, `exporter/local/export.go`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

from google.protobuf.message import DecodeError

from depotlab._proto import filesync_pb2
from depotlab._rpc import Call, Handler, RpcFault, Status, Unwrapper
from depotlab._session.bytesinks import ByteSink, FileSink, MemorySink, StreamSink
from depotlab._session.service import Report
from depotlab._session.uninterrupted import uninterrupted
from depotlab._transfer import Receiver, SenderFailed, Staging, TreeWriter, encode_error
from depotlab.errors import DepotlabError, ProtocolError, SessionError
from depotlab.export import (
    Artifact,
    Destination,
    ToDirectory,
    ToFile,
    ToLayout,
    ToMemory,
    ToStream,
)

__all__ = ["FileSend"]

_SLOW_TURN_S = 0.05
_BYTES_PER_TURN = 4 << 20
_MESSAGES_PER_TURN = 1024


class FileSend:
    """The service `moby.filesync.v1.FileSend`, for one build.

    Args:
        destinations: Where outputs go, by their position in `SolveSpec.exporters`; see
            `export.destinations`.
        report: Takes what goes wrong on our side.

    Attributes:
        methods: See `Service`.
    """

    def __init__(self, destinations: Mapping[int, Destination], *, report: Report) -> None:
        self._report = report
        self._outputs = {index: _output(place) for index, place in destinations.items()}
        self.methods: Mapping[str, Handler] = {
            "/moby.filesync.v1.FileSend/DiffCopy": self._diff_copy
        }

    def __repr__(self) -> str:
        return f"<FileSend of {len(self._outputs)} outputs>"

    @property
    def received_bytes(self) -> int:
        """Bytes of content received so far, all outputs together."""
        return sum(output.n_bytes for output in self._outputs.values())

    def check(self) -> None:
        """Look whether all destinations can be written: better now than after an hour. Writes nothing.

        Raises:
            SessionError: One cannot; `.path` names it.
        """
        for output in self._outputs.values():
            output.check()

    async def commit(self) -> dict[int, Artifact]:
        """Put everything in place, in the order of the outputs, and return what it became.

        Raises:
            SessionError: Something could not be put in place; the message says what is.
            ProtocolError: The daemon has not sent an output, or not all of it.
        """
        return await uninterrupted(self._commit)

    async def discard(self, error: BaseException | None = None) -> None:
        """Remove what was received and is not in place; can be called at any time, and twice.

        Args:
            error: Why the build failed. It gets a note for each file object that has got a part of an output,
                and for what could not be removed.
        """
        for note in await uninterrupted(self._discard):
            if error is not None:
                error.add_note(note)

    def _commit(self) -> dict[int, Artifact]:
        for index, output in self._outputs.items():
            if not output.is_complete:
                raise ProtocolError(
                    f"The builder says that the build succeeded, but has not sent output {index}.",
                    hint="build again; the builder's log may say more",
                )
        artifacts: dict[int, Artifact] = {}
        for index, output in self._outputs.items():
            try:
                artifacts[index] = output.commit()
            except SessionError as error:
                error.written = tuple(str(done.path) for done in artifacts.values() if done.path)
                if error.written:
                    error.message += f" These outputs are in place: {', '.join(error.written)}."
                raise
        return artifacts

    def _discard(self) -> list[str]:
        notes = []
        for output in self._outputs.values():
            try:
                notes += output.discard()
            except SessionError as error:
                notes.append(error.message)
        return notes

    # -------------------------------------------------------------------------- streams

    async def _diff_copy(self, call: Call) -> None:
        index = _exporter_id(call.metadata)
        output = self._outputs.get(index)
        if output is None:
            raise RpcFault(Status.UNKNOWN, f"exporter {index} not found")
        try:
            await output.serve(call)
        except DepotlabError as error:
            self._report(error)
            text = error.message.encode("utf-8", "backslashreplace").decode()
            if isinstance(output, _Directory):
                call.queue(encode_error(text))
                await call.drain()
            raise RpcFault(Status.UNKNOWN, text) from error


def _exporter_id(metadata: Mapping[str, list[str]]) -> int:
    """Return the number of the exporter; 0 if there is none, as in the Go client."""
    text = (metadata.get("buildkit-attachable-exporter-id") or [""])[0]
    return int(text) if text.isascii() and text.isdigit() else 0


def _exporter_metadata(metadata: Mapping[str, list[str]]) -> dict[str, str]:
    prefix = "exporter-md-"
    return {
        key.removeprefix(prefix): ",".join(values)
        for key, values in metadata.items()
        if key.startswith(prefix)
    }


def _output(place: Destination) -> _Archive | _Directory:
    match place:
        case ToFile():
            return _Archive(FileSink(place.host_path, place.limit_bytes))
        case ToStream():
            return _Archive(StreamSink(place.stream, place.limit_bytes))
        case ToMemory():
            return _Archive(MemorySink(place.limit_bytes))
        case ToDirectory():
            return _Directory(place)
        case ToLayout():
            raise ValueError("an image layout is written through the content store, not here")


class _Turns:
    """Runs what blocks: here while it is quick, in a thread when it is not."""

    def __init__(
        self, *, always_in_thread: bool = False, is_locked: Callable[[], bool] = lambda: False
    ) -> None:
        self._always_in_thread = always_in_thread
        self._is_locked = is_locked
        self._slow = False

    async def run(self, work: Callable[[], None]) -> None:
        began_s = time.monotonic()
        if self._slow or self._always_in_thread or self._is_locked():
            await asyncio.to_thread(work)
        else:
            work()
        self._slow = time.monotonic() - began_s > _SLOW_TURN_S
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------------- archives


class _Archive:
    """An output that is one stream of bytes."""

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self._metadata: dict[str, str] = {}
        self._begun = False
        self.is_complete = False

    @property
    def n_bytes(self) -> int:
        return self._sink.n_bytes

    def check(self) -> None:
        self._sink.check()

    async def serve(self, call: Call) -> None:
        if self._begun:
            raise ProtocolError("The builder sent an output twice.")
        self._begun = True
        sink = self._sink
        self._metadata = _exporter_metadata(call.metadata)
        turns = _Turns(always_in_thread=sink.may_block)
        await turns.run(sink.open)
        if sink.may_block:
            await self._write_behind(call)
        else:
            async for contents in _contents(call):
                for pieces in _in_turns(contents):
                    _check_limit(sink, sum(map(len, pieces)))
                    await turns.run(partial(sink.write, pieces))
        await turns.run(sink.end)
        self.is_complete = True

    async def _write_behind(self, call: Call) -> None:
        """Write in a thread, one piece of work at a time; what comes meanwhile waits and goes together."""
        sink, waiting, n_waiting = self._sink, list[memoryview](), 0
        writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writing.set_result(None)
        try:
            async for contents in _contents(call):
                for pieces in _in_turns(contents):
                    waiting += pieces
                    n_waiting += sum(map(len, pieces))
                    if writing.done() or n_waiting > _BYTES_PER_TURN:
                        await writing
                        _check_limit(sink, n_waiting)
                        writing = asyncio.ensure_future(asyncio.to_thread(sink.write, waiting))
                        waiting, n_waiting = [], 0
            await writing
            _check_limit(sink, n_waiting)
            if waiting:
                await asyncio.to_thread(sink.write, waiting)
        finally:
            # When we are cancelled the thread goes on: it is the user's object that it waits for. See `discard`.
            writing.cancel()
            writing.add_done_callback(lambda done: done.cancelled() or done.exception())

    def commit(self) -> Artifact:
        sink = self._sink
        sink.commit()
        return Artifact(
            path=sink.host_path,
            data=sink.data(),
            size_bytes=sink.n_bytes,
            metadata=self._metadata,
        )

    def discard(self) -> list[str]:
        self._sink.clear()
        taken = self._sink.taken()
        return [f"{self._sink.n_bytes} bytes of an output went to {taken}."] if taken else []


async def _contents(call: Call) -> AsyncIterator[list[memoryview]]:
    """Yield the bytes that an archive consists of, as they come."""
    if not call.keep_pieces():
        while messages := await call.receive_many():
            yield [_content(message) for message in messages]
        return
    unwrapper = Unwrapper()
    while arrived := await call.receive_pieces():
        yield unwrapper.feed(arrived)
    if not unwrapper.is_between:
        raise ProtocolError("The builder ended an output inside a message.")


def _content(message: bytes) -> memoryview:
    """Return the bytes in a BytesMessage: one field, which goes on to the end."""
    if message[:1] == b"\x0a":
        length = shift = 0
        for at in range(1, min(len(message), 6)):
            byte = message[at]
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                if at + 1 + length == len(message):
                    return memoryview(message)[at + 1 :]
                break
            shift += 7
    try:
        return memoryview(filesync_pb2.BytesMessage.FromString(message).data)
    except DecodeError as error:
        raise ProtocolError("The builder sent a malformed piece of an output.") from error


def _in_turns(pieces: Sequence[memoryview]) -> list[list[memoryview]]:
    """Cut a burst into parts of a few milliseconds each."""
    turns: list[list[memoryview]] = [[]]
    n_bytes = 0
    for piece in pieces:
        if n_bytes > _BYTES_PER_TURN:
            turns.append([])
            n_bytes = 0
        turns[-1].append(piece)
        n_bytes += len(piece)
    return turns


def _check_limit(sink: ByteSink, n_more: int) -> None:
    limit = sink.limit_bytes
    if limit is not None and sink.n_bytes + n_more > limit:
        raise SessionError(
            f"An output is longer than {limit} bytes.",
            path=str(sink.host_path or ""),
            hint="raise limit_bytes=, or make the result smaller",
        )


# ---------------------------------------------------------------------------------- directories


class _Directory:
    """An output that is a tree of files, in one stream or several."""

    def __init__(self, place: ToDirectory) -> None:
        self._place = place
        self._staging = Staging(
            place.host_path, delete=place.mode == "delete", devices=place.devices
        )
        self._n_begun = 0
        self._n_complete = 0

    @property
    def n_bytes(self) -> int:
        return self._staging.n_bytes

    @property
    def is_complete(self) -> bool:
        return 0 < self._n_begun == self._n_complete

    def check(self) -> None:
        self._staging.check()

    async def serve(self, call: Call) -> None:
        self._begin(call.metadata)
        reception = _Reception(call, self._staging, self._place.limit_bytes)
        try:
            await reception.receive_all()
            # Now, not in the end: the daemon resets the stream when it has our FIN, and that may cancel us.
            self._n_complete += 1
            await reception.end()
        except SenderFailed as error:
            raise RpcFault(Status.UNKNOWN, f"error from sender: {error}") from error

    def _begin(self, metadata: Mapping[str, list[str]]) -> None:
        self._n_begun += 1
        if self._place.mode != "delete":
            return
        # Without it each platform is a stream of its own, and each would delete the files of the others.
        if "1" not in metadata.get("buildkit-exporter-multi-platform", ()):
            raise SessionError(
                "This builder cannot export with mode='delete'.",
                path=str(self._staging.host_path),
                hint="use mode='copy', or a newer BuildKit",
            )
        if self._n_begun > 1:
            raise ProtocolError("The builder sent a directory for mode='delete' twice.")

    def commit(self) -> Artifact:
        staging = self._staging
        with staging.lock:
            staging.commit()
            n_files, n_bytes, warnings = staging.n_files, staging.n_bytes, staging.warnings
            try:
                staging.clear()
            except SessionError as error:
                warnings = (*warnings, error.message)
        return Artifact(staging.host_path, None, n_bytes, n_files, {}, warnings)

    def discard(self) -> list[str]:
        with self._staging.lock:
            self._staging.clear()
        return []


class _Reception:
    """One stream of a directory."""

    def __init__(self, call: Call, staging: Staging, limit_bytes: int | None) -> None:
        self._call = call
        self._staging = staging
        self._receiver = Receiver(limit_bytes=limit_bytes)
        self._writer: TreeWriter | None = None
        self._turns = _Turns(is_locked=staging.lock.locked)

    async def receive_all(self) -> None:
        """Take the stream until everything is on disk.

        Raises:
            RpcFault: The daemon went away.
            SenderFailed: It gave up, and said so.
            DepotlabError: We have to.
        """
        try:
            await self._turns.run(self._begin)
            while not self._receiver.has_all:
                messages = await self._call.receive_many()
                if not messages:
                    raise RpcFault(Status.CANCELLED, "the transfer was given up before its end")
                for start in range(0, len(messages), _MESSAGES_PER_TURN):
                    part = messages[start : start + _MESSAGES_PER_TURN]
                    await self._turns.run(partial(self._take, part))
                    self._call.queue(*self._receiver.requests())
            await self._turns.run(self._finish)
        finally:
            await uninterrupted(self._close)

    async def end(self) -> None:
        """Tell the daemon that we have everything, and wait until it has heard that."""
        await self._call.send(self._receiver.fin())
        while not self._receiver.is_over and (messages := await self._call.receive_many()):
            self._receiver.receive(messages)

    # ---------------------------------------- the disk; may run in a thread, knows no call

    def _begin(self) -> None:
        with self._staging.lock:
            self._writer = self._staging.writer()

    def _take(self, messages: Sequence[bytes]) -> None:
        with self._staging.lock:
            assert self._writer is not None
            self._writer.perform(self._receiver.receive(messages))

    def _finish(self) -> None:
        with self._staging.lock:
            assert self._writer is not None
            self._writer.finish()

    def _close(self) -> None:
        with self._staging.lock:
            if self._writer is not None:
                self._writer.close()
