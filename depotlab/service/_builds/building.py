"""From the queue to the end of a build: turns, tries, cancelling, and what a start finds unfinished.

Every try is a task. However it ends, exactly one of three things follows: the build has ended, it is tried again after
a pause, or the service is closing and leaves it to the next start. Nothing else takes a build out of `_live`, so none
is forgotten. To be used on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import sqlite3
import traceback
from collections.abc import Callable, Collection
from typing import Protocol

from depotlab.errors import StorageError
from depotlab.service._boundary import (
    BuildState,
    Canceled,
    EndUserError,
    Failed,
    Outcome,
    RunsBuilds,
    Secrets,
    Succeeded,
)
from depotlab.service._builds.live import Live, StageWatch, TryJournal
from depotlab.service._builds.logs import Logs
from depotlab.service._builds.retrying import pause_s
from depotlab.service._builds.state import State, Unfinished
from depotlab.service._builds.turns import Turns
from depotlab.service._reasons.scrubbing import scrubbed
from depotlab.service._settings.limits import Limits
from depotlab.telemetry import Row

__all__ = ["Builds", "Tells"]

_LOG = logging.getLogger("depotlab.service")

_LOOK_AGAIN_S = 1.0
_DISK_PAUSE_S = 10.0

_INTERRUPTED = EndUserError(
    "interrupted",
    "The build was interrupted because the build service stopped. Please start it again.",
)
_INTERNAL = "The build failed because of an error in the build service. Please start it again."


class Tells(Protocol):
    """What is needed of telemetry's writer."""

    @property
    def is_full(self) -> bool:
        """Nothing new is to be begun."""

    def put(self, rows: Collection[Row], /) -> None:
        """Take rows."""


