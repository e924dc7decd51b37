"""A whole plane: its parts put together, started in order, stopped in the reverse one.

lock ─► records ─► registry ─► machines ─► ports ─► record and environment: ready
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from depotlab._local import make_private_dir, read_text, write_private
from depotlab._plane.apitls import ApiTls
from depotlab._plane.boundary import AnyMachines, AnyRegistry
from depotlab._plane.builds import Builds
from depotlab._plane.database import Database
from depotlab._plane.health import Limits
from depotlab._plane.history import History, Keep
from depotlab._plane.housekeeping import keep_house
from depotlab._plane.logins import Logins
from depotlab._plane.page import Page
from depotlab._plane.parts import Parts
from depotlab._plane.presence import Places, PlaneStatus, held_alone, plane_dir, write_record
from depotlab._plane.services_beta import BetaService
from depotlab._plane.services_builds import CoreBuildService
from depotlab._plane.services_cli import CliService
from depotlab._plane.services_projects import ProjectService
from depotlab._plane.services_sdk import SdkService
from depotlab._plane.store import Store
from depotlab._plane.tokens import ANYBODY, Caller, Tokens
from depotlab._serving import Listener, RpcApp, bind, is_loopback
from depotlab.errors import EngineError, UsageError

__all__ = ["QUIET", "Plane", "up"]

_LOG = logging.getLogger("depotlab.plane")

QUIET: Mapping[str, str] = {
    "DEPOT_NO_UPDATE_NOTIFIER": "1",
    "DEPOT_ERROR_TELEMETRY": "0",
    "DEPOT_DISABLE_OTEL": "1",
}
"""What keeps the official command line from asking anyone but the plane."""


class Plane:
    """Depot's API on this computer, while it is entered with `async with`.

    Args:
        state: Folder of everything that lasts: projects, caches, images, tokens. One plane at a time.
        port: Of the API; 0 takes the one of the last time if that is free, else any.
        tls: Also serve with TLS: True makes a certificate from an authority of the plane's own, which
            `environment` names where it is needed; or the paths of a certificate and its key.
        host: Where to listen. What is not loopback is served with TLS only.
        idle_s: A machine stops so long after its last build.
        limits: How long silence of a build may last.
        keep: How much of the past stays.
        make_machines: For tests: called with what `machines.Machines` takes.
        make_registry: For tests: called with what `registry.Registry` takes.

    Raises:
        UsageError: `host` is not loopback and `tls` is not given, or it stands for all interfaces.

    Example:
        >>> async with Plane("state") as plane:  # doctest: +SKIP
        ...     print(plane.url)
    """

    def __init__(
        self,
        state: str | os.PathLike[str] | None = None,
        *,
        port: int = 0,
        tls: bool | tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        host: str = "127.0.0.1",
        idle_s: float = 120.0,
        limits: Limits | None = None,
        keep: Keep | None = None,
        make_machines: Callable[..., AnyMachines] | None = None,
        make_registry: Callable[..., AnyRegistry] | None = None,
    ) -> None:
        if host in ("", "0.0.0.0", "::"):  # noqa: S104 - they are refused
            raise UsageError(
                f"host={host!r} is no name by which clients can reach the plane.",
                hint="give the address or the name of one interface",
            )
        self._local = is_loopback(host)
        if not self._local and not tls:
            raise UsageError(
                f"host={host!r} can be reached from other computers, and so needs TLS.",
                hint="add --tls (tls=True), or leave host at 127.0.0.1",
            )
        self._places = Places(plane_dir(state))
        self._port = port
        self._host = host
        self._tls = tls
        self._idle_s = idle_s
        self._limits = limits
        self._keep = keep or Keep()
        self._make_machines = make_machines or _machines
        self._make_registry = make_registry or _registry
        self._stack = contextlib.AsyncExitStack()
        self._environment: dict[str, str] = {}
        self.url = ""
        self.tls_url = ""

    def __repr__(self) -> str:
        return f"Plane({self.url or 'not started'!r}, state={str(self._places.folder)!r})"

    @property
    def state(self) -> Path:
        """Folder of its state."""
        return self._places.folder

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables with which the official clients use this plane. `DEPOT_TOKEN` is a secret."""
        return dict(self._environment)

    @property
    def registry(self) -> str:
        """`HOST:PORT` of its registry."""
        return self.parts.registry.host_port

    def write_env_file(self, path: str | os.PathLike[str]) -> None:
        """Write `environment` as lines `NAME=value`, readable by the owner only, in one step.

        Raises:
            EngineError: It cannot be written.
        """
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in self._environment.items()]
        try:
            write_private(Path(path).absolute(), "".join(lines))
        except OSError as error:
            raise EngineError(
                f"The environment file {os.fspath(path)} cannot be written: {error.strerror}.",
                hint="give a path in a folder that exists and is yours",
            ) from error

    # ------------------------------------------------------------------------- coming and going

    async def __aenter__(self) -> Self:
        """Start everything; returns when the API answers.

        Raises:
            EngineError: Another plane holds the state, the port is taken, or a part cannot start.
        """
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything; builds that run are cut off, and may go on when the plane is back."""
        await self._stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        places = self._places
        await asyncio.to_thread(make_private_dir, places.folder)
        stack.enter_context(held_alone(places))
        database = Database(places.database)
        stack.callback(database.close)
        store, history, tokens = Store(database), History(database), Tokens(database)
        token = _organization_token(places, tokens, store.organization.organization_id)
        builds = Builds(store, history, tokens, limits=self._limits)

        api_tls = self._choose_ports(stack)
        registry = self._make_registry(places.registry, admit=tokens.admits, host="127.0.0.1")
        stack.push_async_callback(registry.close)
        await registry.start()
        machines = self._make_machines(
            places.machines,
            keeper=builds,
            registry_host=registry.host_port,
            idle_s=self._idle_s,
            host=self._host,
        )
        stack.push_async_callback(machines.close)
        await machines.start()
        await builds.start(machines)
        stack.push_async_callback(builds.close)
        self.parts: Parts = Parts(
            store, history, tokens, builds, machines, registry, Logins(), self.url
        )
        await self._listen(stack, api_tls)
        housekeeping = asyncio.create_task(
            keep_house(history, registry, self._keep), name="plane housekeeping"
        )
        stack.push_async_callback(_end, housekeeping)

        self._environment = {
            "DEPOT_API_URL": self.url,
            "DEPOT_TOKEN": token,
            "DEPOT_ORG_ID": store.organization.organization_id,
            "DEPOT_PROJECT_ID": store.default_project().project_id,
            **QUIET,
        }
        if api_tls is not None and api_tls.ca is not None and not self._local:
            self._environment["SSL_CERT_FILE"] = str(api_tls.ca)
        write_record(
            places,
            PlaneStatus(
                places.folder,
                running=True,
                pid=os.getpid(),
                url=self.url,
                tls_url=self.tls_url,
                registry=registry.host_port,
                started_at=datetime.now(UTC),
                organization=self._environment["DEPOT_ORG_ID"],
                project=self._environment["DEPOT_PROJECT_ID"],
            ),
        )

    def _choose_ports(self, stack: contextlib.AsyncExitStack) -> ApiTls | None:
        """Bind what will be listened on, so that addresses are known; return how TLS is served, if it is."""
        api_tls = ApiTls(self._places.tls, self._host, self._tls) if self._tls else None
        self._bound = _bind(self._host, self._port, self._places)
        stack.callback(self._bound.close)
        if self._local:
            name = f"[{self._host}]" if ":" in self._host else self._host
            self.url = f"http://{name}:{self._bound.getsockname()[1]}"
        if api_tls is not None:
            self._tls_bound = _bind(self._host, 0, None) if self._local else self._bound
            stack.callback(self._tls_bound.close)
            self.tls_url = f"https://{api_tls.name}:{self._tls_bound.getsockname()[1]}"
            self.url = self.url or self.tls_url
        return api_tls

    async def _listen(self, stack: contextlib.AsyncExitStack, api_tls: ApiTls | None) -> None:
        hosts = [self._host, *([api_tls.name] if api_tls else [])]
        listener = Listener(_app(self.parts, self.parts.tokens, hosts), log=_LOG)
        stack.push_async_callback(listener.close)
        if api_tls is not None:
            await listener.listen(self._tls_bound, api_tls.context)
            stack.push_async_callback(api_tls.keep_fresh())
        if self._local:
            await listener.listen(self._bound)


async def up(
    state: str | os.PathLike[str] | None = None,
    *,
    port: int = 0,
    tls: bool | tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
    host: str = "127.0.0.1",
    env_file: str | os.PathLike[str] | None = None,
    on_ready: Callable[[Plane], None] = lambda _plane: None,
) -> None:
    """Run a plane until this process gets SIGINT or SIGTERM, and stop it gracefully.

    Args:
        state: See `Plane`, as for `port`, `tls` and `host`.
        env_file: Written once the plane is ready, and left behind.
        on_ready: Called with the plane once it is ready.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Plane(state, port=port, tls=tls, host=host) as plane:
            if env_file is not None:
                plane.write_env_file(env_file)
            on_ready(plane)
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def rpc_app(parts: Parts, tokens: Tokens) -> RpcApp[Caller]:
    """Return the application of every service of the API."""
    services = (
        CliService(parts),
        BetaService(parts),
        ProjectService(parts),
        CoreBuildService(parts),
        SdkService(parts),
    )
    return RpcApp(
        tokens.caller,
        [method for service in services for method in service.methods()],
        anybody=ANYBODY,
        log=_LOG,
    )


