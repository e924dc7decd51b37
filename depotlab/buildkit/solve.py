"""One build on one daemon: Session, Status and Solve go out together, and end together.

The daemon serves three calls at a time for a build. `Session` is a byte tunnel in which *it* calls *us*
for files and credentials; `Status` streams what happens; `Solve` blocks until the build is over. They are
opened in one flight: each waits a few seconds on the daemon's side for the others to arrive.

Ends, in this order. Solve returns or fails. Status is read until it ends by itself, because the last
message has the cause; it may never end for a build that failed before it was registered, so it is given up after a
silence. Then the session is closed. A cancelled build cancels only Solve, and reads Status on for the
same reason. A link that is silent for long is dead: the daemon asks for our health every five seconds.
Source: moby/buildkit `client/solve.go`, `control/control.go`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from depotlab._proto import control_pb2
from depotlab._rpc import Channel, InnerServer, RpcFailed, Status, build_traced
from depotlab._session import Session
from depotlab.buildkit.caps import known_capabilities
from depotlab.buildkit.control import CONTROL
from depotlab.buildkit.faults import from_failure
from depotlab.buildkit.gateway import Bridge
from depotlab.buildkit.needs import require, spec_needs
from depotlab.buildkit.remarks import Remarks
from depotlab.buildkit.spec import SolveSpec, solve_request
from depotlab.buildkit.tunnel import Tunnel, open_session
from depotlab.errors import (
    BuildCanceled,
    ConnectionLost,
    DepotlabError,
    DockerfileError,
    LinkError,
    ProtocolError,
    StepFailed,
)
from depotlab.progress import BytesMoved, Event, WarningRaised, clock_read, decode

__all__ = ["solve"]

STATUS_SILENCE_S = 5.0
"""How long Status may be silent after Solve has returned. The Go client waits as long."""

STATUS_NEVER_S = 0.5
"""The same when Solve has failed and Status has never said anything: the build was refused before it was registered."""

LINK_SILENCE_S = 60.0
"""Silence on the session after which the link counts as dead: twelve missed health questions."""

SESSION_GRACE_S = 2.0
"""How long Solve may take to tell why the session, or the stream of the status, has ended."""

STATUS_BATCH_S = 0.02
"""Status is decoded so often at most. A short build has most of its messages while the daemon waits for our
files, and each would delay them; no view draws more often than ten times a second."""

OnEvents = Callable[[list[Event]], None]


async def solve(
    channel: Channel, spec: SolveSpec, session: Session, on_events: OnEvents
) -> dict[str, str]:
    """Run one build to its end.

    Args:
        channel: A connection to the daemon, on the running loop.
        spec: What to build.
        session: What the daemon may ask us for meanwhile.
        on_events: Called on the running loop with what the daemon reports, in order; must not block.

    Returns:
        The daemon's answer by key, such as `containerimage.digest`.

    Raises:
        DaemonTooOld: For what the build asks for. Nothing was sent.
        DepotlabError: The build failed; what is known of the cause is in the type and the fields.
        asyncio.CancelledError: The task was cancelled; the build has been cancelled on the daemon.
    """
    await require(channel, spec_needs(spec), plan=spec.plan)
    with build_traced(spec.ref):
        # With a connection in waiting this sends the first bytes and returns: one flight with what follows.
        tunnel = await open_session(channel, session.metadata())
        return await _Build(channel, spec, session, on_events, tunnel).run()


class _Build:
    def __init__(
        self,
        channel: Channel,
        spec: SolveSpec,
        session: Session,
        on_events: OnEvents,
        tunnel: Tunnel,
    ) -> None:
        self.channel = channel
        self.spec = spec
        self.session = session
        self.on_events = on_events
        self.address = channel.endpoint.address
        self.status_at_s: float | None = None
        self.undecoded: list[bytes] = []
        self.remarks = Remarks()
        self.missed: LinkError | None = None  # why progress is not shown any more
        self.tunnel = tunnel
        self.bridge: Bridge | None = None

    async def run(self) -> dict[str, str]:
        serving = asyncio.create_task(self._serve_session(), name="depotlab session")
        status = asyncio.create_task(self._read_status(), name="depotlab status")
        solving = asyncio.create_task(self._solve(), name="depotlab solve")
        frontend = asyncio.create_task(self._run_frontend(), name="depotlab frontend")
        try:
            answer = await self._wait(solving, serving, frontend)
        except BaseException as error:
            await _stop(solving, frontend)
            self.session.give_up()
            # What is wrong with it comes second.
            await self._drain_status(status, never_s=STATUS_NEVER_S)
            if isinstance(error, RpcFailed):
                raise self._blame(error) from error
            raise
        else:
            trouble = await self._drain_status(status, never_s=STATUS_SILENCE_S)
            if trouble is not None:
                raise trouble
            self._tell_missed()
            warnings = [*self.remarks.ignored(), *self.remarks.unhelpful()]
            warnings += [WarningRaised("", 1, p.message, (p.hint,)) for p in self.session.problems]
            if warnings:
                self.on_events(warnings)
            return answer
        finally:
            self.missed = None
            try:
                await _stop(status, frontend, serving)
            finally:  # also when we are interrupted once more
                await self.tunnel.close()

    async def _wait(
        self,
        solving: asyncio.Task[dict[str, str]],
        serving: asyncio.Task[None],
        frontend: asyncio.Task[None],
    ) -> dict[str, str]:
        """Wait for Solve, and meanwhile for everything that makes waiting for it pointless."""
        watched: set[asyncio.Task[object]] = {solving, serving, frontend}
        while not solving.done():
            done, _ = await asyncio.wait(
                watched, timeout=LINK_SILENCE_S / 6, return_when=asyncio.FIRST_COMPLETED
            )
            if solving in done:
                break
            if frontend in done:
                watched.discard(frontend)
                error = frontend.exception()
                if error is not None:
                    # A daemon failure reappears in Solve, with the same details; ours does not.
                    if isinstance(error, RpcFailed):
                        await asyncio.wait({solving}, timeout=STATUS_SILENCE_S)
                        if solving.done():
                            break
                    elif self.bridge is not None and self.bridge.has_returned:
                        # The daemon was told that it failed; cancelled, its record would say so instead.
                        await asyncio.wait({solving}, timeout=STATUS_SILENCE_S)
                    raise error
            if serving in done:
                watched.discard(serving)
                # When the daemon goes away, Solve fails too and knows more; give it a moment.
                await asyncio.wait({solving}, timeout=SESSION_GRACE_S)
                if not solving.done():
                    raise self._session_ended(serving)
            if time.monotonic() - self.tunnel.heard_at_s > LINK_SILENCE_S:
                raise ConnectionLost(
                    f"The daemon at {self.address} has been silent for {LINK_SILENCE_S:g} s.",
                    address=self.address,
                    hint="the network is probably gone: finished steps are in the daemon's cache",
                )
        return solving.result()

    def _session_ended(self, serving: asyncio.Task[None]) -> DepotlabError:
        error = serving.exception()
        if isinstance(error, DepotlabError):
            return error
        return ConnectionLost(
            f"The daemon at {self.address} ended the session of the build.",
            address=self.address,
            hint="its log says why; finished steps are in its cache, so build again",
        )

    def _blame(self, failure: RpcFailed) -> DepotlabError:
        """The daemon only repeats what our side of the session told it: raise our own error then."""
        step = self.remarks.step_of(failure.message)
        told = from_failure(failure, address=self.address, building=True, step=step)
        quoted = next((p for p in self.session.problems if p.message in failure.message), None)
        if quoted is not None and not isinstance(told, StepFailed | BuildCanceled):
            return quoted
        if isinstance(told, StepFailed | DockerfileError | ConnectionLost | BuildCanceled):
            return told
        return next(iter(self.session.problems), told)

    async def _solve(self) -> dict[str, str]:
        answer = await self.channel.unary(
            CONTROL + "Solve", solve_request(self.spec, self.session.id)
        )
        return dict(control_pb2.SolveResponse.FromString(answer).ExporterResponse)

    async def _serve_session(self) -> None:
        await InnerServer(self.session.handlers).serve(self.tunnel)

    async def _run_frontend(self) -> None:
        if self.spec.run is None:
            return
        known = known_capabilities(self.channel)
        bridge = self.bridge = Bridge(
            self.channel,
            self.spec.ref,
            cache_imports=self.spec.cache_imports,
            can_evaluate=known is None or known.has("gateway.solve.evaluate"),
        )
        try:
            await self.spec.run(bridge)
        except RpcFailed as failure:
            await bridge.fail(failure)
            raise

    async def _read_status(self) -> None:
        request = control_pb2.StatusRequest(Ref=self.spec.ref).SerializeToString()
        try:
            answers = await self.channel.ask(CONTROL + "Status", request)
        except LinkError as error:
            self._miss_progress(error)
            return
        try:
            while messages := await answers.read_many():
                if self.status_at_s is None:
                    self._tell_clock(await answers.header("buildkit-current-timestamp"))
                self.status_at_s = time.monotonic()
                if not self.undecoded:
                    asyncio.get_running_loop().call_later(STATUS_BATCH_S, self._decode)
                self.undecoded += messages
        except LinkError as error:
            self._miss_progress(error)
        except RpcFailed as failure:
            # Solve tells the reason; a Status that ends early only means fewer pictures.
            if failure.status in (Status.UNAVAILABLE, Status.CANCELLED, Status.NOT_FOUND):
                return
            raise ProtocolError(f"The status of the build broke off: {failure}") from failure
        finally:
            self._decode()
            await answers.close()

    def _miss_progress(self, error: LinkError) -> None:
        """Note that the rest is not shown. When the whole link is gone Solve fails at once, and that is the reason."""
        self.missed = error
        asyncio.get_running_loop().call_later(SESSION_GRACE_S, self._tell_missed)

    def _tell_missed(self) -> None:
        missed, self.missed = self.missed, None
        if missed is not None:
            self.on_events(
                [WarningRaised("", 1, "Progress is not shown any more.", (missed.message,))]
            )

    def _tell_clock(self, stamp: str) -> None:
        """Say how far the daemon's clock is from ours, so that views can show its times as ours."""
        try:
            clock = clock_read(stamp, local_ns=time.time_ns())
        except ValueError:
            return  # daemons before 0.11 send none: their times are shown as they come
        self.on_events([clock])

    def _decode(self) -> None:
        """Hand on what Status has said since the last time."""
        if not self.undecoded:
            return
        events: list[Event] = []
        for message in self.undecoded:
            events += decode(control_pb2.StatusResponse.FromString(message))
        self.undecoded.clear()
        events = self.remarks.read(events)
        events.append(BytesMoved(self.tunnel.sent_bytes, self.tunnel.received_bytes))
        self.on_events(events)

    async def _drain_status(
        self, status: asyncio.Task[None], *, never_s: float
    ) -> BaseException | None:
        """Read Status to its end, or until it has been silent for too long; return how it failed.

        Args:
            status: The task that reads it.
            never_s: How long it may be silent if it has never said anything.
        """
        since = time.monotonic()
        while not status.done():
            heard = self.status_at_s
            limit = never_s if heard is None else STATUS_SILENCE_S
            left = max(since, heard or 0.0) + limit - time.monotonic()
            if left <= 0:
                return None
            await asyncio.wait({status}, timeout=left)
        return None if status.cancelled() else status.exception()


async def _stop(
    *tasks: asyncio.Task[object] | asyncio.Task[None] | asyncio.Task[dict[str, str]],
) -> None:
    """Cancel tasks and wait until they are gone. Their own errors have been looked at already."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
