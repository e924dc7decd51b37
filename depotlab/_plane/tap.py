"""Reads along what a client says to its daemon, without touching it: which builds does it start?

HTTP/2 stays between client and daemon. The tap is given the same bytes, follows the frames and the header table
(HPACK has a state, so every header block has to be read), and puts the request of each `Control/Solve` together;
data of other streams are passed over. A client that breaks the rules that the tap needs is cut off by the gate: the
daemon would not bear it either, and no build goes by unseen.
Source: RFC 9113; moby/buildkit api/services/control/control.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from depotlab._proto import control_pb2
from depotlab._rpc import (
    PREFACE,
    ErrorCode,
    FrameReader,
    Headers,
    Inbox,
    Malformed,
    NotGrpc,
    RpcFault,
    Tally,
    parse_request,
)

SOLVE = "/moby.buildkit.v1.Control/Solve"

# What grpc-go accepts. Source: grpc/grpc-go internal/transport/defaults.go, defaultServerMaxHeaderListSize.
_HEADER_LIST_BYTES = 16 << 20
# What buildkitd accepts. Source: moby/buildkit util/appdefaults, defaults.DefaultMaxRecvMsgSize.
_SOLVE_LIMIT_BYTES = 16 << 20
# Of all requests that a connection has begun and not ended.
_HELD_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Solve:
    """A build that a client starts.

    Attributes:
        stream_id: Of its call.
        ref: The name that it gave to the build.
    """

    stream_id: int
    ref: str


class Tap(FrameReader):
    """What one client says, on one connection.

    Attributes:
        n_calls: Calls of any kind that were begun.
    """

    def __init__(self) -> None:
        super().__init__(header_list_bytes=_HEADER_LIST_BYTES)
        self.n_calls = 0
        self._preface: bytes | None = b""  # what has come of it; None when all has
        self._tally = Tally()
        self._requests: dict[int, Inbox] = {}
        self._current: Inbox | None = None  # of the DATA frame that has begun
        self._current_id = 0
        self._found: list[Solve] = []

    def feed(self, data: bytes) -> Sequence[Solve]:
        """Take the next bytes, cut anywhere; return the builds whose requests are whole now.

        Raises:
            ProtocolError: These are not the bytes of a client.
        """
        if self._preface is not None:
            seen = self._preface + data
            if not seen.startswith(PREFACE[: len(seen)]):
                self._fail(ErrorCode.PROTOCOL_ERROR, "it does not begin as HTTP/2 does")
            if len(seen) < len(PREFACE):
                self._preface = seen
                return ()
            self._preface = None
            data = seen[len(PREFACE) :]
        self._parse(data)
        found, self._found = self._found, []
        return found

    # --------------------------------------------------------------------- what FrameReader asks

    def _push(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """We are not there: the daemon answers."""

    def _check_opener(self, stream_id: int) -> None:
        """Trailers come on a stream that is open, and the daemon judges the rest."""

    def _take_block(self, stream_id: int, headers: Headers) -> None:
        if stream_id <= self._last_id:  # trailers
            self._requests.pop(stream_id, None)
            return
        self._last_id = stream_id
        self.n_calls += 1
        try:
            request = parse_request(headers)
        except (Malformed, NotGrpc):
            return  # no call; the daemon says so
        if request.path == SOLVE:
            inbox = self._requests[stream_id] = Inbox(self._tally, limit_bytes=_SOLVE_LIMIT_BYTES)
            inbox.gzip = request.gzip

    def _begin_data(self, flags: int, stream_id: int, length: int) -> None:
        self._data_missing = length
        self._current = self._requests.get(stream_id)
        self._current_id = stream_id

    def _take_data(self, data: bytes, at: int, end: int) -> None:
        self._data_missing -= end - at
        self._read_on(data, at, end)

    def _take_run(self, data: bytes, spans: list[tuple[int, int]], n_bytes: int) -> None:
        if self._current is not None:
            for at, end in spans:
                self._read_on(data, at, end)

    def _read_on(self, data: bytes, at: int, end: int) -> None:
        inbox = self._current
        if inbox is None:
            return
        inbox.feed(data, at, end)
        if self._tally.partial_bytes > _HELD_LIMIT_BYTES:
            self._fail(ErrorCode.ENHANCE_YOUR_CALM, "it begins too many large requests")
        if inbox.fault is not None:
            self._requests.pop(self._current_id).discard()
            self._current = None
        elif inbox.ready:
            self._requests.pop(self._current_id)
            self._current = None
            self._take_solve(inbox)

    def _take_solve(self, inbox: Inbox) -> None:
        try:
            ref = control_pb2.SolveRequest.FromString(inbox.take()).Ref
        except (RpcFault, DecodeError):
            return  # no request; the daemon says so
        finally:
            inbox.discard()
        self._found.append(Solve(self._current_id, ref))

    def _take_padding(self, n_bytes: int) -> None:
        """Windows are not ours."""

    def _take_reset(self, stream_id: int, code: int) -> None:
        inbox = self._requests.pop(stream_id, None)
        if inbox is not None:
            inbox.discard()
            if self._current is inbox:
                self._current = None

    def _take_credit(self, stream_id: int, growth: int) -> None:
        """Windows are not ours."""

    def _take_peer_window(self, window_bytes: int) -> None:
        """Windows are not ours."""

    def _take_goaway(self, last_id: int, code: int, text: str) -> None:
        """The daemon hears it too."""
