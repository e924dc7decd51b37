"""Fixtures of the integration suite."""

from __future__ import annotations

import http.server
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.support import dockerd as docker_support
from tests.support.certificates import Authority


@dataclass
class HttpFolder:
    path: Path
    url: str


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Test output stays readable."""


@pytest.fixture
def http_folder(tmp_path_factory) -> Iterator[HttpFolder]:
    """A folder served over HTTP on loopback, which the daemon's host network reaches."""
    path = tmp_path_factory.mktemp("http")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=path))
    thread = threading.Thread(target=server.serve_forever, name="http-folder")
    thread.start()
    yield HttpFolder(path, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def private_folder() -> Iterator[Path]:
    """A folder for daemons of this test run; short, because sockets live in it."""
    path = Path(tempfile.mkdtemp(prefix="dld-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def dockerd(private_folder: Path) -> Iterator[docker_support.Dockerd]:
    """A Docker Engine of the test run's own, with busybox; on its unix socket, and on TCP with TLS."""
    if reason := docker_support.why_not():
        unavailable(reason)
    root = private_folder / "docker"
    root.mkdir()
    authority = Authority()
    server = authority.write(root / "server", "engine")
    authority.write(root / "client", "client")
    with docker_support.running_dockerd(root, certificates=server) as running:
        yield running


@pytest.fixture(scope="session")
def podman(private_folder: Path) -> Iterator[docker_support.DockerEngine]:
    """A client of podman's service, run for this test run only."""
    if reason := docker_support.why_not("podman", "conmon"):
        unavailable(reason)
    root = private_folder / "podman"
    root.mkdir()
    with docker_support.running_podman(root) as running:
        yield running
