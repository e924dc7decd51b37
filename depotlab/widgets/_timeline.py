"""When each step of a build was worked on: a value, a Gantt chart as HTML, and one as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from depotlab._values import Tabular, Value
from depotlab.progress import Phase, Snapshot, Step, StepState, critical_path
from depotlab.widgets._frame import matters
from depotlab.widgets._markup import (
    CODE,
    GREY,
    STATE_COLORS,
    note,
    page,
    safe,
    words,
)
from depotlab.widgets._picking import pick_handlers
from depotlab.widgets._slow import why_slow
from depotlab.widgets._text import SYMBOLS, headline, one_line, seconds_text

__all__ = ["ON_PATH", "Timeline", "TimelineRow", "timeline_html"]

ON_PATH = "◆"
_MAX_ROWS = 40
_MAX_TEXT_ROWS = 60
_NAME_CH, _LANE_CH = 48, 32


@dataclass(frozen=True, slots=True, repr=False)
class TimelineRow(Value):
    """When one step was worked on.

    Attributes:
        step: The step.
        spans_s: When the builder worked on it: begin and end of each stretch, in seconds from the start of the build.
            Of a step that still runs the last end is now.
        is_critical: It is on the critical path: the end of the build waited for it.
    """

    step: Step
    spans_s: tuple[tuple[float, float], ...]
    is_critical: bool = False

    @property
    def began_s(self) -> float:
        """When it was first worked on, seconds from the start of the build."""
        return self.spans_s[0][0]

    @property
    def ended_s(self) -> float:
        """When it was last worked on, seconds from the start of the build."""
        return max(end for _, end in self.spans_s)

    @property
    def worked_s(self) -> float:
        """How long it was worked on, without the gaps."""
        total, covered_to = 0.0, 0.0
        for begin, end in self.spans_s:
            total += max(0.0, end - max(begin, covered_to))
            covered_to = max(covered_to, end)
        return total

    @property
    def is_cached(self) -> bool:
        """It was taken from the cache: a tick on the chart, and no bar."""
        return self.step.state is StepState.CACHED

    def row(self) -> dict[str, Any]:
        """Return the row by column, for tables."""
        return {
            "number": self.step.number,
            "name": self.step.name,
            "state": str(self.step.state),
            "began_s": self.began_s,
            "ended_s": self.ended_s,
            "worked_s": self.worked_s,
            "is_cached": self.is_cached,
            "is_critical": self.is_critical,
            "digest": self.step.digest,
        }


class Timeline(Tabular, Sequence[TimelineRow]):
    """When each step of a build was worked on, in the order in which they began.

    A sequence of `TimelineRow`; a notebook draws it, `print` writes it as text. Steps that nobody worked on are not
    in it.

    Args:
        snapshot: The build, running or over.
    """

    _columns = (
        "number",
        "name",
        "state",
        "began_s",
        "ended_s",
        "worked_s",
        "is_cached",
        "is_critical",
        "digest",
    )

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        on_path = {step.digest for step in critical_path(snapshot)}
        self._rows = tuple(
            TimelineRow(step, _spans_s(step, snapshot), step.digest in on_path)
            for step in snapshot.steps
            if step.intervals
        )

    @property
    def duration_s(self) -> float:
        """Seconds that the build took, or runs by now."""
        return self._snapshot.duration_s

    @overload
    def __getitem__(self, index: int) -> TimelineRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TimelineRow, ...]: ...
    def __getitem__(self, index: int | slice) -> TimelineRow | tuple[TimelineRow, ...]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[TimelineRow]:
        return iter(self._rows)

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each row, for tables of any kind."""
        return [row.row() for row in self]

    def __repr__(self) -> str:
        n_critical = sum(row.is_critical for row in self)
        steps = "step" if len(self) == 1 else "steps"
        return (
            f"<Timeline of {len(self)} {steps} in {seconds_text(self.duration_s)}, "
            f"{n_critical} on the critical path>"
        )

    def __str__(self) -> str:
        shown, more = _shown(self, self._snapshot, _MAX_TEXT_ROWS)
        total = seconds_text(self.duration_s)
        scale = f"0 s{total:>{_LANE_CH - 3}}"
        lines = [headline(self._snapshot), why_slow(self._snapshot)]
        lines.append(f"{'':{_NAME_CH + 4}} {scale}")
        lines += [_text_row(row, self.duration_s) for row in shown]
        lines += [more] if more else []
        return "\n".join([*lines, f"{ON_PATH} on the critical path: the end waited for it"])

    def _repr_html_(self) -> str:
        return page(
            f"<div><b>{safe(headline(self._snapshot))}</b></div>",
            note(why_slow(self._snapshot)),
            timeline_html(self._snapshot, max_rows=_MAX_ROWS),
        )


def _spans_s(step: Step, snapshot: Snapshot) -> tuple[tuple[float, float], ...]:
    zero_ns = snapshot.started_ns or min(i.start_ns for i in step.intervals)
    spans = []
    for start_ns, end_ns in step.intervals:
        # The daemon's clock may be a moment off ours.
        begin = max(0, start_ns - zero_ns) * 1e-9
        end = max(0, (snapshot.at_ns if end_ns is None else end_ns) - zero_ns) * 1e-9
        spans.append((begin, max(begin, end)))
    return tuple(spans)


