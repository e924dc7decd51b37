"""The answers of `Telemetry` as pictures, each a matplotlib `Figure` that the notebook shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from depotlab._values import Value
from depotlab.telemetry import _drawing as draw
from depotlab.telemetry._arguments import Since
from depotlab.telemetry._drawing import AMBER, BLUE, GREEN, GREY, RED, TEAL
from depotlab.telemetry._queries import CacheBy, SlowBy, TrendBy
from depotlab.telemetry._records import RecordedStep, TrendPoint, seconds_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from depotlab.telemetry._reader import Telemetry

__all__ = ["Plots"]

_MOST_ROWS = 40
_MANY_BARS = 150
_STATES = {"ran": BLUE, "cached": TEAL, "canceled": AMBER, "failed": RED}
_STATUSES = {"succeeded": GREEN, "failed": RED, "canceled": AMBER}


class Plots(Value):
    """Pictures of builds; `t.plot` is one. Arguments are those of the verbs of the same names.

    Each returns a `matplotlib.figure.Figure`: the last line of a cell shows it, `.savefig("a.png")` keeps it. With
    nothing to draw it says so. pyplot is not used, so its settings and figures stay as they are.

    Args:
        telemetry: What is asked.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def __repr__(self) -> str:
        return f"<Plots of {self._telemetry!r}: slowest_steps, cache_hit_rate, trend, stages, timeline>"

    def slowest_steps(
        self,
        n: int = 15,
        *,
        project: str | None = None,
        since: Since = None,
        by: SlowBy = "median",
    ) -> Figure:
        """Draw how long the slowest steps take: a bar to the median, a line on to the 95th of 100 runs.

        Args:
            n: So many.
            project: Only of this project.
            since: Only steps since then.
            by: What counts: `median`, `p95` or `total`. With `total` the bars are the time of all runs.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        found = self._telemetry.slowest_steps(n, project=project, since=since, by=by)
        if not found:
            return draw.empty("No step has run yet.")
        notes = [f"{_times(step.n_ran)}, {step.cached_share:.0%} from the cache" for step in found]
        if by == "total":
            bars, ends, label = [step.total_s for step in found], None, "time of all runs"
        else:
            bars, ends = [step.median_s for step in found], [step.p95_s for step in found]
            label = "time of a run: median, and 95th of 100"
        return _bars("Slowest steps", [s.name for s in found], bars, ends, notes, label)

    def stages(self, *, project: str | None = None, since: Since = None) -> Figure:
        """Draw how long builds spend in each stage: a bar to the median, a line on to the 95th of 100 builds.

        Args:
            project: Only of this project.
            since: Only builds since then.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        found = self._telemetry.stages(project=project, since=since)
        if not found:
            return draw.empty("No build has ended yet.")
        notes = [f"{one.n_builds} build{'' if one.n_builds == 1 else 's'}" for one in found]
        bars, ends = [one.median_s for one in found], [one.p95_s for one in found]
        label = "time of a build: median, and 95th of 100"
        return _bars("Stages of builds", [one.stage for one in found], bars, ends, notes, label)

    def cache_hit_rate(
        self,
        by: CacheBy = "build",
        *,
        project: str | None = None,
        since: Since = None,
        limit: int = 30,
    ) -> Figure:
        """Draw how much the cache had.

        Args:
            by: For each `build`, `project`, `step` or `day`.
            project: Only of this project.
            since: Only steps since then.
            limit: At most so many bars.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        found = self._telemetry.cache_hit_rate(by, project=project, since=since, limit=limit)
        if not found:
            return draw.empty("No step that a cache can have is known yet.")
        title = f"Steps from the cache, by {by}"
        shares = [rate.cached_share for rate in found]
        if by in ("project", "step"):
            made = draw.figure(_height_in(len(found)))
            axes = made.subplots()
            draw.styled(axes, title)
            axes.barh(range(len(found)), [1.0] * len(found), color=GREY, alpha=0.15, height=0.6)
            axes.barh(range(len(found)), shares, color=TEAL, height=0.6)
            draw.label_rows(axes, [rate.of for rate in found])
            axes.set_xlim(0, 1)
            draw.percent_axis(axes.xaxis, "share of the steps")
            _notes(axes, [1.0] * len(found), [f"{r.n_cached} of {r.n_steps}" for r in found])
            return made
        made = draw.figure(2.8)
        axes = made.subplots()
        draw.styled(axes, title)
        look = _bar_look(len(found))
        axes.bar(range(len(found)), [1.0] * len(found), color=GREY, alpha=0.15, **look)
        axes.bar(range(len(found)), shares, color=TEAL, **look)
        axes.set_ylim(0, 1.02)
        draw.percent_axis(axes.yaxis, "share of the steps")
        axes.grid(visible=False, axis="x")
        _moments(axes, [r.of if by == "day" else _moment_text(r.began_at) for r in found])
        return made

    def trend(
        self,
        by: TrendBy = "build",
        *,
        project: str | None = None,
        deployment: str | None = None,
        since: Since = None,
        limit: int = 100,
    ) -> Figure:
        """Draw how builds change with time: how long they take and how they end, and what the cache has.

        Args:
            by: A bar for each `build`, or for the median of each `day`.
            project: Only of this project.
            deployment: Only of this deployment.
            since: Only builds since then.
            limit: At most so many bars, the newest.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        points = self._telemetry.trend(
            by, project=project, deployment=deployment, since=since, limit=limit
        )
        if not points:
            return draw.empty("No build has ended yet.")
        made = draw.figure(4.2)
        upper, lower = made.subplots(2, sharex=True, height_ratios=[3, 1])
        places, look = range(len(points)), _bar_look(len(points))
        draw.styled(upper, "Builds" if by == "build" else "Builds of a day")
        if by == "build":
            _status_bars(upper, points)
        else:
            upper.bar(places, [p.median_s or 0 for p in points], color=BLUE, label="median", **look)
            upper.plot(
                places,
                [p.p95_s or 0 for p in points],
                "_",
                color=GREY,
                markersize=9,
                label="95th of 100",
            )
            for place, point in enumerate(points):
                if point.n_failed:
                    _say(upper, place, point.p95_s or 0, f"{point.n_failed} failed", RED)
        most_s = max(max(p.median_s or 0, p.p95_s or 0) for p in points) or 1.0
        upper.set_ylim(0, most_s * 1.12)
        upper.grid(visible=False, axis="x")
        draw.seconds_axis(upper.yaxis, "time of a build", most_s=most_s * 1.12)
        _legend(upper)
        draw.styled(lower)
        known = [
            (place, p.cached_share) for place, p in enumerate(points) if p.cached_share is not None
        ]
        lower.bar(places, [1.0] * len(points), color=GREY, alpha=0.15, **look)
        lower.bar([place for place, _ in known], [share for _, share in known], color=TEAL, **look)
        lower.set_ylim(0, 1.02)
        lower.grid(visible=False, axis="x")
        draw.percent_axis(lower.yaxis, "cached")
        _moments(lower, [p.of if by == "day" else _moment_text(p.began_at) for p in points])
        return made

    def timeline(self, build: object) -> Figure:
        """Draw when each step of a build was worked on. Of many steps the longest are drawn.

        Args:
            build: Its id, or something that has one, such as a row of `builds()` or the result of a build.

        Raises:
            UsageError: Nothing is known of it.
            MissingExtra: matplotlib is not installed.
        """
        steps = [s for s in self._telemetry.steps(build) if s.started_at and s.completed_at]
        if not steps:
            return draw.empty("No step of this build was worked on.")
        shown = sorted(steps, key=lambda step: -(step.duration_s or 0))[:_MOST_ROWS]
        rows = [step for step in steps if step in shown]
        zero_s = min(_at_s(step.started_at) for step in steps)
        starts = [_at_s(step.started_at) - zero_s for step in rows]
        widths = [step.duration_s or 0.0 for step in rows]
        total_s = max(start + width for start, width in zip(starts, widths, strict=True))
        made = draw.figure(_height_in(len(rows)))
        axes = made.subplots()
        more = f", the longest {len(rows)} of {len(steps)} steps" if len(rows) < len(steps) else ""
        draw.styled(axes, f"{seconds_text(total_s)} of work{more}")
        _spans(axes, rows, starts, widths, least_s=total_s / 250)
        draw.label_rows(axes, [step.name for step in rows])
        right_s = (total_s or 1.0) * 1.02
        axes.set_xlim(0, right_s)
        draw.seconds_axis(axes.xaxis, "since the first step began", most_s=right_s)
        texts = [
            "cached" if step.state == "cached" else seconds_text(width)
            for step, width in zip(rows, widths, strict=True)
        ]
        _notes(axes, [right_s] * len(rows), texts)
        _legend(axes)
        return made


