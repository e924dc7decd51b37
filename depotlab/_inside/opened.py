"""A build that stays open, so that its files can be looked at and things can be run in it.

The daemon keeps the results of a build that its client runs until the client says `Return`. So looking into a state is
a build of our own that solves it and then waits. References live as long as it does.

However the user leaves, it ends: it is closed after the look; it is forgotten (a finalizer lets go of it); its
client is closed; or the process dies, and the daemon ends a build whose `Solve` has lost its connection.

When a step fails the build stays open as well, with what the daemon says is left of the step. The error that is
raised keeps it: `opened_at(error)`.
Source: moby/buildkit `client/build.go`, `frontend/gateway/gateway.go`; results are held so by docker/buildx,
`build/result.go`.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from depotlab._rpc import Channel, RpcFailed
from depotlab._session import Session
from depotlab._verbs import AnyBuilder, BuildRequest, BuiltStep, Made, Solving
from depotlab.buildkit import (
    Attempt,
    Bridge,
    FailedOp,
    Files,
    from_failure,
    guest_path,
    new_ref,
    parse_details,
    solve_with_retry,
)
from depotlab.errors import BuildCanceled, DepotlabError, UsageError
from depotlab.llb import Definition, ImageConfig, Platform, State
from depotlab.progress import Event, VertexUpdated

__all__ = ["Feed", "Opened", "open_state", "opened_at"]

Feed = Callable[[Sequence[Event]], None]
"""Takes in events of a build, in the order they came; must not block."""

CLOSE_S = 2.0
"""How long the daemon may take to end a build that we have left, before it is cancelled."""

LAST_WORDS_S = 0.5
"""How long to wait, when a step has failed, for the end of its output, which comes on another stream."""

KEPT_FAILURES = 2
"""Failed builds that a client keeps open, the newest. Notebooks keep errors for ever (`sys.last_value`)."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Opened:
    """A build of ours that stays open on the daemon, and one solved state in it. Belongs to the I/O thread.

    Attributes:
        bridge: The gateway calls of the build.
        ref: Reference of the state's root; empty for scratch. Of a failed build, empty.
        platform: What the state was solved for.
        state: The graph, base images resolved; of a Dockerfile what its frontend made of it. None when that is not
            known.
        definition: The graph as it was sent, or as the frontend made it; None when that is not known.
        config: The image configuration, None when there is none.
        failed: What the failed step has left behind; None when all went well.
    """

    bridge: Bridge
    ref: str
    platform: Platform
    state: State | None
    definition: Definition | None
    config: ImageConfig | None
    failed: FailedOp | None = None
    _hold: _Hold = field(repr=False, kw_only=True)

    @property
    def channel(self) -> Channel:
        """The connection that the build runs on."""
        return self.bridge.channel

    @property
    def files(self) -> Files:
        """The files of the state; relative paths start from its working directory."""
        directory = self.config.working_dir if self.config is not None else None
        return Files(self.bridge, self.ref, base=guest_path(directory or "/"))

    @property
    def build_ref(self) -> str:
        """The name of the build on the daemon."""
        return self.bridge.ref

    @property
    def is_open(self) -> bool:
        """False when the build has ended: closed by us, or by a daemon that went away."""
        return self._hold.is_open

    async def aclose(self) -> None:
        """End the build and wait for that. Once more does nothing."""
        await self._hold.leave()


# Errors go around by pickling and must not take a connection along, so it is no attribute of them.
_left_open: weakref.WeakKeyDictionary[DepotlabError, Opened] = weakref.WeakKeyDictionary()


def opened_at(error: DepotlabError) -> Opened | None:
    """Return the build that stays open at the step that failed with this error, or None."""
    found = _left_open.get(error)
    return found if found is not None and found.is_open else None


async def open_state(
    builder: AnyBuilder,
    request: BuildRequest,
    *,
    step: BuiltStep | None = None,
    feed: Feed = lambda _: None,
) -> Opened:
    """Solve a target and keep the build open. The caller closes what it gets.

    Args:
        builder: The daemon.
        request: From `prepare`: a target for one platform. Outputs are none of it.
        step: The step of the target whose files are wanted; those of the target itself when left out.
        feed: Takes the progress of the solve.

    Raises:
        StepFailed: A step failed. The build stays open, see `opened_at`.
        UsageError: Several platforms, or a step that is not part of the target.
        DepotlabError: As of a build.
    """
    if len(request.platforms) > 1:
        raise UsageError(
            f"platform={list(request.platforms)!r}: one platform can be looked at, not several.",
            hint="leave all but one out",
        )
    hold = _Hold(builder, request, step, feed)
    found = await hold.begin()
    opened = Opened(
        found.bridge,
        found.made.ref,
        found.platform,
        found.made.state,
        found.made.definition,
        ImageConfig.from_json(found.made.config) if found.made.config else None,
        found.failed,
        _hold=hold,
    )
    weakref.finalize(opened, hold.let_go).atexit = False
    if found.error is None:
        return opened
    _left_open[found.error] = opened
    _keep_newest(builder, hold)
    raise found.error


async def close_all(builder: AnyBuilder) -> None:
    """End all builds that a client holds open."""
    await asyncio.gather(*(hold.leave() for hold in list(_holds.get(builder, ()))))


