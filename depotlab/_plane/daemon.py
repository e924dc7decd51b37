"""One machine: a real buildkitd with a folder of its own.

The folder holds the cache (`root`), which stays when the daemon ends, its settings, which are written anew at each
start, and its log. The daemon listens on a private socket only; the gate is its way to the world.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from depotlab._local import (
    HostMode,
    Programs,
    State,
    decide_mode,
    install_command,
    look_at_host,
    make_private_dir,
    products,
    refuse_other_systems,
    write_private,
)
from depotlab._plane.boundary import CachePolicy
from depotlab._plane.calls import ask
from depotlab._plane.identity import MachineKey
from depotlab._plane.settings import machine_toml
from depotlab._plane.supervised import Program, Supervised, control_group, environment
from depotlab._proto import control_pb2
from depotlab._rpc import RpcFailed
from depotlab.errors import EngineError, LinkError

LIST_WORKERS = "/moby.buildkit.v1.Control/ListWorkers"

_ANSWER_S = 10.0
_TRASH = ".trash-"


@dataclass(frozen=True, slots=True)
class Kit:
    """What machines are made of on this computer.

    Attributes:
        programs: buildkitd and a runtime are among them.
        mode: How a daemon runs here.
    """

    programs: Programs
    mode: HostMode


def find_kit(programs: Callable[[], Programs]) -> Kit:
    """Find out how machines can run here. Blocks; may install programs.

    Raises:
        EngineError: They cannot; the hint has the fix.
    """
    refuse_other_systems()
    mode = decide_mode(look_at_host())
    found = programs()
    if found.runtime is None:
        raise EngineError(
            "Machines need an OCI runtime, runc or crun, and the system has none.",
            hint=f"run: {install_command('runc')}",
        )
    return Kit(found, mode)


class Daemon:
    """The buildkitd of one machine, which runs between `start` and `stop`, or until it dies.

    Args:
        machine: Whose it is.
        folder: Of its own.
        kit: What it is made of.
        registry: The plane's, `HOST:PORT`.
        mirrors: Registries that are asked for images of docker.io, in order.
    """

    def __init__(
        self,
        machine: MachineKey,
        folder: Path,
        kit: Kit,
        *,
        registry: str,
        mirrors: Sequence[str],
    ) -> None:
        self._machine = machine
        self._state = State(folder)
        self._kit = kit
        self._registry = registry
        self._mirrors = mirrors
        self._running: Supervised | None = None

    @property
    def host_socket(self) -> Path:
        """Where it listens; only while it runs."""
        assert self._running is not None
        return self._running.program.host_socket

    async def start(self, policy: CachePolicy) -> None:
        """Start it and wait until it can build.

        Raises:
            EngineError: It does not come up.
        """
        program = await asyncio.to_thread(self._prepare, policy)
        running = await Supervised.start(self._state, program)
        try:
            await self._await_workers(program.host_socket)
        except BaseException:
            await running.stop()
            raise
        self._running = running

    async def ended(self) -> str:
        """Wait until it has ended by itself, and return why."""
        assert self._running is not None
        return await self._running.ended()

    async def stop(self) -> None:
        """End it; returns when nothing of it runs.

        Raises:
            EngineError: It does not end.
        """
        running, self._running = self._running, None
        if running is not None:
            await running.stop()

    async def _await_workers(self, host_socket: Path) -> None:
        request = control_pb2.ListWorkersRequest().SerializeToString()
        try:
            answer = await ask(host_socket, LIST_WORKERS, request, timeout_s=_ANSWER_S)
        except (RpcFailed, LinkError, TimeoutError) as error:
            raise EngineError(
                f"buildkitd of {self._machine.project_id} ({self._machine.platform}) listens "
                f"but does not answer: {error}.",
                hint=f"its log is {self._state.logs}",
            ) from error
        if not control_pb2.ListWorkersResponse.FromString(answer).record:
            raise EngineError(
                "buildkitd has no worker, so it cannot build.",
                hint=f"its log says why: {self._state.logs}",
            )

    def _prepare(self, policy: CachePolicy) -> Program:
        """Write what it reads, and return how it is run."""
        state, mode, programs = self._state, self._kit.mode, self._kit.programs
        for folder in (state.host_dir, state.root, state.logs):
            make_private_dir(folder)
        run_dir = state.choose_run_dir()
        host_socket, otel_socket = run_dir / "buildkitd.sock", run_dir / "otel.sock"
        assert programs.runtime is not None
        write_private(
            state.buildkitd_config,
            machine_toml(
                root=state.root,
                socket=host_socket,
                otel_socket=otel_socket,
                runtime=programs.runtime.host_path,
                platform=self._machine.platform if self._machine.emulated else None,
                policy=policy,
                registry=self._registry,
                mirrors=self._mirrors,
                rootless=mode.rootless,
                process_sandbox=mode.process_sandbox,
                cgroup=control_group(state),
            ),
        )
        argv = [str(programs.buildkitd.host_path), "--config", str(state.buildkitd_config)]
        more = {}
        if mode.rootlesskit is not None:
            # As the embedded engine does it: the host's network, so that the registry can be reached.
            options = [f"--state-dir={run_dir / 'rootlesskit'}", "--net=host"]
            if mode.process_sandbox:
                options.append("--pidns")
            argv = [str(mode.rootlesskit), *options, *argv]
            # runc keeps its state there and else in /run; not every login has such a folder.
            more["XDG_RUNTIME_DIR"] = str(run_dir)
        bundled = products()[0].host_dir / "bin"  # has buildkit-qemu-* when it came as an archive
        return Program(
            name="buildkitd",
            argv=argv,
            environment=environment(path=[str(bundled)], **more),
            host_socket=host_socket,
            more_sockets=(otel_socket,),
            http2=True,
            own_namespaces=not mode.rootless,
        )


def set_aside(folder: Path, trash: Path) -> None:
    """Move a folder out of the way at once; `empty` deletes it. One that is not there is none. Blocks."""
    with contextlib.suppress(FileNotFoundError):
        folder.rename(trash / f"{_TRASH}{secrets.token_hex(8)}")


def empty(trash: Path) -> None:
    """Delete what was set aside, by this process or an earlier one. Blocks.

    Raises:
        EngineError: Something cannot be deleted.
    """
    for folder in trash.glob(f"{_TRASH}*"):
        try:
            shutil.rmtree(folder)
        except PermissionError as error:
            rootlesskit = decide_mode(look_at_host()).rootlesskit
            if rootlesskit is None:
                raise EngineError(
                    f"{folder} cannot be deleted: {error.strerror}.", hint="delete it as root"
                ) from error
            # Files of other users of the namespace; only inside it are we their master.
            done = subprocess.run(
                [str(rootlesskit), "rm", "-rf", "--", str(folder)],
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                raise EngineError(
                    f"{folder} cannot be deleted: {done.stderr.strip()[-500:]}.",
                    hint="delete it as root",
                ) from error
