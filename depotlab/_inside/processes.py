"""Running a command in a state: a container on the daemon for as long as it runs.

The command is an exec op like any other, made on top of the state, so that mounts, secrets, users and networks mean
what they mean in a build. But the op is not solved: its mounts are, and a container is made of them. What the command
writes goes into copies and is gone with the container.
"""

from __future__ import annotations

import asyncio
import codecs
import contextvars
import posixpath
import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from depotlab._inside.commands import Command, OnOutput
from depotlab._inside.completed import Completed, Tail, shown_command
from depotlab._inside.opened import Opened
from depotlab._rpc import RpcFailed
from depotlab._verbs import BuildRequest, GraphBuild
from depotlab.buildkit import (
    Bridge,
    Container,
    ExecPlan,
    Exit,
    Process,
    from_failure,
    open_container,
    part_of,
)
from depotlab.errors import CommandFailed, CommandTimeout
from depotlab.frontend import Dockerfile
from depotlab.llb import ImageConfig, Platform, State, scratch

__all__ = ["Place", "place_of", "place_of_state", "run_at", "with_config"]

STOP_S = 0.7
"""How long a command may take to end after an interrupt, before it is killed."""

STDIN_PIECE_BYTES = 64 << 10

# What runc and crun write in place of a command that they could not start; the exit code is 1 then.
_NOT_STARTED = re.compile(
    rb"\A(?:(?:runc run failed: |crun: )[^\n]*?exec: \"?(?P<exec>[^\"\n]*?)\"?: "
    rb"|crun: executable file `(?P<crun>[^`]*)` "
    rb"|exec (?P<init>/[^\n:]*): )(?P<why>[^\n]*)\n?\Z"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command can run: an op, and what each of its mounts shows.

    Attributes:
        bridge: Of the build that the ids belong to.
        plan: The op.
        ids: By mount.
        is_commands_own: The op is that of the command to be run, and not that of a step.
    """

    bridge: Bridge
    plan: ExecPlan
    ids: tuple[str, ...]
    is_commands_own: bool = False

    async def start(self, container: Container, command: Command) -> Process:
        """Start a command in a container of this place.

        Raises:
            RpcFailed: The daemon refused.
        """
        if self.is_commands_own:
            return await container.start(
                args=command.args, tty=command.tty, has_stdin=command.stdin is not None
            )
        return await container.start(
            args=command.args,
            env={name: str(value) for name, value in (command.env or {}).items()},
            cwd=posixpath.join(self.plan.cwd, command.cwd),
            user=command.user,
            tty=command.tty,
            has_stdin=command.stdin is not None,
        )

    async def container(self) -> Container:
        """Make a container of it.

        Raises:
            DaemonError: The daemon refused.
        """
        try:
            return await open_container(self.bridge, self.plan, self.ids)
        except RpcFailed as failure:
            address = self.bridge.channel.endpoint.address
            raise from_failure(failure, address=address) from failure


async def place_of_state(
    opened: Opened, request: BuildRequest, command: Command, *, of_step: bool = False
) -> Place:
    """Say what a command in an open state needs: its op, and the results that it mounts.

    Args:
        opened: The state.
        request: Its target.
        command: To be run in it.
        of_step: The state is what a step has made, whose variables, directory and user hold.
    """
    base = opened.state or scratch()
    if of_step:
        base = _with_settings(base, opened.platform)
    elif isinstance(request.target, Dockerfile) and opened.config is not None:
        base = with_config(base, opened.config)
    return await place_of(opened.bridge, opened.platform, base, opened.ref, command)


async def place_of(
    bridge: Bridge, platform: Platform, base: State, root: str, command: Command
) -> Place:
    """Say what a command in a state needs that is solved in a build.

    Args:
        bridge: Of the build.
        platform: That the state was solved for.
        base: The state, with the variables, the directory and the user that hold for the command.
        root: Reference of its files.
        command: To be run in it.
    """
    graph = GraphBuild(command.on(base), (platform,))
    definition = graph.marshal(await graph.resolve(bridge, platform), platform)
    whole = definition.to_bytes()
    plan = ExecPlan(definition.ops[-2].data)

    async def shown(number: int, wanted: int) -> str:
        if number == plan.root:
            return root
        return await bridge.solve(part_of(whole, *plan.inputs[wanted])) if wanted >= 0 else ""

    try:
        ids = await asyncio.gather(*(shown(n, m.input) for n, m in enumerate(plan.mounts)))
    except RpcFailed as failure:
        raise from_failure(failure, address=bridge.channel.endpoint.address) from failure
    return Place(bridge, plan, tuple(ids), is_commands_own=True)


def with_config(state: State, config: ImageConfig) -> State:
    """Return what a frontend made of a Dockerfile, which has no settings, with those of the image that comes of it."""
    state = state.env(config.env) if config.env else state
    state = state.dir(config.working_dir) if config.working_dir else state
    return state.user(config.user) if config.user else state


def _with_settings(state: State, platform: Platform) -> State:
    """Return what a step has made with the settings that the step had, if it was a command."""
    made = state.marshal(platform).ops[-2]
    if made.kind != "exec":
        return state
    plan = ExecPlan(made.data)
    state = state.env(plan.env).dir(plan.cwd) if plan.env else state.dir(plan.cwd)
    return state.user(plan.user) if plan.user else state


async def run_at(place: Place, command: Command) -> Completed:
    """Run a command in a new container at a place.

    Raises:
        CommandFailed: It could not be started.
        CommandTimeout: It took too long and was killed.
        DepotlabError: The connection broke, or the daemon refused.
    """
    container = await place.container()
    try:
        process = await place.start(container, command)
        run = _Run(process, command)
        try:
            done = await run.to_end()
        finally:
            process.close()
        if process.exit is not None and not process.exit.is_told:
            code = await container.release()
            done = done if code is None else replace(done, exit_code=code)
        return done
    except RpcFailed as failure:
        address = place.bridge.channel.endpoint.address
        raise from_failure(failure, address=address) from failure
    finally:
        # In a task of its own, so that a second interrupt does not leave it on the daemon.
        await asyncio.shield(asyncio.ensure_future(container.release()))


class _Run:
    """One process, fed and read until it ends."""

    def __init__(self, process: Process, command: Command) -> None:
        self._process = process
        self._command = command
        self._tail = Tail(command.keep_bytes)
        self._lines = _Lines(command)
        self._began_s = time.monotonic()

    async def to_end(self) -> Completed:
        feeding = asyncio.create_task(self._feed(), name="depotlab stdin")
        timeout_s = self._command.timeout_s
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await self._read()
                await self._lines.end()
        except TimeoutError:
            if not limit.expired():
                raise
            assert timeout_s is not None
            raise CommandTimeout(
                f"The command {shown_command(self._command.args)!r} took longer than {timeout_s:g} s "
                "and was killed.",
                timeout_s=timeout_s,
                command=self._command.args,
                output_tail=self._completed(137).last_lines(20),
                hint="raise timeout_s=, or leave it out",
            ) from None
        except asyncio.CancelledError:
            await self._interrupt()
            raise
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
        if not feeding.cancelled() and (error := feeding.exception()) is not None:
            raise error
        exit_ = self._process.exit
        assert exit_ is not None
        done = self._completed(exit_.code)
        refused = _not_started(self._command, done, exit_)
        if refused is not None:
            raise refused
        return done

    def _completed(self, exit_code: int) -> Completed:
        return Completed(
            self._command.args,
            exit_code,
            self._tail.kept(),
            time.monotonic() - self._began_s,
            self._tail.dropped_bytes,
        )

    async def _feed(self) -> None:
        given = self._command.stdin
        if isinstance(given, bytes | str):
            await self._process.write(given.encode() if isinstance(given, str) else given)
        elif given is not None:
            while self._process.exit is None:
                piece = await asyncio.to_thread(given.read, STDIN_PIECE_BYTES)
                if not piece:
                    break
                await self._process.write(piece.encode() if isinstance(piece, str) else piece)
        await self._process.close_stdin()

    async def _read(self) -> None:
        stdout = self._command.stdout
        while (piece := await self._process.read()) is not None:
            file, data = piece
            if stdout is not None and file == 1:
                await asyncio.to_thread(stdout.write, data)
            else:
                self._tail.add(file, data)
            await self._lines.take(file, data)

    async def _interrupt(self) -> None:
        """Let it end by itself, as Ctrl-C in a terminal would; what remains is killed with the container."""
        with suppress(RpcFailed, TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._process.signal("INT")
                while await self._process.read() is not None:
                    pass


class _Lines:
    """Hands lines to the caller, in a thread so that a slow caller holds up the command and nothing else."""

    def __init__(self, command: Command) -> None:
        self._call = command.on_output
        self._context = command.context or contextvars.copy_context()
        self._decoders = {n: codecs.getincrementaldecoder("utf-8")("replace") for n in (1, 2)}
        self._begun = {1: "", 2: ""}

    async def take(self, file: int, data: bytes) -> None:
        """Take what came from file 1 or 2."""
        if self._call is None:
            return
        *lines, rest = (self._begun[file] + self._decoders[file].decode(data)).split("\n")
        self._begun[file] = rest
        await self._hand_on([line.removesuffix("\r") for line in lines])

    async def end(self) -> None:
        """Hand on the last lines, if they have no end."""
        if self._call is not None:
            await self._hand_on([text for text in self._begun.values() if text])

    async def _hand_on(self, lines: list[str]) -> None:
        if not lines or self._call is None:
            return

        def call(function: OnOutput) -> None:
            for line in lines:
                function(line)

        work = partial(self._context.run, call, self._call)
        await asyncio.get_running_loop().run_in_executor(None, work)


def _not_started(command: Command, done: Completed, exit_: Exit) -> CommandFailed | None:
    """Tell a command that could not be started from one that failed."""
    if exit_.code == 255 and exit_.message and not exit_.message.startswith("exit code"):
        hint = (
            "user= is a name in the state's /etc/passwd, or a number"
            if "user" in exit_.message
            else ""
        )
        return CommandFailed(
            f"The command {shown_command(command.args)!r} could not be started: {exit_.message}.",
            command=command.args,
            exit_code=125,
            hint=hint,
        )
    if exit_.code != 1 or len(done.output) > 2:
        return None
    found = _NOT_STARTED.match(b"".join(data for _, data in done.output).replace(b"\r\n", b"\n"))
    if found is None:
        return None
    program = (found["exec"] or found["crun"] or found["init"] or b"").decode("utf-8", "replace")
    why = found["why"].decode("utf-8", "replace")
    if "permission denied" in why or "is a directory" in why:
        return CommandFailed(
            f"{program} is there and cannot be run: {why}.",
            command=command.args,
            exit_code=126,
            hint="look at its mode and format with ls() or stat()",
        )
    if "format error" in why:
        return CommandFailed(
            f"{program} is not made for this platform, or is no program: {why}.",
            command=command.args,
            exit_code=126,
            hint="a script needs a first line such as #!/bin/sh; a program needs the right platform=",
        )
    if found["init"]:
        return CommandFailed(
            f"{program} is there and cannot be run: {why}.",
            command=command.args,
            exit_code=126,
            hint="a script needs the program of its first line, and a program its loader and libraries",
        )
    if command.args[:2] == ("/bin/sh", "-c") and program == "/bin/sh":
        return CommandFailed(
            "There is no shell in this state: /bin/sh does not exist.",
            command=command.args,
            exit_code=127,
            hint="pass the command as a list of words, such as run(state, ['/app', '--version'])",
        )
    return CommandFailed(
        f"There is no program {program!r} in this state: {why}.",
        command=command.args,
        exit_code=127,
        hint="look where it is with find(); names without a slash are looked for in PATH",
    )
