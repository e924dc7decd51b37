"""The verbs of a build service elsewhere, on the I/O thread: what is asked, and how the answers read."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from urllib.parse import quote

from depotlab._depot import Listing
from depotlab.errors import DepotlabError
from depotlab.service._asking.checks import check_expires_s, no_build
from depotlab.service._asking.packing import Packable, pack_and_put
from depotlab.service._boundary import (
    BuildContext,
    BuildState,
    GitContext,
    Upload,
    UploadedContext,
)
from depotlab.service._jsonvalues import (
    Json,
    read_build,
    read_made_token,
    read_project,
    read_token,
    read_upload,
)
from depotlab.service._remote.wire import PATIENT_TRIES, RemoteWire
from depotlab.service._values import (
    BuildInfo,
    BuildInfos,
    LogLine,
    MadeToken,
    ProjectInfos,
    TokenInfo,
)

__all__ = ["Remote", "RemoteLog", "RemoteTokenBook"]

_LOG = logging.getLogger("depotlab.service")

_FIRST_LOOK_S = 0.1
_LAST_LOOK_S = 2.0


class Remote:
    """See `RemoteBuildService`.

    Args:
        wire: Closed by `close`.
    """

    def __init__(self, wire: RemoteWire) -> None:
        self.wire = wire

    async def generate_upload_url(self, project: str) -> Upload:
        """Allow one upload of an archive: where to PUT it, and what to give to `create_build` afterwards.

        Args:
            project: One that the token is for; it need not exist yet.

        Raises:
            ServiceError: The service refuses it.
            Unreachable: It cannot be reached; `ConnectionLost` if it broke the connection.
        """
        return read_upload(await self.wire.ask("POST", "/v1/uploads", body={"project": project}))

    async def upload(
        self, project: str, source: Packable, *, dockerfile_path: str = "Dockerfile"
    ) -> str:
        """Pack a folder and upload it to the store; return what to give to `create_build`.

        Args:
            project: One that the token is for.
            source: A folder (without what its `.dockerignore` leaves out), the path of an archive, or the bytes
                of one: tar, plain or packed with gzip, zstd, bzip2 or xz.
            dockerfile_path: In the folder; it is packed whatever the ignore file says.

        Raises:
            ServiceError: As of `generate_upload_url`; or the store refused the archive.
            ContextError: The folder or archive cannot be read.
            StorageError: The store does not answer.
        """
        upload = await self.generate_upload_url(project)
        await pack_and_put(upload, source, dockerfile_path=dockerfile_path)
        return upload.build_context_path

    async def create_build(
        self,
        context: str | BuildContext,
        *,
        project: str,
        deployment: str,
        workspace: str = "",
        dockerfile_path: str = "Dockerfile",
        target: str = "",
        platform: str | None = None,
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        git_token: str = "",
        idempotency_key: str = "",
    ) -> BuildInfo:
        """Ask for a build, and return at once; it is `queued`. The arguments are those of `BuildService.create_build`.

        Raises:
            ServiceError: The service refuses it.
            Unreachable: It cannot be reached; `ConnectionLost` if it broke the connection.
        """
        asked: Json = {
            **_context(context),
            "project": project,
            "deployment": deployment,
            "workspace": workspace,
            "dockerfile_path": dockerfile_path,
            "target": target,
            "platform": platform,
            "args": _plain(args),
            "labels": _plain(labels),
            "env": _plain(env),
            "git_token": git_token,
            # Always with a key: then a request whose answer was lost can be sent again.
            "idempotency_key": idempotency_key or secrets.token_hex(16),
        }
        body = {name: value for name, value in asked.items() if value}
        return read_build(await self.wire.ask("POST", "/v1/builds", body=body))

    async def build(
        self,
        context: str | BuildContext,
        *,
        project: str,
        deployment: str,
        workspace: str = "",
        dockerfile_path: str = "Dockerfile",
        target: str = "",
        platform: str | None = None,
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        git_token: str = "",
        idempotency_key: str = "",
    ) -> BuildInfo:
        """Ask for a build, and wait until it has ended. One that failed is returned; its `.check()` raises.

        A service that is started anew meanwhile is waited for, for about a minute.

        Ctrl-C, or cancelling the task, cancels the build, unless an `idempotency_key` was given: then it may be
        another's. Arguments and errors are those of `create_build`.
        """
        order = functools.partial(
            self.create_build,
            context,
            project=project,
            deployment=deployment,
            workspace=workspace,
            dockerfile_path=dockerfile_path,
            target=target,
            platform=platform,
            args=args,
            labels=labels,
            env=env,
            git_token=git_token,
            idempotency_key=idempotency_key or secrets.token_hex(16),
        )
        build: BuildInfo | None = None
        try:
            build = await order()
            pause_s = _FIRST_LOOK_S
            while not build.has_ended:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.2, _LAST_LOOK_S)
                said = await self.wire.ask("GET", _of(build.build_id), tries=PATIENT_TRIES)
                build = read_build(said)
        except asyncio.CancelledError:
            if not idempotency_key:
                await self._call_off(build, order)
            raise
        return build

    async def _call_off(
        self, build: BuildInfo | None, order: Callable[[], Awaitable[BuildInfo]]
    ) -> None:
        """Cancel a build; one whose answer was still on its way is asked for again, under its key, to know its id."""
        try:
            build = build or await order()
            await self.cancel_build(build.build_id)
        except DepotlabError as error:  # who cancels is told that all the same
            _LOG.warning("a build for %s is not cancelled: %s", self.wire.url, error.message)

    async def get_build(self, build_id: str) -> BuildInfo:
        """Return a build as it stands.

        Raises:
            ServiceError: `not_found`, also for a build of a project that the token is not for.
        """
        return read_build(await self.wire.ask("GET", _of(build_id)))

    async def list_builds(
        self,
        project: str | None = None,
        state: BuildState | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> BuildInfos:
        """Return a page of builds, the newest first.

        Args:
            project: Only of this one; may be left out with a token for one project, or for all.
            state: Only those that are so.
            page_size: At most so many, up to 500.
            page_token: `next_page_token` of the page before; empty for the first.

        Raises:
            ServiceError: The service refuses it.
        """
        query = {
            "project": project,
            "state": state,
            "page_size": page_size,
            "page_token": page_token or None,
        }
        said = await self.wire.ask("GET", "/v1/builds", query=query)
        return BuildInfos(map(read_build, said.get("builds", ())), said.get("next_page_token", ""))

    async def cancel_build(self, build_id: str) -> BuildInfo:
        """Cancel a build, and return it when its machine is let go. One that has ended is left as it is.

        Raises:
            ServiceError: `not_found`, or another refusal.
        """
        return read_build(await self.wire.ask("POST", f"{_of(build_id)}/cancel"))

    async def projects(self) -> ProjectInfos:
        """Return the projects that the token is for and that there are, by name.

        Raises:
            ServiceError: The service refuses it.
        """
        said = await self.wire.ask("GET", "/v1/projects")
        return ProjectInfos(map(read_project, said.get("projects", ())))


class RemoteTokenBook:
    """The tokens of a service elsewhere, for `Tokens` and `AwaitingTokens`."""

    def __init__(self, wire: RemoteWire) -> None:
        self._wire = wire

    async def create(
        self,
        description: str,
        *,
        projects: str | Iterable[str],
        may: str | Iterable[str],
        expires_s: float | None,
    ) -> MadeToken:
        """Make a token."""
        body: Json = {
            "description": description,
            "projects": projects if isinstance(projects, str) else list(projects),
            "may": may if isinstance(may, str) else list(may),
        }
        check_expires_s(expires_s)
        if expires_s is not None:
            body["expires_s"] = math.ceil(expires_s)
        return read_made_token(await self._wire.ask("POST", "/v1/tokens", body=body, again=False))

    async def list(self) -> Listing[TokenInfo]:
        """Return the tokens that this one may see."""
        said = await self._wire.ask("GET", "/v1/tokens")
        return Listing(map(read_token, said.get("tokens", ())), "tokens")

    async def revoke(self, token_id: str) -> None:
        """Make a token useless."""
        await self._wire.ask("DELETE", f"/v1/tokens/{quote(token_id, safe='')}", again=False)


class RemoteLog:
    """Where the lines of one log come from: one connection, kept as long as lines are asked for."""

    def __init__(self, wire: RemoteWire) -> None:
        self._wire = wire
        self._lines: AsyncGenerator[list[LogLine], None] | None = None

    async def more(self, build_id: str, offset: int, follow: bool) -> list[LogLine]:
        """Return the next lines from an offset on; none at the end."""
        if self._lines is None:
            self._lines = self._wire.log(build_id, offset=offset, follow=follow)
        try:
            return await anext(self._lines, [])
        except BaseException:
            self._lines = None  # it has ended with that; asked again, it begins at the offset
            raise

    async def close(self) -> None:
        """Close the connection. Harmless when called twice."""
        if self._lines is not None:
            await self._lines.aclose()


def _of(build_id: str) -> str:
    if build_id == "":  # the path without it is that of all builds
        raise no_build(build_id)
    return f"/v1/builds/{quote(str(build_id), safe='')}"


def _plain(values: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """A mapping of any kind as JSON knows them; what is none, the service refuses by its name."""
    return dict(values) if isinstance(values, Mapping) else values


def _context(context: str | BuildContext) -> Json:
    match context:
        case GitContext():
            names = ("host", "owner", "repository", "ref", "subdir", "pull_request", "is_public")
            said = {name: getattr(context, name) for name in names}
            return {"git": {name: value for name, value in said.items() if value}}
        case UploadedContext():
            return {"build_context_path": context.key}
        case _:
            return {"build_context_path": context}
