"""The process that owns buildkitd and the registry, and ends them when nobody uses them any more.

One runs for each state folder, whichever kernels share it. It is started as a file, `python -I -S
_supervisor.py` with the plan on standard input, and needs the standard library only: neither the
folder that the notebook runs in nor its packages can disturb it. It imports nothing of ours.

Who may live with whom:

* It holds a lock on the state folder for as long as it lives, so there is never a second one.
* Its children die with it: the kernel sends them SIGKILL (PR_SET_PDEATHSIG).
* buildkitd is the first process of a process namespace, and has its mounts to itself. So build
  steps and mounts are gone with it, even when it is killed; runc alone does not see to that.
* Each client keeps one connection to its socket open. That is the client's lease; the kernel
  closes it when the client dies, however it dies. When the last one is gone for `linger_s`
  seconds, everything ends, unless someone asked to hold the engine.
* When a child ends by itself, everything ends. The next start begins afresh.

The conversation is one JSON object a line. The client speaks first:

    {"do": "lease", "pid": 7}  answered by {"event": "ready", ...} or {"event": "failed", ...} once that
                               is known, and by {"event": "gone", ...} when the engine ends
    {"do": "hold"}             on a lease: stay when the leases are gone; {"event": "held"}
    {"do": "status"}           {"event": "status", ...}
    {"do": "stop"}             the connection ends once all has ended and the lock is free
"""

from __future__ import annotations

import ctypes
import enum
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_HELLO_TIMEOUT_S = 0.25
_TICK_S = 0.02  # between looks at a child that is not ready
_CHECK_EVERY_S = 60.0
_LINE_LIMIT_BYTES = 1 << 16
_RECOVER_S = 5.0
# Source: Linux include/uapi/linux/prctl.h, sched.h, mount.h.
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS, _CLONE_NEWPID = 0x0002_0000, 0x2000_0000
_MS_REC, _MS_SLAVE = 0x4000, 0x8_0000
_EXIT_NO_NAMESPACE = 71


# --------------------------------------------------------------------------------- deciding


class Act(enum.Enum):
    """What the driver has to do next."""

    WAIT = "wait for the next event"
    READY = "tell the leases that the engine is ready"
    STOP = "ask the children to end"
    KILL = "end the children that did not"
    LEAVE = "all children are gone: tell everyone and exit"


class Keeper:
    """Decides when the engine is ready and when it ends. No clock, no process, no socket.

    Feed it what happened, then call `decide` until it says `Act.WAIT`.
    """

    def __init__(
        self, names: list[str], *, now: float, linger_s: float, ready_s: float, grace_s: float
    ) -> None:
        self.waiting = set(names)
        self.alive = set(names)
        self.leases: set[int] = set()
        self.held = False
        self.phase = "starting"
        self.reason = ""
        self.failed = False
        self._linger_s, self._grace_s = linger_s, grace_s
        self._idle_since = now
        self._ready_by = now + ready_s
        self._ready_s = ready_s
        self._kill_at = float("inf")
        self._wish: tuple[str, bool] | None = None
        self._heard = False  # somebody is there to hear of a failure

    def ready(self, name: str) -> None:
        """A child answers."""
        self.waiting.discard(name)

    def died(self, name: str, how: str) -> None:
        """A child has ended; `how` reads like "was killed by signal 9"."""
        self.alive.discard(name)
        if self._wish is None:
            self._wish = (f"{name} {how}", True)

    def opened(self, lease: int) -> None:
        """A client took a lease."""
        self.leases.add(lease)
        self._heard = True

    def closed(self, lease: int, now: float) -> None:
        """A connection ended; it may have been no lease."""
        if lease in self.leases:
            self.leases.discard(lease)
            self._idle_since = now

    def ask_stop(self, why: str, *, failed: bool = False) -> None:
        """Somebody wants the engine to end, or it cannot go on."""
        self._heard = self._heard or not failed
        if self._wish is None:
            self._wish = (why, failed)

    def decide(self, now: float) -> Act:
        """Return what to do now, and remember that it was said."""
        if self.phase == "stopping":
            return self._decide_stopping(now)
        if self.phase == "starting" and not self.waiting and self._wish is None:
            self.phase = "up"
            return Act.READY
        if self._wish is None:
            if self.phase == "starting" and now >= self._ready_by:
                names = " and ".join(sorted(self.waiting))
                self._wish = (f"{names} did not answer within {self._ready_s:.0f} s", True)
            elif now >= self._leave_at():
                self._wish = ("nobody used it any more", False)
            else:
                return Act.WAIT
        elif self._wish[1] and not self._heard and now < self._leave_at():
            return Act.WAIT  # who launched it is about to ask, and has to hear why it failed
        self.reason, self.failed = self._wish
        self.phase = "stopping"
        self._kill_at = now + self._grace_s
        return Act.STOP

    def due_at(self) -> float:
        """Return when `decide` will say something new by itself."""
        if self.phase == "stopping":
            return self._kill_at
        due = self._leave_at()
        return min(due, self._ready_by) if self.phase == "starting" else due

    def _leave_at(self) -> float:
        used = self.leases or self.held
        return float("inf") if used else self._idle_since + self._linger_s

    def _decide_stopping(self, now: float) -> Act:
        if not self.alive:
            self.phase = "done"
            return Act.LEAVE
        if now >= self._kill_at:
            self._kill_at = float("inf")
            return Act.KILL
        return Act.WAIT


