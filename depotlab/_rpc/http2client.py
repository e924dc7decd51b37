"""The client's half of an HTTP/2 connection that carries one call at a time, without I/O.

We speak first: the preface, SETTINGS, and a window for the whole connection, before the peer has said anything
and before there is a call, so that a connection can wait until it is needed. `open` sends the header block of
the next odd stream. The answer is HEADERS, DATA and a last block of HEADERS with the status, or only that last
block. When a call is over the next one may begin; what still comes for an older one is passed over.

Windows of ours are large from the start, since growing one costs round trips on a long link. They are given back
when half is used: what `receive` returns counts as taken. The peer's windows begin small and grow with what it
measures between a PING of its own and our answer, so answers go out before any data.

Source: RFC 9113; grpc/grpc `doc/PROTOCOL-HTTP2.md`.
"""

from __future__ import annotations

from collections.abc import Iterable

from depotlab._rpc.answers import parse_answer, parse_end, reset_failure
from depotlab._rpc.call import Status
from depotlab._rpc.failed import RpcFailed
from depotlab._rpc.fields import Malformed
from depotlab._rpc.frames import (
    DATA,
    DEFAULT_WINDOW_BYTES,
    ENABLE_PUSH,
    END_STREAM,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    MAX_HEADER_LIST_SIZE,
    PREFACE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    TWO_UINT32,
    UINT32,
    WINDOW_LIMIT_BYTES,
    WINDOW_UPDATE,
    ErrorCode,
    block_frames,
    data_frames,
    frame,
)
from depotlab._rpc.headers import NO_TABLE, Headers
from depotlab._rpc.wire import FrameReader, code_name

__all__ = ["ClientConnection"]

WINDOW_BYTES = 16 << 20
HEADER_LIST_BYTES = 16 << 20  # of an answer, whose error details may be large


