"""What is kept of builds, as rows: builds, their steps, and what the steps printed.

The columns of steps and logs are those of the production service that this one follows (`build_steps_v1`,
`build_step_logs_v1`), in its order; the columns after them are ours. Instants are whole milliseconds since 1970 in UTC,
as there; 0 is an instant that nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from depotlab._values import Value

__all__ = ["CANCELED", "NEVER_ENDED", "BuildRow", "LogRow", "Row", "StepRow", "is_cut_off"]

CANCELED = "context canceled"
"""How the error of a step ends that was cancelled. Source: moby/buildkit, Go's `context.Canceled`."""

NEVER_ENDED = "the build ended before this step did"
"""The error of a step whose end was never told, as when its machine died."""


def is_cut_off(error: str) -> bool:
    """Whether it is the error of a step that did not fail by itself."""
    return error.endswith(CANCELED) or error == NEVER_ENDED


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StepRow(Value):
    """One step of one build: a vertex that was worked on, or found in the cache.

    Attributes:
        step_id: Digest of the vertex.
        started_at: When it was first worked on.
        completed_at: When it was done.
        workspace_id: Whose project it is.
        project_id: The customer's project, not Depot's.
        deployment_id: What the build is for.
        name: As the frontend called it.
        cached: It was found in the cache.
        error: What the daemon said, or empty.
        has_logs: It printed something.
        build_id: Of the build, unique over all projects.
        attempt: Which try of the build, from 1.
    """

    table: ClassVar[str] = "build_steps_v1"

    step_id: str
    started_at: int
    completed_at: int
    workspace_id: str
    project_id: str
    deployment_id: str
    name: str
    cached: bool
    error: str = ""
    has_logs: bool = False
    build_id: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LogRow(Value):
    """One line that a step printed.

    Attributes:
        time: When the daemon got it.
        message: The line without its end; what is not UTF-8 is replaced.
        step_id: Digest of the vertex.
        stream: 1 for standard output, 2 for standard error.
        line: Its place among the lines of the build, from 0: the offset of `get_build_logs`.
        build_id: Of the build.
    """

    table: ClassVar[str] = "build_step_logs_v1"

    time: int
    workspace_id: str
    project_id: str
    deployment_id: str
    message: str
    step_id: str
    build_id: str = ""
    stream: int = 1
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BuildRow(Value):
    """One build that has ended.

    Attributes:
        status: `succeeded`, `failed` or `canceled`.
        image: Name that was pushed, or empty.
        digest: Of the image, or empty.
        error: What the user was told, or empty.
        error_category: Which advice that was, such as `dockerfile_syntax`; or empty.
        created_at: When it was asked for.
        started_at: When its turn came; 0 if it never did.
        completed_at: When it ended.
        attempts: How often it was tried.
        cached_steps: Steps found in the cache.
        total_steps: Steps that were needed.
        log_lines: Lines that all steps printed.
        stages_ms: How long each stage took, by its name: `queued`, `context`, `machine`, `solve` and so on.
    """

    table: ClassVar[str] = "builds_v1"

    build_id: str
    workspace_id: str
    project_id: str
    deployment_id: str
    status: str
    image: str = ""
    digest: str = ""
    error: str = ""
    error_category: str = ""
    created_at: int
    started_at: int
    completed_at: int
    attempts: int = 1
    cached_steps: int = 0
    total_steps: int = 0
    log_lines: int = 0
    stages_ms: dict[str, int] = field(default_factory=dict)


Row = BuildRow | StepRow | LogRow
"""Anything that a sink can be given."""