# ---------------------------------------------------------------------------------- driving


class Client:
    """One connection, and what it has sent of a line."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.partial = b""
        self.pid = 0

    def say(self, event: str, **fields: Any) -> None:
        """Send one line. A client that is gone, or that never reads, is its own problem."""
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        with suppress(OSError):
            self.connection.send(line)


class Supervisor:
    """Runs the plan: starts the children, listens, and does what the keeper decides."""

    def __init__(self, plan: dict[str, Any], lock: int, listener: socket.socket) -> None:
        self._plan = plan
        self._lock = lock
        self._listener: socket.socket | None = listener
        self._clients: dict[int, Client] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started_at = time.time()
        self._keeper = Keeper(
            [child["name"] for child in plan["children"]],
            now=time.monotonic(),
            linger_s=plan["linger_s"],
            ready_s=plan["ready_s"],
            grace_s=plan["grace_s"],
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._check_at = time.monotonic() + _CHECK_EVERY_S

    def run(self) -> None:
        """Live until the keeper says to leave."""
        wake, self._waker = _signals()
        self._selector.register(wake, selectors.EVENT_READ)
        try:
            self._start_children()
        except (OSError, subprocess.SubprocessError) as error:
            self._keeper.ask_stop(f"it could not be started: {error}", failed=True)
            self._keeper.alive = set(self._children)
        while True:
            act = self._keeper.decide(time.monotonic())
            if act is Act.LEAVE:
                self._leave()
                return
            if act is Act.WAIT:
                self._wait(wake)
            else:
                self._perform(act)

    # ------------------------------------------------------------------------- events

    def _wait(self, wake: socket.socket) -> None:
        due_at = min(self._keeper.due_at(), self._check_at)
        timeout_s = max(0.0, due_at - time.monotonic())
        if self._keeper.phase == "starting":
            timeout_s = min(timeout_s, _TICK_S)
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is wake:
                self._take_signals(wake)
            elif key.fileobj is self._listener:
                self._accept()
            else:
                self._read(self._clients[key.fd])
        for name, child in self._children.items():
            if name in self._keeper.alive and child.poll() is not None:
                self._keeper.died(name, _how(child.returncode))
        if self._keeper.phase == "starting":
            for spec in self._plan["children"]:
                if spec["name"] in self._keeper.waiting and answers(spec["probe"]):
                    self._keeper.ready(spec["name"])
        if time.monotonic() >= self._check_at:
            self._check()

    def _take_signals(self, wake: socket.socket) -> None:
        for number in wake.recv(64):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._keeper.ask_stop(f"it was ended by {signal.Signals(number).name}")

    def _accept(self) -> None:
        assert self._listener is not None
        with suppress(OSError):  # it may have gone in between
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._clients[connection.fileno()] = Client(connection)
            self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, client: Client) -> None:
        try:
            received = client.connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        client.partial += received
        if not received or len(client.partial) > _LINE_LIMIT_BYTES:
            self._drop(client)
            return
        *lines, client.partial = client.partial.split(b"\n")
        for line in lines:
            try:
                self._obey(client, json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                self._drop(client)
                return

    def _drop(self, client: Client) -> None:
        handle = client.connection.fileno()
        self._selector.unregister(client.connection)
        client.connection.close()
        del self._clients[handle]
        self._keeper.closed(handle, time.monotonic())

    def _obey(self, client: Client, message: dict[str, Any]) -> None:
        keeper = self._keeper
        match message["do"]:
            case "lease":
                client.pid = int(message["pid"])
                keeper.opened(client.connection.fileno())
                if keeper.phase == "up":
                    client.say("ready", **self._facts())
            case "hold":
                keeper.held = True
                client.say("held")
            case "status":
                pids = [c.pid for h, c in self._clients.items() if h in keeper.leases]
                client.say(
                    "status",
                    phase=keeper.phase,
                    held=keeper.held,
                    lease_pids=sorted(pids),
                    **self._facts(),
                )
            case "stop":
                keeper.ask_stop("it was told to stop")
            case _:
                self._drop(client)

    def _facts(self) -> dict[str, Any]:
        main = self._children.get(self._plan["main"])
        return {
            **self._plan["info"],
            "pid": main.pid if main else 0,
            "supervisor_pid": os.getpid(),
            "started_at": self._started_at,
        }

    def _check(self) -> None:
        self._check_at = time.monotonic() + _CHECK_EVERY_S
        for spec in self._plan["children"]:
            rotate(Path(spec["log"]), self._plan["log_limit_bytes"])
        try:
            same = Path(self._plan["lock"]).stat().st_ino == os.fstat(self._lock).st_ino
        except OSError:
            same = False
        if not same:
            self._keeper.ask_stop("its state folder was deleted", failed=True)

    # ------------------------------------------------------------------------ actions

    def _perform(self, act: Act) -> None:
        if act is Act.READY:
            for handle in self._keeper.leases:
                self._clients[handle].say("ready", **self._facts())
            return
        if act is Act.STOP and self._listener is not None:
            # From here on a newcomer finds no socket, starts a successor, and that waits for the lock.
            Path(self._plan["socket"]).unlink(missing_ok=True)
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
        for name in self._keeper.alive:
            child = self._children[name]
            with suppress(ProcessLookupError):
                if act is Act.KILL:
                    os.killpg(child.pid, signal.SIGKILL)
                else:
                    child.terminate()

    def _start_children(self) -> None:
        for spec in self._plan["children"]:
            log = Path(spec["log"])
            rotate(log, self._plan["log_limit_bytes"])
            with log.open("ab") as output:
                self._children[spec["name"]] = subprocess.Popen(
                    spec["argv"],
                    env=spec["env"],
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=before_exec(spec["own_namespaces"]),  # safe: we have one thread
                )
        children = [identify(child.pid) for child in self._children.values()]
        record = {"supervisor": identify(os.getpid()), "children": children}
        _replace(Path(self._plan["record"]), json.dumps(record))

    def _leave(self) -> None:
        """Clean up, free the lock, and only then tell everyone."""
        plan, keeper = self._plan, self._keeper
        remove_control_group(plan["cgroup"])
        tail = [] if not keeper.failed else self._tail()
        end = {"reason": keeper.reason, "failed": keeper.failed, "log_tail": tail}
        with suppress(OSError):  # the folder itself may be gone
            _replace(Path(plan["last_end"]), json.dumps({**end, "at": time.time()}))
            Path(plan["record"]).unlink(missing_ok=True)
        for name in plan["sockets"]:
            Path(name).unlink(missing_ok=True)
        if plan["remove_run_dir"]:
            shutil.rmtree(plan["run_dir"], ignore_errors=True)
        os.close(self._lock)
        was_up = not keeper.waiting
        for handle, client in self._clients.items():
            if handle in keeper.leases:
                client.say("gone" if was_up else "failed", **end)
            client.connection.close()

    def _tail(self) -> list[str]:
        """Return the last lines of the log of the child that the reason names."""
        for spec in self._plan["children"]:
            if spec["name"] in self._keeper.reason:
                return tail_of(Path(spec["log"]))
        return []


# ------------------------------------------------------------------------------- one thing each


def before_exec(own_namespaces: bool) -> Callable[[], None]:
    """Return what a child does between fork and exec. Call it right before the fork.

    With namespaces of its own, the child becomes the first process of a new process namespace.
    Linux puts all later children of the caller there too, so such a child has to be the last.

    Raises:
        OSError: The kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    me = os.getpid()
    if own_namespaces and libc.unshare(_CLONE_NEWPID) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no process namespace: {os.strerror(number)}")

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() not in (me, 0):  # we died before that; 0 is a parent outside the namespace
            os._exit(_EXIT_NO_NAMESPACE)
        if own_namespaces and (
            libc.unshare(_CLONE_NEWNS) != 0
            or libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None) != 0
            or libc.mount(b"proc", b"/proc", b"proc", 0, None) != 0
        ):
            os.write(2, f"no mount namespace: {os.strerror(ctypes.get_errno())}\n".encode())
            os._exit(_EXIT_NO_NAMESPACE)

    return prepare