def _app(parts: Parts, tokens: Tokens, hosts: Iterable[str]) -> Callable[[Any, Any, Any], Any]:
    rpc = rpc_app(parts, tokens)
    page = Page(parts, hosts)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif scope["path"].startswith("/depot."):
            await rpc(scope, receive, send)
        else:
            await page(scope, receive, send)

    return serve


def _machines(folder: Path, **options: Any) -> AnyMachines:
    from depotlab._plane.machines import Machines

    return Machines(folder, **options)


def _registry(folder: Path, **options: Any) -> AnyRegistry:
    from depotlab._plane.registry import Registry

    return Registry(folder, **options)


def _organization_token(places: Places, tokens: Tokens, organization_id: str) -> str:
    """Return the token of the organisation, the same at each start; the one that is kept in plain."""
    kept = (read_text(places.token) or "").strip()
    caller = tokens.check(kept)
    if caller is not None and caller.kind == "organization":
        return kept
    made = tokens.make("organization", owner_id=organization_id, description="depotlab up")
    write_private(places.token, made.secret)
    return made.secret


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _bind(host: str, port: int, places: Places | None) -> socket.socket:
    """Return a bound socket; with places, on the port of the last time unless another is asked for."""
    last = (read_text(places.port) or "").strip() if places and not port else ""
    for choice in ([int(last)] if last.isdigit() else []) + [port]:
        try:
            bound = bind(host, choice)
        except (OSError, OverflowError) as error:
            if choice == port:
                raise _cannot_listen(host, choice, error) from error
            continue
        if places is not None:
            write_private(places.port, str(bound.getsockname()[1]))
        return bound
    raise AssertionError("unreachable: the last choice returns or raises")


def _cannot_listen(host: str, port: int, error: Exception) -> EngineError:
    return EngineError(
        f"The plane cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}.",
        hint="choose another port with --port; 0 takes a free one",
    )
