"""Folders and made-up programs for the tests of the engine room."""

from __future__ import annotations

import functools
import http.server
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A folder whose path leaves room for a socket, which pytest's own often do not."""
    with tempfile.TemporaryDirectory(prefix="dl-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def empty_path(monkeypatch, tmp_path) -> Path:
    """The only folder in which programs are looked for."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("depotlab._local._programs._SYSTEM_FOLDERS", ())
    monkeypatch.setattr("depotlab._local._go._FALLBACK", folder / "no-go-elsewhere")
    return folder


@dataclass
class FileServer:
    """A folder served over HTTP.

    Attributes:
        folder: What is served.
        url: Its address, without a slash at the end.
        asked: The paths that were asked for.
    """

    folder: Path
    url: str
    asked: list[str]


@pytest.fixture
def file_server(tmp_path) -> Iterator[FileServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args: object) -> None:
            """Test output stays readable."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield FileServer(folder, f"http://127.0.0.1:{server.server_port}", asked)
    server.shutdown()
    server.server_close()
    thread.join()
