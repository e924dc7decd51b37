"""A build service whose builds are made by a test: no Depot, no daemon, no store, any event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from depotlab.errors import ContextRefused, StorageError
from depotlab.service import Limits
from depotlab.service._boundary import (
    ContextFacts,
    EndUserError,
    Failed,
    Journal,
    Line,
    Order,
    Outcome,
    Secrets,
    Succeeded,
    Upload,
)
from depotlab.service._core.core import Core
from depotlab.telemetry import WriterStats

__all__ = [
    "NOON_NS",
    "FakeRunner",
    "FakeStorage",
    "FakeWriter",
    "ended",
    "failed",
    "line",
    "open_core",
    "order",
    "pushed",
    "until",
]

NOON_NS = 1_800_000_000 * 10**9

Make = Callable[[Order, Secrets, Journal], Awaitable[Outcome]]


def pushed(order: Order) -> Succeeded:
    image = f"registry.test/{order.project}:{order.project}-{order.deployment}"
    return Succeeded(image, "sha256:" + "0" * 64, cached_steps=1, total_steps=3)


def failed(words: str = "It went wrong.", *, transient: bool = False) -> Failed:
    return Failed(EndUserError("unknown", words, f"raw: {words}"), is_transient=transient)


def line(text: str, *, stream: int = 1, step: str = "RUN make") -> Line:
    return Line("sha256:step", step, stream, datetime(2026, 1, 2, tzinfo=UTC), text)


async def _succeeds(order: Order, secrets: Secrets, journal: Journal) -> Outcome:
    await asyncio.sleep(0)
    return pushed(order)


class FakeRunner:
    """Makes builds as a function says, and counts.

    Attributes:
        started: Build ids in the order in which tries began.
        most_running: Most tries at the same time; and the most of one project, and the most projects.
    """

    def __init__(self, make: Make = _succeeds) -> None:
        self.make = make
        self.started: list[str] = []
        self.running: Counter[str] = Counter()
        self.most_running = self.most_of_one = self.most_projects = 0
        self.is_closed = False

    async def run(self, order: Order, secrets: Secrets, journal: Journal) -> Outcome:
        self.started.append(order.build_id)
        self.running[order.project] += 1
        self.most_running = max(self.most_running, self.running.total())
        self.most_of_one = max(self.most_of_one, *self.running.values())
        self.most_projects = max(self.most_projects, len(self.running))
        try:
            return await self.make(order, secrets, journal)
        finally:
            self.running[order.project] -= 1
            self.running += Counter()  # drops those with none

    async def close(self) -> None:
        self.is_closed = True


class FakeStorage:
    """A store that has every archive, unless it is down."""

    def __init__(self) -> None:
        self.is_down = False
        self.deleted: list[str] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def upload(self, key: str, *, expires_s: int, max_bytes: int) -> Upload:
        self._answer()
        return Upload(f"http://127.0.0.1:9/{key}?signature=secret", key, expires_s, max_bytes)

    async def check(self, key: str, *, max_bytes: int, max_unpacked_bytes: int) -> ContextFacts:
        self._answer()
        if key.startswith("storage-probe/"):
            raise ContextRefused("There is nothing.", reason="missing")
        return ContextFacts(1, 1, 1, "gzip")

    async def download_url(self, key: str, *, expires_s: int) -> str:
        self._answer()
        return f"http://127.0.0.1:9/{key}"

    async def delete(self, key: str) -> None:
        self._answer()
        self.deleted.append(key)

    def _answer(self) -> None:
        if self.is_down:
            raise StorageError("The store is down.", is_transient=True)


class FakeWriter:
    """Keeps rows, and may be full."""

    def __init__(self) -> None:
        self.is_full = False
        self.rows: list[Any] = []
        self.stats = WriterStats()

    def put(self, rows: Any) -> None:
        self.rows += rows


@contextlib.asynccontextmanager
async def open_core(
    folder: Path,
    runner: FakeRunner,
    *,
    storage: FakeStorage | None = None,
    limits: Limits | None = None,
    writer: FakeWriter | None = None,
    telemetry: object = None,
) -> AsyncIterator[Core]:
    """A service in this event loop; its wall clock goes as the loop's does."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    core = Core(
        None,
        storage or FakeStorage(),
        telemetry,  # type: ignore[arg-type]
        None,
        "linux/amd64",
        folder,
        limits,
        None,
        (),
        now_ns=lambda: NOON_NS + int((loop.time() - began_s) * 1e9),
    )

    async def make_runner(_: Core) -> FakeRunner:
        return runner

    core.make_runner = make_runner
    core.writer = writer  # type: ignore[assignment]
    await core.open()
    try:
        yield core
    finally:
        await core.close()


async def order(core: Core, project: str = "shop", deployment: str = "d1", **more: Any) -> Any:
    """Ask for a build of an archive of the project."""
    upload = await core.generate_upload_url(project)
    return await core.create_build(
        upload.build_context_path, project=project, deployment=deployment, **more
    )


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds that the service brings about by itself; the test has a limit."""
    while not holds():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


async def ended(core: Core, build_id: str) -> Any:
    """Wait until a build has ended, and return it."""
    while not (info := await core.get_build(build_id)).has_ended:
        await core._logs.bells.wait(build_id)
    return info
