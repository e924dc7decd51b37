import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._rpc.call import RpcFault, Status
from depotlab._rpc.framing import Inbox, Outbox, Tally
from tests.support.rpc_peers import message, relaxed, split_messages

# hypothesis itself compares the bytes and the numbers that it drew, which -bb makes an error.
pytestmark = pytest.mark.filterwarnings("ignore:Comparison between bytes and int:BytesWarning")

LIMIT = 1 << 20
BODIES = st.lists(st.binary(max_size=9000), max_size=12)


def inbox(*, limit_bytes=LIMIT, gzipped=False):
    made = Inbox(Tally(), limit_bytes=limit_bytes)
    made.gzip = gzipped
    return made


def feed(box, data, cuts=()):
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for at, end in itertools.pairwise(edges):
        if at < end:
            box.feed(data, at, end)


@relaxed
@given(BODIES, st.lists(st.integers(min_value=0), max_size=30))
def test_messages_do_not_depend_on_chunking(bodies, cuts):
    box = inbox()
    feed(box, b"".join(map(message, bodies)), cuts)
    box.end()
    assert box.take_all() == bodies
    assert box.fault is None
    assert box.ended


@relaxed
@given(BODIES, st.lists(st.integers(min_value=0), max_size=30), st.booleans())
def test_a_run_of_frames_makes_the_same_messages_as_one_frame_after_the_other(bodies, cuts, whole):
    data, edges = b"".join(map(message, bodies)), [0]
    for body in bodies:
        edges.append(edges[-1] + len(message(body)))
    if not whole:
        edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    tally = Tally()
    box = Inbox(tally, limit_bytes=LIMIT)
    box.feed_run(data, list(itertools.pairwise(edges)))
    assert (box.unread_bytes, tally.unread_bytes) == (len(data), len(data))
    box.end()
    assert box.fault is None
    assert box.take_all() == bodies


@pytest.mark.parametrize(("flag", "length"), [(2, 3), (1, 3), (0, LIMIT + 1)])
def test_a_run_of_frames_with_a_wrong_message_ends_there(flag, length):
    wrong = bytes([flag]) + length.to_bytes(4, "big") + b"abc"
    data = message(b"good") + wrong + message(b"never")
    edges = [0, len(message(b"good")), len(data) - len(message(b"never")), len(data)]
    box = inbox()
    box.feed_run(data, list(itertools.pairwise(edges)))
    assert box.take() == b"good"
    if flag == 1:  # it is compressed, and nobody said so: known when it is taken
        with pytest.raises(RpcFault):
            box.take()
    else:
        assert not box.ready
        assert box.fault is not None


@relaxed
@given(BODIES)
def test_single_bytes_make_the_same_messages_and_cost_single_bytes(bodies):
    box = inbox()
    data = b"".join(map(message, bodies))
    for at in range(len(data)):
        box.feed(data, at, at + 1)
        assert len(box._parts) <= 1
    assert box.take_all() == bodies


@relaxed
@given(BODIES, st.lists(st.integers(min_value=0), max_size=30))
def test_every_byte_is_counted_until_it_is_taken(bodies, cuts):
    tally = Tally()
    box = Inbox(tally, limit_bytes=LIMIT)
    data = b"".join(map(message, [*bodies, bytes(50)]))[:-10]
    feed(box, data, cuts)
    assert box.unread_bytes == tally.unread_bytes == len(data) - 45
    assert box.partial_bytes == tally.partial_bytes == 45
    while box.ready:
        box.take()
    assert box.unread_bytes == tally.unread_bytes == 0
    box.discard()
    assert box.partial_bytes == tally.partial_bytes == 0


