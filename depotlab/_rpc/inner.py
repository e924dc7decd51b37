"""The gRPC server of a session, on a stream of bytes. The other end is the daemon, as the client.

`InnerServer.serve` drives one `Connection` (`http2.py`): one loop reads, one task writes, one task runs
per call. The reader never waits for a handler. The writer holds one batch while the byte stream may still
hold the one before, so two are in flight; everything else stays in queues, for which handlers wait in
`drain`. All of it belongs to the event loop that runs `serve`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from depotlab._rpc import tap
from depotlab._rpc.call import Handler, RpcFault, Status
from depotlab._rpc.fields import (
    UNSUPPORTED_MEDIA_TYPE,
    Malformed,
    NotGrpc,
    Request,
    end_fields,
    parse_request,
)
from depotlab._rpc.frames import FRAME_BYTES, ErrorCode
from depotlab._rpc.handlers import Instant
from depotlab._rpc.http2 import Connection
from depotlab._rpc.streams import BodyArrived, Event, HeadersArrived, HttpStream, Limits
from depotlab._rpc.tapcalls import TappedCall
from depotlab.errors import ProtocolError

__all__ = ["ByteStream", "InnerServer", "ServedCall"]

# A producer waits above HIGH and goes on below LOW, which is one batch: the writer never runs dry.
HIGH_WATER_BYTES = 512 << 10
LOW_WATER_BYTES = 256 << 10
# Of all streams together; above it a stream may queue one frame, so that none waits for another for ever.
ALL_STREAMS_BYTES = 8 << 20
# Answers to PING and SETTINGS that the peer has not taken; above it we stop reading.
CONTROL_FRAMES = 1000
# A byte stream that has bytes at hand returns them without waiting; others get a turn after so many reads.
READS_PER_TURN = 16
# For a GOAWAY to a peer that broke the protocol, and may not be reading either.
GOODBYE_S = 1.0

_OK_FIELDS = end_fields(Status.OK)
_GIVEN_UP = "the daemon gave the call up"
_log = logging.getLogger("depotlab.rpc")


class ByteStream(Protocol):
    """A connection to the daemon: bytes, in chunks without meaning."""

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the peer has closed."""

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces, at least one byte in all; it is not called again before it returns."""


@runtime_checkable
class KnowsItsLink(Protocol):
    """A `ByteStream` that can tell what holds it up."""

    def is_link_full(self) -> bool:
        """Whether it is the network."""


@runtime_checkable
class KnowsItsSession(Protocol):
    """A `ByteStream` that can tell taps whose it is.

    Attributes:
        address: Of the daemon.
        session_id: Of the session.
    """

    address: str
    session_id: str


def log_unexpected(method: str, error: Exception) -> None:
    """Write an exception that no handler should let out to the log `depotlab.rpc`."""
    _log.error("%s failed", method, exc_info=error)


class InnerServer:
    """Serves gRPC calls that the daemon makes over a stream of bytes. Keeps no state between streams.

    Args:
        handlers: By full method name, such as `/moby.filesync.v1.FileSync/DiffCopy`; calls match in any case.
        limits: What one connection may make us hold.
        on_unexpected: Hears of every exception of a handler that is not an `RpcFault`; the daemon
            learns its type only.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        limits: Limits | None = None,
        on_unexpected: Callable[[str, Exception], None] = log_unexpected,
    ) -> None:
        self.limits = limits or Limits()
        self.on_unexpected = on_unexpected
        self._handlers = {method.lower(): (method, handlers[method]) for method in handlers}

    def find(self, path: str) -> tuple[str, Handler] | None:
        """Return a method as it was registered and its handler."""
        return self._handlers.get(path.lower())

    async def serve(self, stream: ByteStream) -> None:
        """Serve until the peer closes. Handlers that still run are then cancelled and awaited.

        Raises:
            ProtocolError: The peer broke a rule, or ended the connection with an error of its own.
            Exception: Whatever the stream raised.
        """
        serving = _Serving(self, stream)
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(serving.write())
                try:
                    await serving.read(tasks)
                except ProtocolError as error:
                    failure = error
                    await serving.say_goodbye(writer)
                finally:
                    serving.close()
                    writer.cancel()
        except BaseExceptionGroup as group:
            failure = failure or group.exceptions[0]
        if failure is not None:
            raise failure


