"""The connection state alone: no event loop, bytes in and bytes out."""

import contextlib
import itertools
from struct import pack

import h2.config
import h2.connection
import h2.events
import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from depotlab._rpc.call import Status
from depotlab._rpc.fields import end_fields
from depotlab._rpc.frames import FRAME_BYTES, PREFACE, frame
from depotlab._rpc.http2 import Connection
from depotlab._rpc.sending import BATCH_BYTES, DATA_BYTES
from depotlab._rpc.streams import BodyArrived, HeadersArrived, Limits, StreamReset
from depotlab.errors import ProtocolError
from tests.support.rpc_peers import message, relaxed, split_messages

# hypothesis itself compares the bytes and the numbers that it drew, which -bb makes an error.
pytestmark = pytest.mark.filterwarnings("ignore:Comparison between bytes and int:BytesWarning")

OK = end_fields(Status.OK)
REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", "/a.B/C"),
]
HELLO = PREFACE + frame(4, 0, 0, b"")


def headers_frame(stream_id, *, flags=4, encoder=None):
    return frame(1, flags, stream_id, (encoder or Encoder()).encode(REQUEST))


def greeted(limits=None, *, window_bytes=65535):
    """A connection after both greetings."""
    connection = Connection(limits)
    connection.receive(PREFACE + frame(4, 0, 0, pack(">HL", 4, window_bytes)))
    connection.sending.gather()
    return connection


def opened(connection, stream_id=1, *, flags=4):
    events = connection.receive(headers_frame(stream_id, flags=flags))
    assert isinstance(events[0], HeadersArrived)
    return events[0].stream


def frames(pieces):
    """Take a batch apart: (type, flags, stream, payload)."""
    data, at, out = b"".join(pieces), 0, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 3])
        payload = data[at + 9 : at + 9 + length]
        out.append((data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9]), payload))
        at += 9 + length
    return out


def gathered(connection):
    return frames(connection.sending.gather())


# ------------------------------------------------------------------------------------- chunking


