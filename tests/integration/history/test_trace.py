"""The trace that a real daemon keeps of a build, and to which trace it belongs."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider

import depotlab as dl
from depotlab import aio, llb
from depotlab.errors import StepFailed, UsageError


def test_the_trace_of_a_graph_has_the_steps_inside_the_solve(bk, tmp_path):
    built = bk.build(llb.image("busybox").run(f"echo {time.time_ns()}"), progress="quiet")
    trace = bk.trace(built.ref)
    spans = {span.name: span for span in trace}
    ran = next(span for name, span in spans.items() if "echo" in name and "cache" not in name)
    assert ran.depth > 0
    assert ran.attributes["vertex"] in {step.digest for step in built.steps}
    assert "moby.buildkit.v1.Control/Solve" in spans
    assert 0 < ran.duration_s <= trace.duration_s
    assert {span.service for span in trace} == {"buildkitd"}
    saved = json.loads(trace.save(tmp_path / "trace.json").read_text())
    sent = [s for r in saved["resourceSpans"] for c in r["scopeSpans"] for s in c["spans"]]
    assert {one["traceId"] for one in sent} == {trace.trace_id}
    assert len(sent) == len(trace)


def test_the_trace_of_a_dockerfile_has_its_instructions(bk):
    text = f"FROM busybox\nRUN echo {time.time_ns()}"
    built = bk.build(dl.dockerfile(text=text), progress="quiet")
    assert any("RUN echo" in span.name and span.depth for span in bk.trace(built.ref))


def test_a_step_that_failed_has_its_error_in_the_trace(bk):
    with pytest.raises(StepFailed):
        bk.build(llb.image("busybox").run(f"exit 7 # {time.time_ns()}"), progress="quiet")
    trace = bk.trace(bk.history(status="error", limit=1)[0])
    assert any("exit code: 7" in span.error for span in trace)
    assert "exit code: 7" in trace._repr_html_()


def test_a_build_belongs_to_the_span_around_it(bk, engine):
    tracer = TracerProvider().get_tracer("app")
    with tracer.start_as_current_span("train") as span:
        built = bk.build(llb.image("busybox").run(f"echo {time.time_ns()}"), progress="quiet")
    trace = bk.trace(built.ref)
    context = span.get_span_context()
    assert trace.trace_id == f"{context.trace_id:032x}"
    assert {one.parent_id for one in trace if not one.depth} == {f"{context.span_id:016x}"}

    async def awaited() -> tuple[str, str]:
        async with await aio.connect(engine.address) as client:
            with tracer.start_as_current_span("train") as own:
                target = llb.image("busybox").run(f"echo {time.time_ns()}")
                result = await client.build(target, progress="quiet")
            found = await client.trace(result.ref)
            return found.trace_id, f"{own.get_span_context().trace_id:032x}"

    found, wanted = asyncio.run(awaited())
    assert found == wanted


def test_builds_without_a_span_have_traces_of_their_own(bk):
    refs = [
        bk.build(llb.image("busybox").run(f"echo {time.time_ns()}"), progress="quiet").ref
        for _ in range(2)
    ]
    assert len({bk.trace(ref).trace_id for ref in refs}) == 2


@pytest.mark.parametrize("build", ["no-such-build", "", 7], ids=["unknown", "empty", "number"])
def test_a_build_that_is_none_is_refused(bk, build):
    with pytest.raises(UsageError, match="build"):
        bk.trace(build)
