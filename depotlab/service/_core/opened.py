"""The parts of a build service, made in order when it is opened, and let go in the opposite order.

It is to be used on the loop on which it was opened: the I/O thread's, and in tests any other.
"""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from depotlab.errors import EngineError, ServiceError
from depotlab.service._asking.checks import check_platform
from depotlab.service._boundary import RunsBuilds, Storage
from depotlab.service._builds.building import Builds
from depotlab.service._builds.housekeeping import keep_house
from depotlab.service._builds.logs import Logs
from depotlab.service._builds.state import State
from depotlab.service._builds.uploads import Uploads
from depotlab.service._core.parts import (
    GitTokens,
    check_parts,
    chosen_sink,
    ended,
    held_folder,
    state_folder,
)
from depotlab.service._core.tables import open_database
from depotlab.service._settings.depot import Depot
from depotlab.service._settings.limits import Limits
from depotlab.service._storage.watched import WatchedStorage
from depotlab.telemetry import Sink, Writer

if TYPE_CHECKING:
    from depotlab._serving import Database
    from depotlab.service._reasons.rules import Rule
    from depotlab.service._settings.registry import Registry

__all__ = ["Opened"]

_CLOSE_S = 10.0


class Opened:
    """A service that is open or not, and its parts. The arguments are those of `BuildService`.

    Attributes:
        folder: Of the state.
        limits: How much is taken on.
        make_runner: Makes what makes builds happen; tests give another.
    """

    def __init__(
        self,
        depot: Depot | None,
        storage: Storage | None,
        telemetry: str | Path | Sink | bool | None,
        registry: Registry | None,
        platform: str,
        state: str | Path | None,
        limits: Limits | None,
        git_tokens: GitTokens | None,
        error_rules: Sequence[Rule],
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        check_parts(depot, storage, registry, limits, git_tokens, error_rules)
        self.folder = state_folder(state)
        self.limits = limits or Limits()
        self.sink = chosen_sink(telemetry, self.folder)
        self.make_runner: Callable[[Opened], Awaitable[RunsBuilds]] = depot_runner
        self.depot = depot
        self.registry = registry
        self.git_tokens = git_tokens
        self.error_rules = tuple(error_rules)
        self._platform = check_platform(platform)
        self._given_storage = storage
        self._now_ns = now_ns
        self._stack: AsyncExitStack | None = None
        self._is_draining = False
        self.writer: Writer | None = None

    async def open(self) -> None:
        """Get ready, and go on with what an earlier service left.

        Raises:
            ServiceError: `failed_precondition`: another service uses the state folder, or this one is open already.
            EngineError: The state folder cannot be used.
            TelemetryError: The settings of telemetry are wrong.
            NoToken: There is none for Depot.
        """
        if self._stack is not None:
            raise ServiceError(
                "This build service is in use already.",
                code="failed_precondition",
                hint="use the one that is open, or make another with a state folder of its own",
            )
        async with AsyncExitStack() as stack:
            held = held_folder(self.folder)
            await asyncio.to_thread(stack.enter_context, held)
            stack.callback(self._forget)
            self.database: Database = open_database(
                self._place("service.sqlite3"), now_ns=self._now_ns
            )
            stack.callback(self.database.close)
            self._uploads = Uploads(self.database)
            self._state = State(self.database, self._uploads)
            self._logs = Logs(self.database, max_bytes=self.limits.max_log_bytes_per_build)
            if self.sink is not None:
                spool = self._place("spool")
                self.writer = await asyncio.to_thread(Writer, self.sink, spool_dir=spool)
                stack.push_async_callback(asyncio.to_thread, self.writer.close, _CLOSE_S)
            self.storage = WatchedStorage(self._storage(), self._storage_is_up)
            stack.push_async_callback(self.storage.close)
            await self.storage.open()
            runner = await self.make_runner(self)
            stack.push_async_callback(runner.close)
            self._builds = Builds(
                self._state,
                self._logs,
                self.limits,
                runner,
                writer=self.writer,
                now_ns=self._now_ns,
                storage_problem=lambda: self.storage.problem,
            )
            stack.push_async_callback(self._builds.close)
            house = asyncio.create_task(
                keep_house(self._state, self._uploads, self.storage, self.limits, self._now_ns)
            )
            stack.push_async_callback(ended, house)
            try:
                self._builds.resume()
            except sqlite3.Error as error:
                raise EngineError(
                    f"The build service's database in {self.folder} cannot be used: {error}.",
                    hint="see that the disk has room; if the file is damaged, choose another state folder or move it",
                ) from error
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Stop what runs, and let go of everything. Idempotent."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def _forget(self) -> None:
        self.writer, self._is_draining = None, False

    def closes_first(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed before everything else, such as a port."""
        self.need_open().push_async_callback(close)

    def need_open(self) -> AsyncExitStack:
        """Return what is closed with the service.

        Raises:
            ServiceError: `failed_precondition`: it is not open.
        """
        if self._stack is None:
            raise ServiceError(
                "This build service is not open.",
                code="failed_precondition",
                hint="call open(), which close() ends, or use it in a block: with BuildService(...) as service:",
            )
        return self._stack

    def _place(self, name: str) -> Path:
        return self.folder / name

    def _storage(self) -> Storage:
        if self._given_storage is not None:
            return self._given_storage
        from depotlab.service._storage.localstore import LocalStorage

        return LocalStorage(self._place("contexts"))

    def _storage_is_up(self) -> None:
        self._builds.start_some()

    def _is_open(self) -> bool:
        return self._stack is not None

    def __repr__(self) -> str:
        if self._stack is None:
            return f"not open, state in {self.folder}"
        builds = self._builds
        return (
            f"{builds.n_queued} builds queued, {builds.n_running} running, state in {self.folder}"
        )

    def facts(self) -> Iterable[tuple[str, object]]:
        """Return what a table shows of it."""
        yield "state", str(self.folder)
        yield "open", self._stack is not None
        if self._stack is not None:
            yield "queued", self._builds.n_queued
            yield "running", self._builds.n_running
            yield "projects", self._builds.projects
            yield "why not", self._builds.why_not()


async def depot_runner(service: Opened) -> RunsBuilds:
    """Return what builds at Depot; settings that cannot be used are told now, and nothing is sent yet."""
    # Half a second of imports, which on this thread would hold up whatever else builds in the process.
    await asyncio.to_thread(importlib.import_module, "depotlab.service._run.runner")
    from depotlab.service._run.runner import Runner

    runner = Runner(
        service.depot or Depot(),
        service.registry,
        service.storage,
        database=service.database,
        writer=service.writer,
        limits=service.limits,
        git_tokens=service.git_tokens,
        error_rules=service.error_rules,
    )
    try:
        await runner.open()
    except BaseException:
        await runner.close()
        raise
    return runner
