"""A real Docker Engine of the test's own, and podman's service beside it, in temporary folders.

The engine is Debian's, which carries BuildKit 0.8: it is the old daemon of the tests too. It has a bridge of its
own, without which it could run no step, no rules in the host's firewall, and no port but those asked for.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from depotlab._docker import DockerEngine, DockerHost
from tests.support.archives import busybox_archive
from tests.support.private import private_daemon, wait_for


@dataclass(frozen=True)
class Dockerd:
    """A running engine that has the image `busybox`.

    Attributes:
        host: Its unix socket.
        tcp: The same with TLS, which wants client certificates.
        certificates: Folder with those of a client.
        engine: A client of it.
        pid: Of dockerd.
    """

    host: DockerHost
    tcp: str
    certificates: Path
    engine: DockerEngine
    pid: int

    def run(self, image: str, *argv: str) -> str:
        """Run a container without network to its end and return its output."""
        return run_container(self.engine, image, *argv)


def why_not(*programs: str) -> str:
    """Say what a private engine lacks here, or nothing. `programs` are those of another one."""
    if os.geteuid() != 0:
        return "a private engine needs root"
    needed = ("unshare", "setpriv", *(programs or ("dockerd", "containerd", "ip")))
    missing = [program for program in needed if not _which(program)]
    return f"not installed: {', '.join(missing)}" if missing else ""


@contextlib.contextmanager
def running_dockerd(root: Path, *, certificates: Path) -> Iterator[Dockerd]:
    """Start an engine below `root`, which also listens on TCP with TLS, and stop it at the end.

    Args:
        root: An empty folder, with a short path.
        certificates: Folder with the engine's `ca.pem`, `cert.pem` and `key.pem`.
    """
    socket_path, log = root / "docker.sock", root / "log"
    (root / "daemon.json").write_text("{}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        tcp = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with _bridge() as bridge:
        argv = [
            _which("dockerd"),
            *("--config-file", str(root / "daemon.json")),
            *("--data-root", str(root / "data"), "--exec-root", str(root / "exec")),
            *("--pidfile", str(root / "pid"), "--host", f"unix://{socket_path}", "--host", tcp),
            *("--tlsverify", "--tlscacert", str(certificates / "ca.pem")),
            *("--tlscert", str(certificates / "cert.pem")),
            *("--tlskey", str(certificates / "key.pem")),
            *("--bridge", bridge, "--iptables=false", "--ip6tables=false", "--ip-masq=false"),
            *("--ip-forward=false", "--userland-proxy=false", "--storage-driver", "vfs"),
            *("--cgroup-parent", f"/{bridge}"),
        ]
        with private_daemon(argv, log=log) as pid:
            wait_for(socket_path, pid, log)
            host = DockerHost(f"unix://{socket_path}", "the test's own")
            engine = DockerEngine(host)
            engine.load([busybox_archive("busybox:latest")])
            yield Dockerd(host, tcp, root / "client", engine, pid)
    _remove_cgroups(bridge)


@contextlib.contextmanager
def running_podman(root: Path) -> Iterator[DockerEngine]:
    """Start podman's service below `root`, and stop it at the end."""
    socket_path, log = root / "podman.sock", root / "log"
    argv = [
        *(_which("podman"), "--root", str(root / "data"), "--runroot", str(root / "run")),
        *("--tmpdir", str(root / "tmp"), "--storage-driver", "vfs"),
        *("--cgroup-manager", "cgroupfs", "--events-backend", "none"),
        *(
            "--runtime",
            _which("runc"),
        ),  # Debian's crun cannot run where cgroups v1 and v2 are both mounted
        *("system", "service", "--time", "0", f"unix://{socket_path}"),
    ]
    with private_daemon(argv, log=log) as pid:
        wait_for(socket_path, pid, log)
        yield DockerEngine(DockerHost(f"unix://{socket_path}", "the test's own"))
    _remove_cgroups("libpod_parent")


def run_container(engine: DockerEngine, image: str, *argv: str) -> str:
    """Run a container without network to its end and return its output."""
    config = {
        "Image": image,
        "Tty": True,  # without it the output comes in frames
        "HostConfig": {"NetworkMode": "none"},
        **({"Cmd": list(argv)} if argv else {}),
    }
    made = engine.json("POST", "/containers/create", config)["Id"]
    try:
        engine.json("POST", f"/containers/{made}/start")
        engine.json("POST", f"/containers/{made}/wait")
        with engine.open("GET", f"/containers/{made}/logs?stdout=1&stderr=1") as answer:
            return answer.read().decode().replace("\r\n", "\n")
    finally:
        engine.json("DELETE", f"/containers/{made}?force=1")


def _which(program: str) -> str:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


@contextlib.contextmanager
def _bridge() -> Iterator[str]:
    name = f"dlt{secrets.token_hex(4)}"
    ip = _which("ip")
    subprocess.run([ip, "link", "add", name, "type", "bridge"], check=True)
    try:
        third = secrets.randbelow(256)
        subprocess.run([ip, "address", "add", f"10.213.{third}.1/24", "dev", name], check=True)
        subprocess.run([ip, "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run([ip, "link", "delete", name], check=True)


def _remove_cgroups(name: str) -> None:
    """Remove the groups that an engine leaves, deepest first. Only empty ones can be removed."""
    for root, *_ in sorted(os.walk("/sys/fs/cgroup"), key=lambda found: -len(found[0])):
        if name in Path(root).parts:
            with contextlib.suppress(OSError):
                os.rmdir(root)
