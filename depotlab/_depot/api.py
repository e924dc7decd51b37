"""The Depot API by subject: projects with their tokens and trust, builds, images, usage, organizations.

Every method asks the server; nothing is kept here. Values are frozen, and do not change when the server's do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from depotlab._depot import methods
from depotlab._depot.arguments import (
    PAGE_SIZE,
    check_page_size,
    checked,
    empty,
)
from depotlab._depot.connect import Connect
from depotlab._depot.images import Images
from depotlab._depot.listing import Listing
from depotlab._depot.pages import Pages
from depotlab._depot.steps import BuildStep, StepLog, list_logs, list_steps
from depotlab._depot.usage import Usages
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

__all__ = ["DEFAULT_REGION", "Api", "Builds", "Projects"]

DEFAULT_REGION = "us-east-1"

# What makes a project of one name at one API, on one event loop: one at a time.
_making: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str, str], asyncio.Lock]] = (
    WeakKeyDictionary()
)


class Projects:
    """Projects: caches with machines.

    Args:
        connect: With a token of a user or an organization; a project's own may not use these methods.
        organization_id: Owns the projects that are made; empty is what the token belongs to.
    """

    def __init__(self, connect: Connect, *, organization_id: str = "") -> None:
        self._connect = connect
        self._organization_id = organization_id

    def list(self, *, region: str = "", page_size: int = PAGE_SIZE) -> Pages[Project]:
        """List the projects that the token may see.

        Args:
            region: Only those there.
            page_size: Projects for each call to the server, at least 1.
        """
        check_page_size(page_size)

        async def fetch(token: str) -> tuple[Sequence[Project], str]:
            request = core.ListProjectsRequest(page_size=page_size)
            if region:
                request.region_id = region
            if token:
                request.page_token = token
            reply = await self._connect.unary(methods.LIST_PROJECTS, request)
            return [read_project(item) for item in reply.projects], reply.next_page_token

        return Pages(fetch, "projects")

    async def get(self, project_id: str) -> Project:
        """Return one project.

        Raises:
            NotFound: There is none, or the token may not see it.
        """
        request = core.GetProjectRequest(project_id=checked("project_id", project_id))
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
        request = core.CreateProjectRequest(name=checked("name", name), region_id=region)
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
        request = core.UpdateProjectRequest(project_id=checked("project_id", project_id))
        if name is not None:
            request.name = checked("name", name)
        if region is not None:
            request.region_id = checked("region", region)
        _set_policy(request, cache_policy, hardware)
        reply = await self._connect.unary(methods.UPDATE_PROJECT, request)
        return _the_project("UpdateProject", reply.project)

    async def delete(self, project_id: str) -> None:
        """Delete a project with its cache."""
        request = core.DeleteProjectRequest(project_id=checked("project_id", project_id))
        await self._connect.unary(methods.DELETE_PROJECT, request)

    async def reset(self, project_id: str) -> None:
        """Stop the project's machines, with what they build, and drop its cache."""
        request = core.ResetProjectRequest(project_id=checked("project_id", project_id))
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

        What holds: callers on one event loop make one project, however many ask at once and through whichever
        `Projects`; a notebook has one loop. Between processes nothing can hold it, for the server allows one name
        twice and knows no "only if there is none": two that ask at the same moment may make two. If several have
        the name, the oldest is meant, by everybody and every time, so that all end up with the same project at the
        latest with their next call; what was made too much stays empty, and is not deleted. To be sure from the
        first moment, make the project once and give its id to all.

        Args:
            name: Compared exactly.
            region: This and the others are only used to make it; one that is there is left as it is.
        """
        checked("name", name)
        here = _making.setdefault(asyncio.get_running_loop(), {})
        key = (self._connect.base_url, self._organization_id, name)
        async with here.setdefault(key, asyncio.Lock()):
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

    async def tokens(self, project_id: str) -> Listing[Token]:
        """List the tokens of a project, without their secrets."""
        request = core.ListTokensRequest(project_id=checked("project_id", project_id))
        reply = await self._connect.unary(methods.LIST_TOKENS, request)
        tokens = (Token(item.token_id, item.description) for item in reply.tokens)
        return Listing(tokens, "tokens")

    async def create_token(self, project_id: str, description: str) -> NewToken:
        """Make a token that builds in this project and does nothing else. Its secret is shown only now."""
        request = core.CreateTokenRequest(
            project_id=checked("project_id", project_id), description=description
        )
        reply = await self._connect.unary(methods.CREATE_TOKEN, request)
        return NewToken(reply.token_id, reply.secret)

    async def update_token(self, token_id: str, description: str) -> None:
        """Describe a token differently."""
        request = core.UpdateTokenRequest(
            token_id=checked("token_id", token_id), description=description
        )
        await self._connect.unary(methods.UPDATE_TOKEN, request)

    async def delete_token(self, token_id: str) -> None:
        """Delete a token; who uses it is locked out at once."""
        request = core.DeleteTokenRequest(token_id=checked("token_id", token_id))
        await self._connect.unary(methods.DELETE_TOKEN, request)

    async def trust_policies(self, project_id: str) -> Listing[TrustPolicy]:
        """List whose CI jobs may build in a project without a token."""
        request = core.ListTrustPoliciesRequest(project_id=checked("project_id", project_id))
        reply = await self._connect.unary(methods.LIST_TRUST_POLICIES, request)
        return Listing(map(read_trust_policy, reply.trust_policies), "trust policies")

    async def add_trust_policy(self, project_id: str, policy: TrustPolicy) -> TrustPolicy:
        """Let CI jobs in, and return the policy with its id."""
        request = policy.request(checked("project_id", project_id))
        reply = await self._connect.unary(methods.ADD_TRUST_POLICY, request)
        return read_trust_policy(reply.trust_policy)

    async def remove_trust_policy(self, project_id: str, trust_policy_id: str) -> None:
        """Let them in no more."""
        request = core.RemoveTrustPolicyRequest(
            project_id=checked("project_id", project_id),
            trust_policy_id=checked("trust_policy_id", trust_policy_id),
        )
        await self._connect.unary(methods.REMOVE_TRUST_POLICY, request)


class Builds:
    """Builds that were registered, by whatever client."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def list(self, project_id: str, *, page_size: int = PAGE_SIZE) -> Pages[Build]:
        """List the builds of a project, in the server's order: the newest first."""
        check_page_size(page_size)
        checked("project_id", project_id)

        async def fetch(token: str) -> tuple[Sequence[Build], str]:
            request = core.ListBuildsRequest(project_id=project_id, page_size=page_size)
            if token:
                request.page_token = token
            reply = await self._connect.unary(methods.LIST_BUILDS, request)
            return [read_build(item) for item in reply.builds], reply.next_page_token

        return Pages(fetch, "builds")

    async def get(self, build_id: str) -> Build:
        """Return one build.

        Raises:
            NotFound: There is none, or the token may not see it.
        """
        request = core.GetBuildRequest(build_id=checked("build_id", build_id))
        reply = await self._connect.unary(methods.GET_BUILD, request)
        if not reply.build.build_id:
            raise empty("GetBuild", "build")
        return read_build(reply.build)

    def steps(
        self, project_id: str, build_id: str, *, page_size: int = PAGE_SIZE
    ) -> Pages[BuildStep]:
        """List the steps of a build, in the server's order."""
        return list_steps(self._connect, project_id, build_id, page_size=page_size)

    def logs(
        self,
        project_id: str,
        build_id: str,
        digest: str | None = None,
        *,
        page_size: int = PAGE_SIZE,
    ) -> Pages[StepLog]:
        """List what the steps of a build wrote, step after step, in each the oldest first.

        Args:
            project_id: Of the project.
            build_id: Of the build.
            digest: Only what this step wrote.
            page_size: Pieces for each call to the server, at least 1.
        """
        return list_logs(self._connect, project_id, build_id, digest, page_size=page_size)

    async def share(self, build_id: str) -> str:
        """Let everybody who has the URL see the build's steps and logs, and return that URL."""
        request = core.ShareBuildRequest(build_id=checked("build_id", build_id))
        return (await self._connect.unary(methods.SHARE_BUILD, request)).share_url

    async def stop_sharing(self, build_id: str) -> None:
        """Make that URL useless."""
        request = core.StopSharingBuildRequest(build_id=checked("build_id", build_id))
        await self._connect.unary(methods.STOP_SHARING_BUILD, request)