def _shown(
    rows: Iterable[TimelineRow], snapshot: Snapshot, limit: int
) -> tuple[list[TimelineRow], str]:
    """Return the rows there is room for, in order, and what is said of the others."""
    every = list(rows)
    wanted = [row for row in every if row.is_critical or matters(row.step, snapshot)]
    ranked = sorted(wanted, key=lambda row: (not row.is_critical, -row.worked_s))
    kept = {row.step.digest for row in ranked[:limit]}
    shown = [row for row in every if row.step.digest in kept]
    n_left = len(every) - len(shown)
    return shown, f"… {n_left} shorter step{'' if n_left == 1 else 's'}" if n_left else ""


# --------------------------------------------------------------------------------------------- HTML


def timeline_html(snapshot: Snapshot, *, max_rows: int, picked: str | None = None) -> str:
    """Return the chart: a line for each step, which is one without styles, too.

    Args:
        snapshot: The moment.
        max_rows: The most steps that have a row: those of the critical path and the longest.
        picked: Digest of the step whose log is shown, or empty; None where rows cannot be clicked.
    """
    shown, more = _shown(Timeline(snapshot), snapshot, max_rows)
    if not shown:
        return note("No step was worked on.")
    whole_s = max(snapshot.duration_s, max(row.ended_s for row in shown), 1e-9)
    total = seconds_text(whole_s, is_open=snapshot.phase is Phase.RUNNING)
    # Styles stand on the whole and not on each cell: this is kept in files.
    head = (
        f'<div style="display:contents;color:{GREY}"><span></span><span>{ON_PATH}</span> '
        '<span>the end waited for it</span> <span style="display:flex;justify-content:space-between"><span>0 s</span> '
        f"<span>{total}</span></span><span></span></div>"
    )
    body = "".join(_row(row, whole_s, picked) for row in shown)
    handlers = pick_handlers() if picked is not None else ""
    return (
        f'<div{handlers} role="list" aria-label="timeline" style="{CODE};display:grid;'
        f"grid-template-columns:1em 1em minmax(0,1fr) min(240px,30vw) auto;gap:1px 8px;"
        f'white-space:nowrap">{head}{body}</div>{note(more) if more else ""}'
    )


def _row(row: TimelineRow, whole_s: float, picked: str | None) -> str:
    step = row.step
    name, mark = words(step.name, 90), "<span></span>"
    if row.is_critical:
        mark = f'<span role="img" aria-label="on the critical path">{ON_PATH}</span>'
        name = f"<b>{name}</b>"
    can_pick = picked is not None and step.number > 0
    pick = f' data-n="{step.number}"' if can_pick else ""
    hand = ";cursor:pointer" if can_pick else ""
    back = ";background:#1c7ed61f" if can_pick and picked == step.digest else ""
    took = "cached" if row.is_cached else seconds_text(row.worked_s)
    return (
        f'<div{pick} role="listitem" style="display:contents{hand}"><span role="img" '
        f'aria-label="{step.state}" style="color:{STATE_COLORS[step.state]}">'
        f'{SYMBOLS[step.state]}</span>{mark} <span style="overflow:hidden;text-overflow:ellipsis{back}">'
        f"{name}</span> {_lane(row, whole_s)} "
        f'<span style="text-align:right;color:{GREY}">{took}</span></div>'
    )


def _lane(row: TimelineRow, whole_s: float) -> str:
    """Return the bars of one step along the time of the build; a tick where it was cached."""
    color = STATE_COLORS[row.step.state]
    faded = "" if row.is_critical or row.is_cached else ";opacity:.5"
    bars, at = "", 0.0
    for begin, end in row.spans_s:
        left = max(at, min(99.0, 100 * begin / whole_s))
        width = min(100 - left, max(0.8, 100 * (end - begin) / whole_s))
        bars += f'<span style="margin-left:{left - at:.1f}%;width:{width:.1f}%;background:{color}{faded}"></span>'
        at = left + width
    return (
        f'<span title="{_when_text(row)}" style="display:flex;height:8px;align-self:center;'
        f'background:#8882">{bars}</span>'
    )


def _when_text(row: TimelineRow) -> str:
    """Return when it was worked on: `1.2 s to 3.6 s`."""
    began = seconds_text(row.began_s)
    return began if row.is_cached else f"{began} to {seconds_text(row.ended_s)}"


# --------------------------------------------------------------------------------------------- text


def _text_row(row: TimelineRow, whole_s: float) -> str:
    sign = "━" if row.is_critical else "─"
    cells = [" "] * _LANE_CH
    for begin, end in row.spans_s:
        first = min(_LANE_CH - 1, int(_LANE_CH * begin / max(whole_s, 1e-9)))
        last = min(_LANE_CH - 1, int(_LANE_CH * end / max(whole_s, 1e-9)))
        cells[first : last + 1] = [sign if not row.is_cached else "╵"] * (last + 1 - first)
    name = one_line(row.step.name, _NAME_CH)
    mark = ON_PATH if row.is_critical else " "
    took = "cached" if row.is_cached else seconds_text(row.worked_s)
    return f"{SYMBOLS[row.step.state]} {mark} {name:{_NAME_CH}} {''.join(cells)}  {took}"
