"""Machines of a plane for one test: who keeps its builds, how a build gets its machine, what runs afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import depotlab as dl
from depotlab import llb
from depotlab._local import Programs, find_installed
from depotlab._plane.boundary import Admit, CachePolicy, Connection, Platform
from depotlab._plane.machines import Machines
from depotlab._plane.registry import Registry
from depotlab._proto import control_pb2, ops_pb2
from depotlab.llb import Platform as LlbPlatform
from tests.conftest import unavailable

POLICY = CachePolicy(keep_gb=5, keep_days=3)
PROJECT = "krt0wtn195"


class Recorder:
    """Keeps what machines say about builds."""

    def __init__(self) -> None:
        self.messages: dict[str, list[bytes]] = {}
        self.losses: list[tuple[str, str]] = []
        self.forbidden: set[str] = set()

    def status(self, build_id: str, message: bytes) -> None:
        self.messages.setdefault(build_id, []).append(message)

    def lost(self, build_id: str, why: str) -> None:
        self.losses.append((build_id, why))

    def allowed(self, build_id: str) -> bool:
        return build_id not in self.forbidden

    def vertexes(self, build_id: str) -> dict[str, control_pb2.Vertex]:
        """The last state of each step, by its digest."""
        return {v.digest: v for m in self.seen(build_id) for v in m.vertexes}

    def seen(self, build_id: str) -> list[control_pb2.StatusResponse]:
        parse = control_pb2.StatusResponse.FromString
        return [parse(message) for message in self.messages.get(build_id, [])]


def short_folder() -> Path:
    """A folder in which sockets may live; the caller removes it."""
    return Path(tempfile.mkdtemp(prefix="dlm-"))


@asynccontextmanager
async def running(
    folder: Path,
    keeper: Recorder,
    *,
    registry_host: str = "127.0.0.1:9",
    idle_s: float = 60.0,
    programs: Programs | None = None,
) -> AsyncIterator[Machines]:
    """Machines that run as long as the body does."""
    programs = programs or find_installed()
    if programs is None:
        unavailable("buildkitd and registry are not installed")
    assert programs is not None
    machines = Machines(
        folder,
        keeper=keeper,
        registry_host=registry_host,
        idle_s=idle_s,
        programs=lambda: programs,
    )
    await machines.start()
    try:
        yield machines
    finally:
        await machines.close()


@asynccontextmanager
async def registry_beside(
    folder: Path, admit: Admit = lambda user, password, project_id, push: False
) -> AsyncIterator[str]:
    """A registry with busybox on its shelf; yields where it is."""
    registry = Registry(folder / "registry", admit=admit)
    await registry.start()
    try:
        yield registry.host_port
    finally:
        await registry.close()


async def acquire(
    machines: Machines,
    build_id: str,
    project_id: str = PROJECT,
    platform: Platform = "amd64",
    *,
    policy: CachePolicy = POLICY,
) -> Connection:
    """Ask until the machine is ready, as a client does."""
    async with asyncio.timeout(60):
        while True:
            found = await machines.connection(build_id, project_id, platform, policy)
            if found is not None:
                return found
            await asyncio.sleep(0.05)


def tls_of(connection: Connection) -> dl.TLS:
    return dl.TLS(
        ca=connection.ca_pem,
        cert=connection.cert_pem,
        key=connection.key_pem,
        server_name=connection.server_name,
    )


def client_context(ca_pem: str, cert_pem: str = "", key_pem: str = "") -> ssl.SSLContext:
    """A client's settings, with everything that Python 3.13 checks."""
    context = ssl.create_default_context(cadata=ca_pem)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2"])
    if cert_pem:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(key_pem + cert_pem)
            file.flush()
            context.load_cert_chain(file.name)
    return context


async def buildctl(
    connection: Connection, folder: Path, *arguments: str, timeout_s: float = 60.0
) -> tuple[int, str]:
    """Run buildctl through the gate; returns its exit code and all it said."""
    program = find_buildctl()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        keys = Path(name)
        (keys / "ca.pem").write_text(connection.ca_pem)
        (keys / "cert.pem").write_text(connection.cert_pem)
        (keys / "key.pem").write_text(connection.key_pem)
        process = await asyncio.create_subprocess_exec(
            program, "--addr", connection.endpoint,
            "--tlscacert", str(keys / "ca.pem"), "--tlscert", str(keys / "cert.pem"),
            "--tlskey", str(keys / "key.pem"), "--tlsservername", connection.server_name,
            *arguments,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            said, _ = await asyncio.wait_for(process.communicate(), timeout_s)
        except TimeoutError:
            process.kill()
            said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()


def find_buildctl() -> str:
    installed = find_installed()
    if installed is None or installed.buildctl is None:
        unavailable("buildctl is not installed")
    assert installed is not None
    assert installed.buildctl is not None
    return str(installed.buildctl.host_path)


def docker_context(folder: Path, dockerfile: str, **files: bytes) -> list[str]:
    """Write a context; returns buildctl's arguments for building it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [
        "build", "--progress", "plain", "--frontend", "dockerfile.v0",
        "--local", f"context={folder}", "--local", f"dockerfile={folder}",
    ]  # fmt: skip


def solve_request(state: llb.State, ref: str) -> bytes:
    """An internal solve of a graph, which needs no session."""
    plan = state.marshal(LlbPlatform.parse("linux/amd64"), source="calls")
    return control_pb2.SolveRequest(
        Ref=ref, Definition=ops_pb2.Definition.FromString(plan.to_bytes()), Internal=True
    ).SerializeToString()


def daemon_pid(folder: Path, project_id: str = PROJECT, platform: str = "amd64") -> int:
    """The process of a machine's buildkitd."""
    record = folder / "projects" / project_id / platform / "supervisor.json"
    pid: int = json.loads(record.read_text())["children"][0]["pid"]
    return pid


def processes_of(folder: Path) -> list[str]:
    """Commands of processes that have to do with a folder, buildkitd and all that it runs."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in command and int(pid) != os.getpid():
            found.append(f"{pid} {command}")
    return found


async def until(true: Callable[[], Any], *, timeout_s: float = 60.0, what: str = "") -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.02)


def remove(folder: Path) -> None:
    shutil.rmtree(folder)
