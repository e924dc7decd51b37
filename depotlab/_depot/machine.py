"""A machine of a build: asked for, waited for, connected to, kept alive, let go.

Who waits for what:

1. Health is reported from before the machine is asked for until it is released; see `health`.
2. The API says `pending` with a time to wait, as often as it likes, then `active` with where the machine is.
3. The machine is dialled until it answers. An address that refuses may be a daemon that still starts, so it is tried
   again quickly; a certificate that does not fit never will, so that fails at once.
4. If any of this fails in a way that may pass, all of it is done once more, which may give another machine.

All four together have one deadline. The server may cancel the build at any moment, which ends all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from depotlab._depot import methods
from depotlab._depot.build import DepotBuild
from depotlab._depot.connection import Found, Wait, read_connection
from depotlab._depot.errors import (
    BadReply,
    DeadlineExceeded,
    DepotError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    TlsFailed,
    Unauthenticated,
)
from depotlab._depot.health import Health
from depotlab._depot.knock import knock
from depotlab._depot.platforms import builder_platform, machine_platform
from depotlab._depot.stages import Report, Stage, StageName
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._rpc import Endpoint, RpcFailed
from depotlab.errors import BuildCanceled, DepotlabError, LinkError, Unreachable, UsageError

__all__ = ["ACQUIRE_S", "Machine", "Probe"]

ACQUIRE_S: Final = 300.0

# A build that was just registered may not be known everywhere yet.
_YOUNG_S: Final = 5.0
_YOUNG_PAUSE_S: Final = 0.25

# Between two dials of a machine that does not answer.
_FIRST_PAUSE_S: Final = 0.05
_MOST_PAUSE_S: Final = 0.5

# A dial that takes longer may be one that never succeeds.
_PATIENCE_S: Final = 0.5

# How long a machine may shake hands well and then let us wait, or close the door, before that is the answer.
_REFUSING_S: Final = {"let in": 10.0, "closed": 3.0}

# What asking again does not change.
_FINAL: Final = (
    BadReply,
    BuildCanceled,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    TlsFailed,
    Unauthenticated,
)

T = TypeVar("T")

Probe = Callable[[Endpoint], Awaitable[None]]
"""Dials a machine and asks it for its workers: returns if it answered, raises `DepotlabError` or `RpcFailed` if not.
It makes a new connection each time, and may keep the one that answered."""


class Machine:
    """One machine of a build. `async with` acquires and releases it.

    Args:
        build: Whose machine.
        platform: To build for; see `machine_platform`.
        probe: How to find out that the machine answers.
        timeout_s: For getting it, all in all.
        report: Is told each stage.

    Attributes:
        machine: `amd64` or `arm64`.
        endpoint: Where it is, with the certificates, in memory only; None before it is acquired.
        gzip: The server asks to compress messages to it.
        canceled: Set when the server wants the build canceled. The caller then closes its connection to the
            machine and raises `BuildCanceled(cancel_reason)`; `guard` does the second part.
        cancel_reason: Why, or empty.

    Example:
        >>> async with Machine(build, "linux/arm64", probe=probe) as machine:  # doctest: +SKIP
        ...     await machine.guard(solve_at(machine.endpoint))
    """

    def __init__(
        self,
        build: DepotBuild,
        platform: str = "",
        *,
        probe: Probe,
        timeout_s: float = ACQUIRE_S,
        report: Report | None = None,
    ) -> None:
        if not timeout_s > 0:
            raise UsageError(
                f"timeout_s={timeout_s!r} must be more than 0.", hint="leave it out for 5 minutes"
            )
        self.machine = machine_platform(platform)
        self.endpoint: Endpoint | None = None
        self.gzip = False
        self.canceled = asyncio.Event()
        self.cancel_reason = ""
        self._build = build
        self._probe = probe
        self._timeout_s = timeout_s
        self._report = report or build.report
        self._health = Health(build.connect, build.id, self.machine, cancel=self._cancel)
        self._released = False

    def __repr__(self) -> str:
        where = "released" if self._released else "not acquired"
        if self.endpoint is not None and not self._released:
            where = f"at {self.endpoint.address}"
        return f"<{self.machine} machine of build {self._build.id}, {where}>"

    async def __aenter__(self) -> Self:
        try:
            await self.acquire()
        except BaseException:
            await self.release()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()

    async def acquire(self) -> Endpoint:
        """Wait until the machine answers, and return where it is. The caller releases it, also after a failure.

        Raises:
            BuildCanceled: The server canceled the build.
            DeadlineExceeded: There was no machine in time.
            DepotError: The API refused, or its answer cannot be used.
            Unreachable: The machine does not answer, or its certificate does not fit.
        """
        if self._released:
            raise UsageError("This machine was released.", hint="make a new Machine of the build")
        if self.endpoint is not None:
            return self.endpoint
        self._health.start()
        self._say("waiting for machine")
        found = await self.guard(self._in_time())
        self.gzip = found.gzip
        self.endpoint = found.endpoint
        self._say("ready", found.endpoint.address)
        return found.endpoint

    async def release(self) -> None:
        """Let the machine go: no more health is reported. Harmless when called twice."""
        if self._released:
            return
        self._released = True
        await self._health.stop()
        self._say("released")

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what work returns; end it when the server cancels the build.

        The work runs as a task of its own, and is over when this returns, however it does.

        Raises:
            BuildCanceled: The server canceled the build, whatever else the work then failed with.
        """
        task = asyncio.create_task(work)
        called_off = asyncio.create_task(self.canceled.wait())
        try:
            await asyncio.wait((task, called_off), return_when=asyncio.FIRST_COMPLETED)
        finally:
            called_off.cancel()
            task.cancel()
            await asyncio.gather(task, called_off, return_exceptions=True)
        if self.canceled.is_set() and (task.cancelled() or task.exception() is not None):
            cause = None if task.cancelled() else task.exception()
            raise self._called_off() from cause
        return task.result()

    def _cancel(self, why: str) -> None:
        self.cancel_reason = self.cancel_reason or why
        self.canceled.set()

    def _called_off(self) -> BuildCanceled:
        return BuildCanceled(
            f"{self.cancel_reason} (build {self._build.id}).",
            hint="somebody canceled it, or it took longer than it may; finished steps are in the cache",
        )

    def _say(self, name: StageName, detail: str = "") -> None:
        self._report(Stage(name, self.machine, detail))

    async def _in_time(self) -> Found:
        last: DepotlabError | None = None
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                until = limit.when()
                assert until is not None
                try:
                    return await self._attempt(until, share=0.5)
                except DepotlabError as error:
                    if not _may_pass(error):
                        raise
                    last = error
                self._say("retry", last.message)
                # Not to the last moment: that the machine does not answer says more than that time is up.
                return await self._attempt(until, share=0.95)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                f"There was no {self.machine} machine within {self._timeout_s:g} s (build {self._build.id}).",
                hint="try again, or allow more time; the build's page at Depot may say what is missing",
                code="deadline_exceeded",
                method="GetBuildKitConnection",
            ) from last

    async def _attempt(self, until: float, *, share: float) -> Found:
        """Ask for the machine and dial it, which may take this share of the time that is left then."""
        found = await self._ask()
        self._say("connecting", found.endpoint.address)
        now = asyncio.get_running_loop().time()
        await self._dial(found.endpoint, now + (until - now) * share)
        return found

    async def _ask(self) -> Found:
        request = cli.GetBuildKitConnectionRequest(
            build_id=self._build.id, platform=builder_platform(self.machine)
        )
        if self._build.engine is not None:
            request.required_engine.CopyFrom(self._build.engine.message())
        while True:
            try:
                reply = await self._build.connect.unary(methods.GET_CONNECTION, request)
            except NotFound:
                if self._build.age_s > _YOUNG_S:
                    raise
                await asyncio.sleep(_YOUNG_PAUSE_S)
                continue
            except DepotError as error:
                if error.code != "canceled":
                    raise
                self._cancel(f"Depot says that the build is canceled: {error.server_message}")
                raise self._called_off() from error
            match read_connection(reply):
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case Found() as found:
                    return found

    async def _dial(self, endpoint: Endpoint, until: float) -> None:
        """Try until the machine answers.

        Raises:
            Unreachable: It does not, or never will.
        """
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_PAUSE_S
        refuses_at: float | None = None  # when its refusing us becomes its answer
        while True:
            failure: Exception
            try:
                async with asyncio.timeout_at(until):
                    return await self._probed(endpoint)
            except UsageError:
                raise
            except (DepotlabError, RpcFailed) as error:
                failure = error
            except TimeoutError as error:
                failure = error
            knocked = await knock(endpoint)
            now = loop.time()
            refuses_at = None if knocked == "nobody" else refuses_at or now + _REFUSING_S[knocked]
            if now + pause_s >= min(until, refuses_at or until):
                if knocked == "closed":
                    raise Unreachable(
                        f"The machine at {endpoint.address} ends every connection as soon as it has seen the "
                        "certificate that Depot has given us.",
                        address=endpoint.address,
                        hint="try again; if it stays, report it with the id of the build",
                    ) from failure
                if isinstance(failure, LinkError):
                    raise failure
                raise Unreachable(
                    f"The machine at {endpoint.address} does not answer as a BuildKit daemon does.",
                    address=endpoint.address,
                    hint="try again; if it stays, report it with the id of the build",
                ) from failure
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _MOST_PAUSE_S)

    async def _probed(self, endpoint: Endpoint) -> None:
        """Dial once. At a machine that lets us wait we knock meanwhile, which may tell that waiting is no use."""
        probing = asyncio.ensure_future(self._probe(endpoint))
        try:
            answered, _ = await asyncio.wait([probing], timeout=_PATIENCE_S)
            if not answered:
                await knock(endpoint)
            await probing
        finally:
            probing.cancel()
            await asyncio.wait([probing])


def _may_pass(error: DepotlabError) -> bool:
    """Whether a fresh attempt may go better: another machine, or the API is back."""
    if isinstance(error, _FINAL):
        return False
    if isinstance(error, DepotError):
        return error.code not in ("canceled", "unimplemented")
    return isinstance(error, LinkError)
