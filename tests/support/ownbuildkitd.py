"""A buildkitd for one test, to be broken: killed, stopped, starved of disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from depotlab._local import install
from depotlab.buildkit import info
from depotlab.errors import LinkError


@dataclass
class OwnBuildkitd:
    """Attributes:
    address: Where it listens.
    root: Its cache.
    pid: Of the daemon; killing it kills all that it has started.
    """

    address: str
    root: Path
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    config: Path | None = None
    env: Mapping[str, str] | None = None

    def start(self) -> None:
        """Start it, or start it again on the same cache."""
        programs = install()
        # As PID 1 of a namespace of its own: no step outlives it, however it ends.
        command = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        command += [str(programs.buildkitd.host_path), "--config", str(self.config)]
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **(self.env or {})}
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                info(self.address, timeout_s=1)
                return
            except LinkError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError(f"buildkitd did not start: {self.log()}") from None
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, and all its steps with it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)
            self.process = None

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]


@contextmanager
def own_buildkitd(
    *,
    mirror: str = "",
    env: Mapping[str, str] | None = None,
    root: Path | None = None,
    config: str = "",
) -> Iterator[OwnBuildkitd]:
    """Run one with a cache of its own.

    Args:
        mirror: A registry with plain HTTP that is asked for images of Docker Hub.
        env: Added to its environment.
        root: Where its cache goes, such as a small file system.
        config: More lines of its configuration.
    """
    folder = Path(tempfile.mkdtemp(prefix="dl-"))
    root = root or folder / "root"
    toml = f"""
root = "{root}"
{config}
[grpc]
  address = ["unix://{folder}/b.sock"]
[otel]
  socketPath = "{folder}/otel.sock"
[worker.oci]
  enabled = true
  gc = false
[worker.containerd]
  enabled = false
"""
    if mirror:
        toml += f'[registry."docker.io"]\n  mirrors = ["{mirror}"]\n[registry."{mirror}"]\n  http = true\n'
    (folder / "buildkitd.toml").write_text(toml)
    daemon = OwnBuildkitd(
        f"unix://{folder}/b.sock", root, folder, config=folder / "buildkitd.toml", env=env
    )
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.kill()
        for mounted in reversed(_mounts_below(folder)):
            subprocess.run(["umount", "-l", mounted], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{folder}/")]


@contextmanager
def small_disk(n_bytes: int) -> Iterator[Path]:
    """A file system in memory with room for so many bytes."""
    folder = Path(tempfile.mkdtemp(prefix="dl-disk-"))
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)], check=True
    )
    try:
        yield folder
    finally:
        for mounted in reversed(_mounts_below(folder)):
            subprocess.run(["umount", "-l", mounted], check=False)
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()