class Api:
    """The whole API with one token. To be used on one event loop.

    Args:
        connect: Closed by `close`.
        organization_id: Owns the projects that are made; empty is what the token belongs to.

    Attributes:
        projects: Projects, their tokens and trust policies.
        builds: Builds, their steps and logs.
        images: Images that were saved, and how they are pulled.
        usage: What was used.
    """

    def __init__(self, connect: Connect, *, organization_id: str = "") -> None:
        self._connect = connect
        self.projects = Projects(connect, organization_id=organization_id)
        self.builds = Builds(connect)
        self.images = Images(connect)
        self.usage = Usages(connect)

    async def organizations(self) -> Listing[Organization]:
        """List the organizations that the token belongs to."""
        reply = await self._connect.unary(
            methods.LIST_ORGANIZATIONS, core.ListOrganizationsRequest()
        )
        return Listing(map(read_organization, reply.organizations), "organizations")

    @property
    def url(self) -> str:
        """Where the API is."""
        return self._connect.base_url

    def close(self) -> None:
        """Close the connections. Harmless when called twice."""
        self._connect.close()

    def __repr__(self) -> str:
        return f"<Depot API at {self._connect.base_url}>"


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
        raise empty(method, "project")
    return read_project(project)


def _age(project: Project) -> tuple[bool, float, str]:
    created_at = project.created_at
    return (created_at is None, created_at.timestamp() if created_at else 0.0, project.id)
