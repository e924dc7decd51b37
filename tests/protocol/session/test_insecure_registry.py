"""A registry that `insecure=True` was said of: any certificate will do, and plain HTTP where there is no TLS."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from depotlab._session import Credentials, Manifest, Manifests
from depotlab.errors import RegistryError
from tests.support.certificates import Authority

KIND = "application/vnd.oci.image.index.v1+json"
BASIC = "Basic " + base64.b64encode(b"me:s3cr3t").decode()
ME = Credentials("me", "s3cr3t")


@contextmanager
def serving(folder: Path | None) -> Iterator[str]:
    """A registry that keeps manifests for who has a login; with TLS of an authority that nobody knows, or without."""
    kept: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        timeout = 2  # for one who says nothing that ends a line

        def log_message(self, *_: object) -> None:
            """Test output stays readable."""

        def answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", KIND)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="r"')
            self.end_headers()
            self.wfile.write(body)

        def may(self) -> bool:
            if self.headers.get("Authorization") != BASIC:
                self.answer(401)
                return False
            return True

        def do_GET(self) -> None:
            if self.may():
                found = kept.get(self.path)
                self.answer(404 if found is None else 200, found or b"")

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.may():
                kept[self.path] = body
                self.answer(201)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Handshakes that fail are what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if folder is not None:
        made = Authority().write(folder, "registry")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made / "cert.pem", made / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="test-registry")
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain HTTP"])
def test_an_index_is_pushed_and_read_whatever_it_speaks(tls, tmp_path):
    with serving(tmp_path if tls else None) as host:
        registry = Manifests(host, "app", ME, insecure=True)
        registry.put("v1", Manifest(b'{"manifests": []}', KIND))
        assert registry.get("v1") == Manifest(b'{"manifests": []}', KIND)


def test_only_where_the_user_has_said_so(tmp_path):
    with serving(tmp_path) as host, pytest.raises(RegistryError):
        Manifests(host, "app", ME, timeout_s=2).get("v1")


def test_who_is_not_there_is_said(tmp_path):
    with serving(tmp_path) as host:
        pass
    with pytest.raises(RegistryError, match="refused"):
        Manifests(host, "app", ME, insecure=True).get("v1")
