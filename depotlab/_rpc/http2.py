"""The server's half of one HTTP/2 connection, without I/O: bytes in, events out. `sending.py` has bytes out.

The peer (the daemon) is the client. It speaks first, with a fixed preface and its SETTINGS; ours may go out
before they arrive. Then it opens odd-numbered streams by HEADERS and fills them with DATA; we answer with
HEADERS, DATA, HEADERS. When it breaks a rule we reset the stream, or end the connection with GOAWAY.

For speed, all that a burst brings to a stream is one event. What is not the server's alone is in `wire.py`.

Windows of ours: a stream gets credit back as its handler takes messages, so a handler that does not read
stops the peer. The connection gets credit back at once, or else one such handler would stop the health
answers too, unless too much waits in all streams together. A handler that waits for the rest of a message
gives credit for the part that is here, because a message may be larger than a window.

Source: RFC 9113.
"""

from __future__ import annotations

from depotlab._rpc.call import Status
from depotlab._rpc.frames import (
    DEFAULT_WINDOW_BYTES,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    PREFACE,
    SETTING,
    SETTINGS,
    UINT32,
    WINDOW_LIMIT_BYTES,
    WINDOW_UPDATE,
    ErrorCode,
)
from depotlab._rpc.framing import Tally
from depotlab._rpc.headers import Headers
from depotlab._rpc.sending import Sending
from depotlab._rpc.streams import (
    BodyArrived,
    Event,
    HeadersArrived,
    HttpStream,
    Limits,
    StreamReset,
)
from depotlab._rpc.wire import FrameReader, code_name
from depotlab.errors import ProtocolError

__all__ = ["Connection"]


