"""The verb `run`: which place it means, and what it may be given there."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from depotlab._inside.commands import (
    KEEP_BYTES,
    AnyMount,
    Command,
    OnOutput,
    Stdin,
    Writer,
    check_command,
)
from depotlab._inside.completed import Completed
from depotlab._inside.failed import failure_place
from depotlab._inside.look import Lookable, looking, looking_async, prepare_look
from depotlab._inside.opened import Feed, Opened, open_state
from depotlab._inside.processes import Place, place_of_state, run_at
from depotlab._inside.shell import Shell, open_shell
from depotlab._inside.warm import opened_state
from depotlab._portal import portal
from depotlab._verbs import (
    AnyBuilder,
    Auth,
    BuildRequest,
    BuiltStep,
    FailedBuild,
    Secrets,
    SshAgents,
    failed_build,
    prepare,
    remember_failure,
)
from depotlab.errors import StepFailed, UsageError
from depotlab.llb import scratch
from depotlab.widgets import ProgressMode

__all__ = [
    "RunJob",
    "Runnable",
    "as_request",
    "failed_builder",
    "open_place",
    "prepare_at",
    "prepare_run",
    "run",
    "run_async",
    "shell",
]

Runnable = Lookable | StepFailed
"""Where a command can run: in what a target or a step of a build makes, or where a step failed."""


@dataclass(frozen=True, slots=True)
class RunJob:
    """A command and where to run it, checked.

    Attributes:
        command: What to run.
        request: The target; None where a step failed.
        step: The step of it that is meant; None for what the target makes.
        error: The failed step; None for a target.
        before: The files of the failed step as its command found them.
        check: A code other than 0 is an error.
        progress: How a build of the target is shown that takes long.
    """

    command: Command
    request: BuildRequest | None
    step: BuiltStep | None
    error: StepFailed | None
    before: bool
    check: bool
    progress: ProgressMode


def as_request(
    target: Runnable,
    verb: str,
    *,
    platform: str | None,
    secrets: Secrets,
    ssh: SshAgents,
    allow: str | Sequence[str],
    auth: Auth,
) -> tuple[BuildRequest | None, BuiltStep | None]:
    """Check where to run; no request where a step failed, which brings all this with it.

    Raises:
        UsageError: With the argument that is wrong.
    """
    if not isinstance(target, StepFailed):
        look = prepare_look(
            verb, target, {"platform": platform, "secrets": secrets, "ssh": ssh, "auth": auth}
        )
        asked = prepare(look.request.target, allow=allow).allow
        request = replace(look.request, allow=tuple(dict.fromkeys([*look.request.allow, *asked])))
        return request, look.step
    given = {
        "platform": platform, "secrets": secrets, "ssh": ssh, "allow": allow or None, "auth": auth
    }  # fmt: skip
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"{name}= is for states; a failed step has what its build was given.",
                hint=f"leave {name}= out of {verb}(error, ...)",
            )
    return None, None


def prepare_run(
    target: Runnable,
    command: str | Sequence[str],
    *,
    mounts: Iterable[AnyMount] = (),
    env: Mapping[str, str | int] | None = None,
    cwd: str | PurePath = "",
    user: str = "",
    network: str = "",
    stdin: Stdin = None,
    tty: bool = False,
    timeout_s: float | None = None,
    check: bool = False,
    on_output: OnOutput | None = None,
    stdout: Writer | None = None,
    max_output_bytes: int = KEEP_BYTES,
    before: bool = False,
    platform: str | None = None,
    secrets: Secrets = None,
    ssh: SshAgents = None,
    allow: str | Sequence[str] = (),
    auth: Auth = None,
    progress: ProgressMode = "auto",
) -> RunJob:
    """Check the arguments of `run` in the caller's line. Reads secrets; sends nothing.

    Raises:
        UsageError: With the argument that is wrong and what it may be.
    """
    checked = check_command(
        command,
        mounts=mounts,
        env=env,
        cwd=cwd,
        user=user,
        network=network,
        stdin=stdin,
        tty=tty,
        timeout_s=timeout_s,
        on_output=on_output,
        stdout=stdout,
        max_output_bytes=max_output_bytes,
    )
    request, step = as_request(
        target, "run", platform=platform, secrets=secrets, ssh=ssh, allow=allow, auth=auth
    )
    if request is None and (checked.mounts or network):
        raise UsageError(
            "mounts= and network= are for states; a failed step has those of its own command.",
            hint="leave them out of run(error, ...)",
        )
    if request is not None and before:
        raise UsageError(
            "before=True is for a failed step: its files as the command found them.",
            hint="a state is what it is; leave before= out",
        )
    if request is not None and checked.mounts:
        # Their directories on this computer are offered, and their secrets looked for, before anything is sent.
        request = replace(request, also=(checked.on(scratch()),))
    error = target if isinstance(target, StepFailed) else None
    return RunJob(checked, request, step, error, before, check, progress)


def failed_builder(error: StepFailed) -> AnyBuilder:
    """Return the builder of a failed step.

    Raises:
        UsageError: The error was copied, or comes from another process.
    """
    return _failed(error).builder


def _failed(error: StepFailed) -> FailedBuild:
    found = failed_build(error)
    if found is None:
        raise UsageError(
            "This error does not know its build any more: it was copied, or comes from another process.",
            hint="look where the build failed, or build again here",
        )
    return found


def run(builder: AnyBuilder, job: RunJob) -> Completed:
    """Run a command and wait for its end. What has to be built first is shown when it takes long.

    Raises:
        CommandFailed: It could not be started, or failed and `check` is set.
        CommandTimeout: It took too long and was killed.
        DepotlabError: The target could not be solved.
    """
    place, leave = looking(builder, _title(job), _entering(builder, job), progress=job.progress)
    try:
        done = portal().run(run_at(place, job.command))
    finally:
        portal().run(leave())
    return done.check() if job.check else done


async def run_async(builder: AnyBuilder, job: RunJob) -> Completed:
    """Do the same from any event loop."""
    place, leave = await looking_async(
        builder, _title(job), _entering(builder, job), progress=job.progress
    )
    try:
        done = await portal().wait_for(run_at(place, job.command))
    finally:
        await portal().wait_for(leave())
    return done.check() if job.check else done


def _title(job: RunJob) -> BuildRequest:
    if job.request is not None:
        return job.request
    assert job.error is not None
    return _failed(job.error).request


Entered = tuple[Place, Callable[[], Coroutine[Any, Any, None]]]


def _entering(builder: AnyBuilder, job: RunJob) -> Callable[[Feed], Coroutine[Any, Any, Entered]]:
    """Open the place where a command is to run; what comes back has what closes it."""

    async def enter(feed: Feed) -> Entered:
        stack = AsyncExitStack()
        place = await stack.enter_async_context(open_place(builder, job, feed))
        return place, stack.aclose

    return enter


def _quiet(_: object) -> None:
    """Show nothing."""


@asynccontextmanager
async def open_place(builder: AnyBuilder, job: RunJob, feed: Feed = _quiet) -> AsyncIterator[Place]:
    """Have the place where a command is to run, for the length of a block."""
    if job.error is not None:
        async with failure_place(job.error, before=job.before, feed=feed) as place:
            yield place
        return
    assert job.request is not None
    async with _state(builder, job.request, job.step, feed) as opened:
        yield await place_of_state(opened, job.request, job.command, of_step=job.step is not None)


@asynccontextmanager
async def _state(
    builder: AnyBuilder, request: BuildRequest, step: BuiltStep | None, feed: Feed
) -> AsyncIterator[Opened]:
    """Have a target open; a step of it that fails can be looked at then."""
    try:
        if not request.also:
            async with opened_state(builder, request, step=step, feed=feed) as shared:
                yield shared
            return
        # What a command mounts from this computer is read anew each time.
        opened = await open_state(builder, request, step=step, feed=feed)
        try:
            yield opened
        finally:
            await opened.aclose()
    except StepFailed as error:
        remember_failure(error, builder, request)
        raise


def prepare_at(command: str | Sequence[str], **options: Any) -> Command:
    """Check a command for a place that brings its mounts and network with it.

    Raises:
        UsageError: With the argument that is wrong.
    """
    known = inspect.signature(check_command).parameters
    for name in options:
        if name not in known or name in ("command", "mounts", "network"):
            raise UsageError(
                f"{name}= cannot be said here: mounts and network are those of the step.",
                hint="leave it out, or give the state itself to Client.run",
            )
    return check_command(command, **options)


def shell(
    builder: AnyBuilder,
    target: Runnable,
    command: str | Sequence[str] | None = None,
    *,
    env: Mapping[str, str | int] | None = None,
    height_px: int = 320,
    **options: Any,
) -> Shell:
    """Open a shell; the options are those of `prepare_run`. Waits where it has the program's terminal.

    Raises:
        UsageError: With the argument that is wrong and what it may be.
    """
    if isinstance(height_px, bool) or not isinstance(height_px, int) or not 60 <= height_px <= 4000:
        raise UsageError(f"height_px={height_px!r} is no height.", hint="pixels, from 60 to 4000")
    env = {"TERM": "xterm-256color", **(env or {})}
    asked = ["/bin/sh"] if command is None else command
    job = prepare_run(target, asked, env=env, tty=True, **options)
    return open_shell(
        lambda: open_place(builder, job),
        job.command,
        wants_shell=command is None,
        height_px=height_px,
        title=f"shell where {target.step!r} failed" if isinstance(target, StepFailed) else "shell",
    )
