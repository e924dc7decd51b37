"""The Depot API by subject: projects with their tokens and trust, builds, organizations.

Every method asks the server; nothing is kept here. Values are frozen, and do not change when the server's do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from depotlab._depot import methods
from depotlab._depot.connect import Connect
from depotlab._depot.errors import BadReply
from depotlab._depot.pages import Pages
from depotlab._depot.values import (
    Build,
    CachePolicy,
    NewToken,
    Organization,
    Project,
    Token,
    TrustPolicy,
    hardware_number,
    read_build,
    read_organization,
    read_project,
    read_trust_policy,
)
from depotlab._proto import depot_core_pb2 as core
from depotlab.errors import UsageError

__all__ = ["DEFAULT_REGION", "Api", "Builds", "Projects"]

DEFAULT_REGION = "us-east-1"
_PAGE_SIZE = 100
_LIST_TIMEOUT_S = 30.0


class Projects:
    """Projects: caches with machines.

    Args:
        connect: With a token of a user or an organization; a project's own may not use these methods.
        organization_id: Owns the projects that are made; empty is what the token belongs to.
    """

    def __init__(self, connect: Connect, *, organization_id: str = "") -> None:
        self._connect = connect
        self._organization_id = organization_id
        self._making = asyncio.Lock()

    def list(self, *, region: str = "", page_size: int = _PAGE_SIZE) -> Pages[Project]:
        """List the projects that the token may see.

        Args:
            region: Only those there.
            page_size: Projects for each call to the server, at least 1.
        """
        _check_page_size(page_size)

        async def fetch(token: str) -> tuple[Sequence[Project], str]:
            request = core.ListProjectsRequest(page_size=page_size)
            if region:
                request.region_id = region
            if token:
                request.page_token = token
            reply = await self._connect.unary(
                methods.LIST_PROJECTS, request, timeout_s=_LIST_TIMEOUT_S
            )
            return [read_project(item) for item in reply.projects], reply.next_page_token

        return Pages(fetch)

    async def get(self, project_id: str) -> Project:
        """Return one project.

        Raises:
            NotFound: There is none, or the token may not see it.
        """
        request = core.GetProjectRequest(project_id=_checked("project_id", project_id))
        reply = await self._connect.unary(methods.GET_PROJECT, request)
        return _the_project("GetProject", reply.project)

    async def create(
        self,
        name: str,
        *,
        region: str = DEFAULT_REGION,
        cache_policy: CachePolicy | None = None,
        hardware: str = "",
        organization_id: str = "",
    ) -> Project:
        """Make a project. Not tried again: after `Unavailable`, look whether it is there.

        Args:
            name: For people; need not be unique.
            region: Where its machines are.
            cache_policy: None is the server's default.
            hardware: One of `HARDWARE`; empty is the server's default.
            organization_id: Owner; empty is what this object was made with.
        """
        request = core.CreateProjectRequest(name=_checked("name", name), region_id=region)
        if organization := organization_id or self._organization_id:
            request.organization_id = organization
        _set_policy(request, cache_policy, hardware)
        reply = await self._connect.unary(methods.CREATE_PROJECT, request)
        return _the_project("CreateProject", reply.project)

    async def update(
        self,
        project_id: str,
        *,
        name: str | None = None,
        region: str | None = None,
        cache_policy: CachePolicy | None = None,
        hardware: str = "",
    ) -> Project:
        """Change what is given, and return the project as it is then."""
        request = core.UpdateProjectRequest(project_id=_checked("project_id", project_id))
        if name is not None:
            request.name = _checked("name", name)
        if region is not None:
            request.region_id = _checked("region", region)
        _set_policy(request, cache_policy, hardware)
        reply = await self._connect.unary(methods.UPDATE_PROJECT, request)
        return _the_project("UpdateProject", reply.project)

    async def delete(self, project_id: str) -> None:
        """Delete a project with its cache."""
        request = core.DeleteProjectRequest(project_id=_checked("project_id", project_id))
        await self._connect.unary(methods.DELETE_PROJECT, request)

    async def reset(self, project_id: str) -> None:
        """Stop the project's machines, with what they build, and drop its cache."""
        request = core.ResetProjectRequest(project_id=_checked("project_id", project_id))
        await self._connect.unary(methods.RESET_PROJECT, request)

    async def get_or_create(
        self,
        name: str,
        *,
        region: str = DEFAULT_REGION,
        cache_policy: CachePolicy | None = None,
        hardware: str = "",
    ) -> Project:
        """Return the project of that name, made if there is none.

        The server allows one name twice. If several have it, the oldest is meant, so that callers who
        make one at the same moment end up with the same project; what they made too much stays empty.

        Args:
            name: Compared exactly.
            region: This and the others are only used to make it; one that is there is left as it is.
        """
        _checked("name", name)
        async with self._making:
            found = await self._oldest(name)
            if found is not None:
                return found
            made = await self.create(
                name, region=region, cache_policy=cache_policy, hardware=hardware
            )
            return await self._oldest(name) or made

    async def _oldest(self, name: str) -> Project | None:
        same = [project async for project in self.list() if project.name == name]
        if self._organization_id:
            same = [p for p in same if p.organization_id in ("", self._organization_id)]
        return min(same, key=_age, default=None)

    async def tokens(self, project_id: str) -> tuple[Token, ...]:
        """List the tokens of a project, without their secrets."""
        request = core.ListTokensRequest(project_id=_checked("project_id", project_id))
        reply = await self._connect.unary(methods.LIST_TOKENS, request)
        return tuple(Token(item.token_id, item.description) for item in reply.tokens)

    async def create_token(self, project_id: str, description: str) -> NewToken:
        """Make a token that builds in this project and does nothing else. Its secret is shown only now."""
        request = core.CreateTokenRequest(
            project_id=_checked("project_id", project_id), description=description
        )
        reply = await self._connect.unary(methods.CREATE_TOKEN, request)
        return NewToken(reply.token_id, reply.secret)

    async def update_token(self, token_id: str, description: str) -> None:
        """Describe a token differently."""
        request = core.UpdateTokenRequest(
            token_id=_checked("token_id", token_id), description=description
        )
        await self._connect.unary(methods.UPDATE_TOKEN, request)

    async def delete_token(self, token_id: str) -> None:
        """Delete a token; who uses it is locked out at once."""
        request = core.DeleteTokenRequest(token_id=_checked("token_id", token_id))
        await self._connect.unary(methods.DELETE_TOKEN, request)

    async def trust_policies(self, project_id: str) -> tuple[TrustPolicy, ...]:
        """List whose CI jobs may build in a project without a token."""
        request = core.ListTrustPoliciesRequest(project_id=_checked("project_id", project_id))
        reply = await self._connect.unary(methods.LIST_TRUST_POLICIES, request)
        return tuple(read_trust_policy(item) for item in reply.trust_policies)

    async def add_trust_policy(self, project_id: str, policy: TrustPolicy) -> TrustPolicy:
        """Let CI jobs in, and return the policy with its id."""
        request = policy.request(_checked("project_id", project_id))
        reply = await self._connect.unary(methods.ADD_TRUST_POLICY, request)
        return read_trust_policy(reply.trust_policy)

    async def remove_trust_policy(self, project_id: str, trust_policy_id: str) -> None:
        """Let them in no more."""
        request = core.RemoveTrustPolicyRequest(
            project_id=_checked("project_id", project_id),
            trust_policy_id=_checked("trust_policy_id", trust_policy_id),
        )
        await self._connect.unary(methods.REMOVE_TRUST_POLICY, request)


