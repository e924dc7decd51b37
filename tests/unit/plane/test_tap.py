"""Reading along what clients say. An independent HTTP/2 library (h2) is the client."""

from __future__ import annotations

import gzip
import struct

import h2.config
import h2.connection
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._plane.tap import SOLVE, Tap
from depotlab._proto import control_pb2
from depotlab.errors import ProtocolError


class Client:
    """Makes the bytes of a gRPC client."""

    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        # What a daemon says first; without it the client may send 64 KiB only.
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        server.initiate_connection()
        server.increment_flow_control_window((1 << 30) - 65535)
        server.update_settings({4: 1 << 30})
        self._h2.receive_data(server.data_to_send())

    def call(
        self,
        path: str,
        body: bytes,
        *more: tuple[str, str],
        padding: int | None = None,
        ends: bool = True,
    ) -> int:
        stream = self._h2.get_next_available_stream_id()
        fields = [
            (":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "x"),
            ("te", "trailers"), ("content-type", "application/grpc"), *more,
        ]  # fmt: skip
        self._h2.send_headers(stream, fields)
        for at in range(0, len(body), 16000):
            self._h2.send_data(stream, body[at : at + 16000], pad_length=padding)
        if ends:
            self._h2.end_stream(stream)
        return stream

    def reset(self, stream: int) -> None:
        self._h2.reset_stream(stream)

    def bytes(self) -> bytes:
        return self._h2.data_to_send()


def message(body: bytes, *, squeezed: bool = False) -> bytes:
    data = gzip.compress(body) if squeezed else body
    return struct.pack(">BL", squeezed, len(data)) + data


def solve(ref: str, *, n_bytes: int = 0) -> bytes:
    return control_pb2.SolveRequest(
        Ref=ref, FrontendAttrs={"x": "y" * n_bytes}, Internal=True
    ).SerializeToString()


def found(data: bytes) -> list[tuple[int, str]]:
    return [(s.stream_id, s.ref) for s in Tap().feed(data)]


@given(st.lists(st.integers(1, 5000), max_size=60))
def test_builds_are_found_however_the_bytes_are_cut(cuts):
    client = Client()
    client.call("/moby.buildkit.v1.Control/ListWorkers", message(b""))
    client.call("/moby.buildkit.v1.Control/Session", message(b"\n\x03abc") * 3)
    first = client.call(SOLVE, message(solve("one", n_bytes=40_000)))
    client.call("/moby.buildkit.v1.frontend.LLBBridge/Solve", message(b"\n\x01x"))
    second = client.call(SOLVE, message(solve("two")))
    data = client.bytes()
    tap, seen, at = Tap(), [], 0
    for cut in [*cuts, len(data)]:
        seen += tap.feed(data[at : at + cut])
        at += cut
    assert [(s.stream_id, s.ref) for s in seen] == [(first, "one"), (second, "two")]
    assert tap.n_calls == 5


def test_a_request_in_pieces_is_told_with_its_last_piece():
    client = Client()
    client.call(SOLVE, message(solve("late", n_bytes=100_000)))
    data = client.bytes()
    tap = Tap()
    # The empty frame that ends the stream comes after the request.
    assert list(tap.feed(data[:-30])) == []
    assert [s.ref for s in tap.feed(data[-30:])] == ["late"]


def test_a_compressed_request_is_read():
    client = Client()
    client.call(SOLVE, message(solve("squeezed"), squeezed=True), ("grpc-encoding", "gzip"))
    assert [ref for _, ref in found(client.bytes())] == ["squeezed"]


def test_padding_is_passed_over():
    client = Client()
    client.call(SOLVE, message(solve("padded", n_bytes=50_000)), padding=100)
    assert [ref for _, ref in found(client.bytes())] == ["padded"]


def test_the_header_table_is_followed_over_many_calls():
    client = Client()
    for number in range(48):
        client.call(f"/x.Y/Z{number}", b"", ("some-key", f"value {number}" * 10))
        client.call(SOLVE, message(solve(f"r{number}")))
    assert [ref for _, ref in found(client.bytes())] == [f"r{n}" for n in range(48)]


def test_a_request_that_is_given_up_is_forgotten():
    client = Client()
    half = message(solve("never", n_bytes=50_000))[:20_000]
    given_up = client.call(SOLVE, half, ends=False)
    tap = Tap()
    assert list(tap.feed(client.bytes())) == []
    client.reset(given_up)
    client.call(SOLVE, message(solve("whole")))
    assert [s.ref for s in tap.feed(client.bytes())] == ["whole"]


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b""], ids=["no message", "empty"])
def test_a_request_that_the_daemon_will_not_understand_is_left_to_it(body):
    client = Client()
    client.call(SOLVE, message(body))
    assert [ref for _, ref in found(client.bytes())] in ([], [""])


def test_a_request_that_is_too_large_is_left_to_the_daemon():
    client = Client()
    client.call(SOLVE, struct.pack(">BL", 0, 1 << 30) + b"x" * 1000)
    client.call(SOLVE, message(solve("next")))
    assert [ref for _, ref in found(client.bytes())] == ["next"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01" + bytes(50),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(40),
    ],
    ids=["HTTP/1", "TLS", "no settings"],
)
def test_who_does_not_speak_http2_is_cut_off(data):
    with pytest.raises(ProtocolError):
        Tap().feed(data)


def test_a_broken_header_table_is_cut_off():
    client = Client()
    client.call(SOLVE, message(solve("x")))
    data = bytearray(client.bytes())
    head = b"\x01\x04\x00\x00\x00\x01"  # HEADERS with END_HEADERS on stream 1
    at = data.index(head) + len(head)
    data[at] = 0xFF
    with pytest.raises(ProtocolError):
        Tap().feed(bytes(data))


def test_many_unfinished_requests_do_not_fill_the_memory():
    tap = Tap()
    client = Client()
    tap.feed(client.bytes())
    large = struct.pack(">BL", 0, 16_000_000) + bytes(15_000_000)
    for _ in range(4):
        client.call(SOLVE, large)
        tap.feed(client.bytes())
    client.call(SOLVE, large)
    with pytest.raises(ProtocolError, match="too many"):
        tap.feed(client.bytes())
