"""A real ssh server of the test's own on loopback, and an `ssh` that trusts it and nothing else."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import held_port


@dataclass(frozen=True)
class Sshd:
    """A running server.

    Attributes:
        address: `ssh://user@localhost:PORT`.
        bin: Folder with an `ssh` for the front of PATH: the real one, with a configuration of its own.
    """

    address: str
    bin: Path


@contextlib.contextmanager
def running_sshd(root: Path, *, path: str) -> Iterator[Sshd]:
    """Run a server whose commands find their programs in `path`."""
    server = shutil.which("sshd", path="/usr/sbin:/sbin")
    client = shutil.which("ssh")
    if server is None or client is None:
        raise FileNotFoundError("sshd and ssh")
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)]
        subprocess.run(key, check=True)
    held = held_port()
    port = held.getsockname()[1]
    (root / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {root}/host\nPidFile none\n"
        f"AuthorizedKeysFile {root}/user.pub\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin prohibit-password\nSetEnv PATH={path}\n"
    )
    host_key = (root / "host.pub").read_text()
    (root / "known_hosts").write_text(f"[localhost]:{port} {host_key}")
    (root / "ssh_config").write_text(
        f"Host *\nIdentityFile {root}/user\nIdentitiesOnly yes\nIdentityAgent none\n"
        f"UserKnownHostsFile {root}/known_hosts\nGlobalKnownHostsFile none\nAddressFamily inet\n"
    )
    folder = root / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(f'#!/bin/sh\nexec {client} -F {root}/ssh_config "$@"\n')
    (folder / "ssh").chmod(0o755)
    with _privilege_separation(), (root / "log").open("wb") as log:
        running = subprocess.Popen(
            [server, "-D", "-e", "-f", str(root / "sshd_config")], stderr=log, stdout=log
        )
        try:
            _wait_until_it_listens(port, running, root / "log")
            yield Sshd(f"ssh://{getpass.getuser()}@localhost:{port}", folder)
        finally:
            running.terminate()
            running.wait(30)
            held.close()


@contextlib.contextmanager
def _privilege_separation() -> Iterator[None]:
    """Provide the empty folder that sshd wants, which the package's service makes at its start."""
    folder = Path("/run/sshd")
    made = not folder.exists()
    if made:
        folder.mkdir(mode=0o755)
    yield
    if made:
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _wait_until_it_listens(port: int, running: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