@dataclass(frozen=True, slots=True)
class _Found:
    """What came of the solve, before anybody holds it."""

    bridge: Bridge
    platform: Platform
    made: Made
    failed: FailedOp | None = None
    error: DepotlabError | None = None


def _failed_with(failure: RpcFailed, bridge: Bridge, platform: Platform) -> _Found:
    error = from_failure(failure, address=bridge.channel.endpoint.address, building=True)
    return _Found(bridge, platform, Made(""), parse_details(failure.details).failed, error)


_holds: weakref.WeakKeyDictionary[AnyBuilder, set[_Hold]] = weakref.WeakKeyDictionary()
_failed: weakref.WeakKeyDictionary[AnyBuilder, list[_Hold]] = weakref.WeakKeyDictionary()


def _keep_newest(builder: AnyBuilder, hold: _Hold) -> None:
    kept = _failed.setdefault(builder, [])
    kept.append(hold)
    for old in kept[:-KEPT_FAILURES]:
        old.let_go()
    del kept[:-KEPT_FAILURES]


class _Hold:
    """The task in which the build runs. It knows nothing of who holds it, so that it can be forgotten."""

    def __init__(
        self, builder: AnyBuilder, request: BuildRequest, step: BuiltStep | None, feed: Feed
    ) -> None:
        self._builder = builder
        self._request = request
        self._step = step
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._found: asyncio.Future[_Found] | None = self._loop.create_future()
        self._leave = asyncio.Event()
        self._failure_shown = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return not self._leave.is_set() and self._task is not None and not self._task.done()

    async def begin(self) -> _Found:
        """Start the build; return when the state is solved, or has failed."""
        assert self._found is not None
        holds = _holds.setdefault(self._builder, set())
        if not holds and close_all not in self._builder.before_close:
            self._builder.before_close.append(close_all)
        holds.add(self)
        self._task = asyncio.create_task(self._run(), name="depotlab open state")
        self._task.add_done_callback(self._ended)
        try:
            return await self._found
        except BaseException:
            await self.leave()
            raise
        finally:
            self._found = (
                None  # the error of a failed step is kept alive by who caught it, not by us
            )

    def let_go(self) -> None:
        """End the build some time soon; from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave.set)

    async def leave(self) -> None:
        """End the build, and wait until it has ended."""
        self._leave.set()
        if self._task is None or self._task.done() or self._task is asyncio.current_task():
            return
        if self._found is not None:
            self._task.cancel()  # not solved yet: nobody is going to want it
        await asyncio.wait({self._task}, timeout=CLOSE_S)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        _holds.get(self._builder, set()).discard(self)
        error = None if task.cancelled() else task.exception()
        if self._found is not None and not self._found.done():
            ended = BuildCanceled("The build was ended before its files could be looked at.")
            self._found.set_exception(error or ended)

    async def _run(self) -> None:
        async with self._builder.borrowed(self._request.platforms) as here:
            aim = await here.aim(self._request)

            def attempt() -> Attempt:
                session = here.session(self._request, aim.offer)
                solving = Solving(aim, here, session)

                async def run(bridge: Bridge) -> None:
                    await self._solve(bridge, solving, session)

                spec = replace(
                    aim.spec,
                    ref=new_ref(),
                    frontend="",
                    attrs={},
                    inputs={},
                    run=run,
                    is_internal=True,
                )
                return Attempt(spec, session)

            await solve_with_retry(here.connect, attempt, self._take)

    async def _solve(self, bridge: Bridge, solving: Solving, session: Session) -> None:
        """Be the frontend of the build: solve, wait until it is left, return."""
        platform = Platform.parse((self._request.platforms or (await solving.platform(),))[0])

        async def on_failure(failure: RpcFailed) -> None:
            await self._stay_open(bridge, platform, failure, session)

        try:
            made = await solving.one(bridge, platform, step=self._step, on_failure=on_failure)
        except RpcFailed as failure:
            await on_failure(failure)
            raise
        self._tell(_Found(bridge, platform, made))
        await self._leave.wait()
        await bridge.finish("", {})

    async def _stay_open(
        self, bridge: Bridge, platform: Platform, failure: RpcFailed, session: Session
    ) -> None:
        """Wait until the build is left, if a failed step has left something in it."""
        if not self._leaves_something(failure, session):
            return
        with contextlib.suppress(TimeoutError):  # only the error's last lines may be missing then
            async with asyncio.timeout(LAST_WORDS_S):
                await self._failure_shown.wait()
        # The error is kept by nobody here: when its holder forgets it, the build ends.
        self._tell(_failed_with(failure, bridge, platform))
        await self._leave.wait()

    def _leaves_something(self, failure: RpcFailed, session: Session) -> bool:
        """Whether there is something to look at, and the failure is not our own side's."""
        failed = parse_details(failure.details).failed
        left = failed is not None and any((*failed.input_ids, *failed.mount_ids))
        return left and not any(p.message in failure.message for p in session.problems)

    def _tell(self, found: _Found) -> None:
        if self._found is not None and not self._found.done():
            self._found.set_result(found)

    def _take(self, events: Sequence[Event]) -> None:
        if any(type(e) is VertexUpdated and e.error for e in events):
            self._failure_shown.set()
        if not self._leave.is_set():
            self._feed(events)