class ClientConnection(FrameReader):
    """The state of one connection and of its call.

    Attributes:
        answered: The first header block of the answer is here.
        headers: That block.
        ended: There is no call, or the peer has sent all of its side.
        failure: Why the call did not end well; it comes after the bytes that arrived before it.
        refuses: The peer takes no more calls.
    """

    def __init__(self) -> None:
        super().__init__(header_list_bytes=HEADER_LIST_BYTES)
        self.answered = False
        self.headers: Headers = []
        self.ended = True
        self.failure: RpcFailed | None = None
        self.refuses = False
        self._id = -1  # of the call's stream; older ones are over
        self._said_all = False  # our side of the call has ended
        self._control: list[bytes | memoryview] = []
        self._window = DEFAULT_WINDOW_BYTES  # what the peer takes on the connection
        self._stream_window = 0  # and on the call's stream
        self._peer_window = DEFAULT_WINDOW_BYTES  # with what its streams begin
        self._uncredited_bytes = 0  # of the connection
        self._stream_uncredited_bytes = 0
        self._data_wanted = False  # the current DATA frame belongs to the call
        self._taken: list[memoryview] = []
        settings = (
            (ENABLE_PUSH, 0),
            (INITIAL_WINDOW_SIZE, WINDOW_BYTES),
            (MAX_HEADER_LIST_SIZE, HEADER_LIST_BYTES),
        )
        self._control.append(PREFACE)
        self._push(SETTINGS, 0, 0, b"".join(SETTING.pack(*pair) for pair in settings))
        self._push(WINDOW_UPDATE, 0, 0, UINT32.pack(WINDOW_BYTES - DEFAULT_WINDOW_BYTES))

    # ---------------------------------------------------------------------------------- sending

    @property
    def has_control(self) -> bool:
        """Whether `take_control` would return something."""
        return bool(self._control)

    @property
    def room_bytes(self) -> int:
        """How many bytes `frame_pieces` may take; 0 or less is none."""
        return min(self._window, self._stream_window)

    def take_control(self) -> list[bytes | memoryview]:
        """Return what must go out before any data, in order."""
        control, self._control = self._control, []
        return control

    def open(self, block: bytes) -> None:
        """Begin a call with an encoded header block; the one before must be over."""
        first = self._id < 0
        self._id += 2
        self.answered = self.ended = self._said_all = False
        self.headers = []
        self.failure = None
        self._stream_window = self._peer_window
        self._stream_uncredited_bytes = 0
        self._control.append(
            block_frames(self._id, NO_TABLE + block if first else block, ends=False)
        )

    def ask(self, message: bytes) -> None:
        """Send the one message of the call that was begun: with its prefix, and shorter than any first window."""
        self._window -= len(message)
        self._stream_window -= len(message)
        self._push(DATA, END_STREAM, self._id, message)
        self._said_all = True

    def frame_pieces(
        self, pieces: Iterable[bytes | memoryview], n_bytes: int, into: list[bytes | memoryview]
    ) -> None:
        """Make frames of pieces that have `n_bytes`, not more than there is room for."""
        self._window -= n_bytes
        self._stream_window -= n_bytes
        data_frames(pieces, n_bytes, self._id, into)

    def leave_call(self) -> None:
        """End our side of the call, and cancel it if the peer has not ended its own."""
        if not self.ended:
            if not self._said_all:
                self._push(DATA, END_STREAM, self._id, b"")
            self._push(RST_STREAM, 0, self._id, UINT32.pack(ErrorCode.CANCEL))
        self.ended = True
        self._data_wanted = False  # what is left of a frame that is arriving

    def leave(self) -> None:
        """Say that we are gone."""
        self.leave_call()
        self._push(GOAWAY, 0, 0, TWO_UINT32.pack(0, ErrorCode.NO_ERROR))
        self.refuses = True

    def _push(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.append(frame(kind, flags, stream_id, payload))

    # -------------------------------------------------------------------------------- receiving

    def receive(self, data: bytes) -> list[memoryview]:
        """Take bytes from the peer, cut anywhere; return the bytes of messages in them, in order.

        Raises:
            ProtocolError: The connection is over; a GOAWAY that says why waits in `take_control`.
        """
        taken: list[memoryview] = []
        self._taken = taken
        self._parse(data)
        return taken

    def _begin_data(self, flags: int, stream_id: int, length: int) -> None:
        self._data_wanted = self._is_ours(stream_id, "DATA")
        if self._data_wanted:
            if not self.answered:
                self._fail(ErrorCode.PROTOCOL_ERROR, "DATA comes before HEADERS")
            if flags & END_STREAM:
                self._fail(ErrorCode.PROTOCOL_ERROR, "the answer ends without a status")
        self._data_missing = length

    def _take_data(self, data: bytes, at: int, end: int) -> None:
        self._data_missing -= end - at
        self._take_padding(end - at)
        if self._data_wanted:
            self._taken.append(memoryview(data)[at:end])

    def _take_run(self, data: bytes, spans: list[tuple[int, int]], n_bytes: int) -> None:
        self._take_padding(n_bytes)
        if self._data_wanted:
            view = memoryview(data)
            self._taken += [view[start:stop] for start, stop in spans]

    def _take_padding(self, n_bytes: int) -> None:
        self._uncredited_bytes += n_bytes
        if self._uncredited_bytes > WINDOW_BYTES:
            self._fail(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is exceeded")
        if self._uncredited_bytes >= WINDOW_BYTES // 2:
            self._push(WINDOW_UPDATE, 0, 0, UINT32.pack(self._uncredited_bytes))
            self._uncredited_bytes = 0
        if self._data_wanted:
            self._stream_uncredited_bytes += n_bytes
            if self._stream_uncredited_bytes >= WINDOW_BYTES // 2:
                credit = UINT32.pack(self._stream_uncredited_bytes)
                self._push(WINDOW_UPDATE, 0, self._id, credit)
                self._stream_uncredited_bytes = 0

    def _is_ours(self, stream_id: int, name: str) -> bool:
        """Whether a frame belongs to the call; False for what crossed with the end of one."""
        if not stream_id & 1 or stream_id > self._id:
            self._fail(ErrorCode.PROTOCOL_ERROR, f"{name} on stream {stream_id}, which is not open")
        return stream_id == self._id and not self.ended

    def _check_opener(self, stream_id: int) -> None:
        self._is_ours(stream_id, "HEADERS")

    def _take_block(self, stream_id: int, headers: Headers) -> None:
        if not self._is_ours(stream_id, "HEADERS"):
            return
        try:
            if not self.answered:
                self.answered = True
                self.headers = headers
                failure = parse_answer(headers)
                if failure is not None:
                    self._finish(failure)
                elif self._block_ends:
                    self._finish(parse_end(headers))
            elif self._block_ends:
                self._finish(parse_end(headers))
            else:
                self._fail(ErrorCode.PROTOCOL_ERROR, "a header block comes between messages")
        except Malformed as error:
            self._fail(ErrorCode.PROTOCOL_ERROR, str(error))

    def _take_reset(self, stream_id: int, code: int) -> None:
        if self._is_ours(stream_id, "RST_STREAM"):
            self._finish(reset_failure(code, code_name(code)))

    def _take_credit(self, stream_id: int, growth: int) -> None:
        if stream_id and not self._is_ours(stream_id, "WINDOW_UPDATE"):
            return
        if not growth:
            self._fail(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        if stream_id:
            self._grow_stream_window(growth)
            return
        self._window += growth
        if self._window > WINDOW_LIMIT_BYTES:
            self._fail(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")

    def _take_peer_window(self, window_bytes: int) -> None:
        growth = window_bytes - self._peer_window
        self._peer_window = window_bytes
        self._grow_stream_window(growth)

    def _grow_stream_window(self, growth: int) -> None:
        self._stream_window += growth
        if self._stream_window > WINDOW_LIMIT_BYTES:
            self._fail(ErrorCode.FLOW_CONTROL_ERROR, "the window of the stream is too large")

    def _take_goaway(self, last_id: int, code: int, text: str) -> None:
        self.refuses = True
        # With NO_ERROR a call that has begun goes on, unless the peer never saw it.
        if not self.ended and (code != ErrorCode.NO_ERROR or last_id < self._id):
            reason = f"the daemon ended the connection: {code_name(code)} {text}".strip()
            self._finish(RpcFailed(Status.UNAVAILABLE, reason))

    def _finish(self, failure: RpcFailed | None) -> None:
        self.ended = True
        self.failure = failure
