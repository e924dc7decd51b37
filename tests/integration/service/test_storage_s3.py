"""The store in a bucket of a server that checks signatures, and a daemon that gets its contexts there."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import depotlab as dl
from depotlab._portal import portal
from depotlab.errors import ContextRefused, DaemonError, StorageError
from depotlab.service import S3Storage
from depotlab.service._reasons.usererrors import user_error
from depotlab.service._run.buildrequest import _unpacked
from tests.conftest import unavailable
from tests.support.officialclients import ClientUnavailable
from tests.support.ports import held_port
from tests.support.s3stores import Store, gateway_program, running
from tests.support.uploadedarchives import ARCHIVE, noise, tar

pytestmark = pytest.mark.timeout(600)  # the first one compiles the server

KEY = "shop/1700000000000000000.tar.gz"
LIMITS = {"max_bytes": 1 << 20, "max_unpacked_bytes": 1 << 20}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    try:
        gateway_program()
    except ClientUnavailable as error:
        unavailable(str(error))
    with running(tmp_path_factory.mktemp("s3")) as found:
        yield found


def at(store: Store, **more: str) -> S3Storage:
    return S3Storage(
        store.bucket,
        prefix="in",
        endpoint_url=store.endpoint_url,
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        region="us-east-1",
        **more,
    )


@pytest.fixture(scope="module")
def storage(store: Store) -> Iterator[S3Storage]:
    """Uploaders call the server `localhost`, and everybody else `127.0.0.1`."""
    public = store.endpoint_url.replace("127.0.0.1", "localhost")
    made = at(store, public_endpoint_url=public, build_endpoint_url=store.endpoint_url)
    portal().run(made.open())
    yield made
    portal().run(made.close())


def ask(method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send what `curl` would: nothing but the address and the length."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body=body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def put(storage: S3Storage, key: str, data: bytes) -> None:
    upload = portal().run(storage.upload(key, expires_s=60, max_bytes=1 << 20))
    assert ask("PUT", upload.upload_url, data)[0] == 200


def reason(storage: S3Storage, key: str, **limits: int) -> str:
    with pytest.raises(ContextRefused) as caught:
        portal().run(storage.check(key, **{**LIMITS, **limits}))
    return caught.value.reason


def test_what_was_put_is_checked_got_and_deleted(storage: S3Storage) -> None:
    put(storage, KEY, ARCHIVE)
    assert portal().run(storage.check(KEY, **LIMITS)).n_entries == 3
    assert ask("GET", portal().run(storage.download_url(KEY, expires_s=60))) == (200, ARCHIVE)
    for _ in range(2):
        portal().run(storage.delete(KEY))
    assert reason(storage, KEY) == "missing"


def test_a_bad_upload_is_found_before_it_is_built(storage: S3Storage) -> None:
    put(storage, "shop/cut", tar(("a", noise(90_000)))[:-3000])
    assert reason(storage, "shop/cut") == "damaged"
    assert reason(storage, "shop/cut", max_bytes=1000) == "too_large"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda url: url.replace("shop/", "shot/"), id="another key"),
        pytest.param(lambda url: url.replace("localhost", "127.0.0.1"), id="another host"),
        pytest.param(lambda url: url.replace("Expires=60", "Expires=600"), id="another moment"),
        pytest.param(lambda url: url.partition("?")[0] + "?", id="no signature"),
    ],
)
def test_an_address_is_good_as_it_is_only(storage: S3Storage, change: Callable[[str], str]) -> None:
    url = portal().run(storage.upload(KEY, expires_s=60, max_bytes=1 << 20)).upload_url
    assert ask("PUT", change(url), ARCHIVE)[0] == 403
    assert reason(storage, KEY) == "missing"


def test_an_address_is_good_for_one_verb(storage: S3Storage) -> None:
    put(storage, "shop/verbs", ARCHIVE)
    url = portal().run(storage.download_url("shop/verbs", expires_s=60))
    assert ask("PUT", url, b"other")[0] == 403
    assert ask("GET", url) == (200, ARCHIVE)


def test_an_address_expires(storage: S3Storage) -> None:
    put(storage, "shop/late", ARCHIVE)
    url = portal().run(storage.download_url("shop/late", expires_s=1))
    deadline = time.monotonic() + 30
    while (status := ask("GET", url)[0]) == 200:
        assert time.monotonic() < deadline, "it is good for ever"
        time.sleep(0.1)
    assert status == 403


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            {"secret_access_key": "hunter2-hunter2"}, "SignatureDoesNotMatch", id="secret"
        ),
        # What Amazon calls InvalidAccessKeyId.
        pytest.param({"access_key_id": "NOBODY"}, "UserNotFound", id="unknown key"),
        pytest.param({"bucket": "nowhere"}, "NoSuchBucket", id="bucket"),
    ],
)
def test_wrong_settings_are_said_and_stay_wrong(
    store: Store, change: dict[str, str], said: str
) -> None:
    storage = at(replace(store, **change))
    portal().run(storage.open())
    with pytest.raises(StorageError, match=said) as caught:
        portal().run(storage.check(KEY, **LIMITS))
    portal().run(storage.close())
    assert not caught.value.is_transient
    assert "hunter2" not in str(caught.value)


def test_old_archives_are_swept(storage: S3Storage) -> None:
    put(storage, "shop/old", ARCHIVE)
    assert portal().run(storage.sweep(3600)) == 0
    assert portal().run(storage.sweep(-3600)) >= 1
    assert reason(storage, "shop/old") == "missing"


def test_a_daemon_gets_it_again_although_it_may_not_ask_by_head(
    bk: dl.Client, storage: S3Storage
) -> None:
    put(storage, "shop/built", tar(("Dockerfile", b"FROM scratch\n")))
    for expires_s in (600, 601):  # another signature
        url = portal().run(storage.download_url("shop/built", expires_s=expires_s))
        for _ in "ab":  # the same again: HEAD first, which is refused
            assert bk.read(_unpacked(url), "/Dockerfile") == b"FROM scratch\n"


def test_what_is_put_after_it_was_looked_at_is_not_built(bk: dl.Client, storage: S3Storage) -> None:
    put(storage, "shop/changed", tar(("Dockerfile", b"FROM scratch\n")))
    digest = portal().run(storage.check("shop/changed", **LIMITS)).digest
    url = portal().run(storage.download_url("shop/changed", expires_s=60))
    put(storage, "shop/changed", tar(("Dockerfile", b"FROM busybox\n")))
    with pytest.raises(DaemonError) as caught:
        bk.read(_unpacked(url, digest), "/Dockerfile")
    assert user_error(caught.value, failed="fetch").category == "context"
    put(storage, "shop/changed", tar(("Dockerfile", b"FROM scratch\n")))
    assert bk.read(_unpacked(url, digest), "/Dockerfile") == b"FROM scratch\n"


def test_a_server_that_comes_back_is_used_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depotlab.service._storage.s3._MOST_TRIES", 1)
    with held_port() as held:
        port = held.getsockname()[1]
        with running(tmp_path, port) as first:
            storage = at(first)
            portal().run(storage.open())
            put(storage, KEY, ARCHIVE)
        with pytest.raises(StorageError) as caught:
            portal().run(storage.check(KEY, **LIMITS))
        assert caught.value.is_transient
        with running(tmp_path, port):
            assert portal().run(storage.check(KEY, **LIMITS)).n_entries == 3
            portal().run(storage.close())
