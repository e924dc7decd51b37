"""Manifests against a small registry that wants a login, of either kind."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from depotlab._session import Credentials, Manifest, Manifests
from depotlab.errors import RegistryError, SessionError

KIND = "application/vnd.oci.image.index.v1+json"
BASIC = "Basic " + base64.b64encode(b"me:s3cr3t").decode()


class Registry(BaseHTTPRequestHandler):
    scheme = "Basic"
    kept: ClassVar[dict[str, bytes]] = {}

    def log_message(self, *_):
        pass

    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def may(self):
        wanted = BASIC if self.scheme == "Basic" else "Bearer good"
        if self.headers.get("Authorization") == wanted:
            return True
        here = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        challenge = f'{self.scheme} realm="{here}",service="r",scope="repository:app:pull,push"'
        self.answer(401, WWW_Authenticate=challenge)
        return False

    def do_GET(self):
        if self.path.startswith("/token"):
            good = self.headers.get("Authorization") == BASIC and "repository%3Aapp" in self.path
            self.answer(200 if good else 401, b'{"token": "good"}' if good else b"")
        elif self.may():
            body = self.kept.get(self.path)
            self.answer(404 if body is None else 200, body or b"", Content_Type=KIND)

    def do_POST(self):  # the newer way to a token, which this server does not know
        self.answer(405)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.may():
            self.kept[self.path] = body
            self.answer(201)


@pytest.fixture(params=["Basic", "Bearer"])
def host(request):
    kind = type("Kind", (Registry,), {"scheme": request.param, "kept": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_was_put_is_got_with_a_login(host):
    registry = Manifests(host, "app", Credentials("me", "s3cr3t"))
    registry.put("v1", Manifest(b'{"a": 1}', KIND))
    registry.put("v2", Manifest(b'{"a": 2}', KIND))
    assert registry.get("v1") == Manifest(b'{"a": 1}', KIND)


def test_what_is_not_there_is_named(host):
    with pytest.raises(RegistryError, match=r"app:none.*HTTP status 404"):
        Manifests(host, "app", Credentials("me", "s3cr3t")).get("none")


def test_a_wrong_login_is_refused_and_not_repeated(host):
    with pytest.raises((RegistryError, SessionError)) as caught:
        Manifests(host, "app", Credentials("me", "wr0ng")).put("v1", Manifest(b"{}", KIND))
    assert "wr0ng" not in str(caught.value)
    assert "wr0ng" not in repr(caught.value)
