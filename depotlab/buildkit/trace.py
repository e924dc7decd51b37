"""The trace that a daemon keeps of a build: what it did, in spans, as a table in a notebook and as OTLP JSON.

The daemon writes spans as Go's `stdouttrace` does, one JSON object after the other, in the order in which they ended.
Source: moby/buildkit `util/tracing/detect/recorder.go`, `solver/llbsolver/history.go`;
open-telemetry/opentelemetry-proto `opentelemetry/proto/trace/v1/trace.proto` and its JSON mapping;
jaegertracing/jaeger-ui `packages/jaeger-ui/src/utils/readJsonFile.tsx` for what its page opens.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, overload

from depotlab._values import Rows, Value, cut, safe_html, table_html
from depotlab.errors import ProtocolError, UsageError

__all__ = ["Span", "Trace", "decode_trace"]

_SHOWN_ROWS = 200
_COLUMNS = ("name", "depth", "began_at", "duration_s", "error", "span_id", "parent_id", "service")
_BAR_PX = 160
_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_KIND_NAMES = {number: name for name, number in _KINDS.items()}
_FAILED = (1, "Error")  # as a number and as a word, which depends on the daemon's version
_OTLP_FAILED = 2


@dataclass(frozen=True, slots=True, repr=False)
class Span(Value):
    """One thing that the daemon did, and how long it took.

    Attributes:
        name: Such as `exec /bin/sh -c make`, `cache request: …` or the name of a call.
        span_id: 16 hexadecimal digits.
        parent_id: Of the span that it is a part of; the daemon need not have that one.
        began_ns: When it began, ns since 1970 UTC by the daemon's clock.
        duration_s: How long it took, in seconds.
        depth: How many of its parents are in the trace.
        error: Why it failed, or empty.
        kind: `internal`, `server`, `client`, `producer` or `consumer`.
        service: Who made it, usually `buildkitd`.
        attributes: What else is known; `vertex` is the digest of a step.
    """

    name: str
    span_id: str
    parent_id: str
    began_ns: int
    duration_s: float
    depth: int = 0
    error: str = ""
    kind: str = "internal"
    service: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def began_at(self) -> datetime:
        """When it began, UTC, to the microsecond."""
        return datetime.fromtimestamp(self.began_ns // 1000 / 1e6, UTC)

    def __repr__(self) -> str:
        failed = ", failed" if self.error else ""
        return f"<Span {cut(self.name, 100)}: {self.duration_s:.3f} s{failed}>"


class Trace(Rows[Span]):
    """The spans of a build, each after the one that it is a part of. A notebook shows them along the time.

    Args:
        ref: The name of the build.
        trace_id: 32 hexadecimal digits.
        spans: In that order.
    """

    _columns = _COLUMNS

    def __init__(self, ref: str, trace_id: str, spans: Sequence[Span]) -> None:
        super().__init__(spans)
        self.ref = ref
        self.trace_id = trace_id

    @overload
    def __getitem__(self, index: int) -> Span: ...
    @overload
    def __getitem__(self, index: slice) -> Trace: ...
    def __getitem__(self, index: int | slice) -> Span | Trace:
        found = self._items[index]
        return Trace(self.ref, self.trace_id, found) if isinstance(found, tuple) else found

    @property
    def duration_s(self) -> float:
        """Seconds from the first begin to the last end."""
        began_ns = min((span.began_ns for span in self), default=0)
        return (
            max((span.began_ns - began_ns) / 1e9 + span.duration_s for span in self)
            if self
            else 0.0
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each span, for tables of any kind."""
        return [{name: getattr(span, name) for name in _COLUMNS} for span in self]

    def to_otlp(self) -> dict[str, Any]:
        """Return the trace as OTLP has it in JSON, for `json.dumps`: what a collector takes at `/v1/traces`."""
        services: dict[str, list[dict[str, Any]]] = {}
        for span in self:
            services.setdefault(span.service, []).append(_otlp(span, self.trace_id))
        return {
            "resourceSpans": [
                {
                    "resource": {"attributes": _otlp_attributes({"service.name": service})},
                    "scopeSpans": [{"scope": {"name": "depotlab"}, "spans": spans}],
                }
                for service, spans in services.items()
            ]
        }

    def save(self, path: str | Path) -> Path:
        """Write the trace as OTLP JSON, which Jaeger's page opens and every collector takes.

        Args:
            path: Of the file; one that exists is replaced.

        Returns:
            The path.

        Raises:
            UsageError: It cannot be written.
        """
        place = Path(path)
        try:
            place.write_text(json.dumps(self.to_otlp(), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"The trace cannot be written to {place}: {(error.strerror or str(error)).lower()}.",
                hint="give a path in a directory that exists and that you may write to",
            ) from error
        return place

    def _headline(self) -> str:
        spans = "span" if len(self) == 1 else "spans"
        return f"{len(self)} {spans}, {self.duration_s:.2f} s"

    def __repr__(self) -> str:
        return f"<Trace of {self.ref}: {self._headline()}>"

    def __str__(self) -> str:
        lines = [f"{'  ' * span.depth}{span.name}  {span.duration_s:.3f} s" for span in self]
        return "\n".join([self._headline(), *lines])

    def _repr_html_(self) -> str:
        rest = len(self) - _SHOWN_ROWS
        began_ns = min((span.began_ns for span in self), default=0)
        whole_s = self.duration_s or 1.0
        heads = (
            ("what", "", "s", "error") if any(span.error for span in self) else ("what", "", "s")
        )
        return table_html(
            self._headline(),
            heads,
            (
                (
                    f'<span title="{html.escape(span.name)}" style="white-space:nowrap;'
                    f'padding-left:{12 * span.depth}px">{safe_html(cut(span.name, 80))}</span>',
                    _bar(
                        (span.began_ns - began_ns) / 1e9 / whole_s,
                        span.duration_s / whole_s,
                        bool(span.error),
                    ),
                    f"{span.duration_s:.3f}",
                    cut(span.error, 120),
                )[: len(heads)]
                for span in self[:_SHOWN_ROWS]
            ),
            notes=[f"and {rest} more: to_pandas() has all"] if rest > 0 else (),
            raw=frozenset({"what", ""}),
            right=frozenset({"s"}),
        )


def _bar(began: float, part: float, failed: bool) -> str:
    """Return when something went on, as a bar along the time of the whole; both from 0 to 1."""
    left = round(min(began, 1.0) * _BAR_PX)
    width = max(1, min(round(part * _BAR_PX), _BAR_PX - left))
    color = "#d1495b" if failed else "#4c8bf5"
    return (
        f'<span style="display:inline-block;width:{_BAR_PX}px;height:9px;background:#8883;border-radius:2px">'
        f'<span style="display:block;margin-left:{min(left, _BAR_PX - 1)}px;width:{width}px;height:9px;'
        f'background:{color};border-radius:2px"></span></span>'
    )


# ------------------------------------------------------------------------------------- reading


def decode_trace(ref: str, data: bytes) -> Trace:
    """Read what a daemon keeps as the trace of a build.

    Spans of other traces are left out: the record begins with whatever the daemon was asked first.

    Args:
        ref: The name of the build.
        data: JSON objects, one after the other.

    Raises:
        ProtocolError: It is something else.
    """
    try:
        sent = list(_objects(data.decode()))
        by_trace: dict[str, list[dict[str, Any]]] = {}
        for one in sent:
            by_trace.setdefault(one["SpanContext"]["TraceID"], []).append(one)
        trace_id, own = max(by_trace.items(), key=lambda item: len(item[1]), default=("", []))
        return Trace(ref, trace_id, _in_order([_span(one) for one in own]))
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(
            f"The trace of build {ref} is not what it should be: {error!r}."
        ) from error


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found, at = decoder.raw_decode(text, at)
        yield found


def _span(sent: Mapping[str, Any]) -> Span:
    began_ns, ended_ns = _ns(sent["StartTime"]), _ns(sent["EndTime"])
    status = sent.get("Status") or {}
    failed = status.get("Code") in _FAILED
    resource = _attributes(sent.get("Resource"))
    return Span(
        name=sent["Name"],
        span_id=sent["SpanContext"]["SpanID"],
        parent_id=sent["Parent"]["SpanID"].strip("0") and sent["Parent"]["SpanID"],
        began_ns=began_ns,
        duration_s=max(0, ended_ns - began_ns) / 1e9,
        error=(status.get("Description") or "failed") if failed else "",
        kind=_KIND_NAMES.get(sent.get("SpanKind", 1), "internal"),
        service=str(resource.get("service.name", "")),
        attributes=_attributes(sent.get("Attributes")),
    )


def _attributes(sent: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    return {one["Key"]: one["Value"]["Value"] for one in sent or ()}


def _ns(text: str) -> int:
    """Read RFC 3339 with up to nine digits after the point; Python's own reading keeps six."""
    whole, _, rest = text.partition(".")
    digits = "".join(char for char in rest[:9] if char.isdigit())
    zone = rest[len(digits) :] if rest else whole[19:]
    moment = datetime.fromisoformat(whole[:19] + zone)
    return int(moment.timestamp()) * 10**9 + int(digits.ljust(9, "0"))


def _in_order(spans: Sequence[Span]) -> list[Span]:
    """Return spans with their depths, each after its parent, siblings by their begin."""
    known = {span.span_id for span in spans}
    children: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda one: one.began_ns):
        parent = (
            span.parent_id if span.parent_id in known and span.parent_id != span.span_id else ""
        )
        children.setdefault(parent, []).append(span)
    found: list[Span] = []
    waiting = [(span, 0) for span in reversed(children.get("", []))]
    while waiting:
        span, depth = waiting.pop()
        found.append(replace(span, depth=depth))
        waiting += [(child, depth + 1) for child in reversed(children.pop(span.span_id, []))]
    return found


# ------------------------------------------------------------------------------------- writing


def _otlp(span: Span, trace_id: str) -> dict[str, Any]:
    ended_ns = span.began_ns + round(span.duration_s * 1e9)
    sent: dict[str, Any] = {
        "traceId": trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": str(span.began_ns),
        "endTimeUnixNano": str(ended_ns),
        "attributes": _otlp_attributes(span.attributes),
    }
    if span.parent_id:
        sent["parentSpanId"] = span.parent_id
    if span.error:
        sent["status"] = {"code": _OTLP_FAILED, "message": span.error}
    return sent


def _otlp_attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _otlp_value(value)} for key, value in attributes.items()]


def _otlp_value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_otlp_value(one) for one in value]}}
        case _:
            return {"stringValue": str(value)}
