"""A shell in a state, or where a step failed: a process with a terminal, and whoever sits at it.

The process and everything that it needs live on the I/O thread, in one task that ends with it. What it writes is
gathered for some milliseconds and handed to the view on a thread of the shell's own, which may wait: what is not shown
is not read, and so a flood of output waits in the daemon. What is typed comes from any thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from depotlab._inside.commands import Command
from depotlab._inside.completed import shown_command
from depotlab._inside.processes import Place
from depotlab._portal import Job, portal, wait_blocking
from depotlab._rpc import RpcFailed
from depotlab._values import Value, cut
from depotlab.buildkit import Container, Files, Process, from_failure
from depotlab.errors import CommandFailed, DepotlabError, UsageError
from depotlab.widgets import (
    Keys,
    NotebookShell,
    ShellView,
    TerminalShell,
    has_terminal,
    is_in_kernel,
    transcript_text,
)

__all__ = ["PlaceOpener", "Shell", "open_shell"]

READY_S = 0.3
"""How long a process may take to set up its terminal, when it says nothing at first."""

GATHER_S = 0.004
GATHER_BYTES = 256 << 10
RECENT_BYTES = 256 << 10
CLOSE_S = 5.0

SHELLS = ("/bin/bash", "/bin/ash", "/bin/sh")
"""Tried in this order when no command is given."""

PlaceOpener = Callable[[], AbstractAsyncContextManager[Place]]
"""Opens the place and keeps it open; on the I/O thread."""


@dataclass(frozen=True, slots=True)
class _Size:
    rows: int
    cols: int


class _HungUp:
    """Whoever sat at the terminal has left."""


_Typed = bytes | _Size | _HungUp


class _Session:
    """The work of one shell, on the I/O thread."""

    def __init__(self, open_place: PlaceOpener, command: Command, *, wants_shell: bool) -> None:
        self._open_place = open_place
        self._command = command
        self._wants_shell = wants_shell
        self.view: ShellView | None = None
        self._context = contextvars.copy_context()
        self._inbox: asyncio.Queue[_Typed] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[_Typed] = []
        self._starting = threading.Lock()
        self._gathered = bytearray()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._spoke = asyncio.Event()
        self._executor = concurrent.futures.ThreadPoolExecutor(1, "depotlab-shell")
        self.title = "shell"
        self.ending = ""
        self.recent = bytearray()

    def put(self, what: _Typed) -> None:
        """Take what was typed, from any thread."""
        with self._starting:
            if self._loop is None:
                self._early.append(what)
                return
        self._loop.call_soon_threadsafe(self._inbox.put_nowait, what)

    async def run(self) -> int:
        """Run the shell to its end and return its exit code."""
        with self._starting:
            self._loop = asyncio.get_running_loop()
            for what in self._early:
                self._inbox.put_nowait(what)
        ending = "it could not be opened"
        try:
            code = await self._run()
            ending = f"exit code {code}"
        except asyncio.CancelledError:
            ending = "closed"
            raise
        except DepotlabError as error:
            ending = error.message
            raise
        finally:
            if self.view is not None:
                await self.on_view(partial(self.view.close, ending))
            self.ending = ending
            self._executor.shutdown(wait=False)
        return code

    async def _run(self) -> int:
        async with self._open_place() as place:
            container = await place.container()
            try:
                command = self._command
                if self._wants_shell:
                    command = replace(command, args=(await _found_shell(place, container),))
                self.title = shown_command(command.args)
                process = await place.start(container, command)
                try:
                    return await self._attend(process)
                finally:
                    process.close()
            except RpcFailed as failure:
                raise from_failure(
                    failure, address=place.bridge.channel.endpoint.address
                ) from failure
            finally:
                await asyncio.shield(asyncio.ensure_future(container.release()))

    async def _attend(self, process: Process) -> int:
        typing = asyncio.create_task(self._type(process), name="depotlab shell typing")
        showing = asyncio.create_task(self._show(), name="depotlab shell showing")
        try:
            while (piece := await process.read()) is not None:
                self._gathered += piece[1]
                self.recent += piece[1]
                if len(self.recent) > 2 * RECENT_BYTES:
                    del self.recent[:-RECENT_BYTES]
                self._changed.set()
                self._spoke.set()
                while len(self._gathered) > GATHER_BYTES:
                    self._room.clear()
                    await self._room.wait()
            await self._flush()
        finally:
            typing.cancel()
            showing.cancel()
            await asyncio.wait([typing, showing])
        assert process.exit is not None
        return process.exit.code

    async def _type(self, process: Process) -> None:
        # What comes before the terminal is set up would not be edited as a line; a prompt says that it is.
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                await self._spoke.wait()
        while True:
            what = await self._inbox.get()
            if isinstance(what, _Size):
                await process.resize(rows=what.rows, cols=what.cols)
            elif isinstance(what, _HungUp):
                await process.signal("HUP")
                await process.close_stdin()
            else:
                await process.write(what)

    async def _show(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await asyncio.sleep(GATHER_S)
            await self._flush()

    async def _flush(self) -> None:
        data = bytes(self._gathered)
        self._gathered.clear()
        self._room.set()
        if data and self.view is not None:
            await self.on_view(partial(self.view.write, data))

    async def on_view(self, call: Callable[[], None]) -> None:
        """Call the view on a thread that may wait, one call at a time."""
        work = partial(self._context.copy().run, call)
        await asyncio.get_running_loop().run_in_executor(self._executor, work)


async def _found_shell(place: Place, container: Container) -> str:
    """Look which shell the place has.

    Raises:
        CommandFailed: None.
    """
    files = Files(place.bridge, container.id, mount=place.plan.root)
    for path in SHELLS:
        if await files.exists(path):
            return path
    raise CommandFailed(
        "There is no shell in this state: it has neither " + " nor ".join(SHELLS) + ".",
        command=SHELLS[-1:],
        exit_code=127,
        hint="name what to run, such as shell(state, ['/app']); ls() and read() need no shell",
    )


class Shell(Value):
    """A shell that runs in a container, and whoever sits at it. Made by `shell`.

    In a notebook it is a terminal below the cell, which lives on while other cells run; in a program it has the
    program's terminal until it ends. Code can type too: `send`.
    """

    def __init__(self, session: _Session, job: Job[int]) -> None:
        self._session = session
        self._job = job

    @property
    def is_open(self) -> bool:
        """Whether it runs."""
        return not self._job.done.done()

    @property
    def exit_code(self) -> int | None:
        """How it ended: 0 to 255; None while it runs, and when it was closed or could not be opened."""
        done = self._job.done
        if not done.done() or done.cancelled() or done.exception() is not None:
            return None
        return done.result()

    @property
    def transcript(self) -> str:
        """The last lines of what the terminal showed, as text."""
        ending = "open" if self.is_open else self._session.ending
        return transcript_text(self._session.title, bytes(self._session.recent), ending)

    def send(self, text: str | bytes) -> None:
        """Type something; end a line with a newline. Returns at once.

        Raises:
            UsageError: It has ended.
        """
        if not self.is_open:
            raise UsageError("The shell has ended.", hint="open another one")
        self._session.put(text.encode() if isinstance(text, str) else text)

    def resize(self, *, rows: int, cols: int) -> None:
        """Tell it the size of its terminal, in characters."""
        self._session.put(_Size(rows, cols))

    def wait(self, *, timeout_s: float | None = None) -> int:
        """Wait for its end and return its exit code. Ctrl-C stops the waiting, not the shell.

        Raises:
            TimeoutError: It has not ended after `timeout_s`.
            DepotlabError: It could not be opened, or the connection broke.
        """
        return wait_blocking(self._job.done, timeout_s=timeout_s)

    def close(self) -> None:
        """End it and what runs in it, and wait for that."""
        self._job.cancel()
        concurrent.futures.wait([self._job.done], CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        how = "open" if self.is_open else self._session.ending
        return f"<Shell {cut(self._session.title, 100)}: {how}>"

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "command", self._session.title
        yield "open", self.is_open
        yield "exit code", self.exit_code
        yield "last lines", tuple(self.transcript.splitlines()[-10:])


def open_shell(
    open_place: PlaceOpener,
    command: Command,
    *,
    wants_shell: bool,
    height_px: int = 320,
    title: str = "shell",
) -> Shell:
    """Open a shell and show it where there is somebody: in the notebook's cell, or in the program's terminal.

    Args:
        open_place: Where it runs.
        command: How to run it.
        wants_shell: Run the shell that is there instead of the argv of `command`.
        height_px: Of the terminal in a notebook.
        title: What stands over it there.

    Returns:
        At once in a notebook, and where nobody is; in a terminal, when it has ended.
    """
    session = _Session(open_place, command, wants_shell=wants_shell)
    keys = Keys(
        typed=session.put,
        resized=lambda rows, cols: session.put(_Size(rows, cols)),
        hung_up=lambda: session.put(_HungUp()),
    )
    terminal: TerminalShell | None = None
    if is_in_kernel():
        session.view = NotebookShell(title, keys, height_px=height_px)
    elif has_terminal():
        session.view = terminal = TerminalShell(keys)
    if session.view is not None:
        session.view.open()
    job = portal().submit(session.run())
    shell = Shell(session, job)
    if terminal is not None:
        try:
            terminal.attend(job.done.done)
            shell.wait()
        except BaseException:
            shell.close()
            raise
    return shell
