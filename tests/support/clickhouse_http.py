"""A real ClickHouse engine behind a real socket: chDB, in a process of its own, with ClickHouse's HTTP interface.

chDB is ClickHouse as a library: the same storage, SQL, formats, deduplication and expiry as the server, without its
network half. That half is a page of code here, as far as the official client uses it: queries with parameters and
settings, inserts in its binary format with compression, a login, error codes. The process can be killed and started
again on the same data.

    python clickhouse_http.py FOLDER PORT USER PASSWORD

Source: clickhouse.com/docs, "HTTP interface"; chdb-io/chdb.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USER = "builds"
PASSWORD = "pass-word-of-the-engine"
# Rows follow the line's end at once, and may begin with bytes that look like spaces.
_INSERT = re.compile(rb"\s*INSERT\s+INTO\s+(.+?)\s+FORMAT\s+Native *\n", re.IGNORECASE | re.DOTALL)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE = re.compile(r"Code: (\d+)")
_PIECE = 1 << 16
# What the HTTP half takes itself; all other parameters of an address are settings of the query.
_OF_TRANSPORT = {
    "query",
    "database",
    "default_format",
    "session_id",
    "query_id",
    "wait_end_of_query",
    "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
    "enable_http_compression",
    "cancel_http_readonly_queries_on_client_close",
    "client_protocol_version",
}


@dataclass
class Engine:
    """A running engine, or one that has ended and can be started again on its data."""

    folder: Path
    port: int
    user: str = USER
    password: str = field(default=PASSWORD, repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.folder), str(self.port), self.user, self.password],
            stdin=subprocess.PIPE,  # which ends with us
        )
        while True:
            try:
                with urllib.request.urlopen(f"{self.address}/ping", timeout=60):
                    return
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None, "the engine ended"
                time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process = None


@contextlib.contextmanager
def clickhouse_engine() -> Iterator[Engine]:
    """Run an engine with no data for as long as a block lasts."""
    # Here, because the process of the engine has this file and no packages of tests.
    from tests.support.ports import held_port

    with tempfile.TemporaryDirectory(prefix="dl-clickhouse-") as folder, held_port() as held:
        engine = Engine(Path(folder), held.getsockname()[1])
        engine.start()
        try:
            yield engine
        finally:
            if engine.process is not None:
                engine.kill()


# ------------------------------------------------------------------------- the process of the engine


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/ping":
            self._reply(200, b"Ok.\n")
        else:
            self._query(b"")

    def do_POST(self) -> None:
        self._query(self._body())

    def log_message(self, *words: Any) -> None:
        """Say nothing: the tests' output is for what fails."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return _decompressed(body, self.headers.get("Content-Encoding", ""))

    def _query(self, body: bytes) -> None:
        if self.headers.get("Authorization") != self.server.login:
            said = b"Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)"
            self._reply(403, said, {"X-ClickHouse-Exception-Code": "516"})
            return
        query = urllib.parse.urlsplit(self.path).query
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        sql = asked.get("query", "").encode() + (b"\n" if "query" in asked else b"") + body
        try:
            answer = self.server.run(sql, asked)
        except RuntimeError as error:
            code = _CODE.search(str(error))
            headers = {"X-ClickHouse-Exception-Code": code[1] if code else "1"}
            self._reply(500, str(error).encode(), headers)
        else:
            self._reply(200, answer, {"X-ClickHouse-Timezone": "UTC"})

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        # As the server does, which does not know how much there will be; early clients read nothing else.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces = [body[at : at + _PIECE] for at in range(0, len(body), _PIECE)]
        for piece in [*pieces, b""]:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: str, port: int, login: str) -> None:
        import chdb

        self.chdb = chdb
        self.folder = folder
        self.login = login
        # The engine lives as long as one connection does; others come and go with their settings.
        self.root = chdb.connect(folder)
        super().__init__(("127.0.0.1", port), _Handler)

    def run(self, sql: bytes, asked: Mapping[str, str]) -> bytes:
        connection = self.chdb.connect(self.folder)
        try:
            if "database" in asked:
                connection.query(f"USE `{asked['database']}`")
            for name, value in asked.items():
                if name not in _OF_TRANSPORT and not name.startswith("param_"):
                    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
                    connection.query(f"SET {name} = '{escaped}'")
            given = {
                k.removeprefix("param_"): v for k, v in asked.items() if k.startswith("param_")
            }
            insert = _INSERT.match(sql)
            if insert is not None:
                return self._insert(connection, insert[1].decode(), sql[insert.end() :])
            text = sql.decode()
            form = _FORMAT.search(text)
            found = connection.query(text, form[1] if form else "TabSeparated", params=given)
            return bytes(found.bytes())
        finally:
            connection.close()

    def _insert(self, connection: Any, into: str, rows: bytes) -> bytes:
        with tempfile.NamedTemporaryFile(suffix=".native") as file:
            file.write(rows)
            file.flush()
            connection.query(f"INSERT INTO {into} FROM INFILE '{file.name}' FORMAT Native")
        return b""


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding == "lz4":
        import lz4.frame

        return bytes(lz4.frame.decompress(body))
    if encoding == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    assert not encoding, encoding
    return body


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def _main(folder: str, port: str, user: str, password: str) -> None:
    login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    os.environ["TZ"] = "UTC"
    time.tzset()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Server(folder, int(port), login).serve_forever()


if __name__ == "__main__":
    _main(*sys.argv[1:])
