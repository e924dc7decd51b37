"""depot.core.v1: projects with their policies and tokens, and the organisation."""

from __future__ import annotations

from typing import cast

from depotlab._plane.boundary import CachePolicy
from depotlab._plane.pages import window
from depotlab._plane.parts import GB_BYTES, Parts, policy_from, timestamp
from depotlab._plane.store import Project, Provider, TrustPolicy
from depotlab._plane.tokens import Caller
from depotlab._proto import depot_core_pb2 as core
from depotlab._serving import Fault, Method, methods

__all__ = ["ProjectService"]

_LONGEST_NAME = 200


class ProjectService:
    """depot.core.v1 ProjectService and OrganizationService. Every method wants a user's or organisation's token."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def methods(self) -> list[Method]:
        """Return what this service answers."""
        return [
            *methods(
                "depot.core.v1.ProjectService",
                core,
                ListProjects=self.list_all,
                GetProject=self.get,
                CreateProject=self.create,
                UpdateProject=self.update,
                DeleteProject=self.delete,
                ResetProject=self.reset,
                ListTrustPolicies=self.trust_policies,
                AddTrustPolicy=self.add_trust_policy,
                RemoveTrustPolicy=self.remove_trust_policy,
                ListTokens=self.tokens,
                CreateToken=self.create_token,
                UpdateToken=self.update_token,
                DeleteToken=self.delete_token,
            ),
            *methods(
                "depot.core.v1.OrganizationService", core, ListOrganizations=self.organizations
            ),
        ]

    # ------------------------------------------------------------------------------- projects

    async def list_all(
        self, caller: Caller, request: core.ListProjectsRequest
    ) -> core.ListProjectsResponse:
        """ListProjects, oldest first. Older clients read no token of a next page: without a size all come."""
        caller.may_manage()
        store = self._parts.store
        if not request.page_size and not request.page_token:
            found = store.projects(region_id=request.region_id)
            return core.ListProjectsResponse(projects=[self._message(one) for one in found])
        page = window(f"projects {request.region_id}", request.page_size, request.page_token)
        rows, more = page.cut(
            store.projects(page, region_id=request.region_id), lambda row: row.created_ns
        )
        return core.ListProjectsResponse(
            projects=[self._message(row) for row in rows], next_page_token=more or None
        )

    async def get(self, caller: Caller, request: core.GetProjectRequest) -> core.GetProjectResponse:
        """GetProject."""
        caller.may_manage()
        return core.GetProjectResponse(
            project=self._message(self._parts.store.project(request.project_id))
        )

    async def create(
        self, caller: Caller, request: core.CreateProjectRequest
    ) -> core.CreateProjectResponse:
        """CreateProject: in the plane's one organisation."""
        caller.may_manage()
        ours = self._parts.store.organization.organization_id
        if request.organization_id not in ("", ours):
            raise Fault("not_found", f"organization {request.organization_id!r} was not found")
        made = self._parts.store.create_project(
            _name(request.name),
            region_id=request.region_id,
            cache_policy=_policy(request),
            hardware=request.hardware,
        )
        return core.CreateProjectResponse(project=self._message(made))

    async def update(
        self, caller: Caller, request: core.UpdateProjectRequest
    ) -> core.UpdateProjectResponse:
        """UpdateProject: what is given changes. A new cache policy holds from the machine's next start."""
        caller.may_manage()
        changed = self._parts.store.update_project(
            request.project_id,
            name=_name(request.name) if request.HasField("name") else None,
            region_id=request.region_id if request.HasField("region_id") else None,
            cache_policy=_policy(request) if request.HasField("cache_policy") else None,
            hardware=request.hardware if request.HasField("hardware") else None,
        )
        return core.UpdateProjectResponse(project=self._message(changed))

    async def delete(
        self, caller: Caller, request: core.DeleteProjectRequest
    ) -> core.DeleteProjectResponse:
        """DeleteProject: its builds end, its cache, images and records go."""
        caller.may_manage()
        project = self._parts.store.project(request.project_id)
        for record in self._parts.history.running():
            if record.project_id == project.project_id:
                self._parts.builds.finish(record.build_id, "canceled", "its project was deleted")
        await self._parts.machines.drop(project.project_id)
        for image in await self._parts.registry.images(project.project_id):
            await self._parts.registry.delete(project.project_id, image.tag)
        self._parts.store.delete_project(project.project_id)
        return core.DeleteProjectResponse()

    async def reset(
        self, caller: Caller, request: core.ResetProjectRequest
    ) -> core.ResetProjectResponse:
        """ResetProject: stop its machines and drop its cache."""
        caller.may_manage()
        project = self._parts.store.project(request.project_id)
        await self._parts.machines.reset(project.project_id)
        return core.ResetProjectResponse()

    def _message(self, project: Project) -> core.Project:
        policy = project.cache_policy
        return core.Project(
            project_id=project.project_id,
            organization_id=project.organization_id,
            name=project.name,
            region_id=project.region_id,
            created_at=timestamp(project.created_ns),
            # The command line shows only the bytes, newer clients read only the gigabytes.
            cache_policy=core.CachePolicy(
                keep_bytes=policy.keep_gb * GB_BYTES,
                keep_days=policy.keep_days,
                keep_gb=policy.keep_gb,
            ),
            hardware=cast("core.Hardware", project.hardware),  # any number goes over the wire
        )

    # --------------------------------------------------------------------------- trust policies

    async def trust_policies(
        self, caller: Caller, request: core.ListTrustPoliciesRequest
    ) -> core.ListTrustPoliciesResponse:
        """ListTrustPolicies. They are kept for their owners; a plane on one computer trusts no CI."""
        caller.may_manage()
        project = self._parts.store.project(request.project_id)
        found = self._parts.store.trust_policies(project.project_id)
        return core.ListTrustPoliciesResponse(trust_policies=[_trust(one) for one in found])

    async def add_trust_policy(
        self, caller: Caller, request: core.AddTrustPolicyRequest
    ) -> core.AddTrustPolicyResponse:
        """AddTrustPolicy."""
        caller.may_manage()
        project = self._parts.store.project(request.project_id)
        provider: Provider
        match request.WhichOneof("provider"):
            case "buildkite":
                provider = "buildkite"
                owner, name = request.buildkite.organization_slug, request.buildkite.pipeline_slug
            case "circleci":
                provider = "circleci"
                owner, name = request.circleci.organization_uuid, request.circleci.project_uuid
            case "github":
                provider = "github"
                owner, name = request.github.repository_owner, request.github.repository
            case _:
                raise Fault("invalid_argument", "provider must be buildkite, circleci or github")
        if not owner:
            raise Fault("invalid_argument", f"the {provider} policy names no owner")
        made = self._parts.store.add_trust_policy(project.project_id, provider, owner, name)
        return core.AddTrustPolicyResponse(trust_policy=_trust(made))

    async def remove_trust_policy(
        self, caller: Caller, request: core.RemoveTrustPolicyRequest
    ) -> core.RemoveTrustPolicyResponse:
        """RemoveTrustPolicy."""
        caller.may_manage()
        project = self._parts.store.project(request.project_id)
        self._parts.store.remove_trust_policy(project.project_id, request.trust_policy_id)
        return core.RemoveTrustPolicyResponse()

    # ----------------------------------------------------------------------------------- tokens

    async def tokens(
        self, caller: Caller, request: core.ListTokensRequest
    ) -> core.ListTokensResponse:
        """ListTokens: without their secrets, which are kept nowhere."""
        caller.may_manage()
        project = self._parts.store.project(request.project_id)
        return core.ListTokensResponse(
            tokens=[
                core.ListTokensResponse.Token(token_id=note.token_id, description=note.description)
                for note in self._parts.tokens.of_project(project.project_id)
            ]
        )

    async def create_token(
        self, caller: Caller, request: core.CreateTokenRequest
    ) -> core.CreateTokenResponse:
        """CreateToken: the only time that its secret is shown."""
        caller.may_manage()
        project = self._parts.store.project(request.project_id)
        made = self._parts.tokens.make(
            "project", project_id=project.project_id, description=request.description
        )
        return core.CreateTokenResponse(token_id=made.token_id, secret=made.secret)

    async def update_token(
        self, caller: Caller, request: core.UpdateTokenRequest
    ) -> core.UpdateTokenResponse:
        """UpdateToken: its description."""
        caller.may_manage()
        self._parts.tokens.describe(request.token_id, request.description)
        return core.UpdateTokenResponse()

    async def delete_token(
        self, caller: Caller, request: core.DeleteTokenRequest
    ) -> core.DeleteTokenResponse:
        """DeleteToken: it is refused from now on."""
        caller.may_manage()
        self._parts.tokens.delete(request.token_id)
        return core.DeleteTokenResponse()

    # ----------------------------------------------------------------------------- organisation

    async def organizations(
        self, caller: Caller, _request: core.ListOrganizationsRequest
    ) -> core.ListOrganizationsResponse:
        """ListOrganizations: the one there is."""
        caller.may_manage()
        found = self._parts.store.organization
        return core.ListOrganizationsResponse(
            organizations=[
                core.Organization(
                    org_id=found.organization_id,
                    name=found.name,
                    created_at=timestamp(found.created_ns),
                )
            ]
        )


def _name(name: str) -> str:
    if not name.strip() or len(name) > _LONGEST_NAME:
        raise Fault("invalid_argument", f"name must have 1 to {_LONGEST_NAME} characters")
    return name


def _policy(
    request: core.CreateProjectRequest | core.UpdateProjectRequest,
) -> CachePolicy | None:
    if not request.HasField("cache_policy"):
        return None
    policy = request.cache_policy
    return policy_from(policy.keep_bytes, policy.keep_gb, policy.keep_days)


def _trust(policy: TrustPolicy) -> core.TrustPolicy:
    made = core.TrustPolicy(trust_policy_id=policy.trust_policy_id)
    if policy.provider == "buildkite":
        made.buildkite.organization_slug, made.buildkite.pipeline_slug = policy.owner, policy.name
    elif policy.provider == "circleci":
        made.circleci.organization_uuid, made.circleci.project_uuid = policy.owner, policy.name
    else:
        made.github.repository_owner, made.github.repository = policy.owner, policy.name
    return made
