"""What a run of the load test comes to: stages, waiting, machines at once, what was lost. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "COLD",
    "WARM",
    "Figures",
    "Lost",
    "Took",
    "figures",
    "is_warm",
    "most_at_once",
    "p95",
    "table",
]

STAGES = ("queued", "context", "project", "machine", "solve", "drain", "finish")
COLD, WARM = "machine, when it has to start", "machine, when it is warm"
ORDER = (*STAGES[:4], COLD, WARM, *STAGES[4:])


@dataclass(frozen=True, slots=True)
class Lost:
    """Where the daemon's count and ours differ; each is 0 when nothing is lost or doubled.

    Attributes:
        n_steps: Steps that the daemons told of.
        n_lines: Lines that they told of.
        steps: Steps that only one side has.
        lines: Lines by which the counts of a step differ, summed.
    """

    n_steps: int
    n_lines: int
    steps: int
    lines: int


@dataclass(frozen=True, slots=True)
class Took:
    """How long something took in many builds.

    Attributes:
        n_builds: In how many.
        median_s: In half of them at most so long.
        p95_s: In 95 of 100 at most so long.
        share: Part of all time after the queue, 0 to 1; 0 for the queue itself.
    """

    n_builds: int
    median_s: float
    p95_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run.

    Attributes:
        states: How many builds ended how.
        builds_per_s: From the first order to the end of the last build.
        stages: How long each stage took, and with it the waits for machines that had to start, and for warm ones.
        projects_at_once: Most projects that built at the same moment, each on a machine of its own.
        n_retries: Attempts beyond the first.
        wait_s: Mean time in the queue of each project's builds: shortest, median, longest of the projects.
        first_wait_s: The same of each project's first build.
        lost: Beside the daemons' own counts.
    """

    states: Mapping[str, int]
    builds_per_s: float
    stages: Mapping[str, Took]
    projects_at_once: int
    n_retries: int
    wait_s: tuple[float, float, float]
    first_wait_s: tuple[float, float, float]
    lost: Lost


def figures(run: Mapping[str, Any], lost: Lost) -> Figures:
    """Return the figures of what `load` printed."""
    builds: list[dict[str, Any]] = run["builds"]
    states: dict[str, int] = defaultdict(int)
    waits: dict[str, list[float]] = defaultdict(list)
    for build in builds:
        states[build["state"]] += 1
        waits[build["project"]].append(build["stages"].get("queued", 0.0))
    each = {stage: [b["stages"][stage] for b in builds if stage in b["stages"]] for stage in STAGES}
    worked_s = sum(sum(each[stage]) for stage in STAGES[1:])
    warm = [is_warm(build, builds, idle_s=run["plan"]["idle_s"]) for build in builds]
    for name, which in ((COLD, False), (WARM, True)):
        each[name] = [
            build["stages"]["machine"]
            for build, has in zip(builds, warm, strict=True)
            if has is which and "machine" in build["stages"]
        ]
    return Figures(
        states=dict(states),
        builds_per_s=len(builds) / run["took_s"],
        stages={
            stage: Took(
                len(s), statistics.median(s), p95(s), 0 if stage == "queued" else sum(s) / worked_s
            )
            for stage in ORDER
            if (s := each[stage])
        },
        projects_at_once=most_at_once(
            [(b["project"], b["started_s"], b["finished_s"]) for b in builds if b["started_s"]]
        ),
        n_retries=sum(build["attempts"] - 1 for build in builds),
        wait_s=_spread([statistics.mean(s) for s in waits.values()]),
        first_wait_s=_spread([s[0] for s in waits.values()]),
        lost=lost,
    )


def is_warm(
    build: Mapping[str, Any], builds: Sequence[Mapping[str, Any]], *, idle_s: float
) -> bool:
    """Whether its machine was ready when its turn came: another build of the project had it, or had it just now."""
    began_s = build["started_s"]
    return any(
        other["project"] == build["project"]
        and other is not build
        and _had_machine_s(other) <= began_s < other["finished_s"] + idle_s
        for other in builds
    )


def _had_machine_s(build: Mapping[str, Any]) -> float:
    began_s: float = build["started_s"]
    return began_s + sum(build["stages"].get(stage, 0.0) for stage in STAGES[1:4])


def most_at_once(spans: Sequence[tuple[str, float, float]]) -> int:
    """Return how many different names were within a span at the same moment, at most.

    Args:
        spans: Name, begin and end. What ends in the moment in which another begins does not overlap it.
    """
    changes = sorted(
        change for name, begin, end in spans for change in ((begin, 1, name), (end, -1, name))
    )
    changes.sort(key=lambda change: (change[0], change[1]))
    running: dict[str, int] = defaultdict(int)
    most = 0
    for _at, step, name in changes:
        running[name] += step
        most = max(most, sum(1 for n in running.values() if n > 0))
    return most


def p95(values: Sequence[float]) -> float:
    """Return the value that 95 % do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-95 * len(ordered) // 100) - 1)]


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def table(run: Mapping[str, Any], found: Figures, machines: Mapping[str, int], facts: str) -> str:
    """Return the figures as Markdown.

    Args:
        run: What `load` printed.
        found: Its figures.
        machines: What the Depot showed: `busy` and `most`, how many had builds and ran at once, at most; `starts`.
        facts: Of the computer.
    """
    plan = run["plan"]
    ended = ", ".join(f"{n} {state}" for state, n in sorted(found.states.items()))
    lost = found.lost
    rows = [
        ("builds", f"{plan['n_builds']} from {plan['n_projects']} projects: {ended}"),
        ("from the first order to the end of the last", f"{run['took_s']:.1f} s"),
        ("throughput", f"{found.builds_per_s:.2f} builds a second"),
        ("time to take an order", f"{1000 * run['asked_s'] / plan['n_builds']:.1f} ms"),
        (
            "projects that built at once, at most",
            f"{found.projects_at_once} (limit {plan['n_machines']})",
        ),
        (
            "machines of the Depot that had builds at once; with idle ones, which stay half a second",
            f"{machines['busy']}; {machines['most']}; started {machines['starts']} times",
        ),
        ("attempts beyond the first", str(found.n_retries)),
        ("steps: told by the daemons, lost or doubled", f"{lost.n_steps}, {lost.steps}"),
        ("lines: told by the daemons, lost or doubled", f"{lost.n_lines}, {lost.lines}"),
        (
            "mean wait of a project: shortest, median, longest",
            " · ".join(f"{s:.1f} s" for s in found.wait_s),
        ),
        (
            "wait of a project's first build: shortest, median, longest",
            " · ".join(f"{s:.1f} s" for s in found.first_wait_s),
        ),
        (
            f"a build with nothing beside it, all cached, pushed: median of {len(run['alone_s'])}",
            f"{1000 * statistics.median(run['alone_s']):.0f} ms",
        ),
        (
            "memory of the service process, at most",
            f"{run['peak_mb']:.0f} MB ({run['idle_mb']:.0f} MB before the first order)",
        ),
    ]
    lines = [f"{facts}.", "", "| what | measured |", "|---|---|"]
    lines += [f"| {what} | {value} |" for what, value in rows]
    lines += [
        "",
        "| stage | builds | median | 95 % within | share of the work |",
        "|---|---|---|---|---|",
    ]
    for stage, took in found.stages.items():
        share = f"{100 * took.share:.0f} %" if took.share else ""
        times = f"{_s(took.median_s)} | {_s(took.p95_s)}"
        lines.append(f"| {stage} | {took.n_builds} | {times} | {share} |")
    return "\n".join(lines)


def _s(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.3f} s"
