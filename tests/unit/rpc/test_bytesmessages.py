"""How a stream of bytes travels inside messages, against protobuf and in any cut."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._proto.control_pb2 import BytesMessage
from depotlab._rpc.bytesmessages import Unwrapper, wrap_head
from depotlab.errors import ProtocolError
from tests.support.rpc_peers import message, relaxed, split_messages

# hypothesis itself compares the bytes and the numbers that it drew, which -bb makes an error.
pytestmark = pytest.mark.filterwarnings("ignore:Comparison between bytes and int:BytesWarning")


def cut(data, sizes):
    """Cut bytes into views of these sizes, again and again."""
    pieces, at, number = [], 0, 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        pieces.append(memoryview(data)[at : at + size])
        at += size
        number += 1
    return pieces


@pytest.mark.parametrize("n_bytes", [1, 127, 128, 16_383, 16_384, 262_144, (1 << 21) - 1, 1 << 21])
def test_a_message_is_what_protobuf_writes(n_bytes):
    data = bytes(n_bytes)
    assert split_messages(wrap_head(n_bytes) + data) == [
        BytesMessage(data=data).SerializeToString()
    ]


@relaxed
@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_data_come_out_in_order_whatever_the_cut(bodies, sizes):
    stream = b"".join(message(BytesMessage(data=body).SerializeToString()) for body in bodies)
    unwrapper = Unwrapper()
    out = [b"".join(unwrapper.feed([piece])) for piece in cut(stream, sizes)]
    assert b"".join(out) == b"".join(bodies)
    assert unwrapper.is_between


def test_the_largest_lengths_come_out_too():
    body = bytes(range(256)) * 12_000
    stream = wrap_head(len(body)) + body
    unwrapper = Unwrapper()
    assert b"".join(unwrapper.feed(cut(stream, [16_384]))) == body


def test_data_are_handed_on_before_their_message_is_whole():
    unwrapper = Unwrapper()
    assert b"".join(unwrapper.feed([memoryview(wrap_head(10) + b"first")])) == b"first"
    assert not unwrapper.is_between
    assert b"".join(unwrapper.feed([memoryview(b" last")])) == b" last"
    assert unwrapper.is_between


@pytest.mark.parametrize("empty", [message(b""), message(b"\x0a\x00")])
def test_an_empty_message_says_nothing(empty):
    unwrapper = Unwrapper()
    assert b"".join(unwrapper.feed([memoryview(empty + wrap_head(1) + b"x")])) == b"x"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(message(b"\x0a\x01x", flag=1), "compressed", id="compressed"),
        pytest.param(message(b"\x0a\x01x", flag=7), "compressed", id="a flag that is none"),
        pytest.param(message(b"\x12\x01x"), "something else than bytes", id="another field"),
        pytest.param(message(b"\x0a\x01x\x10\x01"), "something else", id="a second field"),
        pytest.param(message(b"\x0a\x05x"), "something else", id="a length beyond the message"),
        pytest.param(message(b"\x0a"), "unknown fields", id="a tag and nothing"),
        pytest.param(
            message(b"\x0a\x81\x00x"), "something else", id="a length with a byte too many"
        ),
        pytest.param(message(bytes(130)), "unknown fields", id="a length that no message has"),
        pytest.param(pack(">BL", 0, (16 << 20) + 1), "16777217 bytes", id="too long"),
    ],
)
def test_what_is_no_bytes_message_is_refused_in_any_cut(wrong, words):
    for size in (1, 3, len(wrong)):
        with pytest.raises(ProtocolError, match=words):
            Unwrapper().feed(cut(wrong, [size]))
