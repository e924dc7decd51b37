"""One program that ends with us: run by the engine's supervisor, held by a lease.

The supervisor (`_local/_supervisor.py`, which describes the conversation) starts the program, says when it
answers, notices its end, keeps its log bounded, and ends it when our lease is gone, however we died. Each program
of the plane has a supervisor of its own, so that each can be stopped alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depotlab._local import (
    SUPERVISOR_FILE,
    State,
    child_environment,
    close_kept,
    keep_from_children,
    search_path,
)
from depotlab.errors import EngineError

# From the supervisor's start until our lease: it ends by itself when nobody comes.
_LINGER_S = 5.0
# A running build does not end at SIGTERM: buildkitd would let it finish, however long it takes.
_GRACE_S = 3.0
_LOCK_WAIT_S = 20.0  # a predecessor needs its linger, its grace and a little more
_READY_S = 60.0
_STOP_S = _GRACE_S + 15.0
_LOG_LIMIT_BYTES = 10 << 20
_LINE_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """What to run.

    Attributes:
        name: For messages, and of its log.
        argv: The command.
        environment: All of it.
        host_socket: Where it will listen.
        more_sockets: Others that it leaves behind.
        http2: How to find out whether it serves: by HTTP/2 (buildkitd) or HTTP/1 (the registry).
        own_namespaces: It gets a process and a mount namespace, and all in them end with it.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    host_socket: Path
    http2: bool
    own_namespaces: bool
    more_sockets: tuple[Path, ...] = ()


class Supervised:
    """A program that runs. Belongs to the event loop on which it was started."""

    def __init__(self, lease: _Lease, program: Program) -> None:
        self._lease = lease
        self.program = program

    @classmethod
    async def start(cls, state: State, program: Program) -> Supervised:
        """Run a program and wait until it serves. What still runs of an earlier plane is ended first.

        Args:
            state: Names of the files; `choose_run_dir` has been called.
            program: What to run.

        Raises:
            EngineError: It does not come up; `log_tail` has what it said.
        """
        supervisor_socket = state.run_dir() / "supervisor.sock"
        with contextlib.suppress(OSError):
            predecessor = _Lease(supervisor_socket)
            try:
                await predecessor.stop()
            finally:
                predecessor.close()
        plan = _plan(state, program, supervisor_socket)
        launching = asyncio.ensure_future(asyncio.to_thread(_launch, plan))
        try:
            await asyncio.shield(launching)
        except asyncio.CancelledError:
            await asyncio.wait([launching])
            with contextlib.suppress(OSError):
                abandoned = _Lease(supervisor_socket)
                await abandoned.stop()
                abandoned.close()
            raise
        try:
            lease = _Lease(supervisor_socket)
        except OSError as error:
            raise EngineError(f"The supervisor of {program.name} is gone: {error}.") from error
        try:
            lease.say("lease", pid=os.getpid())
            answer = await lease.hear()  # it gives up by itself
        except asyncio.CancelledError:
            await lease.stop()
            lease.close()
            raise
        if answer is None or answer["event"] != "ready":
            lease.close()
            told = answer or {}
            raise EngineError(
                f"{program.name} did not start: {told.get('reason', 'its supervisor ended')}.",
                hint=f"its log is {state.logs}",
                log_tail=tuple(told.get("log_tail", ())),
            )
        return cls(lease, program)

    async def ended(self) -> str:
        """Wait until the program has ended, and return why."""
        answer = await self._lease.hear()
        if answer is None:
            return f"{self.program.name} is gone, and its supervisor with it"
        return str(answer.get("reason", "")) or f"{self.program.name} ended"

    async def stop(self) -> None:
        """End the program; returns when nothing of it runs. Can be called twice.

        `ended` must not be waiting meanwhile.

        Raises:
            EngineError: It does not end.
        """
        try:
            async with asyncio.timeout(_STOP_S):
                await self._lease.stop()
        except TimeoutError:
            raise EngineError(
                f"{self.program.name} does not end, not even when killed.",
                hint="a process that hangs in the kernel needs a restart of the machine",
            ) from None
        finally:
            self._lease.close()


