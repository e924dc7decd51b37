"""Which trace the calls to a daemon belong to."""

from __future__ import annotations

import asyncio
import re
import sys
from types import SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, use_span

from depotlab._rpc.tracing import build_traced, trace_headers


def test_without_a_build_and_a_span_nothing_is_added():
    assert trace_headers() == ()


def test_nothing_is_added_where_opentelemetry_is_not_used(monkeypatch):
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert trace_headers() == ()


def test_the_calls_of_a_build_share_a_trace_that_its_name_gives():
    with build_traced("one"):
        first = trace_headers()
        assert trace_headers() == first
    with build_traced("two"):
        assert trace_headers() != first
    with build_traced("one"):
        assert trace_headers() == first
    ((name, value),) = first
    assert name == "traceparent"
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", value)
    assert trace_headers() == ()


def test_a_build_inside_a_span_of_the_caller_belongs_to_its_trace():
    with TracerProvider().get_tracer("app").start_as_current_span("train") as span:
        context = span.get_span_context()
        wanted = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        assert trace_headers() == (("traceparent", wanted),)
        with build_traced("one"):
            assert trace_headers() == (("traceparent", wanted),)


def test_what_the_caller_does_not_sample_is_not_sampled_and_its_state_goes_along():
    context = SpanContext(0xAB, 0xCD, False, TraceFlags(0), TraceState([("vendor", "x")]))
    with use_span(NonRecordingSpan(context)):
        headers = dict(trace_headers())
    assert headers == {
        "traceparent": f"00-{0xAB:032x}-{0xCD:016x}-00",
        "tracestate": "vendor=x",
    }


def test_a_span_that_is_none_does_not_count():
    with use_span(trace.INVALID_SPAN):
        assert trace_headers() == ()


def test_builds_beside_each_other_have_traces_of_their_own():
    async def build(ref: str, *, others: asyncio.Barrier) -> object:
        with build_traced(ref):
            await others.wait()
            return await asyncio.create_task(_headers())

    async def _headers() -> object:
        return trace_headers()

    async def both() -> list[object]:
        others = asyncio.Barrier(2)
        return await asyncio.gather(build("one", others=others), build("two", others=others))

    one, two = asyncio.run(both())
    assert one != two


@pytest.mark.parametrize("digest", [bytes(32)], ids=["zeros"])
def test_an_id_is_never_zero(monkeypatch, digest):
    made = SimpleNamespace(digest=lambda: digest)
    monkeypatch.setattr("depotlab._rpc.tracing.hashlib", SimpleNamespace(sha256=lambda _: made))
    with build_traced("one"):
        assert trace_headers() == (("traceparent", f"00-{1:032x}-{1:016x}-01"),)
