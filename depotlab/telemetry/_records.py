"""What questions about builds are answered with, one by one; tables of them are in `_found.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from depotlab._values import Value, cut
from depotlab.telemetry._rows import is_cut_off

__all__ = [
    "CacheRate",
    "FlakyStep",
    "RecordedBuild",
    "RecordedLine",
    "RecordedStep",
    "SlowStep",
    "StageTime",
    "TrendPoint",
    "seconds_text",
]


def seconds_text(value_s: float) -> str:
    """Return a time as people say it: `85 ms`, `4.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if value_s < 0.9995:
        return f"{value_s * 1000:.0f} ms"
    if value_s < 59.95:
        return f"{value_s:.1f} s"
    whole = round(value_s)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


# -------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True, repr=False)
class RecordedBuild(Value):
    """One build that has ended.

    Attributes:
        build_id: Unique over all projects.
        project: The customer's project.
        deployment: What the build was for.
        status: `succeeded`, `failed` or `canceled`.
        created_at: When it was asked for.
        queued_s: How long it waited for its turn; None when its turn never came.
        duration_s: From its turn to its end; None when its turn never came.
        n_cached: Steps found in the cache.
        n_steps: Steps that were needed.
        n_log_lines: Lines that all steps printed.
        n_attempts: How often it was tried.
        error: What the user was told, or empty.
        error_category: Which advice that was, or empty.
        image: Name that was pushed, or empty.
        digest: Of the image, or empty.
        workspace: Whose project it is.
    """

    build_id: str
    project: str
    deployment: str
    status: str
    created_at: datetime | None
    queued_s: float | None
    duration_s: float | None
    n_cached: int
    n_steps: int
    n_log_lines: int
    n_attempts: int = 1
    error: str = ""
    error_category: str = ""
    image: str = ""
    digest: str = ""
    workspace: str = ""

    def __repr__(self) -> str:
        took = f" in {seconds_text(self.duration_s)}" if self.duration_s is not None else ""
        cached = f"{self.n_cached}/{self.n_steps} steps cached"
        return f"<RecordedBuild {self.build_id} of {self.project!r}: {self.status}{took}, {cached}>"


@dataclass(frozen=True, slots=True, repr=False)
class RecordedStep(Value):
    """One step of one build.

    Attributes:
        name: As the frontend called it.
        cached: It was found in the cache.
        duration_s: From its first start to its last end; None when one of them is not known.
        started_at: When it was first worked on.
        completed_at: When it was done.
        error: What the daemon said, or empty.
        has_logs: It printed something.
        step_id: Digest of the vertex.
        attempt: Which try of the build, from 1.
    """

    name: str
    cached: bool
    duration_s: float | None
    started_at: datetime | None
    completed_at: datetime | None
    error: str
    has_logs: bool
    step_id: str
    attempt: int = 1

    def __repr__(self) -> str:
        took = f", {seconds_text(self.duration_s)}" if self.duration_s is not None else ""
        return f"<RecordedStep {cut(self.name, 80)!r}: {self.state}{took}>"

    @property
    def state(self) -> str:
        """`cached`, `ran`, `canceled` or `failed`."""
        if not self.error:
            return "cached" if self.cached else "ran"
        return "canceled" if is_cut_off(self.error) else "failed"


@dataclass(frozen=True, slots=True, repr=False)
class RecordedLine(Value):
    """One line that a step printed.

    Attributes:
        offset: Its place among the lines of its build, from 0.
        at: When.
        stream: 1 for standard output, 2 for standard error, 0 for words of the service or the library.
        text: Without its end. Anybody's text: escape it.
        step_id: Digest of the vertex.
        build_id: Of the build.
    """

    offset: int
    at: datetime | None
    stream: int
    text: str
    step_id: str
    build_id: str

    def __repr__(self) -> str:
        return f"<RecordedLine {self.offset}: {cut(self.text, 120)!r}>"


@dataclass(frozen=True, slots=True, repr=False)
class SlowStep(Value):
    """How long steps of one name took. Times are of those that ran: what the cache had took none.

    Attributes:
        name: As the frontend called them.
        n_ran: How many ran.
        median_s: Half of them took at most this long.
        p95_s: 95 of 100 took at most this long.
        max_s: The slowest.
        total_s: All together.
        cached_share: How many of all of them the cache had, 0 to 1.
    """

    name: str
    n_ran: int
    median_s: float
    p95_s: float
    max_s: float
    total_s: float
    cached_share: float


@dataclass(frozen=True, slots=True, repr=False)
class CacheRate(Value):
    """How much of something the cache had.

    Attributes:
        of: A build's id, a project, the name of a step, or a day as `2026-11-21` (UTC).
        cached_share: `n_cached` of `n_steps`, 0 to 1.
        n_cached: Steps that the cache had.
        n_steps: Steps that it could have had: without loading sources, exporting, logging in.
        n_builds: In how many builds.
        began_at: When the first of the steps began.
    """

    of: str
    cached_share: float
    n_cached: int
    n_steps: int
    n_builds: int
    began_at: datetime | None


@dataclass(frozen=True, slots=True, repr=False)
class TrendPoint(Value):
    """One build, or the builds of one day.

    Attributes:
        of: The build's id, or the day as `2026-11-21` (UTC).
        began_at: When it, or the first of them, was asked for.
        n_builds: How many.
        n_failed: How many of them failed.
        n_canceled: How many were cancelled.
        median_s: From a build's turn to its end, in the middle; None when none had its turn.
        p95_s: 95 of 100 took at most this long.
        cached_share: What the cache had of the steps that it could have had, 0 to 1; None without any.
    """

    of: str
    began_at: datetime | None
    n_builds: int
    n_failed: int
    n_canceled: int
    median_s: float | None
    p95_s: float | None
    cached_share: float | None


@dataclass(frozen=True, slots=True, repr=False)
class FlakyStep(Value):
    """A step that ran and failed, and ran and succeeded.

    Attributes:
        name: As the frontend called it.
        project: Where.
        n_ran: How often it ran to an end.
        n_failed: How often it failed.
        failed_share: `n_failed` of `n_ran`, 0 to 1.
        n_changes: How often the outcome was not that of the run before. Something that broke and was mended has two;
            something flaky has many.
        n_builds: In how many builds it ran.
        last_failed_at: When the last run that failed began.
        step_id: Digest of the vertex; empty when steps of one name were put together.
    """

    name: str
    project: str
    n_ran: int
    n_failed: int
    failed_share: float
    n_changes: int
    n_builds: int
    last_failed_at: datetime | None
    step_id: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class StageTime(Value):
    """How long builds spent in one stage.

    Attributes:
        stage: Such as `queued`, `machine` or `solve`.
        n_builds: How many went through it.
        median_s: Half of them took at most this long.
        p95_s: 95 of 100 took at most this long.
        max_s: The slowest.
        total_s: All together.
    """

    stage: str
    n_builds: int
    median_s: float
    p95_s: float
    max_s: float
    total_s: float