class Connection(FrameReader):
    """The state of one connection.

    Attributes:
        streams: Those that are open, by number.
        sending: What waits to be sent.
        tally: What all streams hold.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits = limits or Limits()
        super().__init__(header_list_bytes=limits.header_list_bytes)
        self.tally = Tally()
        self.streams: dict[int, HttpStream] = {}
        # Incoming.
        self._preface_missing = PREFACE
        self._data_stream: HttpStream | None = None  # of the current DATA frame
        self._data_ends = False
        self._uncredited_bytes = 0
        self._half_window_bytes = max(limits.window_bytes // 2, 1)
        # Until the peer has read our SETTINGS it rightly uses the default.
        self._tolerated_bytes = max(limits.window_bytes, DEFAULT_WINDOW_BYTES)
        self._events: list[Event] = []
        self._touched: set[HttpStream] = set()
        # Outgoing.
        self.sending = Sending(self._forget)
        self._greet()

    def _push(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self.sending.push(kind, flags, stream_id, payload)

    def _greet(self) -> None:
        limits = self._limits
        settings = (
            (MAX_CONCURRENT_STREAMS, limits.n_streams),
            (INITIAL_WINDOW_SIZE, limits.window_bytes),
            (MAX_HEADER_LIST_SIZE, limits.header_list_bytes),
        )
        self._push(SETTINGS, 0, 0, b"".join(SETTING.pack(*pair) for pair in settings))
        if limits.window_bytes > DEFAULT_WINDOW_BYTES:
            growth = limits.window_bytes - DEFAULT_WINDOW_BYTES
            self._push(WINDOW_UPDATE, 0, 0, UINT32.pack(growth))

    # ------------------------------------------------------------------------------ incoming

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer, cut anywhere, and return what they mean.

        Raises:
            ProtocolError: The connection is over; a GOAWAY that says why waits in `sending`.
        """
        events: list[Event] = []
        self._events = events
        self._touched.clear()
        if self._preface_missing:
            data = self._cut_preface(data)
        self._parse(data)
        return events

    def _cut_preface(self, data: bytes) -> bytes:
        expected = self._preface_missing[: len(data)]
        if data[: len(expected)] != expected:
            self._fail(ErrorCode.PROTOCOL_ERROR, f"this is not HTTP/2: {data[:40]!r}")
        self._preface_missing = self._preface_missing[len(expected) :]
        return data[len(expected) :]

    def _begin_data(self, flags: int, stream_id: int, length: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id, "DATA")
        elif stream.inbox.ended:
            self._refuse(stream, ErrorCode.STREAM_CLOSED)
            stream = None
        self._data_stream = stream
        self._data_missing = length
        self._data_ends = bool(flags & END_STREAM)
        if not length:
            self._end_data()

    def _take_data(self, data: bytes, at: int, end: int) -> None:
        self._data_missing -= end - at
        self._take_run(data, [(at, end)], end - at)

    def _take_run(self, data: bytes, spans: list[tuple[int, int]], n_bytes: int) -> None:
        stream = self._data_stream
        if stream is not None and not stream.gone:
            stream.inbox.feed_run(data, spans)
        self._count_received(stream, n_bytes)  # gives no credit for what is unread by now
        if stream is not None and not stream.gone:
            inbox = stream.inbox
            if self.tally.partial_bytes > self._limits.partial_bytes and inbox.partial_bytes:
                inbox.fail(Status.RESOURCE_EXHAUSTED, "too many large messages at once")
            if inbox.has_arrived or inbox.fault is not None:
                self._touch(stream)
            elif stream.hungry:
                self._give_credit(stream)
        if not self._data_missing:
            self._end_data()

    def _end_data(self) -> None:
        stream = self._data_stream
        if self._data_ends and stream is not None and not stream.gone:
            stream.inbox.end()
            self._touch(stream)
        self._data_stream = None

    def _take_padding(self, n_bytes: int) -> None:
        self._count_received(self._data_stream, n_bytes)  # nobody will ever take it

    def _count_received(self, stream: HttpStream | None, n_bytes: int) -> None:
        self._uncredited_bytes += n_bytes
        if self._uncredited_bytes > self._tolerated_bytes:
            self._fail(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is exceeded")
        if self._uncredited_bytes >= self._half_window_bytes:
            self._give_connection_credit()
        if stream is not None and not stream.gone:
            stream.uncredited_bytes += n_bytes
            if stream.uncredited_bytes > self._tolerated_bytes:
                self._refuse(stream, ErrorCode.FLOW_CONTROL_ERROR)

    def _check_opener(self, stream_id: int) -> None:
        if not stream_id & 1:
            self._fail(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}")

    def _take_block(self, stream_id: int, headers: Headers) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:  # trailers; gRPC gives them no meaning in a request
            if stream.inbox.ended or not self._block_ends:
                self._refuse(stream, ErrorCode.PROTOCOL_ERROR)
            else:
                stream.inbox.end()
                self._touch(stream)
        elif stream_id > self._last_id:
            self._last_id = stream_id
            if len(self.streams) >= self._limits.n_streams:
                self.sending.push_reset(stream_id, ErrorCode.REFUSED_STREAM)
                return
            stream = HttpStream(stream_id, self.tally, self.sending.peer_window, self._limits)
            self.streams[stream_id] = stream
            self._events.append(HeadersArrived(stream, headers))
            if self._block_ends:
                stream.inbox.end()
                self._touch(stream)

    def _take_peer_window(self, window_bytes: int) -> None:
        growth = window_bytes - self.sending.peer_window
        self.sending.peer_window = window_bytes
        for stream in list(self.streams.values()):
            self._grow_window(stream, growth)

    def _take_goaway(self, last_id: int, code: int, text: str) -> None:
        # With NO_ERROR the peer only says that it opens no more streams; the end comes by itself.
        if code != ErrorCode.NO_ERROR:
            reason = f"{code_name(code)} {text}".strip()
            raise ProtocolError(f"The daemon ended the session's connection: {reason}")

    def _take_reset(self, stream_id: int, code: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id, "RST_STREAM")
        else:
            self._forget(stream)
            self._events.append(StreamReset(stream))

    def _take_credit(self, stream_id: int, growth: int) -> None:
        if stream_id == 0:
            if not growth:
                self._fail(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            self.sending.window += growth
            if self.sending.window > WINDOW_LIMIT_BYTES:
                self._fail(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id, "WINDOW_UPDATE")
        elif not growth:
            self._refuse(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            self._grow_window(stream, growth)

    def _grow_window(self, stream: HttpStream, growth: int) -> None:
        stream.send_window += growth
        if stream.send_window > WINDOW_LIMIT_BYTES:
            self._refuse(stream, ErrorCode.FLOW_CONTROL_ERROR)
        elif stream.outbox.n_bytes:
            self.sending.activate(stream)

    def _check_not_idle(self, stream_id: int, name: str) -> None:
        """Streams that were open are forgotten; what still arrives for them is ignored."""
        if not stream_id & 1 or stream_id > self._last_id:
            self._fail(ErrorCode.PROTOCOL_ERROR, f"{name} on stream {stream_id}, which is not open")

    def _touch(self, stream: HttpStream) -> None:
        if stream not in self._touched:
            self._touched.add(stream)
            self._events.append(BodyArrived(stream))

    # -------------------------------------------------------------------- what handlers do

    def take(self, stream: HttpStream) -> bytes:
        """Take the oldest message of an inbox that has one, and give credit for it."""
        stream.hungry = False
        body = stream.inbox.take()
        self._give_credit(stream)
        return body

    def take_all(self, stream: HttpStream) -> list[bytes]:
        """Take the messages of an inbox, and give credit for them."""
        stream.hungry = False
        bodies = stream.inbox.take_all()
        self._give_credit(stream)
        return bodies

    def take_pieces(self, stream: HttpStream) -> list[memoryview]:
        """Take what has come to an inbox that keeps pieces, and give credit for it."""
        stream.hungry = False
        pieces = stream.inbox.take_pieces()
        self._give_credit(stream)
        return pieces

    def wait(self, stream: HttpStream) -> None:
        """Note that a handler waits for a message and has taken all that are whole."""
        stream.hungry = True
        self._give_credit(stream)

    def finish(self, stream: HttpStream, end_fields: bytes, *, ok: bool) -> None:
        """End a stream: what is queued goes out, then the last header block."""
        if stream.gone:
            return
        # Nobody reads any more. A call that succeeds has two header blocks even if it has no message;
        # one that fails at once has one (gRPC calls it Trailers-Only).
        stream.inbox.discard()
        stream.inbox.fail(Status.CANCELLED, "the call has ended")
        if ok:
            self.sending.answer(stream)
        self.sending.finish(stream, end_fields)

    def answer_http(self, stream: HttpStream, fields: bytes) -> None:
        """Answer with one header block that is no gRPC."""
        stream.answered = True
        self.sending.finish(stream, fields)

    def reset(self, stream: HttpStream, code: ErrorCode) -> None:
        """End a stream now."""
        if not stream.gone:
            self.sending.push_reset(stream.id, code)
            self._forget(stream)

    def _refuse(self, stream: HttpStream, code: ErrorCode) -> None:
        self.reset(stream, code)
        self._events.append(StreamReset(stream))

    def _forget(self, stream: HttpStream) -> None:
        stream.gone = True
        stream.inbox.discard()
        stream.outbox.discard()
        del self.streams[stream.id]
        self._give_connection_credit()

    def _give_credit(self, stream: HttpStream) -> None:
        inbox = stream.inbox
        held = 0 if stream.hungry else inbox.unread_bytes + inbox.partial_bytes
        free = stream.uncredited_bytes - held
        if free >= self._half_window_bytes and not (inbox.ended or stream.gone):
            stream.uncredited_bytes -= free
            self._push(WINDOW_UPDATE, 0, stream.id, UINT32.pack(free))
        self._give_connection_credit()

    def _give_connection_credit(self) -> None:
        if (
            self._uncredited_bytes >= self._half_window_bytes
            and self.tally.unread_bytes <= self._limits.unread_bytes
        ):
            self._push(WINDOW_UPDATE, 0, 0, UINT32.pack(self._uncredited_bytes))
            self._uncredited_bytes = 0
