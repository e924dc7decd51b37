"""Blobs of a registry that breaks off, sends us on, is busy, or lies."""

from __future__ import annotations

import os
import threading
import time

import pytest

from depotlab._session import Credentials, Registry, fetch_blob, fetch_manifest
from depotlab.errors import RegistryError
from tests.support.blobregistry import digest_of, image, layer, serving_registry

PASSWORD = "planted_pull_0123456789"
CREDENTIALS = Credentials("x-token", PASSWORD)
BIG = layer("big", os.urandom(3_000_000))
DIGEST, SIZE = digest_of(BIG), len(BIG)


@pytest.fixture
def registry():
    with serving_registry(image(BIG), password=PASSWORD) as serving:
        yield serving


@pytest.fixture
def client(registry):
    made = Registry(registry.host, "p1", CREDENTIALS, timeout_s=100)
    yield made
    made.close()


def fetch(client, *, size=SIZE):
    return b"".join(fetch_blob(client, DIGEST, size))


def once(fault):
    """The fault the first time only, for blobs."""
    left = [True]

    def first(handler):
        if "/blobs/" not in handler.path or not left:
            return False
        left.clear()
        return fault(handler)

    return first


def test_a_blob_comes_whole_and_the_connection_is_kept(registry, client):
    assert fetch(client) == BIG
    assert fetch(client) == BIG
    assert fetch_manifest(client, "any").digest == registry.image.root
    logged_in = [h.get("Authorization", "") for _, h in registry.asked]
    assert [bool(one) for one in logged_in] == [False, True, True, True], "asked for once"


def test_a_cut_connection_is_taken_up_where_it_broke(registry, client):
    registry.fault = once(lambda handler: handler.cut(BIG, 1_000_000))
    assert fetch(client) == BIG
    ranges = [h.get("Range", "") for path, h in registry.asked if "/blobs/" in path]
    assert ranges[-1] == "bytes=1000000-"


def test_a_registry_that_knows_no_ranges_begins_anew_and_nothing_comes_twice(registry, client):
    registry.ranges = False
    registry.fault = once(lambda handler: handler.cut(BIG, 1_000_000))
    assert fetch(client) == BIG


def test_a_connection_that_always_breaks_is_an_error_in_the_end(registry, client):
    registry.fault = lambda handler: "/blobs/" in handler.path and handler.cut(BIG, 1000)
    with pytest.raises(RegistryError, match=r"ended after \d+ of \d+ bytes") as caught:
        fetch(client)
    assert "try again" in caught.value.hint
    assert caught.value.host == registry.host
    assert len(registry.paths("blobs")) <= 10


@pytest.mark.parametrize("size", [len(BIG), len(BIG) - 10], ids=["whole", "short"])
def test_another_content_is_an_error_at_the_end(registry, client, size):
    other = bytes(len(BIG))
    registry.image.blobs[DIGEST] = other
    with pytest.raises(RegistryError, match=r"digest says|longer than"):
        fetch(client, size=size)


def test_a_manifest_of_another_content_is_refused(registry, client):
    root = registry.image.root
    registry.image.documents[root] = (b"{}", registry.image.documents[root][1])
    with pytest.raises(RegistryError, match="not what its digest says"):
        fetch_manifest(client, root)


def test_a_busy_registry_is_asked_again_as_it_says(registry, client):
    def busy(handler):
        handler.answer(503, Retry_After="1")
        return True

    registry.fault = once(busy)
    began_s = time.monotonic()
    assert fetch(client) == BIG
    assert time.monotonic() - began_s > 0.9


def test_the_login_does_not_go_where_we_are_sent_on(registry, client):
    with serving_registry(registry.image) as elsewhere:

        def send_on(handler):
            handler.answer(307, Location=f"http://{elsewhere.host}{handler.path}?sig=1")
            return True

        def plain(handler):
            handler.path = handler.path.partition("?")[0]
            return False

        elsewhere.fault = plain
        registry.fault = lambda handler: "/blobs/" in handler.path and send_on(handler)
        assert fetch(client) == BIG
        (asked,) = elsewhere.asked
        assert "Authorization" not in asked[1]


def test_going_round_in_circles_ends(registry, client):
    def circle(handler):
        handler.answer(302, Location=handler.path)
        return True

    registry.fault = circle
    with pytest.raises(RegistryError, match="from place to place"):
        fetch(client)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (404, "NOT_FOUND")],
)
def test_a_refusal_says_why_and_shows_no_password(registry, client, status, code):
    said = b'{"errors": [{"code": "X", "message": "not %s"}]}' % PASSWORD.encode()

    def refuse(handler):
        handler.answer(status, said, WWW_Authenticate='Basic realm="x"')
        return True

    registry.fault = refuse
    with pytest.raises(RegistryError, match=f"HTTP status {status}, not •••") as caught:
        fetch(client)
    assert caught.value.code == code
    assert PASSWORD not in str(caught.value) + repr(caught.value) + repr(client)


def test_a_wrong_password_is_refused_and_not_tried_for_ever(registry):
    client = Registry(registry.host, "p1", Credentials("x-token", "wrong_0123456789"))
    with pytest.raises(RegistryError, match="401"):
        fetch(client)
    assert len(registry.asked) == 2


def test_nobody_there_is_said(registry):
    client = Registry("127.0.0.1:1", "p1", CREDENTIALS)
    with pytest.raises(RegistryError, match="refused") as caught:
        fetch(client, size=1)
    assert "reached from this computer" in caught.value.hint


def test_a_wait_ends_at_once_when_it_is_aborted(registry, client):
    stalled, gone = threading.Event(), threading.Event()

    def stall(handler):
        handler.cut(BIG, 1000)
        handler.wfile.flush()
        stalled.set()
        gone.wait(100)
        return True

    registry.fault = once(stall)
    errors = []

    def run():
        try:
            fetch(client)
        except RegistryError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert stalled.wait(60)
    client.abort()
    thread.join(60)  # it would wait for longer
    gone.set()
    assert errors


def test_a_proxy_is_asked_for_whole_addresses_and_gets_its_own_login(registry, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://me:s3cr3t@{registry.host}")
    monkeypatch.delenv("no_proxy", raising=False)
    registry.password = ""

    def whole(handler):
        assert handler.path.startswith("http://registry.test/v2/p1/blobs/")
        assert handler.headers["Proxy-Authorization"] == "Basic bWU6czNjcjN0"
        return False

    registry.fault = whole
    client = Registry("registry.test", "p1", Credentials(), plain_http=True)
    assert fetch(client) == BIG
    client.close()
