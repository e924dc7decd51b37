"""From the rows of our queries to values. Engines count in several number types; here they become Python's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from depotlab.telemetry._queries import CacheBy, FlakyBy, TrendBy
from depotlab.telemetry._records import (
    CacheRate,
    FlakyStep,
    RecordedBuild,
    RecordedLine,
    RecordedStep,
    SlowStep,
    StageTime,
    TrendPoint,
)

__all__ = [
    "cache_rate",
    "flaky_step",
    "recorded_build",
    "recorded_line",
    "recorded_step",
    "slow_step",
    "stage_time",
    "trend_point",
]


def recorded_build(row: tuple[Any, ...]) -> RecordedBuild:
    """Return one row of `queries.builds`."""
    (
        build_id,
        workspace,
        project,
        deployment,
        status,
        image,
        digest,
        error,
        error_category,
        created_at,
        started_at,
        completed_at,
        attempts,
        cached_steps,
        total_steps,
        log_lines,
    ) = row
    return RecordedBuild(
        build_id=build_id,
        project=project,
        deployment=deployment,
        status=status,
        created_at=_moment(created_at),
        queued_s=_took_s(created_at, started_at),
        duration_s=_took_s(started_at, completed_at),
        n_cached=cached_steps,
        n_steps=total_steps,
        n_log_lines=log_lines,
        n_attempts=attempts,
        error=error,
        error_category=error_category,
        image=image,
        digest=digest,
        workspace=workspace,
    )


def recorded_step(row: tuple[Any, ...]) -> RecordedStep:
    """Return one row of `queries.steps`."""
    name, cached, started_at, completed_at, error, has_logs, step_id, attempt = row
    return RecordedStep(
        name=name,
        cached=bool(cached),
        duration_s=_took_s(started_at, completed_at),
        started_at=_moment(started_at),
        completed_at=_moment(completed_at),
        error=error,
        has_logs=bool(has_logs),
        step_id=step_id,
        attempt=attempt,
    )


def recorded_line(row: tuple[Any, ...]) -> RecordedLine:
    """Return one row of `queries.logs`."""
    line, time_ms, stream, message, step_id, build_id = row
    return RecordedLine(line, _moment(time_ms), stream, message, step_id, build_id)


def slow_step(row: tuple[Any, ...]) -> SlowStep:
    """Return one row of `queries.slowest_steps`."""
    name, n_ran, n_cached, median_ms, p95_ms, total_ms, max_ms = row
    return SlowStep(
        name=name,
        n_ran=int(n_ran),
        median_s=_seconds(median_ms),
        p95_s=_seconds(p95_ms),
        max_s=_seconds(max_ms),
        total_s=_seconds(total_ms),
        cached_share=int(n_cached) / (int(n_cached) + int(n_ran)),
    )


def stage_time(row: tuple[Any, ...]) -> StageTime:
    """Return one row of `queries.stages`."""
    stage, n_builds, median_ms, p95_ms, max_ms, total_ms = row
    return StageTime(
        stage=stage,
        n_builds=int(n_builds),
        median_s=_seconds(median_ms),
        p95_s=_seconds(p95_ms),
        max_s=_seconds(max_ms),
        total_s=_seconds(total_ms),
    )


def cache_rate(row: tuple[Any, ...], by: CacheBy) -> CacheRate:
    """Return one row of `queries.cache_hit_rate`."""
    which, n_builds, n_steps, n_cached, began_at = row
    return CacheRate(
        of=_day(which) if by == "day" else which,
        cached_share=int(n_cached) / int(n_steps),
        n_cached=int(n_cached),
        n_steps=int(n_steps),
        n_builds=int(n_builds),
        began_at=_moment(began_at),
    )


def trend_point(row: tuple[Any, ...], by: TrendBy) -> TrendPoint:
    """Return one row of `queries.trend`."""
    which, began_at, n_builds, n_failed, n_canceled, median_ms, p95_ms, n_cached, n_steps = row
    return TrendPoint(
        of=_day(which) if by == "day" else which,
        began_at=_moment(began_at),
        n_builds=int(n_builds),
        n_failed=int(n_failed),
        n_canceled=int(n_canceled),
        median_s=None if median_ms is None else _seconds(median_ms),
        p95_s=None if p95_ms is None else _seconds(p95_ms),
        # Builds without steps: DuckDB joins them with NULL, ClickHouse with 0.
        cached_share=int(n_cached) / int(n_steps) if n_steps else None,
    )


def flaky_step(row: tuple[Any, ...], by: FlakyBy) -> FlakyStep:
    """Return one row of `queries.flaky_steps`."""
    project, which, name, n_ran, n_failed, n_changes, n_builds, last_failed_at = row
    return FlakyStep(
        name=name,
        project=project,
        n_ran=int(n_ran),
        n_failed=int(n_failed),
        failed_share=int(n_failed) / int(n_ran),
        n_changes=int(n_changes),
        n_builds=int(n_builds),
        last_failed_at=_moment(last_failed_at),
        step_id=which if by == "digest" else "",
    )


def _seconds(ms: float) -> float:
    """Return seconds, without the digits that only the arithmetic made."""
    return round(float(ms) / 1000, 6)


def _moment(at_ms: int) -> datetime | None:
    """Return an instant of the tables, None for 0."""
    return datetime.fromtimestamp(int(at_ms) / 1000, UTC) if at_ms else None


def _took_s(started_ms: int, completed_ms: int) -> float | None:
    """Return seconds between two instants of the tables; None when one is not known."""
    return max(0, completed_ms - started_ms) / 1000 if started_ms and completed_ms else None


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(int(at_ms) / 1000, UTC):%Y-%m-%d}"
