"""Made-up builds as rows, and what questions about them have to be answered with, in plain Python arithmetic."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from depotlab.telemetry import BuildRow, LogRow, StepRow, Telemetry
from depotlab.telemetry._rows import NEVER_ENDED, is_cut_off

START_MS = 1_790_000_000_000
DAY_MS = 86_400_000
STEPS = (
    ("[internal] load build definition from Dockerfile", 20, 0.0),
    ("[1/4] FROM docker.io/library/python:3.13", 400, 0.8),
    ("[2/4] RUN pip install -r requirements.txt", 30_000, 0.6),
    ("[3/4] COPY . .", 150, 0.3),
    ("[4/4] RUN make test && echo $HOME $PATH", 12_000, 0.2),
    ("exporting to image", 900, 0.0),
)
NEVER_CACHED = ("[internal]", "exporting ", "[1/4] FROM ")


@dataclass(frozen=True)
class Made:
    """Rows of builds."""

    builds: list[BuildRow]
    steps: list[StepRow]
    logs: list[LogRow]

    @property
    def all(self) -> list[Any]:
        return [*self.steps, *self.logs, *self.builds]


def made(n_builds: int = 60, *, seed: int = 7) -> Made:
    """Return builds of four projects over five days; some fail, some are cancelled, one never has its turn."""
    dice = random.Random(seed)
    found = Made([], [], [])
    for number in range(n_builds):
        project = f"shop-{number % 4}"
        ids = {"workspace_id": "w", "project_id": project, "deployment_id": f"d{number % 3}"}
        build_id = f"build-{number:04d}"
        created = START_MS + number * 5 * DAY_MS // n_builds + dice.randrange(1000)
        if number == n_builds // 2:
            found.builds.append(
                BuildRow(
                    build_id=build_id,
                    status="canceled",
                    created_at=created,
                    started_at=0,
                    completed_at=created + 700,
                    stages_ms={"queued": 700},
                    **ids,
                )
            )
            continue
        queued, machine = dice.randrange(5000), dice.randrange(200, 9000)
        at = started = created + queued
        at += machine
        steps: list[StepRow] = []
        status, error = "succeeded", ""
        for place, (name, long_ms, share) in enumerate(STEPS):
            cached = dice.random() < share
            took = 0 if cached else dice.randrange(long_ms // 2, long_ms * 2)
            if not cached and name.startswith("[4/4]"):
                roll = dice.random()
                if roll < 0.3:
                    status, error = "failed", "process did not complete: exit code: 2"
                elif roll < 0.4:
                    status, error = "canceled", "rpc error: context canceled"
                elif roll < 0.5:
                    status, error = "canceled", NEVER_ENDED
            steps.append(
                StepRow(
                    step_id=f"sha256:{place}{number % 2}",
                    started_at=at,
                    completed_at=at + took,
                    name=name,
                    cached=cached,
                    error=error,
                    has_logs=not cached and "RUN" in name,
                    build_id=build_id,
                    **ids,
                )
            )
            at += took
            if error:
                break
        lines = [
            LogRow(
                time=step.started_at + n,
                message=f"line {n} of {project}" + (" ERROR: no room" if n % 5 == 4 else ""),
                step_id=step.step_id,
                stream=1 + n % 2,
                build_id=build_id,
                **ids,
            )
            for step in steps
            if step.has_logs
            for n in range(6)
        ]
        numbered = [
            LogRow(**{**{f: getattr(one, f) for f in LogRow.__slots__}, "line": n})
            for n, one in enumerate(sorted(lines, key=lambda one: one.time))
        ]
        found.logs.extend(numbered)
        found.steps.extend(steps)
        found.builds.append(
            BuildRow(
                build_id=build_id,
                status=status,
                error=error,
                error_category="command_failed" if status == "failed" else "",
                image=f"registry/{project}:1" if status == "succeeded" else "",
                created_at=created,
                started_at=started,
                completed_at=at + 50,
                cached_steps=sum(step.cached for step in steps),
                total_steps=len(steps),
                log_lines=len(lines),
                stages_ms={"queued": queued, "machine": machine, "solve": at - started - machine},
                **ids,
            )
        )
    return found


def quantile(values: Iterable[float], share: float) -> float:
    """Return a quantile, interpolated between neighbours."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def counts_for_cache(step: StepRow) -> bool:
    return not step.name.startswith(NEVER_CACHED)


def took_ms(row: Any) -> int:
    return int(row.completed_at - row.started_at)


