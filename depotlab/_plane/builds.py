"""The life of a build on the plane: registered, given machines, kept alive, ended once.

    register ─► health ‖ connection (pending … active) ─► steps and logs ─► end: machine let go
                   └── silence, or asked to stop and does not ─► canceled

The first end stays, whoever brings it, and only a client's plain word makes a build a success. That word is not taken
where the plane knows better: the build's machine was lost in mid-step, and it has asked for no other one since.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from depotlab._plane import steps
from depotlab._plane.boundary import AnyMachines, Connection, MachineFailed, Platform
from depotlab._plane.health import Health, Limits
from depotlab._plane.history import BuildRecord, End, History
from depotlab._plane.store import Project, Store
from depotlab._plane.tokens import Tokens
from depotlab._serving import Fault

__all__ = ["Builds", "Registered"]

_LOG = logging.getLogger("depotlab.plane")
_CHECK_EACH_S = 1.0
_SWEEP_EACH_CHECKS = 3600
_LAST_WORDS_S = 1.0
# A status stream may come after the end, and so may a merged index that is being pushed.
_TOKEN_OUTLIVES_BUILD_S = 600.0


@dataclass(frozen=True, slots=True)
class Registered:
    """A build that may now be run by who has its token."""

    record: BuildRecord
    project: Project
    token: str = field(repr=False)


class Builds:
    """Builds that run, and `boundary.Keeper` for the machines that run them.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        store: Store,
        history: History,
        tokens: Tokens,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._store = store
        self._history = history
        self._tokens = tokens
        self._clock = clock or asyncio.get_running_loop().time
        self._health = Health(limits or Limits())
        self._machines: AnyMachines | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._releases: dict[str, asyncio.Task[None]] = {}
        self._lost: dict[str, str] = {}

    async def start(self, machines: AnyMachines) -> None:
        """Take the machines, expect reports of builds that ran when the plane stopped, and watch."""
        self._machines = machines
        now = self._clock()
        for record in self._history.running():
            self._health.report(record.build_id, "", now)
            self._lost[record.build_id] = "the plane was stopped"
        self._spawn(self._watch())

    async def close(self) -> None:
        """Stop watching. Builds that run stay so in the records: their clients may come back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------------------- what clients ask

    def register(self, project: Project, options: bytes = b"") -> Registered:
        """Begin a build."""
        record = self._history.create(project.project_id, options)
        token = self._tokens.make(
            "build", project_id=project.project_id, build_id=record.build_id
        ).secret
        self._health.watch(record.build_id, self._clock())
        return Registered(record, project, token)

    def health(self, build_id: str, platform: Platform, *, stream: bool = False) -> int | None:
        """Take a report, and return when the build has to stop, in ns since 1970, if it has to."""
        record = self._history.build(build_id)
        if record.status != "running":
            # A client that still reports on a canceled build did not bring that end: it has to stop.
            return record.finished_ns if record.status == "canceled" else None
        self._health.report(build_id, platform, self._clock(), stream=stream)
        return record.cancels_ns

    async def connection(self, build_id: str, platform: Platform) -> Connection | None:
        """Return how the build reaches its machine, or None while that starts.

        Raises:
            Fault: failed_precondition: the build has ended; unavailable: the machine cannot start.
        """
        record = self._history.build(build_id)
        if record.status != "running":
            raise Fault("failed_precondition", _ended(record))
        project = self._store.project(record.project_id)
        if record.started_ns is None:
            self._history.start(build_id)
        assert self._machines is not None
        try:
            found = await self._machines.connection(
                build_id, project.project_id, platform, project.cache_policy
            )
        except MachineFailed as error:
            self._history.note(build_id, error.message)
            raise Fault("unavailable", f"no machine for {platform}: {error.message}") from error
        if self._history.build(build_id).status != "running":  # it ended while we waited
            self._release(build_id)
            raise Fault("failed_precondition", _ended(self._history.build(build_id)))
        if found is not None:
            self._lost.pop(build_id, None)  # what was not finished may be done there
        return found

    def release(self, build_id: str, platform: Platform) -> None:
        """Let go of one machine."""
        self._health.leave(build_id, platform, self._clock())
        self._release(build_id, platform)

    def finish(self, build_id: str, end: End, error: str = "") -> None:
        """End a build. A second end changes nothing."""
        why = self._lost.pop(build_id, "")
        if end == "success" and why and self._history.is_unfinished(build_id):
            end, error = (
                "error",
                f"its client says success, but its machine was lost in mid-step: {why}",
            )
        if self._history.finish(build_id, end, error):
            self._tokens.expire_build(build_id, after_s=_TOKEN_OUTLIVES_BUILD_S)
            self._health.forget(build_id)
            releasing = self._releases[build_id] = self._release(build_id)
            releasing.add_done_callback(lambda _: self._releases.pop(build_id, None))

    async def settled(self, build_id: str) -> None:
        """Wait until the last words about an ended build are in, so that who asks next finds them; not long."""
        releasing = self._releases.get(build_id)
        if releasing is not None:
            await asyncio.wait([releasing], timeout=_LAST_WORDS_S)

    def cancel(self, build_id: str) -> None:
        """Ask a build to stop: its client hears it at its next report, and is cut off if it does not obey."""
        self._history.ask_to_stop(build_id)

    # ----------------------------------------------------------------------- what machines tell

    def status(self, build_id: str, message: bytes) -> None:
        """Record what a machine does for the build."""
        if self._history.find(build_id) is None:
            return  # its project was deleted under it
        try:
            steps.fold_bytes(self._history, build_id, message)
        except Fault as fault:
            _LOG.warning("build %s: %s", build_id, fault.text)

    def lost(self, build_id: str, why: str) -> None:
        """Remember that the machine died. Its client sees that too, and says how the build ends."""
        self._history.note(build_id, why)
        if self.allowed(build_id):
            self._lost[build_id] = why

    def allowed(self, build_id: str) -> bool:
        """Return whether the build exists and runs."""
        record = self._history.find(build_id)
        return record is not None and record.status == "running"

    # ------------------------------------------------------------------------------- the watch

    def check(self) -> None:
        """End what has been silent for too long, and what was asked to stop and did not."""
        silent = self._health.silent(self._clock())
        for build_id, platform in silent.machines:
            if platform:
                self._release(build_id, "amd64" if platform == "amd64" else "arm64")
        for build_id in silent.builds:
            self.finish(build_id, "canceled", "its client fell silent")
        deadline_ns = self._history.now_ns() - int(self._health.limits.cancel_s * 1e9)
        for record in self._history.running():
            if record.cancels_ns is not None and record.cancels_ns < deadline_ns:
                self.finish(record.build_id, "canceled", "canceled on the plane")

    async def _watch(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(_CHECK_EACH_S)
            self.check()
            if number % _SWEEP_EACH_CHECKS == 0:
                self._tokens.sweep()

    def _release(self, build_id: str, platform: Platform | None = None) -> asyncio.Task[None]:
        assert self._machines is not None
        return self._spawn(self._machines.release(build_id, platform))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a machine was not let go: %s", error, exc_info=error)


def _ended(record: BuildRecord) -> str:
    why = f": {record.error}" if record.error and record.status == "canceled" else ""
    return f"build {record.build_id} has ended ({record.status}){why}"