class Builds:
    """Builds that were registered, by whatever client."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def list(self, project_id: str, *, page_size: int = _PAGE_SIZE) -> Pages[Build]:
        """List the builds of a project, in the server's order: the newest first."""
        _check_page_size(page_size)
        _checked("project_id", project_id)

        async def fetch(token: str) -> tuple[Sequence[Build], str]:
            request = core.ListBuildsRequest(project_id=project_id, page_size=page_size)
            if token:
                request.page_token = token
            reply = await self._connect.unary(
                methods.LIST_BUILDS, request, timeout_s=_LIST_TIMEOUT_S
            )
            return [read_build(item) for item in reply.builds], reply.next_page_token

        return Pages(fetch)

    async def get(self, build_id: str) -> Build:
        """Return one build.

        Raises:
            NotFound: There is none, or the token may not see it.
        """
        request = core.GetBuildRequest(build_id=_checked("build_id", build_id))
        reply = await self._connect.unary(methods.GET_BUILD, request)
        if not reply.build.build_id:
            raise _empty("GetBuild", "build")
        return read_build(reply.build)

    async def share(self, build_id: str) -> str:
        """Let everybody who has the URL see the build's steps and logs, and return that URL."""
        request = core.ShareBuildRequest(build_id=_checked("build_id", build_id))
        return (await self._connect.unary(methods.SHARE_BUILD, request)).share_url

    async def stop_sharing(self, build_id: str) -> None:
        """Make that URL useless."""
        request = core.StopSharingBuildRequest(build_id=_checked("build_id", build_id))
        await self._connect.unary(methods.STOP_SHARING_BUILD, request)


class Api:
    """The whole API with one token. To be used on one event loop.

    Args:
        connect: Closed by `close`.
        organization_id: Owns the projects that are made; empty is what the token belongs to.

    Attributes:
        projects: Projects, their tokens and trust policies.
        builds: Builds.
    """

    def __init__(self, connect: Connect, *, organization_id: str = "") -> None:
        self._connect = connect
        self.projects = Projects(connect, organization_id=organization_id)
        self.builds = Builds(connect)

    async def organizations(self) -> tuple[Organization, ...]:
        """List the organizations that the token belongs to."""
        reply = await self._connect.unary(
            methods.LIST_ORGANIZATIONS, core.ListOrganizationsRequest()
        )
        return tuple(map(read_organization, reply.organizations))

    def close(self) -> None:
        """Close the connections. Harmless when called twice."""
        self._connect.close()

    def __repr__(self) -> str:
        return f"<Depot API at {self._connect.base_url}>"


def _checked(name: str, value: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name}={value!r} must be a text that is not empty.", hint=f"pass {name}")
    return value


def _check_page_size(page_size: int) -> None:
    if not isinstance(page_size, int) or isinstance(page_size, bool) or page_size < 1:
        raise UsageError(
            f"page_size={page_size!r} must be a whole number from 1.", hint="leave it out"
        )


def _set_policy(
    request: core.CreateProjectRequest | core.UpdateProjectRequest,
    cache_policy: CachePolicy | None,
    hardware: str,
) -> None:
    if cache_policy is not None:
        request.cache_policy.CopyFrom(cache_policy.message())
    if hardware:
        request.hardware = hardware_number(hardware)


def _the_project(method: str, project: core.Project) -> Project:
    if not project.project_id:
        raise _empty(method, "project")
    return read_project(project)


def _age(project: Project) -> tuple[bool, float, str]:
    created_at = project.created_at
    return (created_at is None, created_at.timestamp() if created_at else 0.0, project.id)


def _empty(method: str, what: str) -> BadReply:
    return BadReply(
        f"{method}: the answer cannot be used: there is no {what} in it.",
        hint="report it to who runs the server",
        code="internal",
        method=method,
    )