def answers(probe: dict[str, Any]) -> bool:
    """Return whether a child serves: a connection is not enough, buildkitd listens before it can."""
    is_unix = isinstance(probe["address"], str)
    family = socket.AF_UNIX if is_unix else socket.AF_INET
    address = probe["address"] if is_unix else tuple(probe["address"])
    # An HTTP/2 server greets with its SETTINGS frame: 3 bytes of length, then type 4. RFC 9113, 3.4.
    hello = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
        if probe["kind"] == "http2"
        else b"GET /v2/ HTTP/1.0\r\n\r\n"
    )
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(_HELLO_TIMEOUT_S)
        try:
            connection.connect(address)
            connection.sendall(hello)
            answer = connection.recv(64)
        except OSError:
            return False
    if probe["kind"] == "http2":
        return answer[3:4] == b"\4"
    return answer.startswith(b"HTTP/1.") and b" 200 " in answer


def rotate(path: Path, limit_bytes: int) -> None:
    """Move a large log's text to `NAME.1`. The writer appends, and so goes on in the emptied file."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > limit_bytes:
            with path.open("rb") as source:
                source.seek(-min(path.stat().st_size, limit_bytes), os.SEEK_END)
                _replace(path.with_name(f"{path.name}.1"), source.read())
            os.truncate(path, 0)


def tail_of(path: Path, n_lines: int = 12) -> list[str]:
    """Return the last lines of a log, without the stack that Go prints below an error."""
    try:
        with path.open("rb") as file:
            file.seek(-min(path.stat().st_size, 16384), os.SEEK_END)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = [line for line in text.splitlines() if " " in line and not line.startswith("\t")]
    return lines[-n_lines:]


def identify(pid: int) -> dict[str, int]:
    """Return what tells a process from a later one with the same number: its start time in ticks."""
    # The name in brackets may hold anything. Field 22 is starttime. Source: Linux proc_pid_stat(5).
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return {"pid": pid, "start_ticks": int(fields[19])}


def is_same(process: dict[str, int]) -> bool:
    """Return whether the process that was identified still runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{process['pid']}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return int(stat[19]) == process["start_ticks"] and stat[0] not in (b"Z", b"X")


