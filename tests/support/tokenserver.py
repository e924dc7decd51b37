"""A token server on the loopback, which answers as it is told and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Asked", "TokenServer"]


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    fields: list[tuple[str, str]]  # of the query, or of the form
    headers: dict[str, str] = field(default_factory=dict)


Answer = tuple[int, dict[str, str], object]


class TokenServer:
    """Use as a context manager.

    Attributes:
        answers: Status, headers and body for each method, or what makes them of a request; bodies
            that are no text become JSON.
        asked: Requests so far.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Callable[[Asked], Answer]] = {}
        self.asked: list[Asked] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self, urlsplit(self.path).query)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                server._answer(self, self.rfile.read(length).decode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, fields: str) -> None:
        parts = urlsplit(handler.path)
        asked = Asked(handler.command, parts.path, parse_qsl(fields), dict(handler.headers))
        self.asked.append(asked)
        answer = self.answers[handler.command]
        status, headers, body = answer(asked) if callable(answer) else answer
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)
