"""Builds as OpenTelemetry traces: a span for each build, under it one for each stage and each step.

Ids of traces and spans are made of the build's id, the step's and the attempt, so rows of one build may come in any
order and in several batches, and a batch that is sent again makes the same spans. That is why spans go straight to an
exporter or a processor, which take finished spans, and not through a tracer, which would draw ids by lot.

Attributes follow OpenTelemetry's semantic conventions for CI/CD (`cicd.pipeline.*`), `error.type`, `process.exit.code`
and `oci.manifest.digest`; what they have no name for begins with `depotlab.`. Source: opentelemetry.io, "Semantic
conventions for CICD spans". Lines that steps printed are no spans and are left out.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from depotlab._values import Value
from depotlab.errors import MissingExtra, TelemetryError, UsageError
from depotlab.telemetry._rows import BuildRow, StepRow, is_cut_off
from depotlab.telemetry._sink import Batch

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["OpenTelemetry"]

_NS_PER_MS = 1_000_000
_STAGES = ("queued", "context", "project", "machine", "solve", "drain", "finish")
_RESULTS = {"succeeded": "success", "failed": "failure", "canceled": "cancellation"}
_EXIT_CODE = re.compile(r"exit code: (\d+)")
_SCOPE = "depotlab.telemetry"


class OpenTelemetry(Value):
    """A sink that makes traces. Needs the extra `otel`.

    Args:
        to: Where spans go: the address of an OTLP receiver over HTTP, such as `http://localhost:4318` (`/v1/traces` is
            added when it has no path); a `SpanExporter`; or a `SpanProcessor`, such as the one that your
            `TracerProvider` has. What the first two do not take is sent again; a processor keeps or drops by its rules.
        headers: For an address: what each request carries, such as a token. Secret.
        service_name: What the spans are said to come from.
        resource: Attributes of the place they come from, in place of `service_name`; that of your `TracerProvider`.
        timeout_s: For an address: how long one try may take.

    Raises:
        MissingExtra: The SDK, or for an address its exporter, is not installed.
        UsageError: `to` is none of these.

    Example:
        >>> telemetry.OpenTelemetry("http://localhost:4318")            # doctest: +SKIP
        OpenTelemetry('http://localhost:4318/v1/traces')
    """

    def __init__(
        self,
        to: str | SpanExporter | SpanProcessor,
        *,
        headers: Mapping[str, str] | None = None,
        service_name: str = "depotlab",
        resource: Resource | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        trace, export = _sdk("opentelemetry.sdk.trace"), _sdk("opentelemetry.sdk.trace.export")
        self._endpoint = ""
        self._exporter: SpanExporter | None = None
        self._processor: SpanProcessor | None = None
        self._headers = dict(headers or {})
        self._timeout_s = timeout_s
        if isinstance(to, str):
            self._endpoint = _checked(to)
            _sdk(_OTLP)
        elif isinstance(to, export.SpanExporter):
            self._exporter = to
        elif isinstance(to, trace.SpanProcessor):
            self._processor = to
        else:
            raise UsageError(
                f"OpenTelemetry(to=…) was given a {type(to).__name__}.",
                hint="give the address of an OTLP receiver, a SpanExporter, or the SpanProcessor that you gave "
                "your TracerProvider",
            )
        resources = _sdk("opentelemetry.sdk.resources")
        self._resource = resource or resources.Resource.create({"service.name": service_name})

    def __repr__(self) -> str:
        to = self._endpoint or type(self._exporter or self._processor).__name__
        return f"OpenTelemetry({to!r})"

    def open(self) -> None:
        """Get ready; nothing is sent. Idempotent."""
        if self._endpoint and self._exporter is None:
            self._exporter = _sdk(_OTLP).OTLPSpanExporter(
                endpoint=self._endpoint, headers=self._headers, timeout=self._timeout_s
            )

    def write(self, batch: Batch) -> None:
        """Send the spans of a batch of builds or steps; lines are left out.

        Raises:
            TelemetryError: The receiver did not take them.
        """
        self.open()
        spans = [span for row in batch.rows for span in self._spans(row)]
        if self._processor is not None:
            for span in spans:
                self._processor.on_end(span)
            return
        assert self._exporter is not None
        export = _sdk("opentelemetry.sdk.trace.export")
        if spans and self._exporter.export(spans) is not export.SpanExportResult.SUCCESS:
            raise TelemetryError(
                f"{self!r} did not take {len(spans)} spans.",
                is_transient=True,
                hint="check the address and the token; what the receiver said is in the log of `opentelemetry`",
            )

    def close(self) -> None:
        """Let go of the connection; an exporter or processor that was given stays its owner's. Idempotent."""
        if self._processor is not None:
            self._processor.force_flush()
        elif self._endpoint and self._exporter is not None:
            self._exporter.shutdown()
            self._exporter = None

    # ------------------------------------------------------------------------------------ spans

    def _spans(self, row: object) -> Iterator[ReadableSpan]:
        if isinstance(row, BuildRow):
            yield self._build(row)
            yield from self._stages(row)
        elif isinstance(row, StepRow) and (row.started_at or row.completed_at):
            yield self._step(row)

    def _build(self, row: BuildRow) -> ReadableSpan:
        failure = row.error_category or "unknown" if row.status == "failed" else ""
        return self._span(
            f"BUILD {row.project_id}",
            row.build_id,
            "",
            start_ms=row.created_at,
            end_ms=row.completed_at,
            error=(row.error or row.status) if failure else "",
            attributes={
                **_common(row),
                "cicd.pipeline.action.name": "BUILD",
                "cicd.pipeline.result": _RESULTS.get(row.status, row.status),
                "error.type": failure,
                "container.image.name": row.image,
                "oci.manifest.digest": row.digest,
                "depotlab.attempts": row.attempts,
                "depotlab.steps.total": row.total_steps,
                "depotlab.steps.cached": row.cached_steps,
                "depotlab.log_lines": row.log_lines,
            },
        )

    def _stages(self, row: BuildRow) -> Iterator[ReadableSpan]:
        """Lay the stages end to end: of a build that was tried several times each is the sum of all tries."""
        known = [name for name in _STAGES if name in row.stages_ms]
        at_ms = row.created_at
        for name in [*known, *sorted(set(row.stages_ms) - set(known))]:
            until_ms = at_ms + row.stages_ms[name]
            yield self._span(
                f"stage {name}",
                row.build_id,
                f"stage/{name}",
                start_ms=at_ms,
                end_ms=until_ms,
                attributes={**_common(row), "depotlab.stage": name},
            )
            at_ms = until_ms

    def _step(self, row: StepRow) -> ReadableSpan:
        is_canceled = is_cut_off(row.error)
        failure = row.error if row.error and not is_canceled else ""
        code = _EXIT_CODE.search(failure)
        result = "cancellation" if is_canceled else "failure" if failure else "success"
        return self._span(
            row.name,
            row.build_id,
            f"step/{row.attempt}/{row.step_id}",
            start_ms=row.started_at or row.completed_at,
            end_ms=row.completed_at or row.started_at,
            error=failure,
            attributes={
                **_common(row),
                "cicd.pipeline.task.name": row.name,
                "cicd.pipeline.task.run.id": row.step_id,
                "cicd.pipeline.task.run.result": result,
                "cicd.pipeline.task.type": "build",
                "error.type": "step_failed" if failure else "",
                "process.exit.code": int(code[1]) if code else "",
                "depotlab.step.cached": row.cached,
                "depotlab.attempt": row.attempt,
            },
        )

    def _span(
        self,
        name: str,
        build_id: str,
        part: str,
        *,
        start_ms: int,
        end_ms: int,
        attributes: Mapping[str, Any],
        error: str = "",
    ) -> ReadableSpan:
        api, trace = _sdk("opentelemetry.trace"), _sdk("opentelemetry.sdk.trace")
        scope = _sdk("opentelemetry.sdk.util.instrumentation").InstrumentationScope(_SCOPE)
        kind = api.SpanKind.INTERNAL if part else api.SpanKind.SERVER
        status = api.Status(api.StatusCode.ERROR, error) if error else api.Status()
        span: ReadableSpan = trace.ReadableSpan(
            name,
            context=_context(build_id, part),
            parent=_context(build_id, "") if part else None,
            resource=self._resource,
            attributes={key: value for key, value in attributes.items() if value != ""},
            kind=kind,
            status=status,
            start_time=start_ms * _NS_PER_MS,
            end_time=max(start_ms, end_ms) * _NS_PER_MS,
            instrumentation_scope=scope,
        )
        return span


