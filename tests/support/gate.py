"""A web server whose one file comes when a test lets it: a step of a real build that stands while it is looked at."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gate:
    """What `ADD` fetches from `url` is there once `open` was called."""

    url: str
    _opened: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        self._opened.set()

    def wait(self) -> None:
        self._opened.wait()


class _Server(http.server.ThreadingHTTPServer):
    gate: Gate


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.gate.wait()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextmanager
def closed_gate() -> Iterator[Gate]:
    """Serve on loopback, where the embedded engine runs too."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.gate = Gate(f"http://127.0.0.1:{server.server_port}/gate")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.gate
        finally:
            server.gate.open()
            server.shutdown()
            thread.join()
