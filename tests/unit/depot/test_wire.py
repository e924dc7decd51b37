from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._depot import ResourceExhausted, Retry, Unavailable
from depotlab._depot.errors import NotFound, error_for
from depotlab._depot.wire import Envelopes, enveloped, http_error, retry_after_s


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
def test_messages_do_not_depend_on_how_bytes_are_chunked(messages, data):
    stream = b"".join(map(enveloped, messages)) + b"\x02\0\0\0\x02{}"
    envelopes = Envelopes(max_bytes=40)
    got = []
    while stream:
        n_bytes = data.draw(st.integers(1, len(stream)))
        got += envelopes.feed(stream[:n_bytes])
        stream = stream[n_bytes:]
    envelopes.finish()
    assert got == messages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 60.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, expected):
    assert retry_after_s(text, now=datetime(2026, 10, 21, 7, 27, tzinfo=UTC)) == expected


def test_a_long_message_is_shortened_and_has_no_line_breaks():
    body = b'{"code": "internal", "message": "a\\nb' + b"x" * 1000 + b'"}'
    error = http_error(500, {"content-type": "application/json"}, body)
    assert error.server_message.startswith("a bxx")
    assert len(error.server_message) == 300


DOWN = error_for("unavailable", "")
QUOTA = error_for("resource_exhausted", "", http_status=429)
SLOW = error_for("resource_exhausted", "", http_status=429, retry_after_s=7.0)
LONG = error_for("unavailable", "", http_status=503, retry_after_s=3600.0)


@pytest.mark.parametrize(
    ("error", "n_tried", "idempotent", "expected"),
    [
        pytest.param(DOWN, 1, True, (0.1, 0.2), id="the first pause is short"),
        pytest.param(DOWN, 3, True, (0.4, 0.8), id="and doubles"),
        pytest.param(DOWN, 4, True, None, id="until there were enough tries"),
        pytest.param(DOWN, 1, False, None, id="never for what must not be obeyed twice"),
        pytest.param(SLOW, 1, True, (7.0, 7.0), id="the server's wait is obeyed"),
        pytest.param(QUOTA, 1, True, None, id="a quota does not refill by waiting"),
        pytest.param(LONG, 1, True, None, id="an hour is not waited"),
        pytest.param(error_for("not_found", ""), 1, True, None, id="a refusal stays one"),
    ],
)
def test_pauses(error, n_tried, idempotent, expected):
    pauses = [
        Retry().pause_s(error, n_tried=n_tried, idempotent=idempotent, draw=draw)
        for draw in (0.0, 1.0)
    ]
    assert pauses == ([None, None] if expected is None else pytest.approx(list(expected)))


def test_codes_have_classes():
    kinds = [type(error_for(c, "")) for c in ("unavailable", "not_found", "resource_exhausted")]
    assert kinds == [Unavailable, NotFound, ResourceExhausted]
