"""depot.cli.v1: what the official command line, and the Go library, use for real builds."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

from depotlab._plane import steps
from depotlab._plane.history import BuildRecord, End
from depotlab._plane.pages import Window, window
from depotlab._plane.parts import Parts, options_of, platform_of, timestamp
from depotlab._plane.tokens import REGISTRY_USER, Caller
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._serving import Fault, Method, methods

__all__ = ["CliService"]

# A machine starts in some tenths of a second.
_WAIT_MS = 50

# The numbers of depot.core.v1 differ.
_STATUS: dict[str, cli.BuildStatus] = {
    "running": cli.BUILD_STATUS_RUNNING,
    "success": cli.BUILD_STATUS_FINISHED,
    "failed": cli.BUILD_STATUS_FAILED,
    "error": cli.BUILD_STATUS_FAILED,
    "canceled": cli.BUILD_STATUS_CANCELED,
}


class CliService:
    """depot.cli.v1 BuildService and PushService."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def methods(self) -> list[Method]:
        """Return what this service answers."""
        return [
            *methods(
                "depot.cli.v1.BuildService",
                cli,
                CreateBuild=self.create,
                GetBuild=self.get,
                FinishBuild=self.finish,
                GetBuildKitConnection=self.connection,
                ReportBuildHealth=self.health,
                ReportTimings=self.timings,
                ReportStatus=self.status,
                ReportStatusStream=self.status_stream,
                ReportBuildContext=self.context,
                ListBuilds=self.list_builds,
                GetPullInfo=self.pull_info,
                GetPullToken=self.pull_token,
                client_streams={"ReportStatusStream"},
            ),
            *methods("depot.cli.v1.PushService", cli, StartPush=self.push, FinishPush=self.pushed),
        ]

    # ------------------------------------------------------------------------- a build's life

    async def create(
        self, caller: Caller, request: cli.CreateBuildRequest
    ) -> cli.CreateBuildResponse:
        """CreateBuild: the images that it may save go to the project's repository, under its id and the save tags."""
        _only_buildkit(request.required_engine)
        project = self._parts.project(caller, request.project_id)
        made = self._parts.builds.register(project, request.SerializeToString())
        build_id, repository = made.record.build_id, self._parts.repository(project.project_id)
        login = base64.b64encode(f"{REGISTRY_USER}:{made.token}".encode()).decode()
        saves = any(option.save or option.load for option in request.options)
        # Bare tags: the client adds the target's name to each, when it bakes.
        tags = dict.fromkeys([build_id, *(tag for o in request.options for tag in o.save_tags)])
        return cli.CreateBuildResponse(
            build_id=build_id,
            build_token=made.token,
            registry=cli.Registry(load_using_registry=True),
            build_url=self._parts.build_url(build_id),
            project_id=project.project_id,
            additional_credentials=[
                cli.CreateBuildResponse.Credential(host=self._parts.registry.host_port, token=login)
            ],
            additional_tags=[
                cli.CreateBuildResponse.Tag(tag=f"{repository}:{tag}", push=saves) for tag in tags
            ],
        )

    async def get(self, caller: Caller, request: cli.GetBuildRequest) -> cli.GetBuildResponse:
        """GetBuild: for a build that something else registered."""
        record = self._parts.build(caller, request.build_id)
        return cli.GetBuildResponse(
            build_id=record.build_id,
            project_id=record.project_id,
            build_url=self._parts.build_url(record.build_id),
        )

    async def finish(
        self, caller: Caller, request: cli.FinishBuildRequest
    ) -> cli.FinishBuildResponse:
        """FinishBuild: only a plain success is one; a result that is missing or unknown is an error."""
        record = self._parts.build(caller, request.build_id)
        ends: dict[str | None, tuple[End, str]] = {
            "success": ("success", ""),
            "error": ("failed", request.error.error),
            "canceled": ("canceled", "canceled by its client"),
        }
        end, error = ends.get(
            request.WhichOneof("result"), ("error", "its client gave no result that is known here")
        )
        self._parts.builds.finish(record.build_id, end, error)
        await self._parts.builds.settled(record.build_id)
        return cli.FinishBuildResponse()

    async def connection(
        self, caller: Caller, request: cli.GetBuildKitConnectionRequest
    ) -> cli.GetBuildKitConnectionResponse:
        """GetBuildKitConnection: pending until the machine answers, never before."""
        _only_buildkit(request.required_engine)
        record = self._parts.build(caller, request.build_id)
        platform = platform_of(request.platform)
        found = await self._parts.builds.connection(record.build_id, platform)
        answer = cli.GetBuildKitConnectionResponse
        if found is None:
            return answer(pending=answer.Pending(wait_ms=_WAIT_MS))
        return answer(
            active=answer.Active(
                endpoint=found.endpoint,
                server_name=found.server_name,
                cert=cli.Cert(cert=found.cert_pem, key=found.key_pem),
                ca_cert=cli.Cert(cert=found.ca_pem),
                identity=answer.Identity(),
            )
        )

    async def health(
        self, caller: Caller, request: cli.ReportBuildHealthRequest
    ) -> cli.ReportBuildHealthResponse:
        """ReportBuildHealth: each 5 s for each machine; the answer may ask to stop."""
        record = self._parts.build(caller, request.build_id)
        cancels_ns = self._parts.builds.health(record.build_id, platform_of(request.platform))
        return cli.ReportBuildHealthResponse(cancels_at=timestamp(cancels_ns))

    # ----------------------------------------------------------------------- what clients report

    async def timings(
        self, caller: Caller, request: cli.ReportTimingsRequest
    ) -> cli.ReportTimingsResponse:
        """ReportTimings: of steps that nobody else has seen."""
        record = self._parts.build(caller, request.build_id)
        history = self._parts.history
        known = {step.name for step in history.steps(record.build_id, Window("", 10**6, None))}
        news = [seen for seen in steps.timings(request.build_steps) if seen.name not in known]
        history.record(record.build_id, news, [])
        return cli.ReportTimingsResponse()

    async def status(
        self, caller: Caller, request: cli.ReportStatusRequest
    ) -> cli.ReportStatusResponse:
        """ReportStatus: of older clients."""
        record = self._parts.build(caller, request.build_id)
        steps.fold(self._parts.history, record.build_id, request.statuses)
        return cli.ReportStatusResponse()

    async def status_stream(
        self, caller: Caller, requests: AsyncIterator[cli.ReportStatusStreamRequest]
    ) -> cli.ReportStatusStreamResponse:
        """ReportStatusStream: each message counts as it comes, since the stream may be cut, or come late."""
        async for request in requests:
            record = self._parts.build(caller, request.build_id)
            steps.fold(self._parts.history, record.build_id, request.statuses)
        return cli.ReportStatusStreamResponse()

    async def context(
        self, caller: Caller, request: cli.ReportBuildContextRequest
    ) -> cli.ReportBuildContextResponse:
        """ReportBuildContext: the Dockerfiles of a build."""
        record = self._parts.build(caller, request.build_id)
        self._parts.history.keep_contexts(
            record.build_id, [(d.target, d.filename, d.contents) for d in request.dockerfiles]
        )
        return cli.ReportBuildContextResponse()

    # ----------------------------------------------------------------- lists, pulls and pushes

    async def list_builds(
        self, caller: Caller, request: cli.ListBuildsRequest
    ) -> cli.ListBuildsResponse:
        """ListBuilds, newest first."""
        project = self._parts.project(caller, request.project_id)
        page = window(f"cli builds {project.project_id}", request.page_size, request.page_token)
        rows, more = page.cut(
            self._parts.history.builds(project.project_id, page), lambda row: row.created_ns
        )
        return cli.ListBuildsResponse(builds=[_build(row) for row in rows], next_page_token=more)

    async def pull_info(
        self, caller: Caller, request: cli.GetPullInfoRequest
    ) -> cli.GetPullInfoResponse:
        """GetPullInfo: where the images of a build are, and a login to read them."""
        record = self._parts.build(caller, request.build_id)
        options = options_of(record)
        return cli.GetPullInfoResponse(
            reference=f"{self._parts.repository(record.project_id)}:{record.build_id}",
            username=REGISTRY_USER,
            password=self._parts.pull_token(record.project_id),
            options=options,
            save_for_load=any(option.load for option in options),
            registry_host=self._parts.registry.host_port,
        )

    async def pull_token(
        self, caller: Caller, request: cli.GetPullTokenRequest
    ) -> cli.GetPullTokenResponse:
        """GetPullToken: both fields may be there and empty."""
        if request.build_id:
            project_id = self._parts.build(caller, request.build_id).project_id
        else:
            project_id = self._parts.project(caller, request.project_id).project_id
        return cli.GetPullTokenResponse(
            token=self._parts.pull_token(project_id), registry_host=self._parts.registry.host_port
        )

    async def push(self, caller: Caller, request: cli.StartPushRequest) -> cli.StartPushResponse:
        """StartPush: images of a build are going to be copied to another registry."""
        record = self._parts.build(caller, request.build_id)
        push_id = self._parts.history.start_push(record.build_id, request.tag)
        return cli.StartPushResponse(push_id=push_id)

    async def pushed(
        self, caller: Caller, request: cli.FinishPushRequest
    ) -> cli.FinishPushResponse:
        """FinishPush: how that ended."""
        record = self._parts.build(caller, request.build_id)
        self._parts.history.finish_push(record.build_id, request.push_id, request.error)
        return cli.FinishPushResponse()


def _only_buildkit(engine: cli.RequiredEngine) -> None:
    if engine.WhichOneof("engine") == "dagger":
        raise Fault("unimplemented", "this plane has BuildKit machines only, and no Dagger engines")


def _build(record: BuildRecord) -> cli.Build:
    return cli.Build(
        id=record.build_id,
        status=_STATUS[record.status],
        created_at=timestamp(record.created_ns),
        finished_at=timestamp(record.finished_ns),
    )
