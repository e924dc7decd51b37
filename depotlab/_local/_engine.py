"""Start, share and stop the engine: buildkitd and a registry, one pair for each state folder.

All processes that use a state folder share one daemon, because a second buildkitd could not open
the same cache. The first `start` launches a supervisor (`_supervisor.py`), which runs them both;
every `start` takes a lease on it. When the last lease is gone the engine ends by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from depotlab.errors import EngineError

from . import _config, _host, _hub, _lease, _locks, _places, _ports, _provision, _seed, _supervisor
from ._archive import Progress
from ._places import State, read_text, write_private
from ._programs import products, search_path

# Running builds do not end at SIGTERM: buildkitd would let them finish, however long they take.
_GRACE_S = 3.0
_LOCK_WAIT_S = 20.0  # a predecessor needs its grace and a little more
_STOP_TIMEOUT_S = _GRACE_S + 15.0
_LOG_LIMIT_BYTES = 10 << 20
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine, and our lease on it. Keep it: when it is collected, the lease ends.

    Attributes:
        address: Where buildkitd listens, `unix://` and a path.
        registry: The registry, `localhost:PORT`, plain http; a mirror of docker.io as well.
        state_dir: Folder of everything that it keeps.
        log_path: The daemon's log.
        version: Of buildkitd, as it says itself.
        pid: Process of buildkitd (or of rootlesskit, in which it runs when we are not root).
    """

    address: str
    registry: str
    state_dir: Path
    log_path: Path
    version: str
    pid: int
    _line: _lease.Line = field(repr=False, compare=False)

    def close(self) -> None:
        """Give the lease back. The engine ends a moment later unless somebody else uses it."""
        self._line.close()

    def why_ended(self) -> str | None:
        """Return why the engine ended, or None while it runs. Does not wait."""
        return self._line.poll_end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What there is in a state folder.

    Attributes:
        state_dir: The folder that was looked at.
        phase: `stopped`, `starting`, `up` or `stopping`.
        address: As of `Engine`, empty when stopped. So are the next four.
        registry: As of `Engine`.
        version: As of `Engine`.
        pid: Process of buildkitd, or 0.
        supervisor_pid: Process that runs it, or 0.
        started_at: When it was started, or None.
        lease_pids: Processes that use it.
        held: It stays when nobody uses it (`depotlab engine start`).
        last_end: Why it ended the last time, or empty.
        log_path: The daemon's log.
    """

    state_dir: Path
    phase: str
    log_path: Path
    address: str = ""
    registry: str = ""
    version: str = ""
    pid: int = 0
    supervisor_pid: int = 0
    started_at: datetime | None = None
    lease_pids: tuple[int, ...] = ()
    held: bool = False
    last_end: str = ""

    @property
    def running(self) -> bool:
        """Whether a build could be sent now."""
        return self.phase == "up"


def start(
    *,
    state_dir: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    timeout_s: float = 60.0,
    keep: bool = False,
    probe: Callable[[str], str] | None = None,
) -> Engine:
    """Start the engine, or share the one that runs already. Blocks until it answers.

    Installs the programs first when they are missing, which may take minutes, once. The first
    start in a state folder fills the registry with a busybox image, if this machine has one.

    Args:
        state_dir: Folder of its state; see `state_dir` of this room.
        on_progress: Told a line of text whenever something takes long.
        timeout_s: Counts from the launch; installing has limits of its own.
        keep: The engine stays when nobody uses it, until `stop`.
        probe: Given the address, returns the daemon's version; asks it for `Info` by default.

    Raises:
        EngineError: It cannot run here, could not be installed, or did not come up.
    """
    _host.refuse_other_systems()
    told = on_progress or _provision.silent
    state = State(_places.state_dir(state_dir))
    line, facts = _attach_or_launch(state, told, timeout_s)
    try:
        if keep:
            line.say("hold")
            line.hear(timeout_s=timeout_s)
        version = (probe or _ask_info)(facts["address"])
        engine = Engine(
            address=facts["address"],
            registry=facts["registry"],
            state_dir=state.host_dir,
            log_path=Path(facts["log_path"]),
            version=version or facts["version"],
            pid=facts["pid"],
            _line=line,
        )
        _seed.seed_if_empty(engine.registry, on_progress=told)
    except BaseException:
        line.close()
        raise
    return engine


def stop(*, state_dir: str | os.PathLike[str] | None = None) -> bool:
    """End the engine now, whoever uses it, and wait until nothing of it runs.

    Returns:
        Whether one was running.

    Raises:
        EngineError: Something of it would not end.
    """
    _host.refuse_other_systems()
    state = State(_places.state_dir(state_dir))
    processes = _recorded_processes(state)
    try:
        line = _lease.Line(_socket(state.run_dir()))
        line.say("stop")
        line.close()
    except _lease.Gone:
        pass  # it is stopped, or stopping already, or was killed
    if _all_end(processes, timeout_s=_STOP_TIMEOUT_S):
        return bool(processes)
    for process in processes:  # the supervisor first, and with it, by the kernel's doing, the rest
        if _supervisor.is_same(process):
            os.kill(process["pid"], signal.SIGKILL)
    if not _all_end(processes, timeout_s=_GRACE_S):
        raise EngineError(
            f"The engine in {state.host_dir} does not end, not even when killed.",
            hint="a process that hangs in the kernel needs a restart of the machine",
        )
    return True


def seed(
    *,
    state_dir: str | os.PathLike[str] | None = None,
    on_progress: Progress | None = None,
    busybox: Path | None = None,
    probe: Callable[[str], str] | None = None,
) -> _seed.Seeded:
    """Fill the registry with a busybox image made from this machine's static busybox.

    Starts the engine for as long as that takes. An older image of that name is replaced.

    Args:
        state_dir: Folder of the engine's state.
        on_progress: Told a line of text whenever something takes long.
        busybox: The program to use; by default the system's.
        probe: As of `start`.

    Raises:
        EngineError: There is no static busybox, or the engine does not run.
    """
    with start(state_dir=state_dir, on_progress=on_progress, probe=probe) as engine:
        return _seed.push(_seed.system_image(busybox), engine.registry)


def status(*, state_dir: str | os.PathLike[str] | None = None) -> EngineStatus:
    """Return what runs in a state folder. Takes no lease and starts nothing."""
    state = State(_places.state_dir(state_dir))
    log_path = state.logs / "buildkitd.log"
    last_end = _last_end(state)
    silent = EngineStatus(
        state_dir=state.host_dir,
        phase="stopping" if _recorded_processes(state) else "stopped",
        log_path=log_path,
        last_end=last_end,
    )
    if not _host.is_linux():
        return silent
    try:
        line = _lease.Line(_socket(state.run_dir()))
        try:
            line.say("status")
            facts = line.hear(timeout_s=10.0)
        finally:
            line.close()
    except (_lease.Gone, TimeoutError):
        return silent
    return EngineStatus(
        state_dir=state.host_dir,
        phase=facts["phase"],
        log_path=log_path,
        address=facts["address"],
        registry=facts["registry"],
        version=facts["version"],
        pid=facts["pid"],
        supervisor_pid=facts["supervisor_pid"],
        started_at=datetime.fromtimestamp(facts["started_at"], tz=UTC),
        lease_pids=tuple(facts["lease_pids"]),
        held=facts["held"],
        last_end=last_end,
    )


def _last_end(state: State) -> str:
    record = json.loads(read_text(state.record) or "{}")
    if record and not _supervisor.is_same(record["supervisor"]):
        return "its supervisor was killed"  # it had no time to say so
    reason: str = json.loads(read_text(state.last_end) or "{}").get("reason", "")
    return reason


# ----------------------------------------------------------------------------------- starting


def _attach_or_launch(
    state: State, told: Progress, timeout_s: float
) -> tuple[_lease.Line, dict[str, Any]]:
    for _ in range(_ATTEMPTS):
        try:
            return _lease.take(_socket(state.run_dir()), timeout_s=timeout_s)
        except _lease.Gone:
            pass
        programs = _usable_programs(told)
        mode = _host.decide(_host.look())
        state.make()
        with _locks.held(state.start_lock, timeout_s=timeout_s, waiting_for="starting the engine"):
            try:
                # Somebody else may have started it while we waited for the lock.
                return _lease.take(_socket(state.run_dir()), timeout_s=timeout_s)
            except _lease.Gone:
                pass
            told(f"starting buildkitd {programs.buildkitd.version}")
            plan = _prepare(state, programs, mode, ready_s=timeout_s)
            _launch(plan, state)
            try:
                return _lease.take(Path(plan["socket"]), timeout_s=timeout_s)
            except _lease.Gone:
                pass
            except EngineError as error:
                # Between our look and the registry's bind somebody else took the port.
                if not any("address already in use" in text for text in error.log_tail):
                    raise
    raise EngineError(
        f"The engine in {state.host_dir} keeps ending before it can be used.",
        hint="is another program stopping it? see `depotlab engine status` and its log",
    )


def _usable_programs(told: Progress) -> _provision.Programs:
    programs = _provision.install(on_progress=told)
    if programs.runtime is None:
        raise EngineError(
            "The engine needs an OCI runtime, runc or crun, and the system has none.",
            hint=f"run: {_host.install_command('runc')}",
        )
    return programs


def _prepare(
    state: State, programs: _provision.Programs, mode: _host.Mode, *, ready_s: float
) -> dict[str, Any]:
    """Write the configuration files and return the supervisor's plan. Needs the start lock."""
    assert programs.runtime is not None
    hub = _hub.ask_in_background()
    run_dir = state.choose_run_dir()
    port = _ports.choose(state.host_dir, _recorded_port(state))
    write_private(state.port, f"{port}\n")
    socket, otel = run_dir / "buildkitd.sock", run_dir / "otel.sock"
    cgroup = f"depotlab-{hashlib.sha256(bytes(state.host_dir)).hexdigest()[:12]}"
    write_private(
        state.buildkitd_config,
        _config.buildkitd_toml(
            root=state.root,
            socket=socket,
            otel_socket=otel,
            runtime=programs.runtime.host_path,
            registry_port=port,
            rootless=mode.rootless,
            process_sandbox=mode.process_sandbox,
            cgroup=cgroup,
            hub_first=hub(),
        ),
    )
    write_private(state.registry_config, _config.registry_yaml(root=state.registry, port=port))
    bundled = products()[0].host_dir / "bin"  # has buildkit-qemu-* when it came as an archive
    environment = _config.child_environment(
        dict(os.environ), path=os.pathsep.join([search_path(), str(bundled)])
    )
    if mode.rootless:
        # runc keeps its state there and else in /run; not every login has such a folder.
        environment["XDG_RUNTIME_DIR"] = str(run_dir)
    log_path = state.logs / "buildkitd.log"
    plan: dict[str, Any] = {
        "main": "buildkitd",
        "socket": str(_socket(run_dir)),
        "sockets": [str(_socket(run_dir)), str(socket), str(otel)],
        "run_dir": str(run_dir),
        "remove_run_dir": run_dir.parent != state.host_dir,
        "lock": str(state.supervisor_lock),
        "record": str(state.record),
        "last_end": str(state.last_end),
        "log": str(state.logs / "supervisor.log"),
        "log_limit_bytes": _LOG_LIMIT_BYTES,
        "linger_s": _linger_s(os.environ.get("DEPOTLAB_ENGINE_LINGER_S") or "2"),
        "ready_s": ready_s,
        "grace_s": _GRACE_S,
        "lock_wait_s": _LOCK_WAIT_S,
        "cgroup": cgroup,
        "info": {
            "address": f"unix://{socket}",
            "registry": f"localhost:{port}",
            "version": programs.buildkitd.version,
            "log_path": str(log_path),
        },
        "children": [
            {
                "name": "registry",
                "argv": [str(programs.registry.host_path), "serve", str(state.registry_config)],
                "env": environment,
                "log": str(state.logs / "registry.log"),
                "own_namespaces": False,
                "probe": {"kind": "http", "address": ["127.0.0.1", port]},
            },
            {
                "name": "buildkitd",
                "argv": _daemon_command(mode, programs, state),
                "env": environment,
                "log": str(log_path),
                "own_namespaces": not mode.rootless,
                "probe": {"kind": "http2", "address": str(socket)},
            },
        ],
    }
    return plan