def check_answers(t: Telemetry, rows: Made) -> None:
    """Ask every question, and compare with what plain Python makes of the same rows."""
    check_builds(t, rows)
    check_slowest_steps(t, rows)
    check_cache_hit_rate(t, rows)
    check_trend(t, rows)
    check_flaky_steps(t, rows)
    check_stages(t, rows)
    check_one_build(t, rows)


def check_builds(t: Telemetry, rows: Made) -> None:
    newest = sorted(rows.builds, key=lambda b: (b.created_at, b.build_id), reverse=True)
    assert [b.build_id for b in t.builds(limit=1000)] == [b.build_id for b in newest]
    assert [b.build_id for b in t.builds(limit=3)] == [b.build_id for b in newest[:3]]
    of_project = t.builds(project="shop-1", status="failed", limit=1000)
    wanted = [b for b in newest if b.project_id == "shop-1" and b.status == "failed"]
    assert [b.build_id for b in of_project] == [b.build_id for b in wanted]
    since = datetime.fromtimestamp((START_MS + 3 * DAY_MS) / 1000, UTC)
    late = [b.build_id for b in newest if b.created_at >= START_MS + 3 * DAY_MS]
    assert [b.build_id for b in t.builds(since=since, limit=1000)] == late
    one, row = t.builds(limit=1)[0], newest[0]
    assert one.duration_s == took_ms(row) / 1000
    assert one.queued_s == (row.started_at - row.created_at) / 1000
    assert (one.n_cached, one.n_steps, one.n_log_lines) == (
        row.cached_steps,
        row.total_steps,
        row.log_lines,
    )
    assert one.error == row.error
    never = next(b for b in t.builds(limit=1000) if b.queued_s is None)
    assert never.duration_s is None


def check_slowest_steps(t: Telemetry, rows: Made) -> None:
    for by in ("median", "p95", "total"):
        named: dict[str, list[StepRow]] = defaultdict(list)
        for step in rows.steps:
            named[step.name].append(step)
        wanted = []
        for name, steps in named.items():
            ran = [took_ms(step) / 1000 for step in steps if not step.cached]
            if ran:
                wanted.append(
                    {
                        "name": name,
                        "n_ran": len(ran),
                        "median_s": quantile(ran, 0.5),
                        "p95_s": quantile(ran, 0.95),
                        "max_s": max(ran),
                        "total_s": sum(ran),
                        "cached_share": 1 - len(ran) / len(steps),
                    }
                )
        wanted.sort(key=lambda one: (-one[f"{by}_s"], -one["total_s"], one["name"]))
        assert_rows(t.slowest_steps(100, by=by).rows(), wanted)
        assert_rows(t.slowest_steps(2, by=by).rows(), wanted[:2])


def check_cache_hit_rate(t: Telemetry, rows: Made) -> None:
    keys = {
        "build": lambda step: step.build_id,
        "project": lambda step: step.project_id,
        "step": lambda step: step.name,
        "day": lambda step: day(step.started_at),
    }
    for by, key in keys.items():
        groups: dict[str, list[StepRow]] = defaultdict(list)
        for step in filter(counts_for_cache, rows.steps):
            groups[key(step)].append(step)
        wanted = [
            {
                "of": name,
                "cached_share": sum(s.cached for s in steps) / len(steps),
                "n_cached": sum(s.cached for s in steps),
                "n_steps": len(steps),
                "n_builds": len({s.build_id for s in steps}),
                "began_at": moment(min(s.started_at for s in steps)),
            }
            for name, steps in groups.items()
        ]
        if by in ("build", "day"):
            wanted.sort(key=lambda one: one["began_at"])
        else:
            wanted.sort(key=lambda one: (-one["n_steps"], one["of"]))
        found = t.cache_hit_rate(by, limit=1000)
        assert_rows(found.rows(), wanted)
        counted = [s for s in rows.steps if counts_for_cache(s)]
        assert found.cached_share == pytest.approx(sum(s.cached for s in counted) / len(counted))


def check_trend(t: Telemetry, rows: Made) -> None:
    for by in ("build", "day"):
        groups: dict[str, list[BuildRow]] = defaultdict(list)
        for build in rows.builds:
            groups[build.build_id if by == "build" else day(build.created_at)].append(build)
        wanted = []
        for name, builds in groups.items():
            ids = {b.build_id for b in builds}
            took = [took_ms(b) / 1000 for b in builds if b.started_at]
            steps = [s for s in rows.steps if s.build_id in ids and counts_for_cache(s)]
            wanted.append(
                {
                    "of": name,
                    "began_at": moment(min(b.created_at for b in builds)),
                    "n_builds": len(builds),
                    "n_failed": sum(b.status == "failed" for b in builds),
                    "n_canceled": sum(b.status == "canceled" for b in builds),
                    "median_s": quantile(took, 0.5) if took else None,
                    "p95_s": quantile(took, 0.95) if took else None,
                    "cached_share": sum(s.cached for s in steps) / len(steps) if steps else None,
                }
            )
        wanted.sort(key=lambda one: (one["began_at"], one["of"]))
        assert_rows(t.trend(by, limit=1000).rows(), wanted)
        assert_rows(t.trend(by, limit=2).rows(), wanted[-2:])


