"""What was used, and what of it is billed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from depotlab._depot import methods
from depotlab._depot.arguments import (
    PAGE_SIZE,
    check_page_size,
    checked,
    empty,
    timestamp,
)
from depotlab._depot.connect import Connect
from depotlab._depot.listing import Listing
from depotlab._depot.pages import Pages
from depotlab._depot.reading import moment_in
from depotlab._depot.tables import Table, table
from depotlab._proto import depot_core_pb2 as core
from depotlab._values import Value, safe_html

__all__ = [
    "BuildUsage",
    "JobUsage",
    "ProjectUsage",
    "RepositoryUsage",
    "SandboxUsage",
    "StorageUsage",
    "Usage",
    "Usages",
]


@dataclass(frozen=True, slots=True, repr=False)
class ProjectUsage(Value):
    """What one project used in a time.

    Attributes:
        project_id: Of the project.
        n_builds: Builds.
        duration_s: Of all builds together, in whole seconds.
        cache_gb: What its cache holds, in gigabytes of 10^9 bytes.
    """

    project_id: str
    n_builds: int
    duration_s: int
    cache_gb: int


@dataclass(frozen=True, slots=True, repr=False)
class BuildUsage(Value):
    """The container builds of one project, as they are billed. Times are minutes."""

    project_name: str
    n_builds: int
    saved_min: float
    billed_min: float


@dataclass(frozen=True, slots=True, repr=False)
class JobUsage(Value):
    """The jobs of one workflow on one kind of runner. Times are minutes."""

    workflow: str
    runner: str
    n_jobs: int
    elapsed_min: float
    billed_min: float


@dataclass(frozen=True, slots=True, repr=False)
class RepositoryUsage(Value):
    """The GitHub Actions jobs of one repository. Times are minutes.

    Attributes:
        jobs: The same by workflow and runner.
    """

    repository: str
    n_jobs: int
    elapsed_min: float
    billed_min: float
    jobs: tuple[JobUsage, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class StorageUsage(Value):
    """What is stored, of one type, in gigabytes of 10^9 bytes."""

    type: str
    total_gb: float


@dataclass(frozen=True, slots=True, repr=False)
class SandboxUsage(Value):
    """The sandboxes of one type of agent. Times are minutes."""

    type: str
    n_sandboxes: int
    elapsed_min: float
    billed_min: float


@dataclass(frozen=True, slots=True, repr=False)
class Usage(Value):
    """What an organization used in a time.

    Attributes:
        start_at: Where the time begins, in UTC, or None if the server does not say.
        end_at: Where it ends.
        builds: Container builds, by project.
        repositories: Jobs of GitHub Actions, by repository.
        storage: By type.
        sandboxes: By type.
    """

    start_at: datetime | None
    end_at: datetime | None
    builds: Listing[BuildUsage] = field(default_factory=Listing)
    repositories: Listing[RepositoryUsage] = field(default_factory=Listing)
    storage: Listing[StorageUsage] = field(default_factory=Listing)
    sandboxes: Listing[SandboxUsage] = field(default_factory=Listing)

    @property
    def tables(self) -> Mapping[str, Table]:
        """One table for each part that is not empty, by its name."""
        parts: dict[str, Sequence[object]] = {
            "builds": self.builds,
            "repositories": self.repositories,
            "storage": self.storage,
            "sandboxes": self.sandboxes,
        }
        return {name: table(values) for name, values in parts.items() if values}

    def _headline(self) -> str:
        n_builds = sum(project.n_builds for project in self.builds)
        billed_min = sum(project.billed_min for project in self.builds)
        return (
            f"{_days(self.start_at, self.end_at)}: {n_builds} builds, {billed_min:.1f} min billed"
        )

    def __repr__(self) -> str:
        return f"<usage {self._headline()}>"

    def _repr_html_(self) -> str:
        tables = (made.html(headline=name) for name, made in self.tables.items())
        return f"<div><b>{safe_html(self._headline())}</b>{''.join(tables)}</div>"


class Usages:
    """Asks what was used. Times are from `start_at` on, up to and without `end_at`, and have a time zone.

    Args:
        connect: With a token of a user or an organization.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    async def project(
        self, project_id: str, *, start_at: datetime, end_at: datetime
    ) -> ProjectUsage:
        """Return what a project used.

        Raises:
            NotFound: There is no such project.
        """
        request = core.GetProjectUsageRequest(
            project_id=checked("project_id", project_id),
            start_at=timestamp("start_at", start_at),
            end_at=timestamp("end_at", end_at),
        )
        reply = await self._connect.unary(methods.GET_PROJECT_USAGE, request)
        if not reply.HasField("usage"):
            raise empty("GetProjectUsage", "usage")
        return _project(reply.usage)

    def list(
        self, *, start_at: datetime, end_at: datetime, page_size: int = PAGE_SIZE
    ) -> Pages[ProjectUsage]:
        """List what each project used."""
        check_page_size(page_size)
        start, end = timestamp("start_at", start_at), timestamp("end_at", end_at)

        async def fetch(token: str) -> tuple[Sequence[ProjectUsage], str]:
            request = core.ListProjectUsageRequest(start_at=start, end_at=end, page_size=page_size)
            if token:
                request.page_token = token
            reply = await self._connect.unary(methods.LIST_PROJECT_USAGE, request)
            return [_project(item) for item in reply.usage], reply.next_page_token

        return Pages(fetch, "projects")

    async def organization(self, *, start_at: datetime, end_at: datetime) -> Usage:
        """Return what the organization of the token used."""
        request = core.GetUsageRequest(
            start_at=timestamp("start_at", start_at), end_at=timestamp("end_at", end_at)
        )
        reply = await self._connect.unary(methods.GET_USAGE, request)
        return Usage(
            start_at=moment_in(reply, "period_start"),
            end_at=moment_in(reply, "period_end"),
            builds=Listing(
                (
                    BuildUsage(b.project_name, b.build_count, b.minutes_saved, b.minutes_billed)
                    for b in reply.container_build
                ),
                "projects",
            ),
            repositories=Listing(map(_repository, reply.github_actions_jobs), "repositories"),
            storage=Listing(
                (StorageUsage(s.storage_type, s.total_gb) for s in reply.storage), "types"
            ),
            sandboxes=Listing(
                (
                    SandboxUsage(
                        s.agent_type, s.sandboxes_count, s.minutes_elapsed, s.minutes_billed
                    )
                    for s in reply.agent_sandbox
                ),
                "types",
            ),
        )


def _days(start_at: datetime | None, end_at: datetime | None) -> str:
    return " to ".join(f"{at:%Y-%m-%d}" if at else "?" for at in (start_at, end_at))


def _project(message: core.ProjectUsage) -> ProjectUsage:
    return ProjectUsage(
        project_id=message.project_id,
        n_builds=message.build_count,
        duration_s=message.build_duration_seconds,
        cache_gb=message.layer_cache_size_gb,
    )


def _repository(message: core.GithubActionsJobsUsage) -> RepositoryUsage:
    total = message.total
    jobs = tuple(
        JobUsage(j.workflow, j.runner, j.job_count, j.minutes_elapsed, j.minutes_billed)
        for j in message.jobs
    )
    return RepositoryUsage(
        message.repo, total.job_count, total.minutes_elapsed, total.minutes_billed, jobs
    )
