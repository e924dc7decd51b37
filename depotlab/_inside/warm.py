"""States that were just looked at stay open for a while, so that looking twice solves once.

Only what cannot go stale is kept: a target that reads directories, archives or image layouts of this machine is
solved anew for every look (the builder's cache makes that quick). A tag that moves at its registry is followed after a
minute without a look, as builds follow it: `release` lets go at once.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from depotlab._contexts import Files
from depotlab._inside.opened import Feed, Opened, open_state
from depotlab._verbs import AnyBuilder, BuildRequest, BuiltStep
from depotlab.frontend import Dockerfile
from depotlab.llb import State

__all__ = ["opened_state", "release"]

IDLE_S = 60.0
"""How long a state stays open when nobody looks. On Depot a machine waits longer than that anyway."""

KEPT = 4
"""States that a client keeps open, those looked at last."""


@dataclass(eq=False, slots=True)
class _Entry:
    opened: Opened | None = None
    n_users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    timer: asyncio.TimerHandle | None = None


class _Warm:
    """The states that one client keeps open. Belongs to the I/O thread."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def look(
        self,
        key: Hashable,
        builder: AnyBuilder,
        request: BuildRequest,
        step: BuiltStep | None,
        feed: Feed,
    ) -> AsyncIterator[Opened]:
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        entry.n_users += 1
        if entry.timer is not None:
            entry.timer.cancel()
        try:
            async with entry.lock:  # who looks at the same waits for the first solve
                if entry.opened is None or not entry.opened.is_open:
                    entry.opened = await open_state(builder, request, step=step, feed=feed)
            yield entry.opened
        finally:
            entry.n_users -= 1
            if not entry.n_users:
                loop = asyncio.get_running_loop()
                entry.timer = loop.call_later(IDLE_S, self._drop, key)
                self._keep_newest()

    def drop_all(self) -> None:
        """Let go of everything that nobody is looking at."""
        for key in [key for key, entry in self._entries.items() if not entry.n_users]:
            self._drop(key)

    async def closed(self) -> None:
        """Wait until what was let go of has ended."""
        await asyncio.gather(*self._closing)

    def close_soon(self, opened: Opened) -> None:
        """End a build without making anybody wait for it."""
        task = asyncio.create_task(opened.aclose(), name="depotlab close state")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _keep_newest(self) -> None:
        idle = [key for key, entry in self._entries.items() if not entry.n_users]
        for key in idle[:-KEPT]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.get(key)
        if entry is None or entry.n_users:
            return
        del self._entries[key]
        if entry.timer is not None:
            entry.timer.cancel()
        if entry.opened is not None:
            self.close_soon(entry.opened)


_warm: weakref.WeakKeyDictionary[AnyBuilder, _Warm] = weakref.WeakKeyDictionary()


def _warm_of(builder: AnyBuilder) -> _Warm:
    warm = _warm.get(builder)
    if warm is None:
        warm = _warm[builder] = _Warm()
        builder.before_close.append(release)
        builder.before_prune.append(release)
    return warm


@asynccontextmanager
async def opened_state(
    builder: AnyBuilder,
    request: BuildRequest,
    *,
    step: BuiltStep | None = None,
    feed: Feed = lambda _: None,
) -> AsyncIterator[Opened]:
    """Have a target open for the length of a block, as `open_state` opens it; it may be shared with others."""
    warm = _warm_of(builder)
    key = _key(request, step)
    if key is None:
        opened = await open_state(builder, request, step=step, feed=feed)
        try:
            yield opened
        finally:
            warm.close_soon(opened)
        return
    async with warm.look(key, builder, request, step, feed) as shared:
        yield shared


async def release(builder: AnyBuilder) -> None:
    """Let go of all states that a client keeps open and nobody is looking at."""
    if warm := _warm.get(builder):
        warm.drop_all()
        await warm.closed()


@dataclass(frozen=True, slots=True)
class _Same:
    """One object, which is equal only to itself, and is kept alive."""

    value: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _key(request: BuildRequest, step: BuiltStep | None) -> Hashable | None:
    """Return what tells a target from all others, or None for one that may become stale or holds a door open."""
    if request.no_cache or request.stores or request.ssh or request.allow:
        return None
    target = request.target
    part = () if step is None else (step.digest, step.name)
    if isinstance(target, State):
        if target.marshal(local_unique_id="").locals:
            return None
        return (target, request.platforms, part, tuple(request.secrets))
    if not isinstance(target, Dockerfile):
        return None
    if target.text is None or target.contexts or not isinstance(target.main.where, Files):
        return None
    return (_Same(target), request.platforms, part, tuple(request.secrets))
