from __future__ import annotations

import http.server
import importlib
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from depotlab.errors import MissingExtra, TelemetryError, UsageError
from depotlab.telemetry import Batch, OpenTelemetry, Sink
from tests.support.telemetryrows import build_row, log_row, step_row

MS = 1_000_000


def spans(*batches: list) -> dict[str, ReadableSpan]:
    exporter = InMemorySpanExporter()
    sink = OpenTelemetry(exporter)
    sink.open()
    for rows in batches:
        sink.write(Batch("1", rows[0].table, rows))
    sink.close()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_build_has_stages_and_steps_below_it() -> None:
    steps = [step_row(0, build_id="b7"), step_row(1, build_id="b7")]
    found = spans(steps, [build_row(7)])
    assert set(found) == {
        "BUILD shop",
        "stage queued",
        "stage solve",
        "[0] RUN make",
        "[1] RUN make",
    }
    root = found.pop("BUILD shop")
    assert root.parent is None
    assert root.kind is SpanKind.SERVER
    assert {span.parent.span_id for span in found.values()} == {root.context.span_id}
    assert {span.context.trace_id for span in found.values()} == {root.context.trace_id}
    assert len({span.context.span_id for span in found.values()}) == 4
    assert {span.kind for span in found.values()} == {SpanKind.INTERNAL}


def test_times_are_those_of_the_rows() -> None:
    build = build_row(7)
    step = step_row(0)
    found = spans([build], [step])
    root = found["BUILD shop"]
    assert (root.start_time, root.end_time) == (build.created_at * MS, build.completed_at * MS)
    one = found[step.name]
    assert (one.start_time, one.end_time) == (step.started_at * MS, step.completed_at * MS)
    queued, solve = found["stage queued"], found["stage solve"]
    assert queued.start_time == root.start_time
    assert queued.end_time == solve.start_time == (build.created_at + 100) * MS


def test_attributes_follow_the_conventions() -> None:
    failed = step_row(2, error="did not complete successfully: exit code: 137")
    build = build_row(0, status="failed", error="It failed.", error_category="command_failed")
    found = spans([build], [failed, step_row(1)])
    root = found["BUILD shop"]
    assert root.attributes["cicd.pipeline.name"] == "shop"
    assert root.attributes["cicd.pipeline.run.id"] == "b0"
    assert root.attributes["cicd.pipeline.result"] == "failure"
    assert root.attributes["error.type"] == "command_failed"
    assert root.status.status_code is StatusCode.ERROR
    assert root.status.description == "It failed."
    assert root.resource.attributes["service.name"] == "depotlab"
    assert "container.image.name" not in root.attributes, "what is not known is left out"
    step = found["[2] RUN make"]
    assert step.attributes["cicd.pipeline.task.run.result"] == "failure"
    assert step.attributes["process.exit.code"] == 137
    assert step.attributes["depotlab.step.cached"] is False
    assert found["[1] RUN make"].attributes["depotlab.step.cached"] is True
    assert found["[1] RUN make"].status.status_code is StatusCode.UNSET


def test_a_cancelled_step_is_no_error() -> None:
    step = spans([step_row(0, error="rpc error: context canceled")])["[0] RUN make"]
    assert step.attributes["cicd.pipeline.task.run.result"] == "cancellation"
    assert step.status.status_code is StatusCode.UNSET


def test_the_same_rows_make_the_same_spans_and_another_try_makes_others() -> None:
    first, again = (spans([step_row(0)])["[0] RUN make"] for _ in range(2))
    second_try = spans([step_row(0, attempt=2)])["[0] RUN make"]
    assert first.context == again.context
    assert first.context.span_id != second_try.context.span_id
    assert first.parent == second_try.parent


def test_lines_and_steps_without_a_time_make_no_span() -> None:
    assert spans([log_row(0)], [step_row(0, started_at=0, completed_at=0)]) == {}


def test_a_processor_is_given_finished_spans() -> None:
    exporter = InMemorySpanExporter()
    sink = OpenTelemetry(SimpleSpanProcessor(exporter))
    assert isinstance(sink, Sink)
    sink.write(Batch("1", "builds_v1", [build_row(0, stages_ms={})]))
    sink.close()
    assert [span.name for span in exporter.get_finished_spans()] == ["BUILD shop"]


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes OTLP over HTTP, or refuses it."""

    answer = 200
    heard: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append((self.path, self.headers.get("x-key", ""), body))
        self.send_response(self.answer)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[http.server.HTTPServer]:
    Receiver.answer, Receiver.heard = 200, []
    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_address_gets_spans_by_otlp(receiver: http.server.HTTPServer) -> None:
    sink = OpenTelemetry(f"http://127.0.0.1:{receiver.server_port}", headers={"x-key": "hunter22"})
    sink.write(Batch("1", "builds_v1", [build_row(0)]))
    sink.close()
    ((path, key, body),) = Receiver.heard
    assert (path, key) == ("/v1/traces", "hunter22")
    assert body
    assert "hunter22" not in repr(sink)


def test_a_receiver_that_refuses_is_tried_again_later(receiver: http.server.HTTPServer) -> None:
    Receiver.answer = 400
    sink = OpenTelemetry(f"http://127.0.0.1:{receiver.server_port}/own/path")
    with pytest.raises(TelemetryError) as caught:
        sink.write(Batch("1", "builds_v1", [build_row(0)]))
    assert caught.value.is_transient
    assert Receiver.heard[0][0] == "/own/path"
    Receiver.answer = 200
    sink.write(Batch("1", "builds_v1", [build_row(0)]))
    sink.close()


@pytest.mark.parametrize(
    "to",
    [
        pytest.param("localhost:4318", id="no scheme"),
        pytest.param("http://me:hunter22@host", id="a login in the address"),
        pytest.param(7, id="a number"),
        pytest.param(TracerProvider(), id="a provider, whose spans draw their ids by lot"),
    ],
)
def test_what_takes_no_spans_is_refused(to: object) -> None:
    with pytest.raises(UsageError) as caught:
        OpenTelemetry(to)
    assert "hunter22" not in str(caught.value)


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra) as caught:
        OpenTelemetry("http://localhost:4318")
    assert caught.value.extra == "otel"
