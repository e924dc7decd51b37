"""The client's half of a connection alone: no event loop, bytes in and bytes out."""

from struct import pack

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from depotlab._rpc import RpcFailed, Status
from depotlab._rpc.answers import request_block
from depotlab._rpc.frames import frame
from depotlab._rpc.http2client import WINDOW_BYTES, ClientConnection
from depotlab.errors import ProtocolError
from tests.support.rpc_peers import relaxed

# hypothesis itself compares the bytes and the numbers that it drew, which -bb makes an error.
pytestmark = pytest.mark.filterwarnings("ignore:Comparison between bytes and int:BytesWarning")

BLOCK = request_block("/a.B/C", scheme="http", authority="localhost", metadata=[("k", "v")])
SETTINGS = frame(4, 0, 0, b"")
BEGIN = [(":status", "200"), ("content-type", "application/grpc")]
END = [("grpc-status", "0")]


def headers(stream_id, fields, *, flags=4):
    return frame(1, flags, stream_id, Encoder().encode(fields))


def greeted(*, window_bytes=65535):
    connection = ClientConnection()
    connection.take_control()
    connection.receive(frame(4, 0, 0, pack(">HL", 4, window_bytes)))
    connection.take_control()
    return connection


def opened(**options):
    """A connection whose first call has begun on both sides."""
    connection = greeted(**options)
    connection.open(BLOCK)
    connection.take_control()
    connection.receive(headers(1, BEGIN))
    return connection


def body(pieces):
    return b"".join(pieces)


def receive_cut(connection, data, size):
    return b"".join(
        body(connection.receive(data[at : at + size])) for at in range(0, len(data), size)
    )


def control(connection):
    """Take what goes out apart: (type, flags, stream, payload)."""
    data, at, out = b"".join(connection.take_control()), 0, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 3])
        payload = data[at + 9 : at + 9 + length]
        out.append((data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9]), payload))
        at += 9 + length
    return out


class H2Server:
    """The other end, on the `h2` package."""

    def __init__(self, *, window_bytes=65535):
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window_bytes},
        )
        self.h2.initiate_connection()
        self.data = bytearray()
        self.events = []

    def take(self, pieces):
        for event in self.h2.receive_data(b"".join(pieces)):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                self.data += event.data

    def kinds(self):
        return [type(event).__name__ for event in self.events]


# --------------------------------------------------------------------------------------- greeting


def test_what_we_say_first_is_understood_and_opens_large_windows():
    server, connection = H2Server(), ClientConnection()
    server.take(connection.take_control())
    connection.receive(server.h2.data_to_send())
    server.take(connection.take_control())
    assert server.h2.remote_settings.initial_window_size == WINDOW_BYTES
    assert server.h2.remote_settings.enable_push == 0
    assert server.h2.outbound_flow_control_window == WINDOW_BYTES
    assert "SettingsAcknowledged" in server.kinds()


def test_a_call_and_the_next_one_reach_an_h2_server():
    server, connection = H2Server(), ClientConnection()
    for stream_id in (1, 3):
        connection.open(BLOCK)
        out = connection.take_control()
        connection.frame_pieces([b"ab", memoryview(b"cd")], 4, out)
        connection.leave_call()
        server.take(out + connection.take_control())
        requests = [e for e in server.events if isinstance(e, h2.events.RequestReceived)]
        assert requests[-1].stream_id == stream_id
        assert (b"k", b"v") in [tuple(field) for field in requests[-1].headers]
    assert server.data == b"abcdabcd"
    assert server.kinds().count("StreamReset") == 2


def test_an_answer_means_the_same_in_any_cut():
    @relaxed
    @given(st.lists(st.binary(min_size=1, max_size=400), max_size=6), st.integers(1, 60))
    def check(bodies, size):
        encoder = Encoder()
        wire = SETTINGS + frame(1, 4, 1, encoder.encode(BEGIN)) + frame(6, 0, 0, b"8 bytes!")
        for number, one in enumerate(bodies):
            padded = number % 2
            payload = bytes((3,)) + one + bytes(3) if padded else one
            wire += frame(0, 8 if padded else 0, 1, payload)
        wire += frame(1, 5, 1, encoder.encode(END))
        connection = ClientConnection()
        connection.open(BLOCK)
        assert receive_cut(connection, wire, size) == b"".join(bodies)
        assert connection.ended
        assert connection.failure is None

    check()


# ------------------------------------------------------------------------------------------ windows


