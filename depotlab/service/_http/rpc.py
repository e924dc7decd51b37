"""The service as methods: Connect, gRPC and Connect's JSON on `/depotlab.service.v1.BuildService/…`.

Messages are read and written here only. Fields that a message has not set mean what leaving them out of the Python verb
means.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from depotlab._proto import build_service_pb2 as messages
from depotlab._serving import Fault, Method, methods
from depotlab.service._access.access import Caller
from depotlab.service._asking.git import git
from depotlab.service._boundary import BuildContext, GitContext, UploadedContext
from depotlab.service._http.guarded import Guarded, refusals
from depotlab.service._values import BuildInfo

__all__ = ["SERVICE", "BuildServiceMethods", "build_message"]

SERVICE = "depotlab.service.v1.BuildService"

_STATE = "BUILD_STATE_"


class BuildServiceMethods:
    """The six operations, for `RpcApp`.

    Args:
        guarded: What callers may do.
    """

    def __init__(self, guarded: Guarded) -> None:
        self._guarded = guarded

    def methods(self) -> list[Method]:
        """Return what is served."""
        return methods(
            SERVICE,
            messages,
            server_streams=("GetBuildLogs",),
            GenerateUploadURL=self._generate_upload_url,
            CreateBuild=self._create_build,
            GetBuild=self._get_build,
            ListBuilds=self._list_builds,
            GetBuildLogs=self._get_build_logs,
            CancelBuild=self._cancel_build,
        )

    async def _generate_upload_url(
        self, caller: Caller, request: messages.GenerateUploadURLRequest
    ) -> Message:
        upload = await self._guarded.generate_upload_url(
            caller, _needed("project", request.project)
        )
        return messages.GenerateUploadURLResponse(
            upload_url=upload.upload_url,
            build_context_path=upload.build_context_path,
            expires_in_s=upload.expires_in_s,
            max_bytes=upload.max_bytes,
            headers=dict(upload.headers),
        )

    async def _create_build(self, caller: Caller, request: messages.CreateBuildRequest) -> Message:
        build = await self._guarded.create_build(
            caller,
            _context(request),
            project=_needed("project", request.project),
            deployment=_needed("deployment", request.deployment),
            workspace=request.workspace,
            dockerfile_path=request.dockerfile_path or "Dockerfile",
            target=request.target,
            platform=request.platform or None,
            args=dict(request.args),
            labels=dict(request.labels),
            env=dict(request.env),
            git_token=request.git_token,
            idempotency_key=request.idempotency_key,
        )
        return messages.CreateBuildResponse(
            image_name=build.image,
            build_id=build.build_id,
            depot_project_id=build.depot_project_id,
            build=build_message(build),
        )

    async def _get_build(self, caller: Caller, request: messages.GetBuildRequest) -> Message:
        build = await self._guarded.get_build(caller, _needed("build_id", request.build_id))
        return messages.GetBuildResponse(build=build_message(build))

    async def _list_builds(self, caller: Caller, request: messages.ListBuildsRequest) -> Message:
        if request.state not in messages.BuildState.values():
            raise Fault("invalid_argument", f"state={request.state} is none of BuildState")
        page = await self._guarded.list_builds(
            caller,
            project=request.project or None,
            state=_state_name(request.state) or None,
            page_size=request.page_size or 50,
            page_token=request.page_token,
        )
        return messages.ListBuildsResponse(
            builds=map(build_message, page), next_page_token=page.next_page_token
        )

    async def _get_build_logs(
        self, caller: Caller, request: messages.GetBuildLogsRequest
    ) -> AsyncIterator[Message]:
        build_id, offset = _needed("build_id", request.build_id), request.offset
        follow = request.follow if request.HasField("follow") else True
        await self._guarded.open_log(caller, build_id)
        while lines := await self._guarded.next_lines(build_id, offset, follow=follow):
            for line in lines:
                yield messages.GetBuildLogsResponse(
                    offset=line.offset,
                    at=_timestamp(line.at),
                    step_id=line.step_id,
                    step=line.step,
                    stream=line.stream,
                    text=line.text,
                )
            offset = lines[-1].offset + 1

    async def _cancel_build(self, caller: Caller, request: messages.CancelBuildRequest) -> Message:
        build = await self._guarded.cancel_build(caller, _needed("build_id", request.build_id))
        return messages.CancelBuildResponse(build=build_message(build))


def build_message(build: BuildInfo) -> messages.Build:
    """Return a build as its message."""
    made = messages.Build(
        build_id=build.build_id,
        project=build.project,
        workspace=build.workspace,
        deployment=build.deployment,
        state=_STATE + build.state.upper(),
        image=build.image,
        digest=build.digest,
        depot_project_id=build.depot_project_id,
        depot_build_id=build.depot_build_id,
        created_at=_timestamp(build.created_at),
        started_at=_timestamp(build.started_at),
        finished_at=_timestamp(build.finished_at),
        attempts=build.attempts,
        stages_s=dict(build.stages),
        cached_steps=build.cached_steps,
        total_steps=build.total_steps,
        n_log_lines=build.n_log_lines,
        platform=build.platform,
        stage=build.stage,
    )
    if build.error is not None:
        made.error.category = build.error.category
        made.error.message = build.error.message
        made.error.raw = build.error.raw
    if isinstance(build.context, GitContext):
        given = build.context
        made.git.CopyFrom(
            messages.GitContext(
                host=given.host,
                owner=given.owner,
                repository=given.repository,
                ref=given.ref,
                subdir=given.subdir,
                pull_request=given.pull_request,
                is_public=given.is_public,
            )
        )
    else:
        made.build_context_path = build.context.key
    return made


def _context(request: messages.CreateBuildRequest) -> BuildContext:
    if request.HasField("git") == bool(request.build_context_path):
        raise Fault(
            "invalid_argument",
            "one of build_context_path and git is needed, and not both",
            hint="GenerateUploadURL gives a build_context_path",
        )
    if not request.HasField("git"):
        return UploadedContext(request.build_context_path)
    given = request.git
    with refusals("create_build"):
        return git(
            given.host,
            given.owner,
            given.repository,
            given.ref,
            subdir=given.subdir,
            pull_request=given.pull_request,
            is_public=given.is_public,
        )


def _needed(name: str, value: str) -> str:
    if not value:
        raise Fault("invalid_argument", f"{name} is missing")
    return value


def _state_name(state: messages.BuildState) -> str:
    return messages.BuildState.Name(state).removeprefix(_STATE).lower() if state else ""


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at)
    return made
