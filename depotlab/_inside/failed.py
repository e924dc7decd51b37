"""The failed step is still there: its files as the command left them, and a container like the one it ran in.

The daemon tells what a failed step has left behind only to a build that its client runs, and keeps it only as long as
that build is open. A build that failed is to end at once, so that the daemon's history is right and its error comes
soon. But while it has not ended, the daemon answers a second build of the same ops with the same failure, without
running anything again. So when a step of a graph fails, such a build is opened beside it, which takes some hundredths
of a second, and stays open: for ten minutes, for the two newest failures of a client.

Where that cannot be (Dockerfiles, which the daemon's frontend builds; several platforms; machines of Depot, which end
with their build), or is over, the first look opens the build again: everything before the failed step comes from the
cache, and its command runs once more, since failures are never cached.
Source: moby/buildkit `solver/jobs.go`, where the result of an op is shared by the builds that need it at the time;
docker/buildx `build/result.go`.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from depotlab._inside.opened import Feed, Opened, open_state, opened_at
from depotlab._inside.processes import Place
from depotlab._verbs import AnyBuilder, BuildRequest, failed_build, keep_failures_with
from depotlab.buildkit import ExecPlan, FailedOp
from depotlab.errors import DaemonError, DepotlabError, StepFailed, UsageError

__all__ = ["failure_place", "place_in"]

IDLE_S = 600.0
"""How long a failed step is kept for the next look."""


JOIN_S = 2.0
"""How long the second build may take to be told the failure. One that takes longer runs something, and is given up."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Look:
    """The build that was opened to look at one error."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    opened: Opened | None = None
    error: StepFailed | None = None  # keeps the build open, see `opened_at`
    n_users: int = 0
    timer: asyncio.TimerHandle | None = None
    closing: asyncio.Task[None] | None = None

    def enter(self) -> None:
        """Somebody looks: it stays."""
        self.n_users += 1
        if self.timer is not None:
            self.timer.cancel()

    def leave(self) -> None:
        """Nobody looks any more: count the time from here."""
        self.n_users -= 1
        if not self.n_users:
            self.timer = asyncio.get_running_loop().call_later(IDLE_S, _end, weakref.ref(self))

    def end(self) -> None:
        """Let go of the step."""
        opened, self.opened, self.error = self.opened, None, None
        if opened is not None:
            self.closing = asyncio.create_task(opened.aclose(), name="depotlab close failed step")


def _end(look: weakref.ref[_Look]) -> None:
    """Let go, if anybody still could look: the timer does not keep the step alive."""
    found = look()
    if found is not None:
        found.end()


_looks: weakref.WeakKeyDictionary[StepFailed, _Look] = weakref.WeakKeyDictionary()


@asynccontextmanager
async def failure_place(
    error: StepFailed, *, before: bool = False, feed: Feed = lambda _: None
) -> AsyncIterator[Place]:
    """Have the place where the failed command ran, for the length of a block.

    Args:
        error: As a build or a look raised it.
        before: With the files as the command found them, not as it left them.
        feed: Takes the progress, when the build has to be opened again.

    Raises:
        UsageError: The error comes from another process, or its step did not run a command.
        DaemonError: The step did not fail when it was run again.
    """
    found = failed_build(error)
    kept = found.kept if found is not None else None
    look = _looks.setdefault(error, kept if isinstance(kept, _Look) else _Look())
    look.enter()
    try:
        async with look.lock:  # two looks at once open one build
            if look.opened is None or not look.opened.is_open:
                look.opened, look.error = opened_at(error), None
            if look.opened is None:
                look.opened, look.error = await _open_again(error, feed)
            opened = look.opened
        assert opened.failed is not None
        yield place_in(opened, opened.failed, before=before)
    finally:
        look.leave()


async def _open_again(error: StepFailed, feed: Feed) -> tuple[Opened, StepFailed]:
    found = failed_build(error)
    if found is None:
        raise UsageError(
            "This error does not know its build any more: it was copied, or comes from another process.",
            hint="look where the build failed, or build again here",
        )
    builder, request = found.builder, found.request
    for platform in request.platforms or ("",):
        alone = replace(request, platforms=(platform,) if platform else (), no_cache=False)
        try:
            opened = await open_state(builder, alone, feed=feed)
        except StepFailed as again:
            stays = opened_at(again)
            if stays is not None:
                return stays, again
            raise
        await opened.aclose()
    raise DaemonError(
        f"The step {error.step!r} did not fail when it was run again, so there is nothing to look at.",
        hint="what it does depends on time, luck or the network; its target can be looked at, "
        "such as with run(target, ...)",
    )


def place_in(opened: Opened, failed: FailedOp, *, before: bool = False) -> Place:
    """Return the place of a failed step in a build that is open.

    Raises:
        UsageError: The step did not run a command.
    """
    plan = ExecPlan(failed.op)
    if not plan.mounts:
        raise UsageError(
            "The step that failed copies files and runs nothing, so there is no container to look into.",
            hint="look at what it starts from: give the state before it to ls() or run()",
        )
    ids = []
    for number, mount in enumerate(plan.mounts):
        found = failed.input_ids[mount.input] if mount.input >= 0 else ""
        if not before and number < len(failed.mount_ids):
            found = failed.mount_ids[number] or found
        ids.append(found if mount.kind in ("bind", "cache") else "")
    return Place(opened.bridge, plan, tuple(ids))


async def keep_failure(builder: AnyBuilder, request: BuildRequest) -> object:
    """Open a build beside one that has just failed, and keep it; None when the daemon would run something."""
    try:
        async with asyncio.timeout(JOIN_S):
            opened = await open_state(builder, request)
    except StepFailed as error:
        look = _Look(opened=opened_at(error), error=error)
        look.enter()
        look.leave()
        return look if look.opened is not None else None
    except (DepotlabError, TimeoutError):
        return None  # the first look opens it
    await opened.aclose()
    return None


keep_failures_with(keep_failure)
