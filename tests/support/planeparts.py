"""A plane whose machines and registry are only remembered, and a caller that speaks to it in every way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from depotlab._plane.boundary import CachePolicy, Connection, Image, MachineFailed, MachineState
from depotlab._plane.parts import Parts
from depotlab._plane.up import Plane

__all__ = [
    "Answer",
    "FakeMachines",
    "FakeRegistry",
    "PlaneThread",
    "Refusal",
    "call",
    "fetch",
    "plane",
    "until",
]

T = TypeVar("T")


@dataclass
class FakeMachines:
    """Machines that are ready when the test says so.

    Attributes:
        pending: How many questions are answered with "not yet".
        fails: Why no machine can start, if that is so.
        told: What was asked for, in order.
    """

    keeper: Any = None
    pending: int = 0
    fails: str = ""
    told: list[tuple[Any, ...]] = field(default_factory=list)
    running: list[MachineState] = field(default_factory=list)

    async def start(self) -> None:
        self.told.append(("start",))

    async def close(self) -> None:
        self.told.append(("close",))

    async def connection(self, build_id, project_id, platform, policy: CachePolicy):
        self.told.append(("connection", build_id, project_id, platform, policy))
        if self.fails:
            raise MachineFailed(self.fails)
        if self.pending > 0:
            self.pending -= 1
            return None
        return Connection(
            "tcp://127.0.0.1:1", f"{platform}.{project_id}", f"cert {build_id}", "key", "ca"
        )

    async def release(self, build_id, platform=None) -> None:
        self.told.append(("release", build_id, platform))

    async def reset(self, project_id) -> None:
        self.told.append(("reset", project_id))

    async def drop(self, project_id) -> None:
        self.told.append(("drop", project_id))

    def states(self) -> list[MachineState]:
        return self.running

    def of(self, word: str) -> list[tuple[Any, ...]]:
        return [told for told in self.told if told[0] == word]


@dataclass
class FakeRegistry:
    """A registry with the images that the test put there."""

    admit: Any = None
    host_port: str = "localhost:5999"
    kept: dict[str, list[Image]] = field(default_factory=dict)
    n_tidied: int = 0

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to stop."""

    async def images(self, project_id: str) -> list[Image]:
        return list(self.kept.get(project_id, []))

    async def tidy(self) -> None:
        self.n_tidied += 1

    async def delete(self, project_id: str, tag: str) -> None:
        self.kept[project_id] = [i for i in self.kept.get(project_id, []) if i.tag != tag]


@contextlib.asynccontextmanager
async def plane(
    state: Path | None = None,
    *,
    machines: FakeMachines | None = None,
    registry: FakeRegistry | None = None,
    **options: Any,
) -> AsyncIterator[Plane]:
    """Run a plane with such machines; `plane.parts` has all of it."""
    machines, registry = machines or FakeMachines(), registry or FakeRegistry()

    def make_machines(_folder, *, keeper, **_options):
        machines.keeper = keeper
        return machines

    def make_registry(_folder, *, admit, **_options):
        registry.admit = admit
        return registry

    with contextlib.ExitStack() as stack:
        if state is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dlp-")))
        async with Plane(
            state, make_machines=make_machines, make_registry=make_registry, **options
        ) as running:
            yield running


class Refusal(Exception):
    """The plane said no."""

    def __init__(self, code: str, text: str, status: int) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.status = code, text, status


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


async def fetch(
    url: str, *, data: bytes | None = None, headers: dict[str, str] | None = None
) -> Answer:
    """Ask over HTTP/1.1, and take what comes."""
    request = urllib.request.Request(url, data=data, headers=headers or {})

    def ask() -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=100) as answer:
                return Answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), dict(error.headers))

    return await asyncio.to_thread(ask)


async def until(holds: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait until something holds that the plane brings about by itself."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - there is no event for what a database holds
            await asyncio.sleep(0.01)


async def call(
    plane: Plane,
    path: str,
    request: Any,
    reply: type[Any],
    *,
    token: str | None = None,
) -> Any:
    """Call a method with a message; without `token` as the organisation.

    Raises:
        Refusal: The plane said no.
    """
    token = plane.environment["DEPOT_TOKEN"] if token is None else token
    headers = {"content-type": "application/proto", "connect-protocol-version": "1"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    answer = await fetch(f"{plane.url}/{path}", data=request.SerializeToString(), headers=headers)
    if answer.status != 200:
        told = answer.json()
        raise Refusal(told["code"], told.get("message", ""), answer.status)
    return reply.FromString(answer.body)


class PlaneThread:
    """A plane on a thread of its own, for tests that block.

    Args:
        make: Makes the plane; one with machines that are only remembered when left out.

    Attributes:
        machines: Those, if it has them.
        plane: It.
    """

    def __init__(
        self, make: Callable[[], AbstractAsyncContextManager[Plane]] | None = None
    ) -> None:
        self.machines = FakeMachines()
        self._make = make or (lambda: plane(machines=self.machines))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-plane")

    def __enter__(self) -> Self:
        self._thread.start()
        self._entered = self._make()
        self.plane = self._await(self._entered.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self._await(self._entered.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, work: Callable[[Parts], T]) -> T:
        """Call something with the plane's parts, on its thread."""

        async def call() -> T:
            return work(self.plane.parts)

        return self._await(call())

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)
