"""Images that Depot keeps: what there is, and what opens them for a pull."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from depotlab._depot import methods
from depotlab._depot.arguments import PAGE_SIZE, check_page_size, checked, empty
from depotlab._depot.build import REGISTRY_HOST, REGISTRY_USER
from depotlab._depot.connect import Connect
from depotlab._depot.errors import DepotError
from depotlab._depot.pages import Pages
from depotlab._depot.reading import moment_in
from depotlab._proto import depot_build_pb2 as build
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._session import Credentials, keep_login
from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = ["Images", "PullInfo", "PullToken", "SavedImage"]


@dataclass(frozen=True, slots=True, repr=False)
class SavedImage(Value):
    """An image in a project's registry.

    Attributes:
        tag: Without registry and project; the id of its build, or a save tag.
        digest: Of its manifest or index.
        pushed_at: UTC, or None.
        size_bytes: What it takes.
    """

    tag: str
    digest: str
    pushed_at: datetime | None
    size_bytes: int


@dataclass(frozen=True, slots=True, repr=False)
class PullInfo(Value):
    """How the image of a build is pulled.

    Attributes:
        reference: Its whole name.
        credentials: What opens the registry; never shown.
        registry_host: Where it is.
        targets: Of the build, by the names that a bake file gives them; a plain build has none.
        saved: Whether an image was saved at all, as far as the server says.
        tags: Names that the build gave its image, of all its targets.
    """

    reference: str
    credentials: Credentials = field(repr=False)
    registry_host: str = REGISTRY_HOST
    targets: tuple[str, ...] = ()
    saved: bool = True
    tags: tuple[str, ...] = ()

    @property
    def username(self) -> str:
        """User of the registry."""
        return self.credentials.username

    @property
    def password(self) -> str:
        """Password of that user. Print it only where nobody reads along."""
        return self.credentials.password

    def __repr__(self) -> str:
        return f"PullInfo(reference={self.reference!r}, username={self.username!r}, password=•••)"

    def reference_of(self, target: str = "") -> str:
        """Return the whole name of the image of a target; of a plain build's only one, when left out.

        Raises:
            DepotError: The build saved no image.
            UsageError: The build has several targets, or not this one.
        """
        if not self.saved:
            raise DepotError(
                f"There is no image of {self.reference} to pull: the build did not save it.",
                hint="build again with save=True",
                code="not_found",
                method="GetPullInfo",
            )
        if target == "" and not self.targets:
            return self.reference
        if target not in self.targets:
            raise UsageError(
                f"target={target!r} is none of the build's targets.",
                hint=f"use one of {', '.join(self.targets)}" if self.targets else "leave it out",
            )
        return f"{self.reference}-{target}"


@dataclass(frozen=True, slots=True, repr=False)
class PullToken(Value):
    """A token that pulls and does nothing else, for a while.

    Attributes:
        token: The password of the user `x-token`; never shown.
        registry_host: Where it is good.
    """

    token: str = field(repr=False)
    registry_host: str = REGISTRY_HOST

    @property
    def username(self) -> str:
        """User of the registry."""
        return REGISTRY_USER

    @property
    def password(self) -> str:
        """Password of that user: the token. Print it only where nobody reads along."""
        return self.token

    @property
    def credentials(self) -> Credentials:
        """The same for a registry's login."""
        return Credentials(REGISTRY_USER, self.token)

    def __repr__(self) -> str:
        return f"PullToken(registry_host={self.registry_host!r}, token=•••)"


class Images:
    """The registry of Depot.

    Args:
        connect: With a token that may see the project.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def list(self, project_id: str, *, page_size: int = PAGE_SIZE) -> Pages[SavedImage]:
        """List the images that a project has saved, in the server's order."""
        check_page_size(page_size)
        checked("project_id", project_id)

        async def fetch(token: str) -> tuple[Sequence[SavedImage], str]:
            request = build.ListImagesRequest(project_id=project_id, page_size=page_size)
            if token:
                request.page_token = token
            reply = await self._connect.unary(methods.LIST_IMAGES, request)
            return [
                SavedImage(i.tag, i.digest, moment_in(i, "pushed_at"), i.size_bytes)
                for i in reply.images
            ], reply.next_page_token

        return Pages(fetch, "images")

    async def delete(self, project_id: str, *tags: str) -> None:
        """Delete images of a project.

        Args:
            project_id: Of the project.
            *tags: Theirs, as `list` gives them; at least one.

        Raises:
            NotFound: There is no such project or image.
        """
        if not tags:
            raise UsageError(
                "delete(project_id) names no image.", hint="write delete(project_id, tag, ...)"
            )
        request = build.DeleteImageRequest(
            project_id=checked("project_id", project_id),
            image_tags=[checked("tag", tag) for tag in tags],
        )
        await self._connect.unary(methods.DELETE_IMAGE, request)

    async def pull_info(self, build_id: str) -> PullInfo:
        """Say how the image of a build is pulled.

        Raises:
            NotFound: There is no such build.
        """
        request = cli.GetPullInfoRequest(build_id=checked("build_id", build_id))
        reply = await self._connect.unary(methods.GET_PULL_INFO, request)
        if not reply.reference:
            raise empty("GetPullInfo", "reference")
        options = reply.options
        # Source of the two rules: depot/cli `pkg/cmd/pull/`.
        bakes = [o for o in options if o.command == cli.COMMAND_BAKE]
        return PullInfo(
            reference=reply.reference,
            credentials=Credentials(reply.username or REGISTRY_USER, reply.password),
            registry_host=reply.registry_host or reply.reference.partition("/")[0],
            targets=tuple(o.target_name for o in bakes if o.target_name),
            saved=not options or reply.save_for_load or any(o.save for o in options),
            tags=tuple(dict.fromkeys(tag for o in options for tag in o.tags)),
        )

    async def pull_token(self, *, project_id: str = "", build_id: str = "") -> PullToken:
        """Make a token that pulls: a login of the registry that is good for a while.

        Args:
            project_id: All images of this project.
            build_id: Only that of this build.

        Raises:
            NotFound: There is no such project or build.
        """
        request = cli.GetPullTokenRequest(project_id=project_id, build_id=build_id)
        reply = await self._connect.unary(methods.GET_PULL_TOKEN, request)
        if not reply.token:
            raise empty("GetPullToken", "token")
        return PullToken(reply.token, reply.registry_host or REGISTRY_HOST)

    async def docker_login(
        self,
        *,
        project_id: str = "",
        build_id: str = "",
        host_folder: str | os.PathLike[str] | None = None,
    ) -> Path:
        """Log the Docker command of this computer in, with a pull token, so that `docker pull` works for a while.

        The login goes where `docker login` puts it: to the credential helper that the configuration names, or
        into its file `config.json`, which only this user may read then.

        Args:
            project_id: For all images of this project.
            build_id: Only for that of this build.
            host_folder: Of Docker's configuration; None is DOCKER_CONFIG, or `~/.docker`.

        Returns:
            The configuration's file.

        Raises:
            NotFound: There is no such project or build.
            ContextError: The file cannot be changed, or the helper failed.
        """
        token = await self.pull_token(project_id=project_id, build_id=build_id)
        folder = None if host_folder is None else Path(host_folder)
        return await asyncio.to_thread(
            keep_login, token.registry_host, token.credentials, host_folder=folder
        )
