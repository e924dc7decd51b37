"""From status messages of the daemon to events. The one file of the room that reads messages.

It names the generated classes only for the type checker, so that views, tests and
`import depotlab` do not load protobuf.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from depotlab.errors import SourceLocation
from depotlab.progress._events import (
    ClockRead,
    Event,
    LogWritten,
    ProgressGroup,
    TransferUpdated,
    VertexUpdated,
    WarningRaised,
)

if TYPE_CHECKING:
    from depotlab._proto import control_pb2

__all__ = ["clock_read", "decode"]

_NS = 1_000_000_000
_JOIN_NS = 10_000_000
_JOIN_PIECES = 200
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def decode(message: control_pb2.StatusResponse) -> list[Event]:
    """Return the events of one status message, vertices before what refers to them."""
    events: list[Event] = [_vertex(vertex) for vertex in message.vertexes]
    events += [_transfer(status) for status in message.statuses]
    events += _logs(message.logs)
    events += [_warning(warning) for warning in message.warnings]
    return events


def _logs(logs: Iterable[control_pb2.VertexLog]) -> list[LogWritten]:
    """Join what a step wrote to one stream within `_JOIN_NS`, and date it by its first piece.

    A process that flushes every line makes one message entry of each; joined they cost a third.
    Only the order within a step means anything, so steps that write in turns are joined too.
    """
    joined: list[tuple[str, int, int, list[bytes]]] = []
    open_: dict[str, tuple[str, int, int, list[bytes]]] = {}
    for log in logs:
        vertex, at = log.vertex, log.timestamp
        at_ns = at.seconds * _NS + at.nanos
        known = open_.get(vertex)
        if (
            known is not None
            and known[2] == log.stream
            and at_ns - known[1] < _JOIN_NS
            and len(known[3]) < _JOIN_PIECES
        ):
            known[3].append(log.msg)
        else:
            known = open_[vertex] = (vertex, at_ns, log.stream, [log.msg])
            joined.append(known)
    return [
        LogWritten(vertex, at_ns, stream, b"".join(pieces))
        for vertex, at_ns, stream, pieces in joined
    ]


def clock_read(header: str, *, local_ns: int) -> ClockRead:
    """Read `buildkit-current-timestamp`, a header of the status stream.

    Args:
        header: RFC 3339 with up to nine decimals, as Go's `time.RFC3339Nano` writes it.
        local_ns: Our own clock when the header came.

    Raises:
        ValueError: The header is not a time.
    """
    match = _RFC3339.fullmatch(header)
    if match is None:
        raise ValueError(f"not a time as RFC 3339 writes it: {header!r}")
    seconds, decimals, zone = match.groups()
    moment = datetime.fromisoformat(seconds + ("+00:00" if zone == "Z" else zone))
    whole_s = int(moment.astimezone(UTC).timestamp())
    return ClockRead(whole_s * _NS + int((decimals or "").ljust(9, "0")), local_ns)


def _vertex(vertex: control_pb2.Vertex) -> VertexUpdated:
    group = None
    if vertex.HasField("progressGroup"):
        sent = vertex.progressGroup
        group = ProgressGroup(sent.id, sent.name, sent.weak)
    return VertexUpdated(
        vertex.digest,
        vertex.name,
        tuple(vertex.inputs),
        _ns(vertex, "started"),
        _ns(vertex, "completed"),
        vertex.cached,
        vertex.error,
        group,
    )


def _transfer(status: control_pb2.VertexStatus) -> TransferUpdated:
    at = status.timestamp
    return TransferUpdated(
        status.vertex,
        status.ID,
        status.name,
        status.current,
        status.total,
        at.seconds * _NS + at.nanos,
        _ns(status, "started"),
        _ns(status, "completed"),
    )


def _warning(warning: control_pb2.VertexWarning) -> WarningRaised:
    filename = warning.info.filename
    text = warning.info.data.decode("utf-8", "replace")
    return WarningRaised(
        warning.vertex,
        warning.level,
        warning.short.decode("utf-8", "replace"),
        tuple(line.decode("utf-8", "replace") for line in warning.detail),
        warning.url,
        tuple(
            SourceLocation(filename, at.start.line, max(at.start.line, at.end.line), text)
            for at in warning.ranges
        ),
    )


def _ns(message: control_pb2.Vertex | control_pb2.VertexStatus, field: str) -> int | None:
    if not message.HasField(field):
        return None
    at = getattr(message, field)
    ns: int = at.seconds * _NS + at.nanos
    return ns
