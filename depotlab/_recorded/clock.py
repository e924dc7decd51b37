"""The time of a recorded build while it is played.

Views count with it: a step that took three seconds takes three seconds on it, however fast it is played.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from contextvars import ContextVar

from depotlab.progress import BuildEnded, BuildStarted, Event, Fold, Snapshot

__all__ = ["CLOCK", "Clock", "PlayedFold"]

_SECOND_NS = 1_000_000_000
USUAL_MAX_S = 10.0
"""What a build takes at most when nobody says how fast it is to be played."""


class Clock:
    """Where the playing of one build stands.

    Args:
        speed: Seconds of the recording in a second; infinite plays at once. None plays as it was, but what took
            longer than `USUAL_MAX_S` is played in that time.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._factor = speed or 1.0
        self._base_ns: int | None = None
        self._position_ns = 0
        self._at_ns = 0
        self._is_over = False

    @property
    def base_ns(self) -> int:
        """When the build began to be played, in nanoseconds since 1970."""
        return self._base_ns if self._base_ns is not None else time.time_ns()

    @property
    def has_begun(self) -> bool:
        """False as long as it is not known which build is played."""
        return self._base_ns is not None

    def begin(self, duration_ns: int, *, then_ns: int, at_ns: int) -> None:
        """Start it.

        It begins as many whole seconds after the recording as fit: times are then moved by whole seconds, and messages
        stay as long as they were, which is what `depotlab.wire()` tells.

        Args:
            duration_ns: How long the build took.
            then_ns: When it was asked for in the recording, in nanoseconds since 1970.
            at_ns: When it was asked for now.
        """
        if self._speed is None:
            self._factor = max(1.0, duration_ns / 1e9 / USUAL_MAX_S)
        if self._base_ns is None:
            self._base_ns = then_ns + (at_ns - then_ns) // _SECOND_NS * _SECOND_NS
            self._at_ns = at_ns

    def reach(self, position_ns: int) -> None:
        """Note that something is played which came so long after the build's begin."""
        self._position_ns = max(self._position_ns, position_ns)
        self._at_ns = time.time_ns()

    def end(self, position_ns: int) -> None:
        """Stop it where the build ended."""
        self.reach(position_ns)
        self._is_over = True

    def now_ns(self) -> int:
        """Return the time that views are to count with, in nanoseconds since 1970."""
        if self._base_ns is None:
            return time.time_ns()
        now_ns = self._base_ns + self._position_ns
        if not self._is_over and math.isfinite(self._factor):
            now_ns += int((time.time_ns() - self._at_ns) * self._factor)
        return now_ns

    def left_s(self, ns: int, *, since_s: float) -> float:
        """Return how long to wait for what came `ns` after something that was played at `since_s`, of `monotonic`."""
        if not math.isfinite(self._factor):
            return 0.0
        return max(0.0, since_s + ns / 1e9 / self._factor - time.monotonic())

    async def wait(self, ns: int) -> None:
        """Wait for what took `ns`."""
        await asyncio.sleep(self.left_s(ns, since_s=time.monotonic()))


CLOCK: ContextVar[Clock | None] = ContextVar("depotlab_played_clock", default=None)
"""Of the build that runs in this task."""


class PlayedFold(Fold):
    """A `Fold` that goes by the clock of a recording."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self._guessed: BuildStarted | None = None

    def feed(self, events: Iterable[Event]) -> None:
        """See `Fold`; when the build began and ended is what the recording says."""
        told: list[Event] = []
        for event in events:
            if isinstance(event, BuildStarted):
                self._guessed = event
            if isinstance(event, BuildStarted | BuildEnded):
                told.append(event._replace(at_ns=self.clock.now_ns()))
            else:
                told.append(event)
        if self._guessed is not None and self.clock.has_begun:
            told.insert(0, self._guessed._replace(at_ns=self.clock.base_ns))
            self._guessed = None
        super().feed(told)

    def snapshot(self, *, at_ns: int) -> Snapshot:
        """See `Fold`; whatever time it is."""
        return super().snapshot(at_ns=self.clock.now_ns())
