"""A stand-in for the API of a Docker Engine, for answers that a real one cannot be made to give."""

from __future__ import annotations

import contextlib
import http.server
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Answer = Callable[["Handler"], None]


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeDocker

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *args: object) -> None:
        """Test output stays readable."""

    def answer(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/v1.41")
        given = self.server.answers.get(path)
        if path == "/_ping" and given is None:
            self.reply(b"OK", **{"Api-Version": "1.41"})
        elif given is None:
            self.reply(b'{"message": "page not found"}', status=404)
        else:
            given(self)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

    def read_body(self) -> bytes:
        """Read what was sent, chunked or not, and note the request."""
        body = bytearray()
        if self.headers.get("Transfer-Encoding") == "chunked":
            while n := int(self.rfile.readline(), 16):
                body += self.rfile.read(n)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body += self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(
            Asked(self.command, self.path, dict(self.headers.items()), bytes(body))
        )
        return bytes(body)

    def reply(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@dataclass
class FakeDocker(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves `answers` by path, without the version in front."""

    host_path: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    daemon_threads = True

    def __post_init__(self) -> None:
        super().__init__(str(self.host_path), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests do; anything else is their mistake."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        return f"unix://{self.host_path}"


@contextlib.contextmanager
def fake_docker(path: Path) -> Iterator[FakeDocker]:
    """Serve on a unix socket for as long as the block lasts."""
    server = FakeDocker(path)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="fake docker")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
