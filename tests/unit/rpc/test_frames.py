"""Cutting bytes into DATA frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._rpc.frames import FRAME_BYTES, data_frames
from tests.support.rpc_peers import relaxed

# hypothesis itself compares the bytes and the numbers that it drew, which -bb makes an error.
pytestmark = pytest.mark.filterwarnings("ignore:Comparison between bytes and int:BytesWarning")


def framed(pieces, **options):
    out = []
    data_frames(pieces, sum(map(len, pieces)), 5, out, **options)
    return out


def payloads(out):
    """Take DATA frames apart by hand."""
    data, at, found = b"".join(out), 0, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 3])
        assert data[at + 3 : at + 9] == bytes((0, 0, 0, 0, 0, 5)), "DATA without flags on stream 5"
        found.append(data[at + 9 : at + 9 + length])
        assert len(found[-1]) == length
        at += 9 + length
    return found


@relaxed
@given(st.lists(st.binary(max_size=60)), st.integers(1, 50))
def test_the_payloads_are_the_pieces_and_all_frames_but_the_last_are_full(pieces, frame_bytes):
    found = payloads(framed(pieces, frame_bytes=frame_bytes))
    assert b"".join(found) == b"".join(pieces)
    assert all(len(payload) == frame_bytes for payload in found[:-1])
    assert all(found), "a frame of nothing"


def test_what_is_large_is_not_copied():
    body = bytearray(10 * FRAME_BYTES)
    assert all(piece.obj is body for piece in framed([memoryview(body)])[1::2])


def test_pieces_that_fit_are_sent_as_they_are():
    head, body = b"nine char", bytes(FRAME_BYTES - 9)
    out = framed([head, body, head, body])
    assert out[1] is head
    assert out[2] is body
    assert [len(payload) for payload in payloads(out)] == [FRAME_BYTES, FRAME_BYTES]
