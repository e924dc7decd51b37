"""One build of a recording while it is played.

A build that its client runs says only bit by bit what it is: which graph, which files, which image configuration. So
it begins with all builds of the recording that were begun with the same words, and what it asks narrows them down.
Of those that are left the first that was not played yet is meant, and when all were, the last.

What comes by itself (progress, calls over the session, the end of `Solve`) is tied to what the client asked last
before it in the recording, its *anchor*: it is played so long after the anchor as it came then, and not before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from depotlab._recorded.clock import Clock
from depotlab._recorded.tape import CANCELLED, Call, Message, TapedBuild

__all__ = ["Playing"]

_ANCHORS = ("Solve", "Return")


class Playing:
    """A build that is being played. Belongs to the I/O thread.

    Args:
        ref: As below.
        session_id: As below.
        candidates: As below.
        clock: As below.
        began_ns: When the recording began, in nanoseconds since 1970.

    Attributes:
        ref: Its name in this process.
        session_id: Of its session here; empty for questions of the library.
        candidates: What it may be.
        build: What it is; None when that is not known yet.
        clock: Its time.
        is_bound: Set when `build` is known.
        has_returned: Set when the client has said how it ends.
        is_over: Set when it has ended.
        digests: Digests of ops as they were sent now, by those in the recording.
        locals: Names of local directories here, by their names without the hash.
        headers: What headers of calls over the session say here, by what that stands for.
    """

    def __init__(
        self,
        ref: str,
        session_id: str,
        candidates: Sequence[TapedBuild],
        clock: Clock,
        *,
        began_ns: int,
    ) -> None:
        self.ref = ref
        self.session_id = session_id
        self.candidates = list(candidates)
        self.build: TapedBuild | None = None
        self.clock = clock
        self.is_bound = asyncio.Event()
        self.has_returned = asyncio.Event()
        self.is_over = asyncio.Event()
        self.digests: dict[bytes, bytes] = {}
        self.locals: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.error: tuple[int, str, bytes] | None = None
        self._began_ns = began_ns
        self._asked_s, self._asked_ns = time.monotonic(), time.time_ns()
        self._anchors: dict[int, float] = {}
        self._replayed: set[int] = set()
        self._moved = asyncio.Condition()
        self._n_used: dict[int, int] = {}

    def bind(self, build: TapedBuild) -> None:
        """Say which build it is."""
        if self.build is None:
            then_ns = self._began_ns + build.solve.began_ns
            self.clock.begin(_duration_ns(build), then_ns=then_ns, at_ns=self._asked_ns)
            self._anchors[build.solve.number] = self._asked_s
        elif self.build is not build:
            # Found out late, by what the client returned: what it has asked so far was asked then too.
            reached = {call.number: self._anchors[call.number] for call in self._asked()}
            old = list(reached.values())
            self._anchors = dict(zip((c.number for c in _anchors(build)), old, strict=False))
        self.build = build
        self.is_bound.set()

    @property
    def bound(self) -> TapedBuild:
        """The build that it is; only once that is known."""
        assert self.build is not None
        return self.build

    def _asked(self) -> list[Call]:
        return [call for call in _anchors(self.bound) if call.number in self._anchors]

    async def anchored(self, call: Call) -> None:
        """Note that the client has asked this now."""
        if call.name in _ANCHORS:
            async with self._moved:
                self._anchors[call.number] = time.monotonic()
                self._moved.notify_all()

    async def end(self) -> None:
        """Let everything that still waits go on at once."""
        self.is_over.set()
        async with self._moved:
            self._moved.notify_all()

    async def replayed(self, *calls: Call) -> None:
        """Note that calls over the session have been made once more."""
        async with self._moved:
            self._replayed.update(call.number for call in calls)
            self._moved.notify_all()

    async def until(self, at_ns: int, *, is_call: bool = False) -> None:
        """Wait for the moment that was then; at the end of the build, or when it turns out to be another, no longer.

        Args:
            at_ns: Since the recording began.
            is_call: It is the moment of a call over the session. All else also waits for the calls that had ended by
                then: progress tells how many bytes have crossed.
        """
        build = self.bound
        if self.was_cancelled and at_ns > build.solve.ended_ns:
            await self.is_over.wait()  # it came because somebody gave the build up
        anchor = build.solve
        for call in _anchors(build):
            if call.began_ns <= at_ns:
                anchor = call
        before = {call.number for call in build.session_calls if call.ended_ns <= at_ns}
        async with self._moved:
            await self._moved.wait_for(
                lambda: (
                    (anchor.number in self._anchors and (is_call or before <= self._replayed))
                    or self.is_over.is_set()
                    or self.build is not build
                )
            )
        if self.build is not build:
            return
        since_s = self._anchors.get(anchor.number)
        if since_s is not None and not self.is_over.is_set():
            left_s = self.clock.left_s(at_ns - anchor.began_ns, since_s=since_s)
            if left_s:
                await _either(self.is_over, left_s)
        self.clock.reach(at_ns - build.solve.began_ns)

    @property
    def was_cancelled(self) -> bool:
        """The build was given up by its client when it was recorded."""
        build = self.build
        return build is not None and build.solve.code == CANCELLED and not _has_returned(build)

    def messages(self) -> tuple[Message, ...]:
        """Return the progress of the build that it is."""
        status = self.bound.status
        return status.messages if status is not None else ()

    def choose(self, calls: Sequence[Call]) -> Call:
        """Return which of the answers to the same question is next: in order, then the last again."""
        number = self._n_used.get(calls[0].number, 0)
        self._n_used[calls[0].number] = number + 1
        return calls[min(number, len(calls) - 1)]


def _anchors(build: TapedBuild) -> list[Call]:
    return [build.solve, *(call for call in build.calls if call.name in _ANCHORS)]


def _has_returned(build: TapedBuild) -> bool:
    return any(call.name == "Return" and not call.code for call in build.calls)


def _duration_ns(build: TapedBuild) -> int:
    """Return how long the build worked; one that was only held open to be looked at waited for its user."""
    solved = [call.ended_ns - call.began_ns for call in build.calls if call.name == "Solve"]
    if solved and build.is_internal:
        return max(solved)
    return build.solve.ended_ns - build.solve.began_ns


async def _either(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
