"""An HTTP server on the loopback that gives a file, and a git repository, only to who has the right header."""

from __future__ import annotations

import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

__all__ = ["GuardedServer"]


class GuardedServer:
    """Use as a context manager. `/file` is a file, `/repo.git` a repository with a file `README`.

    Args:
        folder: Empty; the repository is made there.

    Attributes:
        accepts: The values of `Authorization` that open it.
        seen: Those that came, in order, None for none.
        content: What the file and `README` hold.
    """

    def __init__(self, folder: Path) -> None:
        self.accepts: set[str] = set()
        self.seen: list[str | None] = []
        self.content = f"guarded {os.urandom(8).hex()}"
        self._folder = folder
        guard = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                guard._answer(self, b"")

            def do_POST(self) -> None:
                guard._answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            do_HEAD = do_GET  # noqa: N815 - as http.server calls it

            def log_message(self, *_: object) -> None:
                """Test output stays readable."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        work = self._folder / "work"
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        for command in (
            ["init", "--quiet", "--initial-branch=main", str(work)],
            ["-C", str(work), "add", "README"],
            ["-C", str(work), *identity, "commit", "--quiet", "--message=one"],
            ["clone", "--quiet", "--bare", str(work), str(self._folder / "repo.git")],
        ):
            if "add" in command:
                (work / "README").write_text(self.content)
            subprocess.run(["git", *command], check=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        given = handler.headers.get("Authorization")
        self.seen.append(given)
        if given not in self.accepts:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="guarded"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif urlsplit(handler.path).path == "/file":
            data = self.content.encode()
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(data)
        else:
            self._git(handler, body)

    def _git(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Run git's own server program for one request, as a CGI program."""
        parts = urlsplit(handler.path)
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(self._folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": handler.command,
                "PATH_INFO": parts.path,
                "QUERY_STRING": parts.query,
                "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            },
        )
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        handler.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in {**fields, "Content-Length": str(len(data))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)
