"""What is known of one machine, and what is wished of it. No I/O; `machines.py` makes it true."""

from __future__ import annotations

import asyncio
import time

from depotlab._plane.boundary import CachePolicy, MachineState, Phase
from depotlab._plane.daemon import Daemon
from depotlab._plane.identity import MachineKey
from depotlab.errors import EngineError


class Machine:
    """One machine from its start to its end.

    Args:
        key: Which one.
        policy: How much of its cache stays; it is told that when it starts.

    Attributes:
        phase: `ready` also when nobody holds it; `idle` is made of that.
        builds: Who holds it, oldest first.
        since: Unix time of the last change of state.
        changed: Set when the task should look again.
        why_stop: Not empty: end now. What builds that hold it are told.
        idle_at: Since when nobody holds it, on the clock of `time.monotonic`.
        daemon: Once it is being started.
        task: Sees it through its life.
        gone: Set when nothing of it runs any more, or it will not end.
        failure: Why it did not start, or will not end.
    """

    def __init__(self, key: MachineKey, policy: CachePolicy) -> None:
        self.key = key
        self.policy = policy
        self.phase: Phase = "starting"
        self.builds: dict[str, None] = {}
        self.since = time.time()
        self.idle_at = time.monotonic()
        self.changed = asyncio.Event()
        self.why_stop = ""
        self.gone = asyncio.Event()
        self.failure: EngineError | None = None
        self.daemon: Daemon | None = None
        self.task: asyncio.Task[None] | None = None

    def enter(self, phase: Phase) -> None:
        """Begin a phase."""
        self.phase = phase
        self.since = time.time()

    def hold(self, build_id: str) -> None:
        """Note that a build needs it; again is no change."""
        if not self.builds and self.phase == "ready":
            self.since = time.time()
        self.builds[build_id] = None
        self.changed.set()

    def let_go(self, build_id: str) -> None:
        """Note that a build does not need it any more."""
        if build_id in self.builds:
            del self.builds[build_id]
            if not self.builds:
                self.since, self.idle_at = time.time(), time.monotonic()
            self.changed.set()

    def stop(self, why: str) -> None:
        """Wish for its end; the first reason counts."""
        if not self.why_stop:
            self.why_stop = why
            self.changed.set()

    def state(self) -> MachineState:
        """Return what it does now."""
        idle = self.phase == "ready" and not self.builds
        return MachineState(
            project_id=self.key.project_id,
            platform=self.key.platform,
            state="idle" if idle else self.phase,
            builds=tuple(self.builds),
            since=self.since,
            emulated=self.key.emulated,
        )