def test_a_request_that_ends_inside_a_message_is_a_fault_after_the_whole_ones():
    box = inbox()
    feed(box, message(b"whole") + message(b"cut")[:-1])
    box.end()
    assert box.take_all() == [b"whole"]
    assert box.fault.status is Status.INTERNAL


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(message(bytes(101)), Status.RESOURCE_EXHAUSTED, id="too large"),
        pytest.param(message(b"")[:1] + b"\xff" * 4, Status.RESOURCE_EXHAUSTED, id="4 GiB"),
        pytest.param(message(b"x", flag=2), Status.INTERNAL, id="a flag that does not exist"),
    ],
)
def test_a_bad_prefix_is_a_fault_and_the_rest_is_dropped(data, status):
    box = inbox(limit_bytes=100)
    feed(box, message(b"before") + data + message(b"after"))
    assert box.take_all() == [b"before"]
    assert box.fault.status is status
    assert box.unread_bytes == 0


def test_the_largest_message_is_allowed():
    box = inbox(limit_bytes=100)
    feed(box, message(bytes(100)))
    assert box.take() == bytes(100)
    assert box.fault is None


@relaxed
@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=9), st.data())
def test_compressed_messages_are_inflated_whatever_the_chunking(items, data):
    stream = b"".join(
        message(gzip.compress(body) if squeezed else body, flag=int(squeezed))
        for body, squeezed in items
    )
    box = inbox(gzipped=True)
    feed(box, stream, data.draw(st.lists(st.integers(min_value=0), max_size=9)))
    assert box.take_all() == [body for body, _ in items]
    assert box.unread_bytes == 0


def test_a_message_that_inflates_beyond_the_limit_is_refused_without_inflating_it():
    box = inbox(limit_bytes=1000, gzipped=True)
    feed(box, message(gzip.compress(bytes(100_000)), flag=1))
    with pytest.raises(RpcFault) as caught:
        box.take()
    assert caught.value.status is Status.RESOURCE_EXHAUSTED


def test_a_burst_of_compressed_messages_is_inflated_a_part_at_a_time():
    box = inbox(gzipped=True)
    feed(box, message(gzip.compress(bytes(LIMIT)), flag=1) * 10)
    sizes = []
    while taken := box.take_all():
        sizes.append(len(taken))
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"not gzip", id="other bytes"),
        pytest.param(gzip.compress(b"x")[:-3], id="cut"),
        pytest.param(gzip.compress(b"x") + b"more", id="something after it"),
    ],
)
def test_broken_gzip_is_a_fault(body):
    box = inbox(gzipped=True)
    feed(box, message(body, flag=1))
    with pytest.raises(RpcFault, match="INTERNAL"):
        box.take_all()


def test_a_compressed_message_without_notice_is_a_fault():
    box = inbox()
    feed(box, message(gzip.compress(b"x"), flag=1))
    with pytest.raises(RpcFault, match="grpc-encoding"):
        box.take()


# ------------------------------------------------------------------------------------- outgoing

SENT = st.one_of(
    st.binary(max_size=100),
    st.builds(bytes, st.integers(min_value=4000, max_value=70_000)),
    st.builds(bytearray, st.integers(min_value=0, max_value=9000)),
    st.builds(lambda n: memoryview(bytes(range(256)) * n)[3:], st.integers(1, 40)),
    st.lists(st.binary(max_size=6000), max_size=4),
)


@relaxed
@given(st.lists(SENT, max_size=12), st.lists(st.integers(1, 20_000), min_size=1))
def test_what_goes_in_comes_out_framed_in_any_cut(items, sizes):
    tally = Tally()
    box = Outbox(tally)
    expected, out = [], []
    for number, item in enumerate(items):
        if isinstance(item, list):
            box.add_pieces(item, sum(map(len, item)))
            expected.append(b"".join(item))
        else:
            box.add(item)
            expected.append(bytes(item))
        if box.n_bytes:  # cut while there is more to come
            out += box.cut(min(sizes[number % len(sizes)], box.n_bytes))
    assert tally.queued_bytes == box.n_bytes
    while box.n_bytes:
        out += box.cut(min(sizes[0], box.n_bytes))
    assert split_messages(b"".join(out)) == expected
    assert tally.queued_bytes == 0


