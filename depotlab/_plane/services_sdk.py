"""depot.build.v1 and depot.buildkit.v1: builds as the SDKs register them, and the registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from depotlab._plane.boundary import Image
from depotlab._plane.history import BuildRecord, End, Step
from depotlab._plane.pages import window
from depotlab._plane.parts import Parts, platform_of, timestamp
from depotlab._plane.tokens import Caller
from depotlab._proto import depot_build_pb2 as build
from depotlab._proto import depot_buildkit_pb2 as buildkit
from depotlab._serving import Fault, Method, methods

__all__ = ["SdkService"]

_LOOK_EACH_S = 0.1
# A client may forget a stream that brings nothing.
_STILL_PENDING_EACH_S = 1.0


class SdkService:
    """depot.build.v1 BuildService and RegistryService, depot.buildkit.v1 BuildKitService."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def methods(self) -> list[Method]:
        """Return what this service answers."""
        return [
            *methods(
                "depot.build.v1.BuildService",
                build,
                CreateBuild=self.create,
                FinishBuild=self.finish,
                GetBuildSteps=self.steps,
                GetBuildStepLogs=self.logs,
            ),
            *methods(
                "depot.build.v1.RegistryService",
                build,
                ListImages=self.images,
                DeleteImage=self.delete_images,
            ),
            *methods(
                "depot.buildkit.v1.BuildKitService",
                buildkit,
                GetEndpoint=self.endpoint,
                ReportHealth=self.health,
                ReleaseEndpoint=self.release,
                client_streams={"ReportHealth"},
                server_streams={"GetEndpoint"},
            ),
        ]

    # ------------------------------------------------------------------------------------ builds

    async def create(
        self, caller: Caller, request: build.CreateBuildRequest
    ) -> build.CreateBuildResponse:
        """CreateBuild."""
        project = self._parts.project(caller, request.project_id)
        made = self._parts.builds.register(project)
        return build.CreateBuildResponse(build_id=made.record.build_id, build_token=made.token)

    async def finish(
        self, caller: Caller, request: build.FinishBuildRequest
    ) -> build.FinishBuildResponse:
        """FinishBuild: it has no canceled; a missing or unknown result is no success."""
        record = self._parts.build(caller, request.build_id)
        ends: dict[str | None, tuple[End, str]] = {
            "success": ("success", ""),
            "error": ("failed", request.error.error),
        }
        end, error = ends.get(
            request.WhichOneof("result"), ("error", "its client gave no result that is known here")
        )
        self._parts.builds.finish(record.build_id, end, error)
        await self._parts.builds.settled(record.build_id)
        return build.FinishBuildResponse()

    async def steps(
        self, caller: Caller, request: build.GetBuildStepsRequest
    ) -> build.GetBuildStepsResponse:
        """GetBuildSteps, in the order in which they came up."""
        record = self._looked_at(caller, request.project_id, request.build_id)
        page = window(f"steps {record.build_id}", request.page_size, request.page_token)
        rows, more = page.cut(
            self._parts.history.steps(record.build_id, page), lambda row: row.number
        )
        return build.GetBuildStepsResponse(
            build_steps=[_step(row) for row in rows], next_page_token=more or None
        )

    async def logs(
        self, caller: Caller, request: build.GetBuildStepLogsRequest
    ) -> build.GetBuildStepLogsResponse:
        """GetBuildStepLogs, oldest first, as BuildKit sent them."""
        record = self._looked_at(caller, request.project_id, request.build_id)
        digest = request.build_step_digest
        page = window(f"logs {record.build_id} {digest}", request.page_size, request.page_token)
        rows, more = page.cut(
            self._parts.history.logs(record.build_id, digest, page), lambda row: row.number
        )
        return build.GetBuildStepLogsResponse(
            logs=[
                build.GetBuildStepLogsResponse.Log(
                    message=row.message.decode(errors="replace"), timestamp=timestamp(row.at_ns)
                )
                for row in rows
            ],
            next_page_token=more or None,
        )

    def _looked_at(self, caller: Caller, project_id: str, build_id: str) -> BuildRecord:
        record = self._parts.history.build(build_id)
        caller.may_build_in(record.project_id)
        if project_id not in ("", record.project_id):
            raise Fault("not_found", f"build {build_id!r} was not found in project {project_id!r}")
        return record

    # ---------------------------------------------------------------------------------- registry

    async def images(
        self, caller: Caller, request: build.ListImagesRequest
    ) -> build.ListImagesResponse:
        """ListImages, newest first."""
        project = self._parts.project(caller, request.project_id)
        found = await self._parts.registry.images(project.project_id)
        page = window(f"images {project.project_id}", request.page_size, request.page_token)
        first = page.after or 0
        numbered = list(enumerate(found, 1))[first : first + page.size + 1]
        rows, more = page.cut(numbered, lambda row: row[0])
        return build.ListImagesResponse(
            images=[_image(image) for _, image in rows], next_page_token=more or None
        )

    async def delete_images(
        self, caller: Caller, request: build.DeleteImageRequest
    ) -> build.DeleteImageResponse:
        """DeleteImage: these tags; one that is not there stops nothing."""
        project = self._parts.project(caller, request.project_id)
        for tag in request.image_tags:
            await self._parts.registry.delete(project.project_id, tag)
        return build.DeleteImageResponse()

    # ---------------------------------------------------------------------------------- machines

    async def endpoint(
        self, caller: Caller, request: buildkit.GetEndpointRequest
    ) -> AsyncIterator[buildkit.GetEndpointResponse]:
        """GetEndpoint: pending from time to time, then active, and that is the end."""
        record = self._parts.build(caller, request.build_id)
        platform = platform_of(request.platform)
        answer = buildkit.GetEndpointResponse
        waited_s = _STILL_PENDING_EACH_S  # so that the first answer comes at once
        while (found := await self._parts.builds.connection(record.build_id, platform)) is None:
            if waited_s >= _STILL_PENDING_EACH_S:
                yield answer(pending=answer.Pending())
                waited_s = 0.0
            await asyncio.sleep(_LOOK_EACH_S)
            waited_s += _LOOK_EACH_S
        yield answer(
            active=answer.Active(
                endpoint=found.endpoint,
                server_name=found.server_name,
                cert=buildkit.CertificatePair(
                    cert=buildkit.PublicCertificate(cert=found.cert_pem),
                    key=buildkit.PrivateKey(key=found.key_pem),
                ),
                ca_cert=buildkit.PublicCertificate(cert=found.ca_pem),
            )
        )

    async def health(
        self, caller: Caller, requests: AsyncIterator[buildkit.ReportHealthRequest]
    ) -> buildkit.ReportHealthResponse:
        """ReportHealth: each message counts as it comes. The stream has no way to ask to stop but its end."""
        async for request in requests:
            record = self._parts.build(caller, request.build_id)
            cancels_ns = self._parts.builds.health(
                record.build_id, platform_of(request.platform), stream=True
            )
            if cancels_ns is not None:
                raise Fault("failed_precondition", f"build {record.build_id} was canceled")
        return buildkit.ReportHealthResponse()

    async def release(
        self, caller: Caller, request: buildkit.ReleaseEndpointRequest
    ) -> buildkit.ReleaseEndpointResponse:
        """ReleaseEndpoint. Idempotent."""
        record = self._parts.build(caller, request.build_id)
        self._parts.builds.release(record.build_id, platform_of(request.platform))
        return buildkit.ReleaseEndpointResponse()


def _step(step: Step) -> build.BuildStep:
    return build.BuildStep(
        name=step.name,
        digest=step.digest,
        started_at=timestamp(step.started_ns),
        completed_at=timestamp(step.completed_ns),
        cache_state=build.CACHE_STATE_CACHED if step.cached else build.CACHE_STATE_UNCACHED,
        error=step.error or None,
        has_logs=step.has_logs,
    )


def _image(image: Image) -> build.Image:
    made = build.Image(tag=image.tag, digest=image.digest, size_bytes=image.size_bytes)
    made.pushed_at.FromDatetime(image.pushed_at)
    return made
