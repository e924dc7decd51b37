"""The spans that a daemon keeps of a build, and what becomes of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from depotlab.buildkit.trace import Trace, decode_trace
from depotlab.errors import ProtocolError, UsageError

OWN, OTHER = "0af7651916cd43dd8448eb211c80319c", "11111111111111111111111111111111"


def span(name, number, parent=0, *, began="20.000000001", ended="21.5", trace=OWN, **more):
    return {
        "Name": name,
        "SpanContext": {"TraceID": trace, "SpanID": f"{number:016x}", "TraceFlags": "01"},
        "Parent": {"TraceID": trace, "SpanID": f"{parent:016x}"},
        "SpanKind": 1,
        "StartTime": f"2026-11-21T20:49:{began}Z",
        "EndTime": f"2026-11-21T20:49:{ended}Z",
        "Attributes": None,
        "Status": {"Code": 0, "Description": ""},
        "Resource": [{"Key": "service.name", "Value": {"Type": "STRING", "Value": "buildkitd"}}],
        **more,
    }


def decoded(*spans) -> Trace:
    return decode_trace("ref1", "\n".join(json.dumps(one, indent=2) for one in spans).encode())


def test_spans_follow_the_one_that_they_are_a_part_of_by_their_begin():
    trace = decoded(
        span("late part", 3, 1, began="20.9"),
        span("part of a part", 4, 2, began="20.3"),
        span("early part", 2, 1, began="20.2"),
        span("whole", 1, began="20.1"),
    )
    assert [(one.name, one.depth) for one in trace] == [
        ("whole", 0),
        ("early part", 1),
        ("part of a part", 2),
        ("late part", 1),
    ]


def test_a_parent_that_the_daemon_does_not_have_makes_a_root():
    (only,) = decoded(span("Solve", 1, 0xB7AD6B7169203331))
    assert (only.depth, only.parent_id) == (0, "b7ad6b7169203331")


@pytest.mark.parametrize("parents", [(1, 1), (2, 1)], ids=["its own", "each other's"])
def test_spans_that_are_each_others_parents_do_not_hang(parents):
    trace = decoded(span("a", 1, parents[0]), span("b", 2, parents[1]))
    assert {one.name for one in trace} <= {"a", "b"}


def test_spans_of_other_traces_are_left_out():
    trace = decoded(span("ListWorkers", 9, trace=OTHER), span("a", 1), span("b", 2))
    assert (trace.trace_id, [one.name for one in trace]) == (OWN, ["a", "b"])


def test_times_are_kept_to_the_nanosecond():
    (only,) = decoded(span("a", 1))
    began_s = datetime(2026, 11, 21, 20, 49, 20, tzinfo=UTC).timestamp()
    assert only.began_ns == int(began_s) * 10**9 + 1
    assert only.duration_s == pytest.approx(1.499999999, abs=1e-12)


def test_a_moment_may_have_no_fraction_and_another_zone():
    sent = span("a", 1)
    sent["StartTime"], sent["EndTime"] = "2026-11-21T21:49:20+01:00", "2026-11-21T20:49:22.25Z"
    (only,) = decoded(sent)
    assert only.began_at == datetime(2026, 11, 21, 20, 49, 20, tzinfo=UTC)
    assert only.duration_s == 2.25


@pytest.mark.parametrize("code", [1, "Error"])
def test_a_span_that_failed_says_why(code):
    trace = decoded(span("exec", 1, Status={"Code": code, "Description": "exit code: 7"}))
    assert trace[0].error == "exit code: 7"
    assert "exit code: 7" in trace._repr_html_()
    (sent,) = trace.to_otlp()["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert sent["status"] == {"code": 2, "message": "exit code: 7"}


def test_a_trace_as_otlp_has_ids_times_and_attributes(tmp_path):
    attributes = [
        {"Key": "vertex", "Value": {"Type": "STRING", "Value": "sha256:ab"}},
        {"Key": "n", "Value": {"Type": "INT64", "Value": 3}},
        {"Key": "done", "Value": {"Type": "BOOL", "Value": True}},
        {"Key": "words", "Value": {"Type": "STRINGSLICE", "Value": ["a", "b"]}},
    ]
    trace = decoded(span("exec", 2, 1, SpanKind=2, Attributes=attributes))
    saved = json.loads(trace.save(tmp_path / "trace.json").read_text())
    assert saved == trace.to_otlp()
    (resource,) = saved["resourceSpans"]
    assert resource["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "buildkitd"}}
    ]
    assert resource["scopeSpans"][0]["spans"] == [
        {
            "traceId": OWN,
            "spanId": "0000000000000002",
            "parentSpanId": "0000000000000001",
            "name": "exec",
            "kind": 2,
            "startTimeUnixNano": "1795294160000000001",
            "endTimeUnixNano": "1795294161500000000",
            "attributes": [
                {"key": "vertex", "value": {"stringValue": "sha256:ab"}},
                {"key": "n", "value": {"intValue": "3"}},
                {"key": "done", "value": {"boolValue": True}},
                {
                    "key": "words",
                    "value": {
                        "arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}
                    },
                },
            ],
        }
    ]


def test_a_trace_is_a_table_and_shows_itself():
    trace = decoded(span("<b>whole</b>", 1), span("part", 2, 1, began="20.75"))
    assert repr(trace) == "<Trace of ref1: 2 spans, 1.50 s>"
    assert [row["depth"] for row in trace.rows()] == [0, 1]
    assert "&lt;b&gt;whole" in trace._repr_html_()
    assert "margin-left:80px;width:80px" in trace._repr_html_()
    assert repr(trace[1]) == "<Span part: 0.750 s>"
    assert repr(trace[1:]) == "<Trace of ref1: 1 span, 0.75 s>"


def test_a_trace_without_spans_shows_itself_too():
    trace = decode_trace("ref1", b"")
    assert (len(trace), trace.duration_s, trace.to_otlp()) == (0, 0.0, {"resourceSpans": []})
    assert "0 spans" in trace._repr_html_()


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"Name": "a"}', b"\xff", b'"text"'])
def test_what_is_no_trace_is_refused_by_name(data):
    with pytest.raises(ProtocolError, match="ref1"):
        decode_trace("ref1", data)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UsageError, match="no such file or directory"):
        decoded(span("a", 1)).save(tmp_path / "missing" / "trace.json")