class Builds:
    """The builds that have not ended.

    Args:
        state: Where all builds are kept.
        logs: Theirs.
        limits: How much is taken on.
        runner: Makes one try.
        writer: Is told of builds that have ended; None for nobody.
        now_ns: The wall clock.
        storage_problem: Says what the store said if it is down, else nothing.

    Attributes:
        is_draining: No build is started any more.
    """

    def __init__(
        self,
        state: State,
        logs: Logs,
        limits: Limits,
        runner: RunsBuilds,
        *,
        writer: Tells | None,
        now_ns: Callable[[], int],
        storage_problem: Callable[[], str],
    ) -> None:
        self._state = state
        self._logs = logs
        self._limits = limits
        self._runner = runner
        self._writer = writer
        self._now_ns = now_ns
        self._storage_problem = storage_problem
        self._turns = Turns(limits)
        self._live: dict[str, Live] = {}
        self._is_closing = False
        self._looking_again: asyncio.TimerHandle | None = None
        self.is_draining = False

    # ---------------------------------------------------------------------------- what there is

    @property
    def n_queued(self) -> int:
        """Builds that wait for their turn."""
        return self._turns.n_queued

    @property
    def n_running(self) -> int:
        """Builds that run now."""
        return self._turns.n_running

    @property
    def n_waiting(self) -> int:
        """Builds that wait until they are tried again."""
        return len(self._live) - self.n_queued - self.n_running

    @property
    def projects(self) -> tuple[str, ...]:
        """Projects that have builds which have not ended, by name."""
        return tuple(sorted({live.project for live in self._live.values()}))

    def n_queued_of(self, project: str) -> int:
        """Return how many builds of a project wait for their turn."""
        return self._turns.n_queued_of(project)

    def took_s(self, build_id: str) -> dict[str, float] | None:
        """Return how long the stages of a build took up to now; None if it has ended."""
        live = self._live.get(build_id)
        return None if live is None else live.watch.took_s()

    def why_not(self) -> str:
        """Return why no build is started now, in words; empty if there is no reason."""
        if self.is_draining:
            return "the service is being drained"
        if self._is_full():
            return "telemetry cannot be written, and no more of it can be kept"
        if problem := self._storage_problem():
            return f"the store of contexts is down: {problem}"
        return ""

    # -------------------------------------------------------------------------- coming and going

    def resume(self) -> None:
        """Take up what an earlier service left, and tell telemetry what that one could not."""
        for build_id in self._state.untold():
            self._tell(build_id)
        for found in self._state.unfinished():
            self._resume(found)
        self.start_some()

    def _resume(self, found: Unfinished) -> None:
        live = self._new(found.build_id, found.project, Secrets())
        if found.attempts == 0:  # it has waited since it was made
            info = self._state.info(found.build_id)
            waited_s = self._now_ns() / 1e9 - info.created_at.timestamp()
            live.watch = StageWatch(_now_s, {"queued": max(waited_s, 0.0)})
        else:
            live.watch = StageWatch(_now_s, self._state.info(found.build_id).stages)
            self._logs.skip(found.build_id)
        if found.has_secrets:
            self._logs.say(
                found.build_id, "The service was started anew, and has no secrets of it."
            )
            self._end(live, "failed", error=_INTERRUPTED)
        elif found.attempts >= self._limits.max_attempts:
            self._logs.say(found.build_id, "The service was started anew; it was the last try.")
            self._end(live, "failed", error=_INTERRUPTED)
        else:
            if found.attempts:
                self._logs.say(found.build_id, "The service was started anew; it is tried again.")
            self._turns.add(found.build_id, found.project)

    def add(self, build_id: str, project: str, secrets: Secrets) -> None:
        """Let a new build wait for its turn."""
        self._new(build_id, project, secrets)
        self._turns.add(build_id, project)
        self.start_some()

    def _new(self, build_id: str, project: str, secrets: Secrets) -> Live:
        live = self._live[build_id] = Live(build_id, project, secrets, StageWatch(_now_s, {}))
        return live

    async def cancel(self, build_id: str) -> None:
        """Cancel a build, and wait until its machine is let go. One that has ended is left as it is."""
        task = self.ask_to_cancel(build_id)
        if task is not None:
            await asyncio.wait([task])

    def ask_to_cancel(self, build_id: str) -> asyncio.Task[None] | None:
        """Cancel a build; return what is still to end of it."""
        live = self._live.get(build_id)
        if live is None:
            return None
        live.is_unwanted = True
        if live.task is not None:
            live.stop()
            return live.task
        # If this cannot be kept now, because the disk is full, it still waits, and its turn ends it.
        self._end(live, "canceled")
        return None

    async def all_ended(self, timeout_s: float) -> bool:
        """Wait until nothing runs; return whether that came to be in time."""
        running = [live.task for live in self._live.values() if live.task is not None]
        if running:
            _, running_still = await asyncio.wait(running, timeout=timeout_s)
            return not running_still
        return True

    async def close(self) -> None:
        """Stop what runs, and leave it and what waits to the next start; what has secrets ends here."""
        self._is_closing = self.is_draining = True
        if self._looking_again is not None:
            self._looking_again.cancel()
        running = [live.task for live in self._live.values() if live.task is not None]
        for live in list(self._live.values()):
            live.stop()
        if running:
            await asyncio.wait(running)
        for live in list(self._live.values()):
            if live.timer is not None:
                live.timer.cancel()
            try:
                self._leave(live)
            except sqlite3.Error as error:
                # The next start comes to the same, without its last lines.
                _LOG.error("build %s cannot be kept: %s", live.build_id, error)
        self._logs.bells.ring_all()

    def _leave(self, live: Live) -> None:
        if live.secrets:
            self._end(live, "failed", error=_INTERRUPTED)
        else:
            self._logs.close(live.build_id)
            self._state.stage(live.build_id, "queued", live.watch.took_s())

    # ------------------------------------------------------------------------------------ turns

    def start_some(self) -> None:
        """Start the builds whose turn it is."""
        if self._looking_again is not None:
            self._looking_again.cancel()
            self._looking_again = None
        if self._is_closing:
            return
        while not self.why_not():
            build_id = self._turns.pick()
            if build_id is None:
                return
            live = self._live[build_id]
            live.has_begun = False
            live.task = asyncio.create_task(self._try(live), name=f"build {build_id}")
        if self._is_full() and self._turns.n_queued:  # nobody rings when there is room again
            loop = asyncio.get_running_loop()
            self._looking_again = loop.call_later(_LOOK_AGAIN_S, self.start_some)

    def _is_full(self) -> bool:
        return self._writer is not None and self._writer.is_full

    async def _try(self, live: Live) -> None:
        live.has_begun = True
        try:
            outcome = await self._outcome(live)
            live.task = None
            self._settle(live, outcome)
        except sqlite3.Error as error:  # the disk is full, for example: it must not be forgotten
            _LOG.error("build %s cannot be kept: %s", live.build_id, error)
            live.task = None
            if live.build_id in self._live:
                self._later(live, _DISK_PAUSE_S)
        finally:
            self._turns.ended(live.project)
            self.start_some()

    async def _outcome(self, live: Live) -> Outcome | None:
        """Make one try; None if the service is closing."""
        if live.is_unwanted:
            return Canceled("")
        if self._is_closing:
            return None
        build_id = live.build_id
        self._logs.flush(build_id)  # what cannot be kept now cannot be after another try, either
        attempt = self._state.start(build_id)
        order = self._state.order(build_id)
        journal = TryJournal(live, attempt, self._state, self._logs)
        limit_s = self._limits.build_timeout_s
        timer = asyncio.timeout(limit_s)
        try:
            async with timer:
                return await self._runner.run(order, live.secrets, journal)
        except asyncio.CancelledError:
            if live.is_unwanted:
                return Canceled("")
            if self._is_closing:
                return None
            _LOG.error("build %s was cancelled by nobody", build_id)
            return Failed(EndUserError("internal", _INTERNAL, "cancelled by nobody"))
        except StorageError as error:
            down = EndUserError("storage", "The uploaded files cannot be read now.", error.message)
            return Failed(down, is_transient=error.is_transient)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the build ends
            if isinstance(error, TimeoutError) and timer.expired():
                minutes = f"{limit_s / 60:g} minutes"
                return Failed(
                    EndUserError(
                        "timeout", f"The build took longer than {minutes} and was stopped."
                    )
                )
            # What it says may hold an address with a signature.
            said = scrubbed("".join(traceback.format_exception(error)))
            _LOG.error("build %s failed by a mistake of ours: %s", build_id, said)
            return Failed(EndUserError("internal", _INTERNAL, type(error).__name__))

    def _settle(self, live: Live, outcome: Outcome | None) -> None:
        build_id = live.build_id
        self._logs.flush(build_id)
        match outcome:
            case None:
                return
            case Succeeded():
                self._end(
                    live,
                    "succeeded",
                    image=outcome.image,
                    digest=outcome.digest,
                    cached_steps=outcome.cached_steps,
                    total_steps=outcome.total_steps,
                )
            case Canceled():
                why = EndUserError("canceled", outcome.why) if outcome.why else None
                self._end(live, "canceled", error=why)
            case Failed():
                again_s = self._again_s(live) if outcome.is_transient else None
                if again_s is None or live.is_unwanted:
                    self._end(
                        live,
                        "canceled" if live.is_unwanted else "failed",
                        error=None if live.is_unwanted else outcome.error,
                        cached_steps=outcome.cached_steps,
                        total_steps=outcome.total_steps,
                    )
                else:
                    # Without the advice, which is for a build that has ended: "start the build again".
                    said = outcome.error.message.partition(". ")[0].removesuffix(".")
                    self._logs.say(
                        build_id, f"{said}. It is tried again in {math.ceil(again_s)} s."
                    )
                    self._later(live, again_s)
                    self._state.stage(build_id, "queued", live.watch.took_s())

    def _again_s(self, live: Live) -> float | None:
        info = self._state.info(live.build_id)
        assert info.started_at is not None
        return pause_s(
            self._limits,
            n_tried=info.attempts,
            since_first_s=self._now_ns() / 1e9 - info.started_at.timestamp(),
            draw=random.random(),  # noqa: S311 - spreads tries, guards nothing
        )

    def _later(self, live: Live, after_s: float) -> None:
        """Let a build wait for its turn again after a pause."""
        live.watch.enter("queued")
        if self._is_closing:
            return
        live.timer = asyncio.get_running_loop().call_later(after_s, self._again, live)

    def _again(self, live: Live) -> None:
        live.timer = None
        self._turns.add(live.build_id, live.project, first=True)
        self.start_some()

    # -------------------------------------------------------------------------------------- end

    def _end(
        self,
        live: Live,
        state: BuildState,
        *,
        error: EndUserError | None = None,
        image: str = "",
        digest: str = "",
        cached_steps: int = 0,
        total_steps: int = 0,
    ) -> None:
        build_id = live.build_id
        self._logs.finish(build_id)
        self._state.end(
            build_id,
            state,
            live.watch.took_s(),
            image=image,
            digest=digest,
            error=error,
            cached_steps=cached_steps,
            total_steps=total_steps,
        )
        if live.timer is not None:
            live.timer.cancel()
        del self._live[build_id]
        self._turns.remove(build_id)
        self._logs.bells.ring(build_id)
        self._tell(build_id)

    def _tell(self, build_id: str) -> None:
        if self._writer is not None:
            self._writer.put([self._state.telemetry_row(build_id)])
        self._state.told(build_id)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