def test_data_are_limited_by_the_smaller_window():
    connection = opened(window_bytes=100)
    assert connection.room_bytes == 100
    connection.frame_pieces([bytes(100)], 100, [])
    assert connection.room_bytes == 0
    connection.receive(frame(8, 0, 1, pack(">L", 1 << 20)))
    assert connection.room_bytes == 65535 - 100, "the connection's window counts too"
    connection.receive(frame(8, 0, 0, pack(">L", 1 << 20)))
    assert connection.room_bytes == 1 << 20


def test_a_smaller_setting_may_leave_less_than_nothing():
    connection = opened(window_bytes=1000)
    connection.frame_pieces([bytes(900)], 900, [])
    connection.receive(frame(4, 0, 0, pack(">HL", 4, 10)))
    assert connection.room_bytes == 10 - 900


def test_the_next_call_begins_with_the_window_that_the_peer_gives_by_then():
    connection = opened(window_bytes=1000)
    connection.frame_pieces([bytes(1000)], 1000, [])
    connection.receive(frame(4, 0, 0, pack(">HL", 4, 5000)))
    connection.leave_call()
    connection.open(BLOCK)
    assert connection.room_bytes == 5000


def test_windows_of_ours_are_given_back_when_half_is_used():
    connection = opened()
    data = frame(0, 0, 1, bytes(16_384))
    n_frames = WINDOW_BYTES // 2 // 16_384
    connection.receive(data * (n_frames - 1))
    assert control(connection) == []
    connection.receive(data)
    credit = pack(">L", WINDOW_BYTES // 2)
    assert control(connection) == [(8, 0, 0, credit), (8, 0, 1, credit)]


def test_padding_counts_in_the_windows():
    connection = opened()
    padded = frame(0, 8, 1, bytes((255,)) + bytes(255))
    connection.receive(padded * (WINDOW_BYTES // 2 // 256))
    assert [kind for kind, *_ in control(connection)] == [8, 8]


def test_pings_are_answered_in_order_before_any_data():
    connection = opened()
    connection.receive(b"".join(frame(6, 0, 0, b"ping %03d" % number) for number in range(3)))
    assert control(connection) == [(6, 1, 0, b"ping %03d" % number) for number in range(3)]


# --------------------------------------------------------------------------------------------- ends


def test_a_status_of_the_peer_comes_after_its_data():
    connection = opened()
    end = headers(1, [("grpc-status", "7"), ("grpc-message", "no")], flags=5)
    assert body(connection.receive(frame(0, 0, 1, b"last words") + end)) == b"last words"
    assert connection.ended
    assert isinstance(connection.failure, RpcFailed)
    assert (connection.failure.status, connection.failure.message) == (
        Status.PERMISSION_DENIED,
        "no",
    )


def test_an_answer_may_be_an_end_only():
    connection = greeted()
    connection.open(BLOCK)
    connection.receive(headers(1, [*BEGIN, ("grpc-status", "12")], flags=5))
    assert connection.failure is not None
    assert connection.failure.status is Status.UNIMPLEMENTED


def test_a_reset_ends_the_call_only():
    connection = opened()
    connection.receive(frame(3, 0, 1, pack(">L", 8)))
    assert connection.failure is not None
    assert connection.failure.status is Status.CANCELLED
    assert not connection.refuses
    connection.open(BLOCK)
    assert connection.failure is None
    assert control(connection)[0][2] == 3


@pytest.mark.parametrize(
    ("last_id", "code", "fails"),
    [
        pytest.param(1, 0, False, id="the call goes on"),
        pytest.param(0, 0, True, id="the peer never saw the call"),
        pytest.param(1, 11, True, id="an error"),
    ],
)
def test_after_goaway_no_call_begins(last_id, code, fails):
    connection = opened()
    connection.receive(frame(7, 0, 0, pack(">LL", last_id, code) + b"too_many_pings"))
    assert connection.refuses
    assert connection.ended is fails
    if fails:
        assert connection.failure is not None
        assert connection.failure.status is Status.UNAVAILABLE
        assert "too_many_pings" in connection.failure.message


def test_what_crosses_with_the_end_of_a_call_is_passed_over_by_the_next():
    connection = opened()
    connection.receive(frame(0, 0, 1, bytes(100))[:50])
    connection.leave_call()
    connection.open(BLOCK)
    late = (
        frame(0, 0, 1, bytes(100))[50:] + frame(0, 0, 1, b"late") + frame(8, 0, 1, bytes(3) + b"1")
    )
    late += headers(1, END, flags=5) + frame(3, 0, 1, bytes(4))
    assert body(connection.receive(late)) == b""
    assert not connection.ended
    assert not connection.answered
    connection.receive(headers(3, BEGIN))
    assert body(connection.receive(frame(0, 0, 3, b"new"))) == b"new"


def test_leaving_a_call_that_the_peer_has_ended_says_nothing():
    connection = opened()
    connection.receive(headers(1, END, flags=5))
    connection.leave_call()
    assert control(connection) == []


def test_leaving_half_closes_and_cancels_and_then_says_goodbye():
    connection = opened()
    connection.leave()
    assert [(kind, flags, stream) for kind, flags, stream, _ in control(connection)] == [
        (0, 1, 1),
        (3, 0, 1),
        (7, 0, 0),
    ]


# --------------------------------------------------------------------------------- peers that are wrong

WRONG = {
    "no settings first": frame(6, 0, 0, bytes(8)),
    "data before headers": SETTINGS + frame(0, 0, 1, b"x"),
    "data on a stream that we never opened": SETTINGS + headers(1, BEGIN) + frame(0, 0, 3, b"x"),
    "data on a stream of the peer's": SETTINGS + headers(1, BEGIN) + frame(0, 0, 2, b"x"),
    "headers on a stream of the peer's": SETTINGS + headers(2, BEGIN),
    "an end without a status": SETTINGS + headers(1, BEGIN) + frame(0, 1, 1, b""),
    "headers between messages": SETTINGS + headers(1, BEGIN) + headers(1, BEGIN),
    "an end whose status is no number": SETTINGS
    + headers(1, BEGIN)
    + headers(1, [("grpc-status", "x")], flags=5),
    "an answer without :status": SETTINGS + headers(1, END),
    "a name in upper case": SETTINGS + headers(1, [*BEGIN, ("Upper", "x")]),
    "a push": SETTINGS + frame(5, 4, 1, bytes(4)),
    "a window by nothing": SETTINGS + frame(8, 0, 0, bytes(4)),
    "a window by nothing on the stream": SETTINGS + frame(8, 0, 1, bytes(4)),
    "a window on a stream that is not open": SETTINGS + frame(8, 0, 9, pack(">L", 1)),
    "a window that is too large": SETTINGS + frame(8, 0, 0, pack(">L", (1 << 31) - 1)),
    "a stream's window that is too large": SETTINGS + frame(8, 0, 1, pack(">L", (1 << 31) - 1)),
    "an initial window that is too large": frame(4, 0, 0, pack(">HL", 4, 1 << 31)),
    "a reset of a stream that is not open": SETTINGS + frame(3, 0, 5, bytes(4)),
    "a reset that is too short": SETTINGS + frame(3, 0, 1, bytes(3)),
    "a goaway that is too short": SETTINGS + frame(7, 0, 0, bytes(7)),
    "settings that are cut": frame(4, 0, 0, bytes(5)),
    "a header block that is interrupted": SETTINGS + headers(1, BEGIN, flags=0) + SETTINGS,
    "a frame that is all padding": SETTINGS + headers(1, BEGIN) + frame(0, 8, 1, b"\x05x"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_peer_that_breaks_a_rule_is_told_so(wrong):
    for size in (1, len(wrong)):
        connection = ClientConnection()
        connection.open(BLOCK)
        connection.take_control()
        with pytest.raises(ProtocolError, match="broke a rule of HTTP/2"):
            receive_cut(connection, wrong, size)
        assert control(connection)[-1][0] == 7, "GOAWAY says why"


def test_a_peer_that_exceeds_our_window_is_told_so(monkeypatch):
    monkeypatch.setattr("depotlab._rpc.http2client.WINDOW_BYTES", 100_000)
    connection = opened()
    connection._uncredited_bytes = 90_000  # as if credit for it had been held back
    with pytest.raises(ProtocolError, match="FLOW_CONTROL_ERROR"):
        connection.receive(frame(0, 0, 1, bytes(16_000)))


def test_nothing_may_be_said_on_a_stream_before_there_is_a_call():
    connection = greeted()
    with pytest.raises(ProtocolError):
        connection.receive(headers(1, BEGIN))


@relaxed
@given(st.binary(max_size=200), st.integers(1, 50))
def test_random_bytes_are_a_typed_error_or_nothing(noise, size):
    connection = ClientConnection()
    connection.open(BLOCK)
    connection.take_control()
    try:
        connection.receive(SETTINGS)
        receive_cut(connection, noise, size)
    except ProtocolError:
        assert control(connection)[-1][0] == 7