_OTLP = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def _sdk(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra("telemetry.OpenTelemetry()", extra="otel") from None


def _checked(endpoint: str) -> str:
    """Return where traces are posted to."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise UsageError(
            "OpenTelemetry(to=…) is no address that begins with http:// or https://, without a login in it.",
            hint="give for example 'http://localhost:4318'; tokens go into headers=",
        )
    path = parts.path if parts.path.strip("/") else "/v1/traces"
    return parts._replace(path=path).geturl()


def _common(row: BuildRow | StepRow) -> dict[str, Any]:
    return {
        "cicd.pipeline.name": row.project_id,
        "cicd.pipeline.run.id": row.build_id,
        "depotlab.workspace": row.workspace_id,
        "depotlab.deployment": row.deployment_id,
    }


def _context(build_id: str, part: str) -> Any:
    """Return the ids of a span: the same for the same build and part, wherever and whenever they are made."""
    api = _sdk("opentelemetry.trace")
    trace_id = hashlib.sha256(build_id.encode()).digest()[:16]
    span_id = hashlib.sha256(f"{build_id}\0{part}".encode()).digest()[:8]
    # An id of zeros is none. Source: W3C Trace Context.
    return api.SpanContext(
        int.from_bytes(trace_id) or 1,
        int.from_bytes(span_id) or 1,
        is_remote=False,
        trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED),
    )