# ---------------------------------------------------------------------------------------- pieces


def _bars(
    title: str,
    names: Sequence[str],
    bars: Sequence[float],
    ends: Sequence[float] | None,
    notes: Sequence[str],
    label: str,
) -> Figure:
    made = draw.figure(_height_in(len(names)))
    axes = made.subplots()
    draw.styled(axes, title)
    axes.barh(range(len(names)), bars, color=BLUE, height=0.6)
    outer = list(bars)
    if ends is not None:
        for place, (bar, end) in enumerate(zip(bars, ends, strict=True)):
            axes.plot([bar, end], [place, place], color=GREY, linewidth=1.4)
            axes.plot([end], [place], "|", color=GREY, markersize=7, markeredgewidth=1.4)
        outer = [max(pair) for pair in zip(bars, ends, strict=True)]
    draw.label_rows(axes, names)
    right_s = (max(outer) or 1.0) * 1.03
    axes.set_xlim(0, right_s)
    draw.seconds_axis(axes.xaxis, label, most_s=right_s)
    _notes(axes, [right_s] * len(names), notes)
    return made


def _spans(
    axes: Axes,
    rows: Sequence[RecordedStep],
    starts: Sequence[float],
    widths: Sequence[float],
    *,
    least_s: float,
) -> None:
    for state, color in _STATES.items():
        mine = [place for place, step in enumerate(rows) if step.state == state]
        if mine:
            # What took no time still gets a tick.
            seen = [max(widths[place], least_s) for place in mine]
            axes.barh(
                mine, seen, left=[starts[p] for p in mine], color=color, height=0.6, label=state
            )


