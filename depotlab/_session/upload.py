"""Streams of bytes that the daemon pulls, such as an archive that is the context of a build.

A source with the URL `http://buildkit-session/ID` makes the daemon call `Pull` with `/ID` in the metadata. It
says nothing itself; we send chunks and end the call, for it would wait for ever if we waited for it. Nor does it
end the call when the build is cancelled: it reads on to the end, and the build is not over before. So we end it.

The bytes come from an iterator that may block, so each pull has a thread of its own. It reads one batch ahead,
no more: what the daemon does not take is not read. A thread that hangs in somebody else's iterator holds up
neither the session nor the end of the program.

Source: moby/buildkit `session/upload/`, `source/http/transport.go`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from depotlab._rpc import Call, Handler, RpcFault, Status
from depotlab._session.service import Report
from depotlab.errors import DepotlabError, SessionError

__all__ = ["Uploads"]

# As in the Go client.
_MESSAGE_BYTES: Final = 3 << 20
# Small pieces go together into one message of about this size.
_BATCH_BYTES: Final = 1 << 20

Source = Callable[[], Iterator[bytes]]


class Uploads:
    """The service `moby.upload.v1.Upload`.

    Args:
        sources: By id. Each is called in a thread for every pull, and the iterator that it returns is read
            there, and closed if it has a `close`. A source may have the attributes `once`, true if it can be read
            only once, and `label`, for messages.
        report: Takes what goes wrong on our side.

    Attributes:
        sent_bytes: What was sent so far, by id.
        methods: See `Service`.
    """

    def __init__(self, sources: Mapping[str, Source], *, report: Report) -> None:
        self._sources = dict(sources)
        self._report = report
        self._pulled: set[str] = set()
        self._readers: set[_Reader] = set()
        self._is_given_up = False
        self.sent_bytes = dict.fromkeys(sources, 0)
        self.methods: Mapping[str, Handler] = {"/moby.upload.v1.Upload/Pull": self._pull}

    async def _pull(self, call: Call) -> None:
        name = call.metadata.get("urlpath", [""])[0].removeprefix("/")
        source = self._sources.get(name)
        if source is None:
            raise RpcFault(Status.NOT_FOUND, f"the build offers no upload {name!r}")
        label = str(getattr(source, "label", "") or name)
        if name in self._pulled and getattr(source, "once", False):
            self._fail(_read_before(label))
        if self._is_given_up:
            raise _given_up()
        self._pulled.add(name)
        reader = _Reader(source)
        self._readers.add(reader)
        try:
            while (batch := await reader.next()) is not None:
                for message in _messages(batch):
                    length = sum(map(len, message))
                    head = b"\x0a" + _varint(length)  # field 1 of BytesMessage
                    call.queue_pieces([head, *message], length=len(head) + length)
                    await call.drain()
                    self.sent_bytes[name] += length
        except _SourceFailed as failed:
            self._fail(_problem(label, failed.error))
        finally:
            self._readers.discard(reader)
            reader.stop()

    def give_up(self) -> None:
        """End all calls, because the build was cancelled. On the event loop."""
        self._is_given_up = True
        for reader in self._readers:
            reader.give_up()

    def _fail(self, problem: DepotlabError) -> None:
        self._report(problem)
        raise RpcFault(Status.UNKNOWN, problem.message) from problem


class _SourceFailed(Exception):
    """A source raised.

    Attributes:
        error: What.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class _Reader:
    """Reads a source in a thread of its own, one batch ahead of who takes them.

    Args:
        source: Is called in the thread.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._read: asyncio.Queue[list[bytes] | _SourceFailed | None] = asyncio.Queue()
        self._taken = threading.Semaphore(0)
        self._stopped = False
        threading.Thread(target=self._run, name="depotlab-upload", daemon=True).start()

    async def next(self) -> list[bytes] | None:
        """Return the next pieces, or None when there are no more.

        Raises:
            _SourceFailed: The source raised.
            RpcFault: The build was given up.
        """
        batch = await self._read.get()
        if self._stopped:
            raise _given_up()
        self._taken.release()
        if isinstance(batch, _SourceFailed):
            raise batch
        return batch

    def stop(self) -> None:
        """Let the thread end, as soon as the iterator gives it a chance to. Does not wait for it."""
        self._stopped = True
        self._taken.release()

    def give_up(self) -> None:
        """Wake who waits for the next pieces, who is told that there are none."""
        self.stop()
        self._read.put_nowait(None)

    # ------------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        try:
            self._read_all()
            self._hand_over(None)
        except BaseException as error:  # noqa: BLE001 - whatever ends the source ends the call
            self._hand_over(_SourceFailed(error))

    def _read_all(self) -> None:
        iterator = iter(self._source())
        try:
            while not self._stopped and (batch := self._gather(iterator)):
                self._hand_over(batch)
                self._taken.acquire()
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _gather(self, iterator: Iterator[bytes]) -> list[bytes]:
        """Read on until there is enough for a batch."""
        batch: list[bytes] = []
        n_bytes = 0
        for piece in iterator:
            if not isinstance(piece, bytes):
                if not isinstance(piece, bytearray | memoryview):
                    raise TypeError(f"it gave {type(piece).__name__} where bytes are expected")
                piece = bytes(piece)  # its owner may fill the same buffer again
            if piece:
                batch.append(piece)
                n_bytes += len(piece)
            if n_bytes >= _BATCH_BYTES or self._stopped:
                break
        return batch

    def _hand_over(self, batch: list[bytes] | _SourceFailed | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._read.put_nowait, batch)
        except RuntimeError:  # the loop is closed, so nobody waits any more
            self._stopped = True
            self._taken.release()


def _messages(batch: list[bytes]) -> Iterator[list[memoryview]]:
    """Cut pieces into messages of at most `_MESSAGE_BYTES`, without copying."""
    message: list[memoryview] = []
    room = _MESSAGE_BYTES
    for piece in batch:
        view = memoryview(piece)
        while view:
            part = view[:room]
            message.append(part)
            room -= len(part)
            view = view[len(part) :]
            if not room:
                yield message
                message, room = [], _MESSAGE_BYTES
    if message:
        yield message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _given_up() -> RpcFault:
    return RpcFault(Status.CANCELLED, "the build was given up")


def _read_before(label: str) -> SessionError:
    return SessionError(
        f"The upload {label!r} can be read only once, and the daemon asked for it again.",
        hint="build again with a new one, or give a path, bytes, or a function that starts from the beginning",
    )


def _problem(label: str, error: BaseException) -> DepotlabError:
    if isinstance(error, DepotlabError):
        return error  # it says more than we know
    # The daemon is told the message and shows it to everybody: what a foreign exception quotes stays here.
    problem = SessionError(
        f"The upload {label!r} could not be read: {type(error).__name__}.",
        hint=f"make its source readable; it said: {str(error) or 'nothing'}",
    )
    problem.__cause__ = error
    return problem
