"""From what a daemon tells of one try of a build to its log and its rows. Pure: events in, lines and rows out.

A vertex is worked on in intervals, and its output may come after its end, so a step's row is made when the build is
over: from its first start to its last end, with the word of the interval that ended last. Steps of our own making
(waiting for a machine) are no rows: how long they took is in the stages of the build. Times are the daemon's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from depotlab.progress import Event, LineSplitter, LogLine, LogWritten, VertexUpdated
from depotlab.service._boundary import Line, Order
from depotlab.service._moments import moment
from depotlab.service._reasons.masking import Mask
from depotlab.telemetry._rows import LogRow, StepRow

__all__ = ["BuildTold", "log_rows"]

NEVER_ENDED: Final = "the build ended before this step did"
"""The error of a step whose end was never told, as when its machine died."""

_MS_IN_NS = 1_000_000


class _Told:
    """What was said of one vertex."""

    __slots__ = ("has_logs", "lines", "name", "runs")

    def __init__(self) -> None:
        self.name = ""
        self.runs: dict[int, tuple[int, bool, str]] = {}  # end (0 is none), cached, error, by start
        self.lines = LineSplitter()
        self.has_logs = False

    def take(self, event: VertexUpdated) -> None:
        self.name = event.name or self.name
        started_ns = event.started_ns if event.started_ns is not None else event.completed_ns
        if started_ns is None:
            return
        end_ns, is_cached, error = self.runs.get(started_ns, (0, False, ""))
        self.runs[started_ns] = (
            max(end_ns, event.completed_ns or 0),
            is_cached or event.is_cached,
            event.error or error,
        )

    @property
    def newest(self) -> tuple[int, bool, str]:
        """The interval that ended last, or has not ended; of those that ended together the last to start."""
        ends = ((not run[0], run[0], start_ns) for start_ns, run in self.runs.items())
        return self.runs[max(ends)[2]]


class BuildTold:
    """What a daemon has told of one try of a build.

    Args:
        order: The build.
        attempt: Which try it is, from 1.
        mask: Covers what nobody may see in a text.
    """

    def __init__(self, order: Order, attempt: int, mask: Mask) -> None:
        self._order = order
        self._attempt = attempt
        self._mask = mask
        self._vertices: dict[str, _Told] = {}

    def take(self, events: Iterable[Event]) -> list[Line]:
        """Take in events in the order they came; return the lines that they complete."""
        lines: list[Line] = []
        for event in events:
            if type(event) is LogWritten:
                vertex = self._of(event.vertex)
                vertex.has_logs = True
                lines += self._lines(event.vertex, vertex, vertex.lines.feed(event))
            elif type(event) is VertexUpdated and not event.is_local:
                self._of(event.digest).take(event)
        return lines

    def rest(self) -> list[Line]:
        """Return what steps have written since their last line end. The build is over: nothing comes after it."""
        lines: list[Line] = []
        for digest, vertex in self._vertices.items():
            lines += self._lines(digest, vertex, vertex.lines.rest())
            vertex.lines = LineSplitter()
        return lines

    def steps(self) -> list[StepRow]:
        """Return a row for each step that was worked on, in the order of their first starts."""
        order = self._order
        rows = []
        for digest, vertex in self._vertices.items():
            if not vertex.runs:
                continue
            end_ns, is_cached, error = vertex.newest
            rows.append(
                StepRow(
                    step_id=digest,
                    started_at=min(vertex.runs) // _MS_IN_NS,
                    completed_at=end_ns // _MS_IN_NS,
                    workspace_id=order.workspace,
                    project_id=order.project,
                    deployment_id=order.deployment,
                    name=self._mask(vertex.name),
                    cached=is_cached,
                    error=self._mask(error) if end_ns else NEVER_ENDED,
                    has_logs=vertex.has_logs,
                    build_id=order.build_id,
                    attempt=self._attempt,
                )
            )
        rows.sort(key=lambda row: row.started_at)
        return rows

    def has_failed(self, name: str) -> bool:
        """Whether a step of this name failed by itself; the failure of another one cancels it."""
        ends = (v.newest[2] for v in self._vertices.values() if v.name == name and v.runs)
        return any(error and not error.endswith("context canceled") for error in ends)

    @property
    def total_steps(self) -> int:
        """Steps that were worked on."""
        return sum(bool(vertex.runs) for vertex in self._vertices.values())

    @property
    def cached_steps(self) -> int:
        """Of them, those that were found in the cache."""
        return sum(bool(v.runs) and v.newest[1] for v in self._vertices.values())

    def _of(self, digest: str) -> _Told:
        vertex = self._vertices.get(digest)
        if vertex is None:
            vertex = self._vertices[digest] = _Told()
        return vertex

    def _lines(self, digest: str, vertex: _Told, lines: Sequence[LogLine]) -> list[Line]:
        if not lines:
            return []
        name = self._mask(vertex.name)
        texts = self._mask.each([line.text for line in lines])
        made, at_ns = [], lines[0].at_ns
        at = moment(at_ns)
        for line, text in zip(lines, texts, strict=True):
            if line.at_ns != at_ns:
                at_ns, at = line.at_ns, moment(line.at_ns)
            made.append(Line(digest, name, line.stream, at, text))
        return made


def log_rows(order: Order, lines: Sequence[Line], first: int) -> list[LogRow]:
    """Return a row for each line.

    Args:
        order: The build.
        lines: In order.
        first: The offset of the first of them in the build's log; the others follow it.
    """
    rows = []
    at: datetime | None = None
    time = 0
    for offset, line in enumerate(lines, first):
        if line.at is not at:  # lines that were written at once share it
            at, time = line.at, _milliseconds(line.at)
        rows.append(
            LogRow(
                time=time,
                workspace_id=order.workspace,
                project_id=order.project,
                deployment_id=order.deployment,
                message=line.text,
                step_id=line.step_id,
                build_id=order.build_id,
                stream=line.stream,
                line=offset,
            )
        )
    return rows


def _milliseconds(at: datetime) -> int:
    # Not by `timestamp()`: a float of this size loses the last digit now and then.
    return int(at.replace(microsecond=0).timestamp()) * 1000 + at.microsecond // 1000
