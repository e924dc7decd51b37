"""depot.cli.v1beta1: logging in from a terminal, and the lists that the command line shows."""

from __future__ import annotations

from collections.abc import AsyncIterator

from depotlab._plane.parts import Parts
from depotlab._plane.tokens import Caller
from depotlab._proto import depot_clibeta_pb2 as beta
from depotlab._serving import Fault, Method, methods

__all__ = ["BetaService"]


class BetaService:
    """depot.cli.v1beta1 LoginService and ProjectsService."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def methods(self) -> list[Method]:
        """Return what this service answers."""
        return [
            *methods(
                "depot.cli.v1beta1.LoginService",
                beta,
                StartLogin=self.start_login,
                FinishLogin=self.finish_login,
                server_streams={"FinishLogin"},
                open={"StartLogin", "FinishLogin"},
            ),
            *methods(
                "depot.cli.v1beta1.ProjectsService",
                beta,
                ListProjects=self.projects,
                ResetProjectCache=self.reset,
            ),
        ]

    async def start_login(
        self, _caller: Caller, _request: beta.StartLoginRequest
    ) -> beta.StartLoginResponse:
        """StartLogin: the page at `approve_url` asks for the plane's token."""
        login_id = self._parts.logins.begin()
        return beta.StartLoginResponse(
            id=login_id, approve_url=f"{self._parts.url}/login/{login_id}"
        )

    async def finish_login(
        self, _caller: Caller, request: beta.FinishLoginRequest
    ) -> AsyncIterator[beta.FinishLoginResponse]:
        """FinishLogin: one message, when it was approved."""
        if not await self._parts.logins.approved(request.id):
            raise Fault("not_found", "this login is not known, or was not approved in time")
        made = self._parts.tokens.make(
            "user", owner_id=self._parts.store.user_id, description="depot login"
        )
        yield beta.FinishLoginResponse(token=made.secret)

    async def projects(
        self, caller: Caller, _request: beta.ListProjectsRequest
    ) -> beta.ListProjectsResponse:
        """ListProjects: all of them; a project's token sees its own."""
        if caller.kind not in ("user", "organization", "project"):
            raise Fault("permission_denied", f"a {caller.kind} token cannot do this")
        organization = self._parts.store.organization
        return beta.ListProjectsResponse(
            projects=[
                beta.ListProjectsResponse.Project(
                    id=project.project_id,
                    name=project.name,
                    org_id=organization.organization_id,
                    org_name=organization.name,
                )
                for project in self._parts.store.projects()
                if caller.project_id in ("", project.project_id)
            ]
        )

    async def reset(
        self, caller: Caller, request: beta.ResetProjectCacheRequest
    ) -> beta.ResetProjectCacheResponse:
        """ResetProjectCache: stop the project's machines and drop its cache."""
        caller.may_manage()
        project = self._parts.project(caller, request.project_id)
        await self._parts.machines.reset(project.project_id)
        return beta.ResetProjectCacheResponse(
            name=project.name, org_name=self._parts.store.organization.name
        )
