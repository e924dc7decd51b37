"""Which daemon a client talks to, and what it must let go of at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from depotlab import _local as engine_room
from depotlab._depot import Api, DepotConfig, Setting, machines_for
from depotlab._docker import DockerEngine, find_docker
from depotlab._plane import PlaneLease
from depotlab._rpc import DEFAULT_ADDRESS, TLS, Endpoint, docker_endpoint, endpoint_at
from depotlab._session import Credentials
from depotlab._verbs.builder import Builder
from depotlab._verbs.depot import DepotBuilder
from depotlab._verbs.reach import reach
from depotlab._verbs.request import Auth, check_auth
from depotlab.errors import LinkError, UsageError

__all__ = ["AnyBuilder", "Opened", "open_builder", "open_depot", "open_local"]

AnyBuilder = Builder | DepotBuilder

ASK_S = 2.0
"""How long an engine that nobody asked for by name may take to say what it is."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A builder, and the lease on the engine or the plane it uses when that is ours.

    Attributes:
        builder: For the I/O thread.
        engine: None for a daemon that somebody else runs.
        plane: Depot's API on this computer, or None.
        recorded_registry: `HOST:PORT` of a registry in a recording.
    """

    builder: AnyBuilder
    engine: engine_room.Engine | None = None
    plane: PlaneLease | None = None
    recorded_registry: str | None = None

    @property
    def registry(self) -> str | None:
        """`HOST:PORT` of the registry that comes with it, or None."""
        owner = self.engine or self.plane
        return owner.registry if owner is not None else self.recorded_registry

    def release(self) -> None:
        """Give up what is ours, for good. It stops when nobody uses it any more."""
        if self.engine is not None:
            self.builder.end("depotlab.local()")
            self.engine.close()
        if self.plane is not None:
            self.builder.end("depotlab.depot(local=True)")
            self.plane.close()


def open_builder(address: str | None, *, tls: TLS | None, auth: Auth) -> Opened:
    """Find the daemon. Nothing is sent to it yet.

    Without an address, the first of: `BUILDKIT_HOST`; a BuildKit at one of the usual sockets (the rootless one
    is that of BuildKit's rootless mode); the Docker Engine that the `docker` command would use, if it answers and
    builds with BuildKit itself; the embedded engine. Engines that are reached by ssh are not tried: that may
    take long, or ask for a password. The builder's `where` says which it became.
    Source: moby/buildkit `util/appdefaults`.

    Raises:
        UsageError: The address cannot be understood, or tls= does not go with it.
        Unreachable: `docker://`, and there is no engine on this computer.
    """
    credentials = check_auth(auth)
    configured = os.environ.get("BUILDKIT_HOST", "").strip() if address is None else ""
    address = address if address is not None else configured or None
    if address is None:
        if tls is not None:
            raise UsageError(
                "tls= needs an address.", hint="write connect('tcp://host:port', tls=...)"
            )
        address = next((a for a in _usual_addresses() if _is_socket(a)), None)
    if address is None:
        return _open_docker(credentials) or open_local(auth=auth)
    try:
        endpoint = endpoint_at(address, tls)
    except UsageError as error:
        if not configured:
            raise
        raise UsageError(f"BUILDKIT_HOST: {error.message}", hint=error.hint) from error
    where = f"Docker Engine ({endpoint.docker.origin})" if endpoint.docker else ""
    return Opened(Builder(endpoint, credentials, where=where))


def _usual_addresses() -> list[str]:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    rootless = [f"unix://{runtime}/buildkit/buildkitd.sock"] if runtime else []
    return [DEFAULT_ADDRESS, *rootless]


def _is_socket(address: str) -> bool:
    try:
        return Path(address.removeprefix("unix://")).is_socket()
    except PermissionError:
        return False


def _open_docker(credentials: Mapping[str, Credentials]) -> Opened | None:
    """Open the Docker Engine at hand, or return None when there is none that is good for building.

    One whose own builds do not go to BuildKit (before Docker 23, or podman) would lack most of what a graph can say.
    """
    try:
        host = find_docker()
        if host.argv:
            return None
        version = DockerEngine(host, timeout_s=ASK_S).version()
    except LinkError:
        return None  # no engine, or none that lets us in: the next door is ours
    if not version.builds_with_buildkit:
        return None
    return Opened(Builder(docker_endpoint(host), credentials, where=f"{version} ({host.origin})"))


def _say(line: str) -> None:
    """Show what takes long: installing the engine, once, may take minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def open_local(*, auth: Auth, state_dir: str | Path | None = None) -> Opened:
    """Start the embedded engine, or join the one that runs.

    Raises:
        EngineError: It cannot be installed or started; the message says what to do.
    """
    credentials = check_auth(auth)
    engine = engine_room.start(
        state_dir=Path(state_dir) if state_dir is not None else None, on_progress=_say
    )
    builder = Builder(Endpoint(engine.address), credentials, where="the engine on this computer")
    return Opened(builder, engine)


async def open_depot(
    *,
    token: str | None,
    project: str | None,
    organization: str | None,
    build: str | None,
    url: str | None,
    machine: str | None,
    timeout_s: float,
    auth: Auth,
    local: bool | str | Path,
    create: bool,
) -> Opened:
    """Find out how to reach Depot, or start one here. Nothing is sent to it yet, but for `create`.

    Raises:
        NoToken: There is none.
        UsageError: A value cannot be used.
        EngineError: The one here does not start.
        DepotError: The project cannot be found or made.
    """
    credentials = check_auth(auth)
    if create and (build or not isinstance(project, str) or not project.strip()):
        raise UsageError(
            "create=True needs the name of a project.",
            hint="for example depot('my-app', create=True), without build=",
        )
    reached = await reach(
        token=token,
        project=project,
        organization=organization,
        build=build,
        url=url,
        local=local,
    )
    config = reached.config
    try:
        if create:
            config = await _with_project(config)
        machine = machine or os.environ.get("DEPOT_BUILD_PLATFORM", "")
        machines_for((), forced=machine)
        builder = DepotBuilder(config, credentials, machine=machine, timeout_s=timeout_s)
    except BaseException:
        await reached.release()
        raise
    return Opened(builder, plane=reached.plane)


async def _with_project(config: DepotConfig) -> DepotConfig:
    """Return the configuration with the id of the project of that name, which is made if there is none.

    Raises:
        PermissionDenied: The token may not list or make projects.
    """
    api = Api(config.connect(), organization_id=config.organization.value)
    try:
        name = config.project.value
        project = await api.projects.get_or_create(name)
    finally:
        api.close()
    return replace(config, project=Setting(project.id, f"the project {name!r}"))
