"""A build that survives a dead connection, as long as nothing has run.

A connection that was idle for long may be dead without anybody knowing: a laptop slept, a NAT forgot it, the
daemon was restarted. The first build over it then fails before the daemon has begun anything. Such a build is
asked for once more, on a fresh connection and under a new name; the progress says so. Once a step has
started it is never repeated: the user decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from depotlab._rpc import Channel
from depotlab._session import Session
from depotlab.buildkit.solve import OnEvents, solve
from depotlab.buildkit.spec import SolveSpec
from depotlab.errors import LinkError
from depotlab.progress import Event, VertexUpdated, WarningRaised

__all__ = ["Attempt", "Connect", "Solved", "solve_with_retry"]

RECONNECT_S = 3.0
"""How long a daemon that is being restarted may take to listen again."""

RECONNECT_PAUSE_S = 0.2


class Connect(Protocol):
    """Returns an open connection to the daemon."""

    async def __call__(self, *, fresh: bool = False) -> Channel:
        """Connect.

        Args:
            fresh: Never return the connection that was there before: it is dead. It must not be closed here,
                since other builds may be on their way to find that out.
        """


@dataclass(frozen=True, slots=True)
class Attempt:
    """One build as it is asked for once: a name and a session serve only one.

    Attributes:
        spec: What to build, with a new `ref`.
        session: A session of its own.
    """

    spec: SolveSpec
    session: Session


@dataclass(frozen=True, slots=True)
class Solved:
    """What a build came to.

    Attributes:
        ref: The name under which it succeeded.
        response: The daemon's answer by key, such as `containerimage.digest`.
    """

    ref: str
    response: dict[str, str]


async def solve_with_retry(
    connect: Connect, attempt: Callable[[], Attempt], on_events: OnEvents
) -> Solved:
    """Run one build to its end, a second time if the connection broke before any step had started.

    Args:
        connect: Called once, and once more with `fresh=True` for the second attempt.
        attempt: Makes the spec and the session of one attempt; called anew for the second.
        on_events: As of `solve`. What the daemon announced to an attempt that is repeated is left out.

    Raises:
        LinkError: The connection broke after a step had started, or twice, or could not be made again.
        DepotlabError: As of `solve`.
    """
    channel = await connect()
    first = attempt()
    started = _UntilStarted(on_events)
    try:
        response = await solve(channel, first.spec, first.session, started.take)
    except LinkError as error:
        if started.is_open:
            raise
        started.drop()
        lost = error
    else:
        return Solved(first.spec.ref, response)
    finally:
        started.open()
    on_events(
        [
            WarningRaised(
                "",
                1,
                "The connection broke before anything ran; trying once more.",
                (lost.message,),
            )
        ]
    )
    channel = await _reconnect(connect, lost)
    second = attempt()
    response = await solve(channel, second.spec, second.session, on_events)
    return Solved(second.spec.ref, response)


async def _reconnect(connect: Connect, lost: LinkError) -> Channel:
    give_up_s = time.monotonic() + RECONNECT_S
    while True:
        try:
            return await connect(fresh=True)
        except LinkError as error:
            if time.monotonic() > give_up_s:
                raise error from lost
        await asyncio.sleep(RECONNECT_PAUSE_S)


class _UntilStarted:
    """Holds events back until the first step has started.

    Attributes:
        is_open: A step has started, or nothing is held back any more.
    """

    def __init__(self, on_events: OnEvents) -> None:
        self._on_events = on_events
        self._held: list[Event] = []
        self.is_open = False

    def take(self, events: list[Event]) -> None:
        if self.is_open:
            self._on_events(events)
            return
        self._held += events
        if any(type(e) is VertexUpdated and e.started_ns is not None for e in events):
            self.open()

    def drop(self) -> None:
        self._held.clear()

    def open(self) -> None:
        self.is_open = True
        held, self._held = self._held, []
        if held:
            self._on_events(held)