def test_many_small_messages_are_one_piece():
    box = Outbox(Tally())
    for _ in range(100):
        box.add(b"sixty bytes or so")
    out = box.cut(box.n_bytes)
    assert len(out) == 1


def test_a_large_message_is_not_copied():
    body = bytearray(1 << 20)
    box = Outbox(Tally())
    box.add(body)
    out = box.cut(box.n_bytes)
    assert out[-1].obj is body


def test_pieces_of_another_length_are_refused_and_nothing_is_sent():
    box = Outbox(Tally())
    with pytest.raises(ValueError, match="have 2 bytes, not 3"):
        box.add_pieces([b"a", memoryview(b"b")], 3)
    assert box.n_bytes == 0


def test_views_of_wider_items_count_in_bytes():
    box = Outbox(Tally())
    wide = memoryview(bytes(8)).cast("I")
    box.add(wide)
    out = box.cut(box.n_bytes)
    assert split_messages(b"".join(out)) == [bytes(8)]


def test_discarding_gives_back_what_was_counted():
    tally = Tally()
    box = Outbox(tally)
    box.add(bytes(10_000))
    box.discard()
    assert (box.n_bytes, tally.queued_bytes) == (0, 0)


@relaxed
@given(st.lists(st.one_of(st.binary(max_size=50), st.binary(min_size=900, max_size=1200))))
def test_many_messages_at_once_are_the_same_as_one_after_the_other(bodies):
    tally = Tally()
    box = Outbox(tally)
    box.add_many(bodies)
    assert tally.queued_bytes == box.n_bytes
    assert split_messages(b"".join(box.cut(box.n_bytes))) == bodies


def test_many_messages_of_any_kind_and_size_keep_their_order():
    bodies = [b"small", bytes(100_000), bytearray(b"array"), memoryview(b"view"), b""] * 3
    box = Outbox(Tally())
    box.add(b"before")
    box.add_many(bodies)
    box.add(b"after")
    assert split_messages(b"".join(box.cut(box.n_bytes))) == [
        b"before",
        *map(bytes, bodies),
        b"after",
    ]


@relaxed
@given(
    st.lists(st.binary(max_size=3000), max_size=20),
    st.lists(st.integers(0, 40_000), max_size=12),
    st.integers(0, 12),
)
def test_pieces_are_what_came_whenever_they_are_asked_for(bodies, cuts, n_before):
    data = b"".join(map(message, bodies))
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    tally = Tally()
    inbox = Inbox(tally, limit_bytes=1 << 20)
    pieces = []
    asked = False
    for number, (at, end) in enumerate(itertools.pairwise(ends)):
        if number == n_before:
            asked = inbox.keep_pieces()
        inbox.feed(data, at, end)
        if asked and number % 2:
            pieces += inbox.take_pieces()
    if not asked:
        assert inbox.keep_pieces()
    assert inbox.has_arrived == (inbox.unread_bytes > 0)
    pieces += inbox.take_pieces()
    assert b"".join(pieces) == data
    assert (tally.unread_bytes, tally.partial_bytes, inbox.unread_bytes) == (0, 0, 0)


def test_pieces_of_compressed_messages_are_not_given():
    inbox = Inbox(Tally(), limit_bytes=100)
    inbox.gzip = True
    data = message(b"squeezed", flag=1)
    inbox.feed(data, 0, len(data))
    assert not inbox.keep_pieces()
    assert len(inbox.ready) == 1


def test_a_compressed_message_is_marked():
    tally = Tally()
    box = Outbox(tally)
    box.add(b"plain")
    box.add_gzip(b"squeezed")
    assert tally.queued_bytes == box.n_bytes
    assert b"".join(box.cut(box.n_bytes)) == message(b"plain") + message(b"squeezed", flag=1)
