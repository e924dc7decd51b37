"""What a build did, step by step, as its machine has told it to Depot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from depotlab._depot import methods
from depotlab._depot.arguments import PAGE_SIZE, check_page_size, checked
from depotlab._depot.connect import Connect
from depotlab._depot.pages import Pages
from depotlab._depot.reading import moment_in
from depotlab._proto import depot_build_pb2 as build
from depotlab._values import Value

__all__ = ["BuildStep", "StepLog", "list_logs", "list_steps"]


@dataclass(frozen=True, slots=True, repr=False)
class BuildStep(Value):
    """One step of a build.

    Attributes:
        name: As the progress showed it.
        digest: Names it within the build; its logs are asked for by it.
        started_at: UTC, or None.
        completed_at: None if it was cut short.
        cached: Whether it was in the cache; None if the server does not say.
        error: Why it failed, or empty.
        has_logs: Whether it wrote anything.
    """

    name: str
    digest: str
    started_at: datetime | None = None
    completed_at: datetime | None = None
    cached: bool | None = None
    error: str = ""
    has_logs: bool = False

    @property
    def duration_s(self) -> float | None:
        """How long it took, in seconds, or None."""
        if self.started_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True, repr=False)
class StepLog(Value):
    """A piece of what a step wrote.

    Attributes:
        at: When, in UTC, or None.
        message: As it was written, with its line breaks.
        digest: Of the step.
    """

    at: datetime | None
    message: str
    digest: str = ""


def list_steps(
    connect: Connect, project_id: str, build_id: str, *, page_size: int = PAGE_SIZE
) -> Pages[BuildStep]:
    """List the steps of a build, in the server's order."""
    check_page_size(page_size)
    checked("project_id", project_id)
    checked("build_id", build_id)

    async def fetch(token: str) -> tuple[Sequence[BuildStep], str]:
        request = build.GetBuildStepsRequest(
            project_id=project_id, build_id=build_id, page_size=page_size
        )
        if token:
            request.page_token = token
        reply = await connect.unary(methods.GET_BUILD_STEPS, request)
        return [_step(item) for item in reply.build_steps], reply.next_page_token

    return Pages(fetch, "steps")


def list_logs(
    connect: Connect,
    project_id: str,
    build_id: str,
    digest: str | None = None,
    *,
    page_size: int = PAGE_SIZE,
) -> Pages[StepLog]:
    """List what a step wrote, the oldest first; without a digest what all wrote, step after step."""
    check_page_size(page_size)
    checked("project_id", project_id)
    checked("build_id", build_id)
    if digest is not None:
        checked("digest", digest)

    async def digests() -> str:
        if digest is not None:
            return digest
        steps = list_steps(connect, project_id, build_id)
        found = [step.digest async for step in steps if step.has_logs]
        return ",".join(dict.fromkeys(found))

    async def of_step(digest: str, token: str) -> tuple[list[StepLog], str]:
        request = build.GetBuildStepLogsRequest(
            project_id=project_id,
            build_id=build_id,
            build_step_digest=digest,
            page_size=page_size,
        )
        if token:
            request.page_token = token
        reply = await connect.unary(methods.GET_BUILD_STEP_LOGS, request)
        logs = [StepLog(moment_in(item, "timestamp"), item.message, digest) for item in reply.logs]
        return logs, reply.next_page_token

    async def fetch(token: str) -> tuple[Sequence[StepLog], str]:
        """A page of ours is one of a step; our token is the steps that are left, and the page of the first of them."""
        left, _, page = token.partition(" ") if token else (await digests(), "", "")
        if not left:
            return [], ""
        step, _, rest = left.partition(",")
        logs, more = await of_step(step, page)
        return logs, f"{left} {more}" if more else rest

    return Pages(fetch, "log pieces")


def _step(message: build.BuildStep) -> BuildStep:
    cached = {build.CACHE_STATE_CACHED: True, build.CACHE_STATE_UNCACHED: False}
    return BuildStep(
        name=message.name,
        digest=message.digest,
        started_at=moment_in(message, "started_at"),
        completed_at=moment_in(message, "completed_at"),
        cached=cached.get(message.cache_state),
        error=message.error,
        has_logs=message.has_logs,
    )
