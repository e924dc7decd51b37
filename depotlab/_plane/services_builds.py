"""depot.core.v1 builds and usage: looking back."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from depotlab._plane.history import BuildRecord, Sums, Usage
from depotlab._plane.pages import window
from depotlab._plane.parts import Parts, nanoseconds, timestamp
from depotlab._plane.store import Project
from depotlab._plane.tokens import Caller
from depotlab._proto import depot_core_pb2 as core
from depotlab._serving import Fault, Method, methods

__all__ = ["CoreBuildService"]


# The numbers of depot.cli.v1 differ, and it knows no difference between failed and error.
_STATUS: dict[str, core.Build.Status] = {
    "running": core.Build.STATUS_RUNNING,
    "failed": core.Build.STATUS_FAILED,
    "success": core.Build.STATUS_SUCCESS,
    "error": core.Build.STATUS_ERROR,
    "canceled": core.Build.STATUS_CANCELED,
}


class CoreBuildService:
    """depot.core.v1 BuildService and UsageService."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def methods(self) -> list[Method]:
        """Return what this service answers."""
        return [
            *methods(
                "depot.core.v1.BuildService",
                core,
                ShareBuild=self.share,
                StopSharingBuild=self.stop_sharing,
                ListBuilds=self.list_all,
                GetBuild=self.get,
            ),
            *methods(
                "depot.core.v1.UsageService",
                core,
                ListProjectUsage=self.list_usage,
                GetProjectUsage=self.project_usage,
                GetUsage=self.usage,
            ),
        ]

    async def share(
        self, caller: Caller, request: core.ShareBuildRequest
    ) -> core.ShareBuildResponse:
        """ShareBuild: an address at which the build can be seen without a token."""
        record = self._managed(caller, request.build_id)
        secret = self._parts.history.share(record.build_id, on=True)
        return core.ShareBuildResponse(share_url=f"{self._parts.url}/share/{secret}")

    async def stop_sharing(
        self, caller: Caller, request: core.StopSharingBuildRequest
    ) -> core.StopSharingBuildResponse:
        """StopSharingBuild: that address is gone for ever."""
        record = self._managed(caller, request.build_id)
        self._parts.history.share(record.build_id, on=False)
        return core.StopSharingBuildResponse()

    async def list_all(
        self, caller: Caller, request: core.ListBuildsRequest
    ) -> core.ListBuildsResponse:
        """ListBuilds, newest first."""
        caller.may_manage()
        project = self._parts.store.project(request.project_id)
        page = window(f"builds {project.project_id}", request.page_size, request.page_token)
        rows, more = page.cut(
            self._parts.history.builds(project.project_id, page), lambda row: row.created_ns
        )
        sums = self._parts.history.sums(row.build_id for row in rows)
        return core.ListBuildsResponse(
            builds=[_build(row, sums[row.build_id]) for row in rows], next_page_token=more
        )

    async def get(self, caller: Caller, request: core.GetBuildRequest) -> core.GetBuildResponse:
        """GetBuild."""
        record = self._managed(caller, request.build_id)
        sums = self._parts.history.sums([record.build_id])
        return core.GetBuildResponse(build=_build(record, sums[record.build_id]))

    def _managed(self, caller: Caller, build_id: str) -> BuildRecord:
        caller.may_manage()
        return self._parts.history.build(build_id)

    # ------------------------------------------------------------------------------------ usage

    async def list_usage(
        self, caller: Caller, request: core.ListProjectUsageRequest
    ) -> core.ListProjectUsageResponse:
        """ListProjectUsage, oldest project first."""
        caller.may_manage()
        start_ns, end_ns = _span(request.start_at, request.end_at)
        page = window(f"usage {start_ns} {end_ns}", request.page_size, request.page_token)
        rows, more = page.cut(self._parts.store.projects(page), lambda row: row.created_ns)
        return core.ListProjectUsageResponse(
            usage=[
                _usage(row, self._parts.history.usage(row.project_id, start_ns, end_ns))
                for row in rows
            ],
            next_page_token=more or None,
        )

    async def project_usage(
        self, caller: Caller, request: core.GetProjectUsageRequest
    ) -> core.GetProjectUsageResponse:
        """GetProjectUsage."""
        caller.may_manage()
        project = self._parts.store.project(request.project_id)
        used = self._parts.history.usage(
            project.project_id, *_span(request.start_at, request.end_at)
        )
        return core.GetProjectUsageResponse(usage=_usage(project, used))

    async def usage(self, caller: Caller, request: core.GetUsageRequest) -> core.GetUsageResponse:
        """GetUsage: container builds; a plane on one computer has nothing else, and bills nothing."""
        caller.may_manage()
        span = _span(request.start_at, request.end_at)
        used = [
            (project, self._parts.history.usage(project.project_id, *span))
            for project in self._parts.store.projects()
        ]
        return core.GetUsageResponse(
            period_start=request.start_at,
            period_end=request.end_at,
            container_build=[
                core.ContainerBuildUsage(
                    project_name=project.name,
                    build_count=one.n_builds,
                    minutes_saved=one.saved_ns / 60e9,
                )
                for project, one in used
                if one.n_builds
            ],
        )


def _build(record: BuildRecord, sums: Sums) -> core.Build:
    made = core.Build(
        build_id=record.build_id,
        status=_STATUS[record.status],
        created_at=timestamp(record.created_ns),
        started_at=timestamp(record.started_ns),
        finished_at=timestamp(record.finished_ns),
        saved_duration_seconds=sums.saved_ns // 10**9,
        cached_steps=sums.n_cached,
        total_steps=sums.n_steps,
    )
    if record.finished_ns is not None:
        took_ns = record.finished_ns - (record.started_ns or record.created_ns)
        made.build_duration_seconds = took_ns // 10**9
    return made


def _usage(project: Project, used: Usage) -> core.ProjectUsage:
    return core.ProjectUsage(
        project_id=project.project_id,
        build_count=used.n_builds,
        build_duration_seconds=used.duration_ns // 10**9,
    )


def _span(start_at: Timestamp, end_at: Timestamp) -> tuple[int, int]:
    start_ns, end_ns = nanoseconds(start_at), nanoseconds(end_at)
    if not start_ns < end_ns:
        raise Fault("invalid_argument", "start_at and end_at must be given, and start come first")
    return start_ns, end_ns