def remove_control_group(name: str) -> None:
    """Remove a control group whose processes are gone, in every hierarchy that has it."""
    mounted_at = Path("/sys/fs/cgroup")
    for top in (mounted_at / name, *mounted_at.glob(f"*/{name}")):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):  # a process that is just dying is still in it
                Path(folder).rmdir()


def _how(exit_code: int) -> str:
    if exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


def _replace(path: Path, content: str | bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content if isinstance(content, bytes) else content.encode())
    fresh.replace(path)


def _signals() -> tuple[socket.socket, socket.socket]:
    """Turn signals into bytes on a socket that the selector can wait for."""
    wake, waker = socket.socketpair()
    wake.setblocking(False)
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return wake, waker


def _recover(plan: dict[str, Any]) -> None:
    """Kill what a supervisor that was killed has left, if the kernel has not done so already."""
    record = Path(plan["record"])
    try:
        left = json.loads(record.read_text())["children"]
    except (OSError, ValueError, KeyError):
        left = []
    deadline = time.monotonic() + _RECOVER_S
    for process in left:
        while is_same(process) and time.monotonic() < deadline:
            with suppress(ProcessLookupError):
                os.kill(process["pid"], signal.SIGKILL)
            time.sleep(_TICK_S)
    remove_control_group(plan["cgroup"])
    record.unlink(missing_ok=True)
    for name in plan["sockets"]:
        Path(name).unlink(missing_ok=True)


def _lock(plan: dict[str, Any]) -> int:
    """Take the lock of the state folder, waiting for a predecessor that is about to leave."""
    handle = os.open(plan["lock"], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + plan["lock_wait_s"]
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(handle)
                raise
            time.sleep(_TICK_S)
        else:
            return handle


def main() -> int:
    """Leave the caller's process tree, then live. The caller's child ends once the socket is there.

    The plan comes on standard input, not in a file: it holds the user's environment.

    Returns:
        0 in the process that the caller waits for; 3 when another supervisor holds the lock.
    """
    os.umask(0o077)
    plan = json.load(sys.stdin)
    hear, tell = os.pipe()
    if os.fork() != 0:
        os.close(tell)
        with os.fdopen(hear, "rb") as pipe:
            trouble = pipe.read().decode()
        sys.stderr.write(trouble.removeprefix("ok"))
        return 0 if trouble == "ok" else 3
    os.close(hear)
    try:
        lock = _lock(plan)
        _recover(plan)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(plan["socket"])
        listener.listen(64)
    except OSError as error:
        os.write(tell, str(error).encode())
        return 3
    os.write(tell, b"ok")
    os.close(tell)
    # The caller reads our output until its end, so it has to go elsewhere before we go on.
    log = os.open(plan["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    Supervisor(plan, lock, listener).run()
    return 0


if __name__ == "__main__":
    # Nothing is left to unwind, and in the forked child nothing may be unwound twice.
    code = main()
    sys.stderr.flush()
    os._exit(code)
