"""The daemon that both sides are measured with: our own, on a fast folder, with a registry beside it.

It listens on a unix socket and, with client certificates, on TCP. What it received of a client is read
from its disk: neither side's own words are taken for it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

from depotlab._local import Programs, _config, _seed, _supervisor
from tests.support.certificates import Authority
from tests.support.private import private_daemon

_START_S = 20.0
_STOP_S = 10.0
_SETTLE_S = 60.0
_STUCK_S = 10.0
# A step may print as much and as fast as it can. Debian has runc where PATH may not lead.
_ENVIRONMENT = (
    "env",
    "BUILDKIT_STEP_LOG_MAX_SIZE=-1",
    "BUILDKIT_STEP_LOG_MAX_SPEED=-1",
    f"PATH={os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin",
)
# Nothing is collected while times are taken: gc = false.
_TOML = """\
root = {root}
[grpc]
  address = {addresses}
[grpc.tls]
  cert = {cert}
  key = {key}
  ca = {ca}
[otel]
  socketPath = {otel}
[worker.oci]
  enabled = true
  snapshotter = "overlayfs"
  gc = false
[worker.containerd]
  enabled = false
[registry."docker.io"]
  mirrors = [{registry}]
[registry.{registry}]
  http = true
"""


class Daemon:
    """A buildkitd and a registry with busybox, in a folder of their own, until `close`.

    Args:
        folder: For all that they write; sockets are in it too, so its path has to be short.
        programs: What to run.
        addresses: IP addresses to listen on.

    Attributes:
        socket_address: Of the unix socket.
        port: Of TCP, the same on all addresses.
        client: Folder with `ca.pem`, `cert.pem` and `key.pem` of a client.
        version: Of buildkitd.
        has_stuck_builds: Said by who had to end a client in mid-transfer: the daemon may keep what that build used.
    """

    def __init__(self, folder: Path, programs: Programs, addresses: list[str]) -> None:
        assert programs.buildctl is not None, "the comparison needs buildctl"
        self.buildctl = programs.buildctl.host_path
        self.version = programs.buildkitd.version
        self.has_stuck_builds = False
        self._stuck: set[str] = set()
        self._folder = folder
        folder.mkdir()
        self.socket_address = f"unix://{folder}/sock"
        self.port = _free_port()
        authority = Authority()
        server = authority.write(folder / "server", "buildkitd")
        self.client = authority.write(folder / "client", "benchmark")
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder)
            registry = stack.enter_context(_registry(folder / "registry", programs))
            listens = [f"tcp://{address}:{self.port}" for address in addresses]
            (folder / "buildkitd.toml").write_text(
                _TOML.format(
                    root=json.dumps(f"{folder}/root"),
                    addresses=json.dumps([self.socket_address, *listens]),
                    cert=json.dumps(str(server / "cert.pem")),
                    key=json.dumps(str(server / "key.pem")),
                    ca=json.dumps(str(server / "ca.pem")),
                    otel=json.dumps(f"{folder}/otel"),
                    registry=json.dumps(registry),
                )
            )
            program = str(programs.buildkitd.host_path)
            argv = [*_ENVIRONMENT, f"TMPDIR={folder}"]
            argv += [program, "--config", str(folder / "buildkitd.toml")]
            self._pid = stack.enter_context(
                private_daemon(argv, log=folder / "log", stop_s=_STOP_S)
            )
            _wait("http2", f"{folder}/sock", folder / "log")
            self._stack = stack.pop_all()

    def cpu_s(self) -> float:
        """Return the processor seconds that the daemon has used, without those of build steps."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def snapshots(self) -> dict[str, Path]:
        """Return the daemon's directories by number: each holds a copy of a context, or what a step wrote."""
        root = self._folder / "root" / "runc-overlayfs" / "snapshots" / "snapshots"
        found = root.iterdir() if root.exists() else ()
        return {one.name: one / "fs" for one in found if one.name not in self._stuck}

    def empty(self) -> None:
        """Remove all that is cached, and wait until it has left the disk: the daemon does that in the background."""
        command = [str(self.buildctl), "--addr", self.socket_address, "prune", "--all"]
        subprocess.run(command, check=True, capture_output=True)
        deadline_s = time.monotonic() + (_STUCK_S if self.has_stuck_builds else _SETTLE_S)
        while left := self.snapshots():
            if time.monotonic() > deadline_s:
                if not self.has_stuck_builds:
                    raise TimeoutError(f"the daemon still has snapshots: {sorted(left)}")
                self._stuck |= left.keys()
            time.sleep(0.02)

    def close(self) -> None:
        """Stop both, and remove the folder."""
        # With stuck builds it does not end when it is asked to; it is killed then.
        with suppress(subprocess.TimeoutExpired):
            self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _registry(folder: Path, programs: Programs) -> Iterator[str]:
    """Yield `localhost:PORT` of a registry that has busybox under the name it has on Docker Hub."""
    folder.mkdir()
    port = _free_port()
    settings, log = folder / "config.yml", folder / "log"
    settings.write_text(_config.registry_yaml(root=folder / "data", port=port))
    argv = [*_ENVIRONMENT, str(programs.registry.host_path), "serve", str(settings)]
    with private_daemon(argv, log=log):
        _wait("http", ["127.0.0.1", port], log)
        _seed.push(_seed.system_image(), f"localhost:{port}")
        yield f"localhost:{port}"


def _wait(kind: str, address: str | list[str | int], log: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while not _supervisor.answers({"kind": kind, "address": address}):
        if time.monotonic() > deadline_s:
            tail = "\n".join(_supervisor.tail_of(log))
            raise RuntimeError(f"nothing answers at {address}:\n{tail}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