def _daemon_command(mode: _host.Mode, programs: _provision.Programs, state: State) -> list[str]:
    daemon = [str(programs.buildkitd.host_path), "--config", str(state.buildkitd_config)]
    if mode.rootlesskit is None:
        return daemon
    # It keeps the host's network, as the plain form in moby/buildkit docs/rootless.md does: build
    # steps then see what they see with root, and the registry on our loopback can be reached.
    folder = state.run_dir() / "rootlesskit"
    options = [f"--state-dir={folder}", "--net=host"]
    if mode.process_sandbox:
        options.append("--pidns")  # its processes end with it, as they do when we are root
    return [str(mode.rootlesskit), *options, *daemon]


def _launch(plan: dict[str, Any], state: State) -> None:
    """Run the supervisor. Returns when it listens."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", _supervisor.__file__],
        check=False,
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        start_new_session=True,  # a notebook's stop button signals the kernel's whole group
        cwd="/",
        timeout=plan["lock_wait_s"] + 30,
    )
    if done.returncode != 0:
        raise EngineError(
            f"The engine's supervisor did not start: {done.stderr.strip()[-500:]}.",
            hint=f"is another engine still ending? see {state.logs / 'supervisor.log'}",
        )


def _linger_s(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise EngineError(
            f"DEPOTLAB_ENGINE_LINGER_S is {text!r}.", hint="set it to a number of seconds"
        ) from None


def _recorded_port(state: State) -> int | None:
    text = (read_text(state.port) or "").strip()
    return int(text) if text.isdigit() and 0 < int(text) < 65536 else None


def _socket(run_dir: Path) -> Path:
    return run_dir / "supervisor.sock"


def _ask_info(address: str) -> str:
    from depotlab.buildkit import info  # loads grpc, which only this needs

    return info(address, timeout_s=20.0).version


# ----------------------------------------------------------------------------------- stopping


def _recorded_processes(state: State) -> list[dict[str, int]]:
    """Return the processes of the engine that still run, the supervisor first."""
    record = json.loads(read_text(state.record) or "{}")
    recorded = [record["supervisor"], *record["children"]] if record else []
    return [process for process in recorded if _supervisor.is_same(process)]


def _all_end(processes: list[dict[str, int]], *, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while any(_supervisor.is_same(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
