"""The registry of the plane: where saved builds go, one repository for each project.

The program is CNCF distribution, on a private socket, with its storage below the plane's state folder; people
and machines reach it through the front (`registryfront.py`), which asks for tokens.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from depotlab._local import (
    Programs,
    State,
    choose_port,
    install,
    make_private_dir,
    read_text,
    refuse_other_systems,
    write_private,
)
from depotlab._plane.boundary import Admit, Image
from depotlab._plane.garbage import collect, is_due
from depotlab._plane.identity import MachineKey
from depotlab._plane.registryback import Answer, ask
from depotlab._plane.registryfront import Front
from depotlab._plane.settings import registry_yaml
from depotlab._plane.shelf import fill_shelf
from depotlab._plane.supervised import Program, Supervised, environment
from depotlab.errors import EngineError, UsageError

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    *_INDEXES,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_PAGE = 1000

# Between two requests of one push there may be as much, while a layer is being made.
_UNUSED_S = 600.0


class Registry:
    """The registry program and its front. Belongs to the event loop on which it is started.

    Args:
        folder: Where images, settings and logs are kept; one plane at a time uses it.
        admit: Who may use which repository.
        host: Where the front listens.
        programs: Finds the programs, and may install them; blocks.
    """

    def __init__(
        self,
        folder: Path,
        *,
        admit: Admit,
        host: str = "127.0.0.1",
        programs: Callable[[], Programs] = install,
    ) -> None:
        self._state = State(folder)
        self._admit = admit
        self._host = host
        self._programs = programs
        self._port = 0
        self._running: Supervised | None = None
        self._front: Front | None = None

    @property
    def host_port(self) -> str:
        """Where clients reach it, such as `127.0.0.1:20123`; once it has started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    async def start(self) -> None:
        """Start both; returns when they answer.

        Raises:
            EngineError: One of them does not come up.
        """
        program = await asyncio.to_thread(self._prepare)
        self._running = await Supervised.start(self._state, program)
        try:
            await fill_shelf(program.host_socket)
            self._front = Front(self._admit, program.host_socket)
            await self._front.open(self._host, self._port)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop both; returns when nothing of it runs. Can be called twice."""
        front, self._front = self._front, None
        running, self._running = self._running, None
        if front is not None:
            await front.close()
        if running is not None:
            await running.stop()

    def _prepare(self) -> Program:
        """Write what the program reads, and return how it is run."""
        refuse_other_systems()
        state, programs = self._state, self._programs()
        for folder in (state.host_dir, state.registry, state.logs):
            make_private_dir(folder)
        host_socket = state.choose_run_dir() / "registry.sock"
        recorded = (read_text(state.port) or "").strip()
        self._port = choose_port(state.host_dir, int(recorded) if recorded.isdigit() else None)
        write_private(state.port, f"{self._port}\n")
        secret_file = state.host_dir / "upload-secret"
        secret = read_text(secret_file) or secrets.token_urlsafe(32)
        write_private(secret_file, secret)
        write_private(
            state.registry_config,
            registry_yaml(root=state.registry, socket=host_socket, secret=secret),
        )
        # Nobody reaches the one of an earlier plane that was killed, should it still run.
        if not any(state.registry.iterdir()):
            self._mark.touch(mode=0o600)  # there is nothing to collect yet
        elif is_due(self._mark):
            collect(programs.registry, state.registry_config, self._mark, environment())
        return Program(
            name="registry",
            argv=[str(programs.registry.host_path), "serve", str(state.registry_config)],
            environment=environment(),
            host_socket=host_socket,
            http2=False,
            own_namespaces=False,
        )

    async def tidy(self) -> None:
        """Delete what no tag leads to, once a day and when nobody has used the registry for ten minutes.

        Tags that are deleted, or moved to another image, leave their old image behind. What goes also is what was
        pushed by its digest only. The registry is stopped meanwhile, for as long as its program needs.

        Raises:
            EngineError: It does not come up again.
        """
        if self._front is not None and is_due(self._mark) and self._front.unused_s >= _UNUSED_S:
            await self.close()
            await self.start()

    @property
    def _mark(self) -> Path:
        return self._state.host_dir / "collected"

    # ------------------------------------------------------------------------------------ images

    async def images(self, project_id: str) -> list[Image]:
        """Return the tags of a project's repository, newest first; none is no error.

        Raises:
            EngineError: The registry does not answer.
        """
        found = [await self._image(project_id, tag) for tag in await self._tags(project_id)]
        present = [image for image in found if image is not None]
        return sorted(present, key=lambda image: (image.pushed_at, image.tag), reverse=True)

    async def delete(self, project_id: str, tag: str) -> None:
        """Remove one tag. A tag that is not there is no error.

        Raises:
            EngineError: The registry does not answer, or refuses.
        """
        path = f"/v2/{_repository(project_id)}/manifests/{_tag(tag)}"
        answer = await self._ask("DELETE", path)
        if answer.status not in (202, 404):
            raise EngineError(
                f"The registry did not delete {project_id}:{tag}: status {answer.status}.",
                hint="tags can be deleted one by one by version 3 of the registry and newer",
            )

    async def _tags(self, project_id: str) -> list[str]:
        tags: list[str] = []
        while True:
            query = f"?n={_PAGE}" + (f"&last={tags[-1]}" if tags else "")
            answer = await self._ask("GET", f"/v2/{_repository(project_id)}/tags/list{query}")
            if answer.status == 404:
                return tags
            page = _json(answer).get("tags") or []
            tags += page
            if not page or "link" not in answer.headers:
                return tags

    async def _image(self, project_id: str, tag: str) -> Image | None:
        manifest = await self._manifest(project_id, tag)
        if manifest is None:  # deleted meanwhile
            return None
        digest = manifest.headers.get("docker-content-digest", "")
        sizes = {digest: len(manifest.body)}
        await self._add_sizes(project_id, _json(manifest), sizes)
        return Image(
            tag=tag,
            digest=digest,
            pushed_at=self._pushed_at(project_id, tag),
            size_bytes=sum(sizes.values()),
        )

    async def _add_sizes(
        self, project_id: str, manifest: dict[str, Any], sizes: dict[str, int]
    ) -> None:
        parts = [*manifest.get("layers", ()), *filter(None, [manifest.get("config")])]
        for part in parts:
            sizes[part["digest"]] = part["size"]
        for child in manifest.get("manifests", ()):
            if child["digest"] in sizes:
                continue
            sizes[child["digest"]] = child["size"]
            found = await self._manifest(project_id, child["digest"])
            if found is not None:  # an index may name what nobody has pushed
                await self._add_sizes(project_id, _json(found), sizes)

    async def _manifest(self, project_id: str, reference: str) -> Answer | None:
        path = f"/v2/{_repository(project_id)}/manifests/{reference}"
        answer = await self._ask("GET", path, accept=", ".join(_MANIFESTS))
        return answer if answer.status == 200 else None

    def _pushed_at(self, project_id: str, tag: str) -> datetime:
        # The API does not say it. The file that a push of the tag replaces does.
        # Source: distribution registry/storage/paths.go, manifestTagCurrentPathSpec.
        repository = self._state.registry / "docker/registry/v2/repositories" / project_id
        link = repository / "_manifests/tags" / tag / "current/link"
        try:
            return datetime.fromtimestamp(link.stat().st_mtime, tz=UTC)
        except FileNotFoundError:  # deleted meanwhile
            return datetime.fromtimestamp(0, tz=UTC)

    async def _ask(self, method: str, target: str, *, accept: str = "*/*") -> Answer:
        if self._running is None:
            raise EngineError("The registry of the plane is not running.")
        host_socket = self._running.program.host_socket
        return await ask(host_socket, method, target, headers=[("accept", accept)])


def _repository(project_id: str) -> str:
    return MachineKey(project_id, "amd64").project_id  # the same rule for all that a project names


def _tag(tag: str) -> str:
    if (
        not tag
        or len(tag) > 128
        or not all(c.isalnum() or c in "_.-" for c in tag)
        or tag[0] in ".-"
    ):
        raise UsageError(
            f"{tag!r} cannot be a tag.",
            hint="tags have letters, digits, underscores, dots and dashes, at most 128",
        )
    return tag


def _json(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError as error:
        raise EngineError(
            f"The registry answered with something else than JSON (status {answer.status})."
        ) from error
    return found if isinstance(found, dict) else {}