def _bar_look(n_bars: int) -> dict[str, Any]:
    """Return how wide bars are. Those narrower than a dot are not moved to whole dots, where some would vanish."""
    return {"width": 0.7} if n_bars <= _MANY_BARS else {"width": 1.0, "snap": False}


def _status_bars(axes: Axes, points: Sequence[TrendPoint]) -> None:
    for status, color in _STATUSES.items():
        mine = [
            (place, p.median_s or 0.0) for place, p in enumerate(points) if _status(p) == status
        ]
        if mine:
            axes.bar(
                [place for place, _ in mine],
                [took for _, took in mine],
                color=color,
                label=status,
                **_bar_look(len(points)),
            )


def _status(point: TrendPoint) -> str:
    return "failed" if point.n_failed else "canceled" if point.n_canceled else "succeeded"


def _notes(axes: Axes, places: Sequence[float], texts: Sequence[str]) -> None:
    """Write a note to the right of each row."""
    for row, (place, text) in enumerate(zip(places, texts, strict=True)):
        axes.annotate(
            text,
            (place, row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=GREY,
            fontsize=draw.SIZE_PT - 1,
            annotation_clip=False,
        )


def _say(axes: Axes, place: float, height: float, text: str, color: str) -> None:
    axes.annotate(
        text,
        (place, height),
        xytext=(0, 5),
        textcoords="offset points",
        ha="center",
        color=color,
        fontsize=draw.SIZE_PT - 1,
    )


def _moments(axes: Axes, texts: Sequence[str]) -> None:
    """Write under at most six of the bars when they were."""
    every = max(1, -(-len(texts) // 6))
    places = range(0, len(texts), every)
    axes.set_xticks(places, [texts[place] for place in places])
    axes.tick_params(axis="x", pad=7)  # the first would touch the lowest number beside it
    axes.set_xlim(-0.6, max(len(texts), 4) - 0.4)
    axes.set_xlabel("UTC", color=GREY, fontsize=draw.SIZE_PT)


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=4,
        frameon=False,
        fontsize=draw.SIZE_PT - 1,
        labelcolor=GREY,
        handlelength=1.0,
        borderaxespad=0.2,
    )


def _moment_text(at: Any) -> str:
    return f"{at.astimezone(UTC):%m-%d %H:%M}" if at is not None else ""


def _at_s(at: Any) -> float:
    return float(at.timestamp())


def _times(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"


def _height_in(n_rows: int) -> float:
    return 0.95 + draw.ROW_IN * n_rows
