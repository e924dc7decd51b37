"""A build service on a port, whose builds print a few lines and end when the test says so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from depotlab.service._access.access import Access
from depotlab.service._boundary import (
    EndUserError,
    Failed,
    Journal,
    Line,
    Order,
    Outcome,
    Secrets,
    Succeeded,
)
from depotlab.service._core.core import Core
from depotlab.service._http.server import serving
from depotlab.service._settings.limits import Limits
from tests.support.fakerunner import ended, open_core, order

__all__ = ["Answer", "Served", "ToldRunner", "fetch", "running", "served"]

T = TypeVar("T")


@dataclass
class ToldRunner:
    """Makes builds happen by words only.

    Attributes:
        gates: A build whose deployment is in here waits until it is set; each line that is printed needs it as well.
        ran: What was run, with its secrets.
        journals: Of the builds, by their deployments; `printed` is set when a build has printed its lines.
        n_lines: What each build prints.
    """

    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    ran: list[tuple[Order, Secrets]] = field(default_factory=list)
    journals: dict[str, Journal] = field(default_factory=dict)
    printed: dict[str, asyncio.Event] = field(default_factory=dict)
    n_lines: int = 3

    def hold(self, deployment: str) -> asyncio.Event:
        return self.gates.setdefault(deployment, asyncio.Event())

    def print(self, deployment: str, *texts: str) -> None:
        at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
        lines = [Line("sha256:1", "RUN make", 1, at, text) for text in texts]
        self.journals[deployment].lines(lines)

    async def run(self, order: Order, secrets: Secrets, journal: Journal) -> Outcome:
        self.ran.append((order, secrets))
        self.journals[order.deployment] = journal
        journal.stage("context")
        journal.depot(project_id="depotproj1", build_id="depotbuild")
        journal.stage("solve")
        self.print(order.deployment, *(f"line {n}" for n in range(self.n_lines)))
        self.printed.setdefault(order.deployment, asyncio.Event()).set()
        if order.deployment in self.gates:
            await self.gates[order.deployment].wait()
        if order.target == "fails":
            return Failed(EndUserError("dockerfile_syntax", "Look at line 3.", "raw words"))
        return Succeeded(f"registry/x:{order.project}-{order.deployment}", "sha256:9", 1, 2)

    async def close(self) -> None: ...


@dataclass
class Served:
    """A service, its runner, its tokens and where it listens."""

    core: Core
    runner: ToldRunner
    access: Access
    url: str
    ca: Path | None = None
    close: Callable[[], Any] = lambda: None

    async def token(self, *projects: str, may: Any = ("build", "read"), **more: Any) -> str:
        made = await self.access.create("a test", projects=projects or "*", may=may, **more)
        return made.secret

    async def a_build(self, project: str = "shop", deployment: str = "d1", **more: Any) -> Any:
        return await order(self.core, project, deployment, **more)

    async def ended(self, build_id: str) -> Any:
        return await ended(self.core, build_id)

    async def held_build(self, project: str = "shop", deployment: str = "held") -> Any:
        """Return a build that has printed its lines, and goes on when `runner.hold(deployment)` is set."""
        self.runner.hold(deployment)
        build = await self.a_build(project, deployment)
        await self.runner.printed.setdefault(deployment, asyncio.Event()).wait()
        return build


@contextlib.asynccontextmanager
async def served(
    state: Path, *, limits: Limits | None = None, now_s: Any = None, **options: Any
) -> AsyncIterator[Served]:
    """Run a service on the running loop, and serve it on a free port of the loopback."""
    runner = ToldRunner()
    async with open_core(state, runner, limits=limits) as core:  # type: ignore[arg-type]
        more = {} if now_s is None else {"now_s": now_s}
        access = Access(
            core.database,
            requests_per_minute=core.limits.max_requests_per_minute,
            builds_per_hour=core.limits.max_builds_per_hour,
            **more,
        )
        port = await serving(core, access, tls_folder=state / "tls", **options)
        try:
            yield Served(core, runner, access, port.url, port.ca, port.close)
        finally:
            await port.close()
            for gate in runner.gates.values():
                gate.set()


def running(state: Path, work: Callable[[Served], Awaitable[T]], **options: Any) -> T:
    """Do some work with a service on a port, on an event loop of its own."""

    async def run() -> T:
        async with served(state, **options) as found:
            return await work(found)

    return asyncio.run(run())


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def fetch(
    url: str,
    *,
    token: str = "",
    method: str = "GET",
    data: Any = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Ask over HTTP/1.1 with Python's own client; `data` that is no bytes is sent as JSON."""
    body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    if token:
        request.add_header("Authorization", f"Bearer {token}")

    def ask() -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())

    return await asyncio.to_thread(ask)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
