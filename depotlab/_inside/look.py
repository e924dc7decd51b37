"""Looking at a target: what may be looked at, and a view of the solve when that takes a while."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict, TypeVar

from depotlab._inside.opened import Feed, Opened
from depotlab._inside.warm import opened_state
from depotlab._portal import CANCEL_GRACE_S, portal, wait_awaiting, wait_blocking
from depotlab._verbs import (
    AnyBuilder,
    Auth,
    BuildRequest,
    BuiltStep,
    Secrets,
    SshAgents,
    Target,
    built_step,
    prepare,
    watched,
)
from depotlab.errors import UsageError
from depotlab.frontend import Dockerfile, FrontendCall
from depotlab.llb import State
from depotlab.progress import Fold, Step
from depotlab.widgets import ProgressMode, Ticker, choose

__all__ = ["Look", "LookOptions", "Lookable", "look_at", "looking", "looking_async", "prepare_look"]

Lookable = Target | BuiltStep | Step
"""What has files to look at: what `build` takes; a step of a build, as `result.at("deps")` or out of `result.steps`."""

SHOW_AFTER_S = 1.0
"""A solve that takes longer is shown as builds are. Most are over by then, and need no view."""


class LookOptions(TypedDict, total=False):
    """Options of the verbs that look into a target.

    Attributes:
        platform: To look at, as `linux/arm64`; the builder's own when left out.
        secrets: By id, as of `Client.build`, for steps that are not in the cache.
        ssh: Agents, as of `Client.build`.
        auth: Registry credentials, as of `Client.build`.
        progress: How a solve is shown that takes longer than a second, as of `Client.build`.
    """

    platform: str | None
    secrets: Secrets
    ssh: SshAgents
    auth: Auth
    progress: ProgressMode


T = TypeVar("T")
Work = Callable[[Opened], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Look:
    """What to look at, checked.

    Attributes:
        request: The target.
        step: The step of it that is meant; None for what the target makes.
        progress: How a solve is shown that takes long.
    """

    request: BuildRequest
    step: BuiltStep | None = None
    progress: ProgressMode = "auto"


def prepare_look(verb: str, target: Lookable, options: LookOptions) -> Look:
    """Check where to look, in the caller's line.

    Raises:
        UsageError: With the argument that is wrong and what it may be.
    """
    known = LookOptions.__optional_keys__
    if unknown := [name for name in options if name not in known]:
        raise UsageError(
            f"{verb}() does not know {unknown[0]}=.", hint=f"options are {', '.join(sorted(known))}"
        )
    if isinstance(target, Step):
        target = built_step(target)
    step = target if isinstance(target, BuiltStep) else None
    if step is None and not isinstance(target, State | Dockerfile | FrontendCall | Mapping):
        raise UsageError(
            f"{verb}() cannot look into {target!r}.",
            hint="pass a state, depotlab.dockerfile(...), or a step of a result: result.at('NAME')",
        )
    platform = options.get("platform") or (step.platform if step is not None else None) or None
    secrets, ssh, auth = options.get("secrets"), options.get("ssh"), options.get("auth")
    request = prepare(
        target.target if isinstance(target, BuiltStep) else target,
        platform=platform,
        secrets=secrets,
        ssh=ssh,
        auth=auth,
    )
    if step is not None:
        given = step.request
        request = replace(
            request,
            title=step.name,
            secrets={**given.secrets, **request.secrets},
            ssh={**given.ssh, **request.ssh},
            auth={**given.auth, **request.auth},
            stores=given.stores,
            allow=given.allow,
        )
    return Look(request, step, options.get("progress", "auto"))


async def look_at(builder: AnyBuilder, look: Look, work: Work[T], feed: Feed = lambda _: None) -> T:
    """Open what is looked at, and return what `work` finds there."""
    async with opened_state(builder, look.request, step=look.step, feed=feed) as opened:
        return await work(opened)


def looking(
    builder: AnyBuilder,
    request: BuildRequest,
    work: Callable[[Feed], Coroutine[Any, Any, T]],
    *,
    progress: ProgressMode,
) -> T:
    """Run work on the I/O thread and wait for it; show it when it takes long.

    Ctrl-C ends it, waits for the clean-up, and is raised.
    """
    view = choose(progress)  # a wrong name is refused before anything is sent
    fold = Fold()
    coroutine = watched(work(fold.feed), request, fold, where=builder.where)
    portal().refuse_io_thread(coroutine)
    job = portal().submit(coroutine)
    ticker: Ticker | None = None
    try:
        try:
            return wait_blocking(job.done, timeout_s=SHOW_AFTER_S)
        except TimeoutError:
            if job.done.done():
                raise  # the work itself timed out
        ticker = Ticker(fold, view).start()
        return wait_blocking(job.done)
    except BaseException:
        if not job.done.done():
            job.cancel()
            concurrent.futures.wait([job.done], CANCEL_GRACE_S)
        raise
    finally:
        if ticker is not None:
            ticker.stop()


async def looking_async(
    builder: AnyBuilder,
    request: BuildRequest,
    work: Callable[[Feed], Coroutine[Any, Any, T]],
    *,
    progress: ProgressMode,
) -> T:
    """Do the same from any event loop."""
    view = choose(progress)
    fold = Fold()
    job = portal().submit(watched(work(fold.feed), request, fold, where=builder.where))
    tickers: list[Ticker] = []
    timer = asyncio.get_running_loop().call_later(
        SHOW_AFTER_S, lambda: tickers.append(Ticker(fold, view).start())
    )
    try:
        return await wait_awaiting(job)
    finally:
        timer.cancel()
        for ticker in tickers:
            await asyncio.to_thread(ticker.stop)