class ServedCall:
    """A `Call` made by the server.

    Attributes:
        method: Full name, as the handler was registered.
        metadata: Request headers in lower case, each with all its values in order, without those
            that belong to HTTP and gRPC themselves.
        binary_metadata: Those whose name ends in `-bin`, decoded.
        telling: For taps; None when nobody looks on.
    """

    def __init__(
        self,
        method: str,
        request: Request,
        stream: HttpStream,
        serving: _Serving,
        telling: tap.Telling | None = None,
    ) -> None:
        self.method = method
        self.telling = telling
        self.metadata: Mapping[str, list[str]] = request.metadata
        self.binary_metadata: Mapping[str, list[bytes]] = request.binary_metadata
        self._stream = stream
        self._inbox = stream.inbox
        self._outbox = stream.outbox
        self._serving = serving
        self._connection = serving.connection
        self._takes_gzip = request.takes_gzip
        self._reader: asyncio.Future[None] | None = None
        self._open = True

    async def receive(self) -> bytes | None:
        """Return the next message, or None when the daemon has sent its last."""
        if not self._inbox.ready and not await self._arrival():
            return None
        message = self._connection.take(self._stream)
        self._serving.wake_writer()
        return message

    async def receive_many(self) -> list[bytes]:
        """Return all messages that have arrived, at least one; an empty list is the end."""
        if not self._inbox.ready and not await self._arrival():
            return []
        messages = self._connection.take_all(self._stream)
        self._serving.wake_writer()
        return messages

    async def receive_pieces(self) -> list[memoryview]:
        """Return bytes of messages as they come, cut anywhere, with their prefixes; an empty list is the end.

        Only after `keep_pieces` returned True.
        """
        if not self._inbox.has_arrived and not await self._arrival():
            return []
        pieces = self._connection.take_pieces(self._stream)
        self._serving.wake_writer()
        return pieces

    def keep_pieces(self) -> bool:
        """Ask for `receive_pieces`, instead of all other ways to receive; False when messages are compressed."""
        return self._inbox.keep_pieces()

    def queue(self, *messages: bytes | bytearray | memoryview) -> None:
        """Add whole messages to the outgoing queue without waiting.

        Buffers are sent as they are and must not change afterwards. Nothing happens on a call that has
        ended; its handler is being cancelled.
        """
        if self._open:
            self._outbox.add_many(messages)
            if not self._stream.active:
                self._activate()

    def queue_pieces(self, pieces: list[bytes | memoryview], *, length: int) -> None:
        """Add one message of `length` bytes that is given in pieces, saving a copy.

        Raises:
            ValueError: The pieces have another length.
        """
        if self._open:
            self._outbox.add_pieces(pieces, length)
            if not self._stream.active:
                self._activate()

    def use_gzip(self) -> bool:
        """Say that messages may be compressed, before the first is queued; False: not understood."""
        if self._takes_gzip and not self._stream.answered:
            self._stream.gzip = True
        return self._stream.gzip

    def is_link_full(self) -> bool:
        """Whether something is queued, and it is the network that does not take it."""
        return self._outbox.n_bytes > 0 and self._serving.is_link_full()

    def queue_gzip(self, message: bytes) -> None:
        """Add one message that is gzip already; only after `use_gzip` returned True."""
        if not self._stream.gzip:
            raise RuntimeError("the daemon has not been told that messages may be compressed")
        if self._open:
            self._outbox.add_gzip(message)
            if not self._stream.active:
                self._activate()

    async def drain(self) -> None:
        """Wait until the outgoing queue is below its high-water mark (real back-pressure).

        Raises:
            RpcFault: CANCELLED, when the call has ended.
        """
        if not self._open:
            raise _ended()
        if self._serving.is_full(self._stream):
            await self._serving.room_in(self._stream)
            if not self._open:
                raise _ended()

    async def send(self, message: bytes | bytearray | memoryview) -> None:
        """Queue one message, then drain."""
        self.queue(message)
        await self.drain()

    def close(self) -> None:
        """Note that nothing more is sent or received; whoever waits is told."""
        self._open = False
        self.body_arrived()

    def body_arrived(self) -> None:
        """Wake the handler that waits for a message."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _arrival(self) -> bool:
        """Wait until a message is ready; False is the end."""
        inbox = self._inbox
        while not inbox.has_arrived:
            if not self._open:
                raise _ended()
            if inbox.fault is not None:
                raise inbox.fault
            if inbox.ended:
                return False
            if self._reader is not None:
                raise RuntimeError(f"two tasks receive from {self.method} at the same time")
            self._reader = asyncio.get_running_loop().create_future()
            self._connection.wait(self._stream)
            self._serving.wake_writer()
            try:
                await self._reader
            finally:
                self._reader = None
                self._stream.hungry = False
        return True

    def _activate(self) -> None:
        self._connection.sending.activate(self._stream)
        self._serving.wake_writer()


class _Serving:
    """One run of `InnerServer.serve`."""

    def __init__(self, server: InnerServer, stream: ByteStream) -> None:
        self.connection = Connection(server.limits)
        self._server = server
        self._stream = stream
        self._calls: dict[HttpStream, tuple[ServedCall, asyncio.Task[None]]] = {}
        self._instants: dict[HttpStream, tuple[str, Instant, tap.Telling | None]] = {}
        self._idle: asyncio.Future[None] | None = None  # the writer waits for output
        self._gathered = asyncio.Event()  # set whenever the writer has taken what there was
        self._producers: dict[HttpStream, asyncio.Event] = {}  # handlers wait in drain
        self._leaving = False

    # -------------------------------------------------------------------------- reading

    async def read(self, tasks: asyncio.TaskGroup) -> None:
        """Take bytes until the peer closes, and start a task in `tasks` for each call."""
        connection, stream = self.connection, self._stream
        n_reads = 0
        while (data := await stream.read()) is not None:
            for event in connection.receive(data):
                self._perform(event, tasks)
            self.wake_writer()
            while connection.sending.n_control > CONTROL_FRAMES:
                self._gathered.clear()
                await self._gathered.wait()
            n_reads += 1
            if n_reads % READS_PER_TURN == 0:
                await asyncio.sleep(0)

    def _perform(self, event: Event, tasks: asyncio.TaskGroup) -> None:
        stream = event.stream
        if isinstance(event, HeadersArrived):
            if not stream.gone:  # else it was reset in the same burst
                self._open(stream, event, tasks)
        elif stream in self._calls:
            call, task = self._calls[stream]
            if isinstance(event, BodyArrived):
                call.body_arrived()
            else:
                task.cancel()
                self._close_call(stream, call)
                if call.telling is not None:
                    call.telling.ended(Status.CANCELLED, _GIVEN_UP)
        elif stream in self._instants:
            self._answer_instant(stream)

    def _open(self, stream: HttpStream, event: HeadersArrived, tasks: asyncio.TaskGroup) -> None:
        try:
            request = parse_request(event.headers)
        except Malformed:
            self.connection.reset(stream, ErrorCode.PROTOCOL_ERROR)
            return
        except NotGrpc:
            self.connection.answer_http(stream, UNSUPPORTED_MEDIA_TYPE)
            return
        found = self._server.find(request.path)
        path = request.path if found is None else found[0]
        telling = self._begin_telling(path, request) if tap.open_taps else None
        if request.fault is not None:
            self._finish(stream, request.fault, telling)
            return
        if found is None:
            text = f"the session does not serve {request.path}"
            self._finish(stream, RpcFault(Status.UNIMPLEMENTED, text), telling)
            return
        stream.inbox.gzip = request.gzip
        method, handler = found
        if isinstance(handler, Instant):
            self._instants[stream] = (method, handler, telling)
        elif len(self._calls) >= self._server.limits.n_streams:
            # Handlers of calls that were reset count until they have cleaned up.
            self.connection.reset(stream, ErrorCode.REFUSED_STREAM)
            if telling is not None:
                telling.ended(Status.UNAVAILABLE, "too many calls at once")
        else:
            call = ServedCall(method, request, stream, self, telling)
            task = tasks.create_task(self._run(call, stream, handler, request.timeout_s))
            self._calls[stream] = (call, task)
            # Not in the task itself: one that is cancelled at once never begins.
            task.add_done_callback(lambda _: self._calls.pop(stream))

    def _answer_instant(self, stream: HttpStream) -> None:
        """Answer in place once the whole request is here."""
        inbox = stream.inbox
        if not (inbox.ended or inbox.fault or stream.gone):
            return
        method, handler, telling = self._instants.pop(stream)
        fault = inbox.fault
        if stream.gone and telling is not None:
            telling.ended(Status.CANCELLED, _GIVEN_UP)
        if fault is None and not stream.gone:
            try:
                if len(inbox.ready) != 1:
                    raise RpcFault(Status.INTERNAL, "this method takes exactly one message")
                message = inbox.take()
                answer = handler.answer(message)
                if telling is not None:
                    telling.message("daemon", message)
                    telling.message("client", answer)
                stream.outbox.add(answer)
                self.connection.sending.activate(stream)
            except Exception as error:  # noqa: BLE001 - a border: every exception becomes a status
                fault = self._fault_of(method, error)
        self._finish(stream, fault, telling)

    def _begin_telling(self, path: str, request: Request) -> tap.Telling | None:
        place = self._stream if isinstance(self._stream, KnowsItsSession) else None
        return tap.begin_telling(
            "daemon",
            path,
            request.metadata,
            endpoint="" if place is None else place.address,
            session_id=None if place is None else place.session_id,
        )

    # ---------------------------------------------------------------------------- calls

    async def _run(
        self, call: ServedCall, stream: HttpStream, handler: Handler, timeout_s: float | None
    ) -> None:
        fault: RpcFault | None = None
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                await handler(call if call.telling is None else TappedCall(call, call.telling))
        except asyncio.CancelledError:
            if stream.gone or self._leaving:
                raise
            fault = RpcFault(Status.CANCELLED, "the handler was cancelled")
        except Exception as error:  # noqa: BLE001 - a border: every exception becomes a status
            if isinstance(error, TimeoutError) and deadline.expired():
                fault = RpcFault(Status.DEADLINE_EXCEEDED, f"no answer within {timeout_s:g} s")
            else:
                fault = self._fault_of(call.method, error)
        finally:
            self._close_call(stream, call)
        self._finish(stream, fault, call.telling)

    def _fault_of(self, method: str, error: Exception) -> RpcFault:
        if isinstance(error, RpcFault):
            return error
        if isinstance(error, ExceptionGroup):  # of a handler with a TaskGroup
            expected, unexpected = error.split(RpcFault)
            if expected is not None and unexpected is None:
                first: BaseException = expected
                while isinstance(first, BaseExceptionGroup):
                    first = first.exceptions[0]
                assert isinstance(first, RpcFault)
                return first
        self._server.on_unexpected(method, error)
        return RpcFault(Status.INTERNAL, f"{method} failed with {type(error).__name__}")

    def _finish(
        self, stream: HttpStream, fault: RpcFault | None, telling: tap.Telling | None = None
    ) -> None:
        if telling is not None:
            telling.finished(fault)
        if fault is None:
            self.connection.finish(stream, _OK_FIELDS, ok=True)
        else:
            self.connection.finish(stream, end_fields(fault.status, fault.message), ok=False)
        self.wake_writer()

    def _close_call(self, stream: HttpStream, call: ServedCall) -> None:
        call.close()
        if stream in self._producers:
            self._producers.pop(stream).set()

    def close(self) -> None:
        """End every call; their tasks may still have to clean up."""
        self._leaving = True
        for stream, (call, task) in list(self._calls.items()):
            task.cancel()
            self._close_call(stream, call)
            if call.telling is not None:
                call.telling.ended(Status.CANCELLED, "the session has ended")

    # -------------------------------------------------------------------------- writing

    async def write(self) -> None:
        """Write batches as long as there is something to say and the peer takes it."""
        while True:
            leaving = self._leaving
            pieces = self.connection.sending.gather()
            self._gathered.set()
            self._release_producers()
            if pieces:
                await self._stream.write(pieces)
            if leaving:
                return
            if not pieces:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
                # One turn, so that what the handlers say to what was just read goes out with it.
                await asyncio.sleep(0)

    def wake_writer(self) -> None:
        """Let the writer run if it has something to do."""
        idle = self._idle
        if idle is not None and self.connection.sending.has_output and not idle.done():
            idle.set_result(None)

    async def say_goodbye(self, writer: asyncio.Task[None]) -> None:
        """Give the writer a moment for what is left, GOAWAY above all."""
        self.close()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        await asyncio.wait([writer], timeout=GOODBYE_S)

    # --------------------------------------------------------------------- back-pressure

    def is_link_full(self) -> bool:
        """Whether the network holds up what was written; False when that is not known."""
        return isinstance(self._stream, KnowsItsLink) and self._stream.is_link_full()

    def is_full(self, stream: HttpStream, mark_bytes: int = HIGH_WATER_BYTES) -> bool:
        """Whether a producer should wait: its own queue is long, or all together are."""
        n_bytes = stream.outbox.n_bytes
        return n_bytes >= mark_bytes or (
            n_bytes > FRAME_BYTES and self.connection.tally.queued_bytes > ALL_STREAMS_BYTES
        )

    async def room_in(self, stream: HttpStream) -> None:
        """Wait until a stream's queue is below the low-water mark, or the stream has ended."""
        await self._producers.setdefault(stream, asyncio.Event()).wait()

    def _release_producers(self) -> None:
        free = [s for s in self._producers if not self.is_full(s, LOW_WATER_BYTES)]
        for stream in free:
            self._producers.pop(stream).set()


def _ended() -> RpcFault:
    return RpcFault(Status.CANCELLED, "the call has ended")
