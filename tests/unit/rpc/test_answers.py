"""The header fields of a call, seen by the client."""

import pytest
from hpack import Decoder

from depotlab._rpc import Status
from depotlab._rpc.answers import parse_answer, parse_end, request_block, reset_failure
from depotlab._rpc.fields import Malformed

GOOD = [(b":status", b"200"), (b"content-type", b"application/grpc+proto")]


def block(**changes):
    given = {"scheme": "http", "authority": "localhost", "metadata": []}
    return request_block("/a.B/C", **{**given, **changes})


def test_a_request_is_what_grpc_asks_for():
    metadata = [("x-a", "1"), ("x-b", ""), ("x-a", "2")]
    fields = Decoder().decode(block(scheme="https", authority="host:1", metadata=metadata))
    assert [tuple(field) for field in fields] == [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/a.B/C"),
        (":authority", "host:1"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "depotlab"),
        *metadata,
    ]


@pytest.mark.parametrize(
    "pair",
    [
        ("Upper", "x"),
        ("x y", "x"),
        (":path", "x"),
        ("", "x"),
        ("x-bin", "x"),
        ("grpc-timeout", "1S"),
        ("x", "line\nbreak"),
        ("x", "ü"),
    ],
)
def test_metadata_that_cannot_be_sent_are_refused(pair):
    with pytest.raises(ValueError, match=r"key of metadata|printable ASCII"):
        block(metadata=[pair])


def test_a_good_beginning():
    assert parse_answer(GOOD) is None


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ([(b":status", b"503"), (b"content-type", b"text/html")], Status.UNAVAILABLE, "503"),
        ([(b":status", b"401")], Status.UNAUTHENTICATED, "401"),
        ([(b":status", b"418")], Status.UNKNOWN, "418"),
        ([(b":status", b"200"), (b"content-type", b"text/html")], Status.UNKNOWN, "text/html"),
        ([(b":status", b"200")], Status.UNKNOWN, "not gRPC"),
        ([*GOOD, (b"grpc-encoding", b"snappy")], Status.INTERNAL, "snappy"),
    ],
)
def test_an_answer_that_is_no_grpc_is_a_failure(headers, status, words):
    failure = parse_answer(headers)
    assert failure is not None
    assert failure.status is status
    assert words in failure.message


@pytest.mark.parametrize("headers", [[], [(b":status", b"20")], [(b":status", b"2000")]])
def test_an_answer_without_a_status_of_http_is_malformed(headers):
    with pytest.raises(Malformed):
        parse_answer(headers)


def test_ends_are_ok_or_a_failure_with_its_text_and_details():
    assert parse_end([(b"grpc-status", b"0")]) is None
    failure = parse_end(
        [
            (b"grpc-status", b"5"),
            (b"grpc-message", b"100%25 of %C3%BC"),
            (b"grpc-status-details-bin", b"AQI"),  # without its padding, as Go writes it
        ]
    )
    assert failure is not None
    assert (failure.status, failure.message) == (Status.NOT_FOUND, "100% of ü")
    assert failure.details == b"\x01\x02"


def test_a_status_that_nobody_knows_is_unknown():
    failure = parse_end([(b"grpc-status", b"77")])
    assert failure is not None
    assert failure.status is Status.UNKNOWN


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"grpc-status", b"")],
        [(b"grpc-status", b"-1")],
        [(b"grpc-status", b"ok")],
        [(b"grpc-status", b"2"), (b"grpc-status-details-bin", b"a")],
    ],
)
def test_an_end_without_a_status_is_malformed(headers):
    with pytest.raises(Malformed):
        parse_end(headers)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (8, Status.CANCELLED),
        (7, Status.UNAVAILABLE),
        (11, Status.RESOURCE_EXHAUSTED),
        (2, Status.INTERNAL),
        (999, Status.INTERNAL),
    ],
)
def test_a_reset_is_a_failure(code, status):
    assert reset_failure(code, "NAME").status is status
