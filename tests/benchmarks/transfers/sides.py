"""Those that are compared: a worker process of ours with an open client, and others, a new process for each build."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tests.benchmarks.transfers.tasks import Task

ROOT = Path(__file__).parents[3]
_STILL_S = 30.0
_STILL_CPU_S = 0.05
SERVER_NAME = "localhost"  # what the daemon's certificate says, wherever it listens


class CannotRun(Exception):
    """A side failed, or something that the row needs is not there; the message says why."""


class Hung(CannotRun):
    """A side stood still, and was ended."""


@dataclass(frozen=True, slots=True)
class Door:
    """How the daemon is reached.

    Attributes:
        address: `unix://…` or `tcp://…`.
        certificates: Folder with `ca.pem`, `cert.pem` and `key.pem`, for TCP.
        enter: Command prefix that leads to the other end of a link, or nothing.
    """

    address: str
    certificates: Path | None = None
    enter: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One timed build.

    Attributes:
        seconds: Wall clock; for ours the call of `Client.build`, for `buildctl` from its start to its exit.
        cpu_s: Processor seconds of the client, user and system.
        peak_mb: Of the process: ours above a bare interpreter, 0 for `buildctl`.
        read_log: Returns the number of lines and the SHA-256 of the log that was kept; before the next build only.
    """

    seconds: float
    cpu_s: float
    peak_mb: float
    read_log: Callable[[], tuple[int, str]]


