"""Real CNCF registries that want a login, on loopback, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import bcrypt

from depotlab._local import install
from tests.support.ports import held_port


@contextlib.contextmanager
def private_registry(*, user: str, password: str, tls: Path | None = None) -> Iterator[str]:
    """Yield `localhost:PORT` of a registry with basic authentication.

    Args:
        user: Of the only login.
        password: Of it.
        tls: Folder with its `cert.pem` and `key.pem`; plain HTTP when left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        secret = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        (root / "htpasswd").write_text(f"{user}:{secret}\n")
        auth = f"{{htpasswd: {{realm: test, path: {root}/htpasswd}}}}"
        with run_registry(root, auth, tls=tls) as host:
            yield host


@contextlib.contextmanager
def run_registry(root: Path, auth: str, *, tls: Path | None = None) -> Iterator[str]:
    """Yield `localhost:PORT` of a registry that keeps its files in `root`; `auth` is a part of its YAML."""
    held = held_port()
    port = held.getsockname()[1]
    secure = f", tls: {{certificate: {tls}/cert.pem, key: {tls}/key.pem}}" if tls else ""
    (root / "config.yml").write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {root}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'{secure}}}\n"
        f"auth: {auth}\n"
    )
    server = subprocess.Popen(
        [str(install().registry.host_path), "serve", str(root / "config.yml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_answers(port)
        yield f"localhost:{port}"
    finally:
        server.terminate()
        server.wait(30)
        held.close()


def _wait_until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1)
        except urllib.error.HTTPError:
            return  # 401: it answers
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
