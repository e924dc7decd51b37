"""Fixtures of the integration suite."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest


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