class Watch:
    """Ends a process that stands still: for half a minute it has used next to no processor time.

    `buildctl` 0.32.2 does stand still sometimes, when it receives many small files: it and the daemon's sender wait
    for each other for ever.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._hung = False
        self._thread = threading.Thread(target=self._look, name="watch")
        self._thread.start()

    def check(self, name: str) -> None:
        """Raise Hung if it was ended."""
        if self._hung:
            raise Hung(f"{name} stood still for {_STILL_S:g} s")

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        moved_s, moved_at_s = 0.0, time.monotonic()
        while not self._over.wait(1.0):
            now_s = _cpu_s(self._pid)
            if now_s > moved_s + _STILL_CPU_S:
                moved_s, moved_at_s = now_s, time.monotonic()
            elif time.monotonic() - moved_at_s > _STILL_S:
                self._hung = True
                os.kill(self._pid, signal.SIGKILL)
                return


@contextmanager
def watched(pid: int) -> Iterator[Watch]:
    """Watch a process for as long as the block lasts."""
    watch = Watch(pid)
    try:
        yield watch
    finally:
        watch.end()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Side(Protocol):
    """One of the two."""

    name: str

    def run(self, task: Task) -> Run:
        """Build, and return what it took.

        Raises:
            CannotRun: It failed.
        """

    def close(self) -> None:
        """End what was started."""


class Ours:
    """A fresh interpreter that has connected once.

    Args:
        door: The daemon.
        home: Folder for its settings.
        name: Of the side.
        compress: Whether files may be compressed on their way.
        blind: Nothing is done with what is received, see `blind.py`.
    """

    def __init__(
        self,
        door: Door,
        home: Path,
        *,
        name: str = "ours",
        compress: bool = True,
        blind: bool = False,
    ) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - lives as long as we do
        # Nothing of the user's settings, and nothing left in the user's home.
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(home / "state"),
            "DOCKER_CONFIG": str(home / "docker"),
            "TMPDIR": str(
                home
            ),  # where logs are kept: on the disk that `buildctl` writes its own to
        }
        self._process = subprocess.Popen(
            [*door.enter, sys.executable, "-m", "tests.benchmarks.transfers.worker"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        certificates = str(door.certificates or "")
        where = {"address": door.address, "certificates": certificates}
        self._ask({**where, "compress": compress, "blind": blind})

    def run(self, task: Task) -> Run:
        answer = self._ask(dataclasses.asdict(task))
        return Run(answer["seconds"], answer["cpu_s"], answer["peak_mb"], self._read_log)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _read_log(self) -> tuple[int, str]:
        answer = self._ask({"log": True})
        return answer["lines"], answer["sha256"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with watched(self._process.pid) as watch:
                self._process.stdin.write(json.dumps(question) + "\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        watch.check(self.name)
        if not line:
            self._errors.seek(0)
            tail = self._errors.read().strip().splitlines()[-1:]
            raise CannotRun(f"our worker has ended: {' '.join(tail)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CannotRun(f"ours: {answer['error'].splitlines()[0]}")
        return answer


class Buildctl:
    """BuildKit's own command line.

    Args:
        door: The daemon.
        program: `buildctl`.
        home: Folder for its settings.
        name: `ours` puts it in our place, which shows how far two equal sides seem to differ.
    """

    def __init__(self, door: Door, program: Path, home: Path, *, name: str = "buildctl") -> None:
        self.name = name
        self._command = [*door.enter, str(program), "--addr", door.address]
        if door.certificates is not None:
            self._command += ["--tlsdir", str(door.certificates), "--tlsservername", SERVER_NAME]
        self._environment = os.environ | {"DOCKER_CONFIG": str(home / "docker")}

    def run(self, task: Task) -> Run:
        command = [*self._command, "build", f"--progress={'rawjson' if task.log_path else 'quiet'}"]
        definition = b""
        if task.graph:
            # As `Client.build` does: each build has a name of its own for what it sends.
            definition = task.state().marshal(local_unique_id=secrets.token_hex(13)).to_bytes()
        else:
            command += ["--frontend=dockerfile.v0", f"--local=dockerfile={task.folder}"]
        if task.folder:
            command.append(f"--local=context={task.folder}")
        if task.output:
            attrs = "".join(f",{key}={value}" for key, value in task.output_attrs.items())
            command.append(f"--output=type={task.output},dest={task.output_path}{attrs}")
        with (
            tempfile.TemporaryFile() as given,
            open(task.log_path or os.devnull, "wb") as log,
            tempfile.TemporaryFile() as errors,
        ):
            given.write(definition)
            given.seek(0)
            began_s = time.perf_counter()
            process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=log if task.log_path else errors,
            )
            with watched(process.pid) as watch:
                _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began_s
            process.returncode = os.waitstatus_to_exitcode(status)
            watch.check(self.name)
            if process.returncode:
                errors.seek(0)
                tail = errors.read().decode(errors="replace").strip().splitlines()[-1:]
                raise CannotRun(f"buildctl: exit code {process.returncode} {' '.join(tail)}")
        cpu_s = used.ru_utime + used.ru_stime
        return Run(seconds, cpu_s, 0.0, partial(read_rawjson, Path(task.log_path)))

    def close(self) -> None:
        """Nothing stays."""


class Buildx:
    """Docker's client of BuildKit, for Dockerfiles only: it takes no graphs.

    Args:
        door: The daemon.
        program: Command prefix, as `find_buildx` returns.
        home: Folder for its settings.
    """

    name = "buildx"

    def __init__(self, door: Door, program: Sequence[str], home: Path) -> None:
        self._command = [*door.enter, *program]
        self._environment = os.environ | {
            "BUILDX_CONFIG": str(home / "buildx"),
            "DOCKER_CONFIG": str(home / "docker"),
        }
        create = [*program, "create", "--name=benchmark", "--driver=remote"]
        if (at := door.certificates) is not None:
            files = f"cacert={at}/ca.pem,cert={at}/cert.pem,key={at}/key.pem"
            create.append(f"--driver-opt={files},servername={SERVER_NAME}")
        self._ask([*create, door.address])

    def run(self, task: Task) -> Run:
        command = [*self._command, "build", "--builder=benchmark", "--progress=quiet", task.folder]
        began_s = time.perf_counter()
        self._ask(command)
        return Run(time.perf_counter() - began_s, 0.0, 0.0, lambda: (0, ""))

    def close(self) -> None:
        """Nothing stays."""

    def _ask(self, command: Sequence[str]) -> None:
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise CannotRun(f"buildx: {' '.join(done.stderr.strip().splitlines()[-1:])}")


def find_buildx() -> list[str]:
    """Return the command prefix of buildx, as a program of its own or a plugin of `docker`; empty without either."""
    if found := shutil.which("buildx"):
        return [found]
    docker = shutil.which("docker")
    if (
        docker
        and subprocess.run([docker, "buildx", "version"], capture_output=True).returncode == 0
    ):
        return [docker, "buildx"]
    return []


def read_rawjson(path: Path) -> tuple[int, str]:
    """Return how many lines of output a progress file of `buildctl` holds, and their SHA-256."""
    data = bytearray()
    with path.open("rb") as file:
        for line in file:
            for log in json.loads(line).get("logs") or ():
                data += base64.b64decode(log["data"])
    lines = data.decode().splitlines()
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()