def conversation(bodies, padded):
    """All bytes of an independent client with two calls, one of them reset."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.update_settings({4: 1 << 20})
    for stream_id in (1, 3):
        client.send_headers(stream_id, [*REQUEST, *[("k", "v" * 999)] * 40])
    client.ping(b"12345678")
    for number, body in enumerate(bodies):
        for stream_id in (1, 3):
            client.send_data(stream_id, message(body), pad_length=number if padded else None)
    client.end_stream(1)
    client.reset_stream(3)
    return client.data_to_send()


def outcome(chunks):
    connection = Connection()
    requests, events = {}, []
    for chunk in chunks:
        for event in connection.receive(chunk):
            if isinstance(event, HeadersArrived):
                requests[event.stream.id] = (event.stream, event.headers)
            else:
                events.append((type(event), event.stream.id))
    stream, headers = requests[1]
    return (
        connection.sending.gather(),
        {key: value[1] for key, value in requests.items()},
        connection.take_all(stream) if stream.inbox.ready else [],
        stream.inbox.ended,
        [event for event in events if event[0] is StreamReset],
        connection.tally.unread_bytes,
        headers,
    )


@relaxed
@given(
    st.lists(st.binary(max_size=400), max_size=8),
    st.booleans(),
    st.lists(st.integers(min_value=0), max_size=40),
)
def test_events_and_answers_do_not_depend_on_chunking(bodies, padded, cuts):
    data = conversation(bodies, padded)
    edges = [0, *sorted({cut % len(data) for cut in cuts}), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    whole = outcome([data])
    assert whole[2] == bodies
    assert outcome(chunks) == whole


def test_single_bytes_are_enough():
    data = conversation([b"one", b""], padded=True)
    assert outcome([data[at : at + 1] for at in range(len(data))]) == outcome([data])


def test_a_burst_is_one_event_for_a_stream():
    connection = greeted()
    opened(connection)
    events = connection.receive(frame(0, 0, 1, message(b"x")) * 50 + frame(0, 1, 1, b""))
    assert [type(event) for event in events] == [BodyArrived]
    assert len(events[0].stream.inbox.ready) == 50


# ------------------------------------------------------------------------------- broken peers


@relaxed
@given(st.binary(min_size=1, max_size=300), st.booleans())
def test_garbage_is_a_protocol_error_or_nothing_but_never_another_error(garbage, after_hello):
    connection = Connection()
    with contextlib.suppress(ProtocolError):
        connection.receive((HELLO if after_hello else b"") + garbage)
    assert gathered(connection)[0][0] == 4, "our own greeting is not lost"


@relaxed
@given(
    st.lists(
        st.tuples(
            st.integers(0, 11), st.integers(0, 255), st.integers(0, 6), st.binary(max_size=40)
        ),
        max_size=20,
    )
)
def test_any_well_framed_nonsense_leaves_the_accounts_right(nonsense):
    connection = greeted()
    streams = [opened(connection)]
    with contextlib.suppress(ProtocolError):
        for number in nonsense:
            streams += [event.stream for event in connection.receive(frame(*number))]
    alive = connection.streams.values()
    assert connection.tally.unread_bytes == sum(s.inbox.unread_bytes for s in alive)
    assert connection.tally.partial_bytes == sum(s.inbox.partial_bytes for s in alive)
    assert all(s.gone for s in streams if s.id not in connection.streams)


FRAME_SIZE, PROTOCOL, FLOW, COMPRESSION, CALM = 6, 1, 3, 9, 11


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", PROTOCOL, id="HTTP/1"),
        pytest.param(PREFACE + frame(6, 0, 0, bytes(8)), PROTOCOL, id="no SETTINGS first"),
        pytest.param(PREFACE + frame(4, 1, 0, b""), PROTOCOL, id="an acknowledgement first"),
        pytest.param(HELLO + b"\x00\x40\x01" + bytes(6), FRAME_SIZE, id="a frame too large"),
        pytest.param(HELLO + frame(4, 0, 0, bytes(5)), FRAME_SIZE, id="cut SETTINGS"),
        pytest.param(HELLO + frame(4, 1, 0, bytes(6)), FRAME_SIZE, id="settings in an ACK"),
        pytest.param(HELLO + frame(4, 0, 1, b""), PROTOCOL, id="SETTINGS on a stream"),
        pytest.param(HELLO + frame(4, 0, 0, pack(">HL", 4, 1 << 31)), FLOW, id="a huge window"),
        pytest.param(HELLO + frame(4, 0, 0, pack(">HL", 5, 1)), PROTOCOL, id="a tiny frame limit"),
        pytest.param(HELLO + frame(6, 0, 0, bytes(7)), FRAME_SIZE, id="a short PING"),
        pytest.param(HELLO + frame(6, 0, 1, bytes(8)), PROTOCOL, id="PING on a stream"),
        pytest.param(HELLO + frame(7, 0, 0, bytes(7)), FRAME_SIZE, id="a short GOAWAY"),
        pytest.param(HELLO + frame(8, 0, 0, bytes(4)), PROTOCOL, id="a window grows by nothing"),
        pytest.param(HELLO + frame(8, 0, 0, b"\x7f" + b"\xff" * 3), FLOW, id="a window overflows"),
        pytest.param(HELLO + frame(8, 0, 0, b""), FRAME_SIZE, id="a short WINDOW_UPDATE"),
        pytest.param(HELLO + frame(8, 0, 5, pack(">L", 1)), PROTOCOL, id="a window of no stream"),
        pytest.param(HELLO + frame(0, 0, 1, b"x"), PROTOCOL, id="DATA on an idle stream"),
        pytest.param(HELLO + frame(0, 0, 0, b"x"), PROTOCOL, id="DATA on the connection"),
        pytest.param(HELLO + frame(3, 0, 1, bytes(4)), PROTOCOL, id="RST_STREAM of no stream"),
        pytest.param(HELLO + headers_frame(2), PROTOCOL, id="HEADERS on an even stream"),
        pytest.param(HELLO + frame(1, 0x0C, 1, b"\x09abc"), PROTOCOL, id="all padding"),
        pytest.param(HELLO + frame(1, 0x24, 1, b"abc"), FRAME_SIZE, id="HEADERS without priority"),
        pytest.param(HELLO + frame(2, 0, 1, b"abc"), FRAME_SIZE, id="a short PRIORITY"),
        pytest.param(HELLO + frame(1, 4, 1, b"\xbe"), COMPRESSION, id="a broken header block"),
        pytest.param(HELLO + frame(9, 4, 1, b""), PROTOCOL, id="CONTINUATION of nothing"),
        pytest.param(
            HELLO + frame(1, 0, 1, b"") + frame(6, 0, 0, bytes(8)), PROTOCOL, id="interrupted block"
        ),
        pytest.param(
            HELLO + frame(1, 0, 1, b"") + frame(9, 0, 3, b""), PROTOCOL, id="another's block"
        ),
        pytest.param(
            HELLO + frame(1, 0, 1, b"") + frame(9, 0, 1, b"") * 5000, CALM, id="endless blocks"
        ),
        pytest.param(HELLO + frame(5, 4, 1, bytes(4)), PROTOCOL, id="a client that pushes"),
    ],
)
def test_a_broken_rule_ends_the_connection_with_its_code(data, code):
    connection = Connection()
    with pytest.raises(ProtocolError):
        connection.receive(data)
    kind, _, _, payload = gathered(connection)[-1]
    assert kind == 7
    assert int.from_bytes(payload[4:8]) == code
    assert len(payload) > 8, "it says what was wrong"


def test_a_header_block_larger_than_the_limit_ends_the_connection():
    connection = greeted(Limits(header_list_bytes=40_000))
    connection.receive(frame(1, 0, 1, bytes(FRAME_BYTES)))
    connection.receive(frame(9, 0, 1, bytes(FRAME_BYTES)))
    with pytest.raises(ProtocolError, match="too long"):
        connection.receive(frame(9, 0, 1, bytes(FRAME_BYTES)))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(8, 0, 1, bytes(4)), PROTOCOL, id="a window grows by nothing"),
        pytest.param(frame(8, 0, 1, b"\x7f" + b"\xff" * 3), FLOW, id="a window overflows"),
        pytest.param(frame(0, 1, 1, b"") + frame(0, 0, 1, b"x"), 5, id="DATA after the end"),
        pytest.param(headers_frame(1), PROTOCOL, id="trailers that do not end"),
    ],
)
def test_a_broken_rule_of_a_stream_resets_it_and_the_others_go_on(data, code):
    connection = greeted()
    other = opened(connection, 1)
    opened(connection, 3)
    events = connection.receive(data)
    assert isinstance(events[-1], StreamReset)
    assert events[-1].stream is other
    assert gathered(connection) == [(3, 0, 1, pack(">L", code))]
    assert list(connection.streams) == [3]


def test_goaway_with_an_error_is_raised_and_without_is_not():
    connection = greeted()
    assert connection.receive(frame(7, 0, 0, pack(">LL", 0, 0) + b"bye")) == []
    with pytest.raises(ProtocolError, match="ENHANCE_YOUR_CALM too many"):
        connection.receive(frame(7, 0, 0, pack(">LL", 0, 11) + b"too many"))
    with pytest.raises(ProtocolError, match="4242"):
        connection.receive(frame(7, 0, 0, pack(">LL", 0, 4242)))


def test_what_arrives_for_forgotten_streams_is_ignored():
    connection = greeted()
    stream = opened(connection)
    connection.finish(stream, OK, ok=True)
    connection.sending.gather()
    late = frame(0, 0, 1, b"x" * 9) + frame(8, 0, 1, pack(">L", 5)) + frame(3, 0, 1, bytes(4))
    assert connection.receive(late + headers_frame(1, flags=5)) == []
    assert connection.tally.unread_bytes == 0


def test_frames_of_unknown_types_and_priorities_are_ignored():
    connection = greeted()
    assert connection.receive(frame(0xBE, 0xFF, 77, b"x") + frame(2, 0, 9, bytes(5))) == []


def test_trailers_of_a_request_are_its_end():
    connection = greeted()
    stream = opened(connection)
    connection.receive(frame(0, 0, 1, message(b"x")) + headers_frame(1, flags=5))
    assert stream.inbox.ended
    assert connection.take_all(stream) == [b"x"]


def test_streams_beyond_the_limit_are_refused_and_may_be_tried_again():
    connection = greeted(Limits(n_streams=2))
    encoder = Encoder()
    for stream_id in (1, 3, 5):
        connection.receive(headers_frame(stream_id, encoder=encoder))
    assert gathered(connection) == [(3, 0, 5, pack(">L", 7))]


# ---------------------------------------------------------------------------- windows of ours


def window_updates(connection):
    return {
        stream_id: int.from_bytes(payload)
        for kind, _, stream_id, payload in gathered(connection)
        if kind == 8
    }


def fill(connection, stream_id, n_bytes, *, body_bytes=1000):
    """Send whole messages of about `n_bytes` in all."""
    data = message(bytes(body_bytes)) * (n_bytes // (body_bytes + 5))
    for at in range(0, len(data), FRAME_BYTES):
        connection.receive(frame(0, 0, stream_id, data[at : at + FRAME_BYTES]))
    return len(data)


def test_we_greet_with_large_windows_and_header_lists():
    first, second = gathered(Connection())
    settings = {
        int.from_bytes(first[3][at : at + 2]): int.from_bytes(first[3][at + 2 : at + 6])
        for at in range(0, len(first[3]), 6)
    }
    assert first[:3] == (4, 0, 0)
    assert settings[3] == 1000
    assert settings[4] == 16 << 20
    assert settings[6] >= 4 << 20
    assert second == (8, 0, 0, pack(">L", (16 << 20) - 65535))


def test_a_stream_gets_credit_only_for_what_its_handler_took():
    connection = greeted(Limits(window_bytes=1 << 20))
    stream = opened(connection)
    n_bytes = fill(connection, 1, 1 << 20)
    assert set(window_updates(connection)) == {0}  # the connection goes on for the others
    connection.take_all(stream)
    assert window_updates(connection) == {1: n_bytes}


def test_a_handler_that_takes_one_message_gives_credit_for_one():
    connection = greeted(Limits(window_bytes=1 << 20))
    stream = opened(connection)
    fill(connection, 1, 1 << 20, body_bytes=250_000)
    window_updates(connection)
    credit = 0
    for n_taken in range(1, 5):
        connection.take(stream)
        credit += window_updates(connection).get(1, 0)
        assert credit <= n_taken * 250_005
    assert credit >= 500_010


def test_a_reset_stream_gives_back_what_nobody_read():
    connection = greeted(Limits(window_bytes=1 << 20, unread_bytes=1 << 18))
    opened(connection)
    fill(connection, 1, 900_000)
    connection.receive(frame(0, 0, 1, message(bytes(100))[:50]))
    window_updates(connection)
    connection.receive(frame(3, 0, 1, pack(">L", 8)))
    assert (connection.tally.unread_bytes, connection.tally.partial_bytes) == (0, 0)
    assert set(window_updates(connection)) == {0}


def test_the_connection_stops_when_too_much_waits_in_all_streams_together():
    connection = greeted(Limits(window_bytes=1 << 20, unread_bytes=2 << 20))
    encoder = Encoder()
    streams = []
    for stream_id, n_bytes in ((1, 1 << 20), (3, 1 << 20), (5, 400_000)):
        (event,) = connection.receive(headers_frame(stream_id, encoder=encoder))
        streams.append(event.stream)
        fill(connection, stream_id, n_bytes)
    assert connection.tally.unread_bytes > 2 << 20
    window_updates(connection)
    fill(connection, 5, 5000)
    assert window_updates(connection) == {}
    connection.take_all(streams[0])
    assert set(window_updates(connection)) == {0, 1}


def test_a_handler_that_waits_gives_credit_for_a_message_larger_than_the_window():
    connection = greeted(Limits(window_bytes=1 << 20, message_bytes=8 << 20))
    stream = opened(connection)
    connection.wait(stream)
    data = message(bytes(5 << 20))
    allowed = 1 << 20
    for at in range(0, len(data), FRAME_BYTES):
        chunk = data[at : at + FRAME_BYTES]
        assert allowed >= len(chunk), "the peer has to stop inside the message"
        allowed += -len(chunk)
        connection.receive(frame(0, 0, 1, chunk))
        allowed += window_updates(connection).get(1, 0)
    assert connection.take_all(stream) == [data[5:]]


def test_a_peer_that_ignores_a_window_is_stopped():
    connection = greeted(Limits(window_bytes=100_000))
    opened(connection)
    events = []
    for _ in range(7):
        events += connection.receive(frame(0, 0, 1, b"\0" + pack(">L", 16379) + bytes(16379)))
    assert isinstance(events[-1], StreamReset)
    assert (3, 0, 1, pack(">L", FLOW)) in gathered(connection)


def test_a_peer_that_ignores_the_window_of_the_connection_ends_it():
    connection = greeted(Limits(window_bytes=100_000, unread_bytes=10_000))
    encoder = Encoder()
    for stream_id in (1, 3):
        connection.receive(headers_frame(stream_id, encoder=encoder))
    body = message(bytes(16379))
    data = b"".join(frame(0, 0, 1 + number % 2 * 2, body) for number in range(20))
    with pytest.raises(ProtocolError, match="window is exceeded"):
        connection.receive(data)


def test_unfinished_messages_of_many_streams_are_bounded():
    connection = greeted(Limits(message_bytes=1 << 20, partial_bytes=5 << 19))
    encoder = Encoder()
    streams = []
    for stream_id in (1, 3, 5):
        (event,) = connection.receive(headers_frame(stream_id, encoder=encoder))
        streams.append(event.stream)
        data = message(bytes(1 << 20))[:-1]
        for at in range(0, len(data), FRAME_BYTES):
            connection.receive(frame(0, 0, stream_id, data[at : at + FRAME_BYTES]))
    assert [s.inbox.fault and s.inbox.fault.status for s in streams] == [
        None,
        None,
        Status.RESOURCE_EXHAUSTED,
    ]
    assert connection.tally.partial_bytes <= 5 << 19


def test_padding_is_given_back():
    connection = greeted(Limits(window_bytes=65536))
    stream = opened(connection)
    for _ in range(200):
        connection.receive(frame(0, 8, 1, b"\xff" + message(b"x") + bytes(255)))
        connection.take_all(stream)
    assert stream.uncredited_bytes < 32768


# ------------------------------------------------------------------------------ what leaves


def data_of(batch, stream_id):
    return b"".join(payload for kind, _, s, payload in batch if kind == 0 and s == stream_id)


def queued(connection, stream, body):
    stream.outbox.add(body)
    connection.sending.activate(stream)


def test_one_batch_has_full_frames_and_small_messages_share_them():
    connection = greeted(window_bytes=16 << 20)
    connection.receive(frame(8, 0, 0, pack(">L", 16 << 20)))
    stream = opened(connection)
    for _ in range(10_000):
        queued(connection, stream, b"sixty bytes" * 5)
    batch = gathered(connection)
    sizes = [len(payload) for kind, _, _, payload in batch if kind == 0]
    assert sum(sizes) == BATCH_BYTES
    assert set(sizes) == {DATA_BYTES}


def test_a_batch_is_a_quarter_of_the_window_of_the_peer():
    connection = greeted(window_bytes=262_144)
    connection.receive(frame(8, 0, 0, pack(">L", 1 << 20)))
    stream = opened(connection)
    queued(connection, stream, bytes(1 << 20))
    assert len(data_of(gathered(connection), 1)) == 65_536


GRANTS = st.lists(st.tuples(st.integers(1, 30_000), st.integers(1, 30_000)), max_size=30)


@relaxed
@given(st.integers(0, 100_000), GRANTS, st.binary())
def test_windows_are_never_exceeded_and_nothing_is_lost(initial, grants, body):
    connection = greeted(window_bytes=initial)
    stream = opened(connection, flags=5)
    body += bytes(90_000)
    queued(connection, stream, body)
    connection.finish(stream, OK, ok=True)
    of_stream, of_connection, got = initial, 65535, b""
    for more, more_of_connection in [*grants, (100_000, 100_000), (1, 1)]:
        while batch := gathered(connection):
            data = data_of(batch, 1)
            of_stream -= len(data)
            of_connection -= len(data)
            got += data
            assert of_stream >= 0
            assert of_connection >= 0
        if stream.gone:
            break
        assert min(of_stream, of_connection) == 0, "all that is allowed is sent"
        connection.receive(
            frame(8, 0, 1, pack(">L", more)) + frame(8, 0, 0, pack(">L", more_of_connection))
        )
        of_stream += more
        of_connection += more_of_connection
    assert split_messages(got) == [body]
    assert stream.gone


def test_a_window_that_shrinks_below_zero_waits_until_it_has_grown_again():
    connection = greeted(window_bytes=50_000)
    stream = opened(connection)
    queued(connection, stream, bytes(60_000))
    sent = 0
    while batch := gathered(connection):
        sent += len(data_of(batch, 1))
    assert sent == 50_000
    connection.receive(frame(4, 0, 0, pack(">HL", 4, 10)))
    connection.receive(frame(8, 0, 1, pack(">L", 49_990)))
    assert not data_of(gathered(connection), 1)
    connection.receive(frame(8, 0, 1, pack(">L", 7)))
    assert len(data_of(gathered(connection), 1)) == 7


def test_streams_take_turns_frame_by_frame():
    connection = greeted(window_bytes=1 << 20)
    connection.receive(frame(8, 0, 0, pack(">L", 1 << 20)))
    encoder = Encoder()
    for stream_id in (1, 3, 5):
        (event,) = connection.receive(headers_frame(stream_id, encoder=encoder))
        queued(connection, event.stream, bytes(1 << 20))
    order = [stream_id for kind, _, stream_id, _ in gathered(connection) if kind == 0]
    assert order[:6] == [1, 3, 5, 1, 3, 5]


def test_a_short_whole_answer_overtakes_streams_that_send_in_turn():
    connection = greeted(window_bytes=1 << 20)
    connection.receive(frame(8, 0, 0, pack(">L", 1 << 20)))
    encoder = Encoder()
    for stream_id in range(1, 41, 2):
        (event,) = connection.receive(headers_frame(stream_id, encoder=encoder))
        queued(connection, event.stream, bytes(1 << 20))
    (event, _) = connection.receive(headers_frame(41, flags=5, encoder=encoder))
    queued(connection, event.stream, b"SERVING")
    connection.finish(event.stream, OK, ok=True)
    data = [stream_id for kind, _, stream_id, _ in gathered(connection) if kind == 0]
    assert data[0] == 41
    assert event.stream.gone


def test_answers_that_windows_do_not_limit_come_first_and_when_windows_are_closed():
    connection = greeted(window_bytes=0)
    stream = opened(connection)
    queued(connection, stream, bytes(100))
    connection.receive(frame(6, 0, 0, b"12345678"))
    assert [kind for kind, *_ in gathered(connection)] == [1, 6]
    assert gathered(connection) == []


def test_a_call_that_fails_at_once_has_one_header_block():
    connection = greeted()
    stream = opened(connection, flags=5)
    connection.finish(stream, end_fields(Status.NOT_FOUND, "no"), ok=False)
    ((kind, flags, stream_id, _),) = gathered(connection)
    assert (kind, flags, stream_id) == (1, 5, 1)


def test_a_call_that_ends_before_its_request_tells_the_peer_to_stop():
    connection = greeted()
    stream = opened(connection)
    connection.finish(stream, OK, ok=True)
    assert [kind for kind, *_ in gathered(connection)] == [1, 1, 3]


def test_a_long_end_is_cut_into_frames_that_another_library_reads():
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, REQUEST, end_stream=True)
    connection = Connection()
    stream = connection.receive(client.data_to_send())[0].stream
    connection.finish(stream, end_fields(Status.INTERNAL, "x" * 40_000), ok=False)
    events = client.receive_data(b"".join(connection.sending.gather()))
    (answer,) = [e for e in events if isinstance(e, h2.events.ResponseReceived)]
    assert dict(answer.headers)[b"grpc-message"] == b"x" * 40_000


def test_a_reset_stream_sends_no_more():
    connection = greeted()
    stream = opened(connection)
    queued(connection, stream, bytes(100_000))
    connection.receive(frame(3, 0, 1, pack(">L", 8)))
    assert data_of(gathered(connection), 1) == b""
    assert connection.tally.queued_bytes == 0