class _Lease:
    """A connection to a supervisor. A bare descriptor, which forked children close without a trace."""

    def __init__(self, host_socket: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(os.fspath(host_socket))
            connection.setblocking(False)
            self._handle = connection.detach()
        keep_from_children(self._handle)
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._partial = b""
        self._loop.add_reader(self._handle, self._receive)

    def say(self, do: str, **fields: Any) -> None:
        if self._handle >= 0:
            with contextlib.suppress(OSError):  # `hear` tells the end
                os.write(self._handle, json.dumps({"do": do, **fields}).encode() + b"\n")

    async def hear(self) -> dict[str, Any] | None:
        """Return what the supervisor says next; None is its end, and stays so."""
        line = await self._lines.get()
        if line is None:
            self._lines.put_nowait(None)
        return line

    async def stop(self) -> None:
        """Ask for the end and wait for it: the connection ends when all has ended."""
        self.say("stop")
        while await self.hear() is not None:
            pass

    def close(self) -> None:
        """Let go. Can be called twice."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            self._loop.remove_reader(handle)
            close_kept(handle)
            self._lines.put_nowait(None)

    def _receive(self) -> None:
        try:
            received = os.read(self._handle, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        *lines, self._partial = (self._partial + received).split(b"\n")
        for line in lines:
            self._lines.put_nowait(json.loads(line))
        if not received or len(self._partial) > _LINE_LIMIT_BYTES:
            self._loop.remove_reader(self._handle)
            self._lines.put_nowait(None)


def control_group(state: State) -> str:
    """Return the name of the control group of everything that runs for a state folder."""
    return f"depotlab-{hashlib.sha256(bytes(state.host_dir)).hexdigest()[:12]}"


def environment(*, path: Sequence[str] = (), **more: str) -> dict[str, str]:
    """Return the environment for a program: ours, without what would change its settings, without tokens.

    Args:
        path: Folders after those of PATH.
        more: Variables to add.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("DEPOT")}
    folders = os.pathsep.join([search_path(), *path])
    return {**child_environment(inherited, path=folders), **more}


def _plan(state: State, program: Program, supervisor_socket: Path) -> dict[str, Any]:
    run_dir = state.run_dir()
    sockets = [supervisor_socket, program.host_socket, *program.more_sockets]
    return {
        "main": program.name,
        "socket": str(supervisor_socket),
        "sockets": [str(path) for path in sockets],
        "run_dir": str(run_dir),
        "remove_run_dir": run_dir.parent != state.host_dir,
        "lock": str(state.supervisor_lock),
        "record": str(state.record),
        "last_end": str(state.last_end),
        "log": str(state.logs / "supervisor.log"),
        "log_limit_bytes": _LOG_LIMIT_BYTES,
        "linger_s": _LINGER_S,
        "ready_s": _READY_S,
        "grace_s": _GRACE_S,
        "lock_wait_s": _LOCK_WAIT_S,
        "cgroup": control_group(state),
        "info": {},
        "children": [
            {
                "name": program.name,
                "argv": list(program.argv),
                "env": dict(program.environment),
                "log": str(state.logs / f"{program.name}.log"),
                "own_namespaces": program.own_namespaces,
                "probe": {
                    "kind": "http2" if program.http2 else "http",
                    "address": str(program.host_socket),
                },
            }
        ],
    }


def _launch(plan: dict[str, Any]) -> None:
    """Run the supervisor. Returns when it listens."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", SUPERVISOR_FILE],
        check=False,
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        start_new_session=True,  # Ctrl-C in a terminal signals the whole group
        cwd="/",
        timeout=plan["lock_wait_s"] + 30,
    )
    if done.returncode != 0:
        raise EngineError(
            f"The supervisor of {plan['main']} did not start: {done.stderr.strip()[-500:]}.",
            hint=f"does another plane use this folder? see {plan['log']}",
        )