def check_flaky_steps(t: Telemetry, rows: Made) -> None:
    for by in ("digest", "name"):
        groups: dict[tuple[str, str], list[StepRow]] = defaultdict(list)
        for step in rows.steps:
            if not step.cached and not is_cut_off(step.error):
                key = step.step_id if by == "digest" else step.name
                groups[step.project_id, key].append(step)
        wanted = []
        for (project, key), steps in groups.items():
            runs = sorted(steps, key=lambda s: (s.started_at, s.build_id, s.attempt))
            failed = [bool(s.error) for s in runs]
            if 0 < sum(failed) < len(failed):
                wanted.append(
                    {
                        "name": runs[0].name,
                        "project": project,
                        "n_ran": len(runs),
                        "n_failed": sum(failed),
                        "failed_share": sum(failed) / len(failed),
                        "n_changes": sum(a != b for a, b in pairwise(failed)),
                        "n_builds": len({s.build_id for s in runs}),
                        "last_failed_at": moment(max(s.started_at for s in runs if s.error)),
                        "step_id": key if by == "digest" else "",
                    }
                )
        found = t.flaky_steps(by, limit=1000).rows()
        assert [(-r["n_changes"], -r["n_failed"]) for r in found] == sorted(
            (-r["n_changes"], -r["n_failed"]) for r in found
        )
        order = lambda one: (one["project"], one["step_id"], one["name"])  # noqa: E731
        assert_rows(sorted(found, key=order), sorted(wanted, key=order))
        assert wanted, "the rows have something flaky in them"


def check_stages(t: Telemetry, rows: Made) -> None:
    spent: dict[str, list[float]] = defaultdict(list)
    for build in rows.builds:
        for stage, ms in build.stages_ms.items():
            spent[stage].append(ms / 1000)
    wanted = [
        {
            "stage": stage,
            "n_builds": len(spent[stage]),
            "median_s": quantile(spent[stage], 0.5),
            "p95_s": quantile(spent[stage], 0.95),
            "max_s": max(spent[stage]),
            "total_s": sum(spent[stage]),
        }
        for stage in ("queued", "machine", "solve")
    ]
    assert_rows(t.stages().rows(), wanted)


def check_one_build(t: Telemetry, rows: Made) -> None:
    build = next(b for b in rows.builds if b.status == "failed" and b.log_lines > 6)
    mine = [s for s in rows.steps if s.build_id == build.build_id]
    found = t.steps(build.build_id)
    assert [s.name for s in found] == [s.name for s in mine]
    assert [s.duration_s for s in found] == [took_ms(s) / 1000 for s in mine]
    assert [s.cached for s in found] == [s.cached for s in mine]
    assert found[-1].state == "failed"
    lines = [one for one in rows.logs if one.build_id == build.build_id]
    assert [one.text for one in t.logs(build.build_id)] == [one.message for one in lines]
    assert [one.offset for one in t.logs(build.build_id, offset=4, limit=2)] == [4, 5]
    tests = t.logs(build.build_id, step="make test")
    wanted = [one.message for one in lines if one.step_id == mine[-1].step_id]
    assert [one.text for one in tests] == wanted
    assert t.logs(build.build_id, step=mine[-1].step_id).rows() == tests.rows()
    errors = t.logs(contains="ERROR: no", project="shop-2", limit=5)
    matching = [
        one for one in rows.logs if "ERROR: no" in one.message and one.project_id == "shop-2"
    ]
    newest = sorted(matching, key=lambda one: one.time)[-5:]
    assert [one.at for one in errors] == [moment(one.time) for one in newest]


def assert_rows(found: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> None:
    assert [list(row) for row in found] == [list(row) for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        floats = {key: value for key, value in other.items() if isinstance(value, float)}
        rest = {key: value for key, value in other.items() if key not in floats}
        assert {key: one[key] for key in rest} == rest
        assert {key: one[key] for key in floats} == pytest.approx(floats)


def day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"


def moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
