import contextlib
import time

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from depotlab._rpc.headers import NO_TABLE, HeaderBlockInvalid, HeaderDecoder, encode_field
from tests.support.rpc_peers import relaxed

# hypothesis itself compares the bytes and the numbers that it drew, which -bb makes an error.
pytestmark = pytest.mark.filterwarnings("ignore:Comparison between bytes and int:BytesWarning")

FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b":path", b"dir-name", b"exclude-patterns", b"a" * 200])
        | st.binary(min_size=1, max_size=40),
        st.sampled_from([b"", b"POST", b"application/grpc"]) | st.binary(max_size=300),
    ),
    max_size=20,
)


def decoder():
    return HeaderDecoder(list_limit_bytes=1 << 20)


@relaxed
@given(st.lists(st.tuples(FIELDS, st.booleans()), max_size=4))
def test_blocks_of_another_encoder_are_read_in_order(blocks):
    ours, theirs = decoder(), Encoder()
    for fields, huffman in blocks:
        assert ours.decode(theirs.encode(fields, huffman=huffman)) == fields


@relaxed
@given(FIELDS, st.integers(0, 4096), FIELDS)
def test_the_peer_may_shrink_its_table(first, limit, second):
    ours, theirs = decoder(), Encoder()
    assert ours.decode(theirs.encode(first)) == first
    theirs.header_table_size = limit
    assert ours.decode(theirs.encode(second + first)) == second + first


@relaxed
@given(FIELDS)
def test_fields_that_must_not_be_indexed_are_read(fields):
    block = Encoder().encode([(name, value, True) for name, value in fields])
    assert decoder().decode(block) == fields


@relaxed
@given(FIELDS)
def test_our_fields_are_read_by_another_decoder_and_fill_no_table(fields):
    theirs = Decoder()
    block = NO_TABLE + b"".join(encode_field(*field) for field in fields)
    assert [tuple(field) for field in theirs.decode(block, raw=True)] == fields
    assert theirs.header_table_size == 0


@relaxed
@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_but_never_another_error(block):
    with contextlib.suppress(HeaderBlockInvalid):
        assert isinstance(decoder().decode(block), list)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        pytest.param(b"\x80", "index 0", id="index zero"),
        pytest.param(b"\xbe", "index 62", id="an entry that was never made"),
        pytest.param(b"\x3f\xff\x7f", "was not allowed", id="a table larger than offered"),
        pytest.param(b"\x82\x20", "comes after a field", id="a late table size"),
        pytest.param(b"\x00\x05abc", "ends inside", id="a cut name"),
        pytest.param(b"\x00\x01a\x7f\xff\xff\xff\xff\xff\x01", "too long", id="an endless length"),
        pytest.param(b"\x00\x81\xff\x00", "ends inside a symbol", id="padding of eight ones"),
        pytest.param(b"\x00\x84\xff\xff\xff\xff\x00", "end-of-string", id="end of string inside"),
        pytest.param(b"\x00", "ends inside", id="nothing after the first byte"),
    ],
)
def test_a_broken_block_says_what_is_wrong(block, text):
    with pytest.raises(HeaderBlockInvalid, match=text):
        decoder().decode(block)


def test_a_list_larger_than_the_limit_is_refused_while_it_is_read():
    # Whoever reads to its end stumbles over something else: there is no header with index 0.
    bomb = Encoder().encode([(b"x", b"v" * 4000)]) + b"\xbe" * 1_000_000 + b"\x80"
    with pytest.raises(HeaderBlockInvalid, match="larger than"):
        decoder().decode(bomb)


def test_time_grows_with_the_length_not_with_its_square():
    def seconds(n_fields):
        fields = [(b"exclude-patterns", b"dir/%d/**" % number) for number in range(n_fields)]
        block = Encoder().encode(fields, huffman=False)
        best = 1e9
        for _ in range(3):
            ours = HeaderDecoder(list_limit_bytes=1 << 26)
            started_s = time.thread_time()
            ours.decode(block)
            best = min(best, time.thread_time() - started_s)
        return best

    assert seconds(40_000) < seconds(5_000) * 8 * 3
