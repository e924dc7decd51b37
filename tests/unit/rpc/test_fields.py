import base64
from urllib.parse import unquote

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from depotlab._rpc.call import Status
from depotlab._rpc.fields import RESPONSE, Malformed, NotGrpc, end_fields, parse_request
from tests.support.rpc_peers import relaxed

BASE = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b":authority", b"localhost"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]


def test_metadata_keeps_all_values_in_order_and_leaves_out_what_is_not_for_services():
    request = parse_request(
        [*BASE, (b"a", b"1"), (b"b", b"x"), (b"a", b"2"), (b"grpc-accept-encoding", b"gzip")]
    )
    assert request.path == "/a.B/C"
    assert request.metadata == {"a": ["1", "2"], "b": ["x"]}
    assert request.timeout_s is None
    assert request.fault is None


def test_bytes_that_are_not_utf8_survive_as_surrogates():
    request = parse_request([*BASE, (b"dir-name", b"caf\xe9")])
    assert request.metadata["dir-name"][0].encode("utf-8", "surrogateescape") == b"caf\xe9"


@relaxed
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.booleans())
def test_binary_metadata_is_decoded_padded_or_not_joined_or_not(values, padded):
    encoded = [base64.b64encode(value) for value in values]
    if not padded:
        encoded = [value.rstrip(b"=") for value in encoded]
    for fields in (
        [(b"x-bin", value) for value in encoded],
        [(b"x-bin", b",".join(encoded))],
    ):
        request = parse_request([*BASE, *fields])
        assert request.binary_metadata == {"x-bin": values}
        assert "x-bin" not in request.metadata


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"15S", 15.0),
        (b"14999m", 14.999),
        (b"5u", 5e-6),
        (b"99999999n", 0.099999999),
        (b"0m", 0.0),
    ],
)
def test_timeouts_have_units(text, seconds):
    assert parse_request([*BASE, (b"grpc-timeout", text)]).timeout_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ((b"grpc-timeout", b"123456789S"), Status.INTERNAL),
        ((b"grpc-timeout", b"5"), Status.INTERNAL),
        ((b"grpc-timeout", b"-5S"), Status.INTERNAL),
        ((b"grpc-encoding", b"zstd"), Status.UNIMPLEMENTED),
        ((b"x-bin", b"!!"), Status.INTERNAL),
    ],
)
def test_a_call_that_cannot_be_served_has_a_status(field, status):
    assert parse_request([*BASE, field]).fault.status is status


@pytest.mark.parametrize(("encoding", "gzip"), [(b"identity", False), (b"gzip", True)])
def test_encodings_that_are_understood(encoding, gzip):
    request = parse_request([*BASE, (b"grpc-encoding", encoding)])
    assert (request.gzip, request.fault) == (gzip, None)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(BASE[1:], id="no method"),
        pytest.param(BASE[:2] + BASE[3:], id="no path"),
        pytest.param([*BASE[:2], (b":path", b""), *BASE[3:]], id="an empty path"),
        pytest.param([*BASE, (b":path", b"/x")], id="a pseudo header after others"),
        pytest.param([BASE[2], *BASE], id="a pseudo header twice"),
        pytest.param([*BASE, (b"Upper", b"x")], id="upper case"),
        pytest.param([*BASE, (b"connection", b"close")], id="a header of HTTP/1"),
        pytest.param([*BASE, (b"", b"x")], id="a header without a name"),
    ],
)
def test_a_malformed_request_is_refused(headers):
    with pytest.raises(Malformed):
        parse_request(headers)


@pytest.mark.parametrize("change", [(b":method", b"GET"), (b"content-type", b"text/html")])
def test_another_kind_of_request_is_told_apart(change):
    with pytest.raises(NotGrpc):
        parse_request([change if name == change[0] else (name, value) for name, value in BASE])


def decoded(fields):
    return dict(Decoder().decode(fields))


def test_the_answer_begins_as_grpc_says():
    assert decoded(RESPONSE) == {":status": "200", "content-type": "application/grpc"}


@relaxed
@given(st.text())
def test_any_text_survives_as_printable_ascii(text):
    fields = decoded(end_fields(Status.INTERNAL, text))
    raw = fields.get("grpc-message", "")
    assert all(" " <= character <= "~" for character in raw)
    assert unquote(raw) == text.encode("utf-8", "backslashreplace").decode()
    assert fields["grpc-status"] == "13"


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ([], False),
        ([b"identity"], False),
        ([b"identity,deflate,gzip"], True),
        ([b"identity, gzip"], True),
        ([b"identity", b"gzip"], True),
        ([b"notgzip"], False),
    ],
)
def test_whether_our_messages_may_be_compressed(accepted, takes):
    request = parse_request([*BASE, *((b"grpc-accept-encoding", value) for value in accepted)])
    assert request.takes_gzip is takes
