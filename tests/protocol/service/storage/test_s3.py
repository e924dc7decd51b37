"""The store in a bucket: addresses for whom they are, and what becomes of a server's answers.

The server here says what a test wants; real ones are in the integration suite.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import http.server
import socket
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.parsers import ResponseParserError

from depotlab._portal import portal
from depotlab.errors import ContextRefused, StorageError, UsageError
from depotlab.service._storage.s3 import S3Storage
from tests.support.uploadedarchives import ARCHIVE

KEY = "shop/1700000000000000000.tar.gz"
LIMITS = {"max_bytes": 1 << 20, "max_unpacked_bytes": 1 << 20}
KEYS = {"access_key_id": "AKIAKNOWN", "secret_access_key": "do-not-show-me", "region": "eu-west-1"}


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers what the test says: a status and a body, or what is called with the connection."""

    answers: list[tuple[int, bytes] | Callable[[Scripted], None]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer(self)
        else:
            self.reply(*answer)

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET  # noqa: N815 - as the server looks for it

    def log_message(self, *args: object) -> None:
        """Test output stays readable."""


class Bucket:
    def __init__(self, url: str, handler: type[Scripted]) -> None:
        self.url = url
        self._handler = handler

    def says(self, *answers: tuple[int, bytes] | Callable[[Scripted], None]) -> None:
        self._handler.answers = list(answers)

    @property
    def asked(self) -> list[str]:
        return self._handler.asked


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    handler = type("Handler", (Scripted,), {"answers": [(200, b"")], "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Bucket(f"http://127.0.0.1:{server.server_port}", handler)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module", autouse=True)
def no_settings_of_this_computer() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", "/nowhere")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="module")
def storage(server: Bucket, no_settings_of_this_computer: None) -> Iterator[S3Storage]:
    """A store at the server; one for all, because boto3 takes its time to make a client."""
    storage = S3Storage("b", endpoint_url=server.url, **KEYS)
    portal().run(storage.open())
    yield storage
    portal().run(storage.close())


@pytest.fixture
def bucket(server: Bucket) -> Bucket:
    server.says((200, b""))
    server.asked.clear()
    return server


@pytest.fixture
def opened() -> Iterator[Callable[[S3Storage], S3Storage]]:
    storages: list[S3Storage] = []

    def open_it(storage: S3Storage) -> S3Storage:
        portal().run(storage.open())
        storages.append(storage)
        return storage

    yield open_it
    for storage in storages:
        for _ in range(2):
            portal().run(storage.close())


Opened = Callable[[S3Storage], S3Storage]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boto's waits between tries take no time."""
    monkeypatch.setattr(
        "botocore.endpoint.time", types.SimpleNamespace(sleep=lambda _: None, time=None)
    )


# ------------------------------------------------------------------------------------ addresses


def test_each_address_is_signed_for_the_host_it_is_used_at(opened: Opened) -> None:
    storage = opened(
        S3Storage(
            "contexts",
            prefix="/in/",
            endpoint_url="http://inner:9000",
            public_endpoint_url="https://up.example.com",
            build_endpoint_url="https://machines.example.com/",
            **KEYS,
        )
    )
    upload = portal().run(storage.upload(KEY, expires_s=900, max_bytes=5))
    up = urlsplit(upload.upload_url)
    down = urlsplit(portal().run(storage.download_url(KEY, expires_s=60)))
    assert (up.scheme, up.netloc, up.path) == ("https", "up.example.com", f"/contexts/in/{KEY}")
    assert (down.netloc, down.path) == ("machines.example.com", up.path)
    assert parse_qs(up.query)["X-Amz-Expires"] == ["900"]
    assert parse_qs(down.query)["X-Amz-Expires"] == ["60"]
    # Nothing that `curl -T` does not send, and no checksum.
    assert parse_qs(up.query)["X-Amz-SignedHeaders"] == ["host"]
    assert "checksum" not in up.query.lower()
    assert upload.headers == {}


@pytest.mark.parametrize(
    ("settings", "host", "path"),
    [
        pytest.param({}, "contexts.s3.eu-west-1.amazonaws.com", f"/{KEY}", id="Amazon's"),
        pytest.param(
            {"endpoint_url": "http://inner:9000"}, "inner:9000", f"/contexts/{KEY}", id="another"
        ),
        pytest.param(
            {"endpoint_url": "https://r2.example.com", "path_style": False},
            "contexts.r2.example.com", f"/{KEY}", id="another, with the bucket in its name",
        ),
        pytest.param(
            {"endpoint_url": "http://inner:9000", "public_endpoint_url": "https://up.example.com"},
            "up.example.com", f"/contexts/{KEY}", id="machines where uploaders are",
        ),
    ],
)  # fmt: skip
def test_where_machines_get_archives(
    opened: Opened, settings: dict[str, object], host: str, path: str
) -> None:
    storage = opened(S3Storage("contexts", **settings, **KEYS))  # type: ignore[arg-type]
    url = urlsplit(portal().run(storage.download_url(KEY, expires_s=60)))
    assert (url.netloc, url.path) == (host, path)


# -------------------------------------------------------------------------------------- answers


def test_a_check_reads_the_object_as_it_comes(bucket: Bucket, storage: S3Storage) -> None:
    bucket.says((200, ARCHIVE))
    assert portal().run(storage.check(KEY, **LIMITS)).n_entries == 3
    assert bucket.asked == [f"/b/{KEY}"]


def test_a_check_says_what_was_looked_at_since_it_may_be_put_again(
    bucket: Bucket, storage: S3Storage
) -> None:
    packed = gzip.compress(ARCHIVE) + bytes(100)  # to the last byte, also behind its end
    bucket.says((200, packed))
    expected = f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert portal().run(storage.check(KEY, **LIMITS)).digest == expected


def test_an_object_whose_length_nobody_says_is_read_up_to_the_limit(
    bucket: Bucket, storage: S3Storage
) -> None:
    def unsaid(request: Scripted) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(ARCHIVE)
        request.close_connection = True

    bucket.says(unsaid)
    assert portal().run(storage.check(KEY, **LIMITS)).n_entries == 3
    with pytest.raises(ContextRefused, match="larger than"):
        portal().run(storage.check(KEY, max_bytes=1000, max_unpacked_bytes=1 << 20))


def test_what_machines_would_unpack_before_they_look_at_it_is_refused(
    bucket: Bucket, storage: S3Storage
) -> None:
    def encoded(request: Scripted) -> None:
        request.send_response(200)
        request.send_header("Content-Encoding", "GZIP")
        request.send_header("Content-Length", "20")
        request.end_headers()

    bucket.says(encoded)
    with pytest.raises(ContextRefused, match="Content-Encoding"):
        portal().run(storage.check(KEY, **LIMITS))


def test_an_object_over_the_limit_is_not_read(bucket: Bucket, storage: S3Storage) -> None:
    def endless(request: Scripted) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(1 << 40))
        request.end_headers()

    bucket.says(endless)
    with pytest.raises(ContextRefused, match=r"larger than 1\.0 MB") as caught:
        portal().run(storage.check(KEY, **LIMITS))
    assert caught.value.reason == "too_large"


def said(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>signed do-not-show-me</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "code", "is_transient", "hint"),
    [
        pytest.param(403, "AccessDenied", False, "s3:GetObject", id="no right"),
        pytest.param(403, "SignatureDoesNotMatch", False, "secret_access_key", id="a wrong key"),
        pytest.param(403, "InvalidAccessKeyId", False, "access_key_id", id="an unknown key"),
        pytest.param(404, "NoSuchBucket", False, "bucket", id="no bucket"),
        pytest.param(400, "RequestTimeout", True, "", id="too slow"),
        pytest.param(503, "SlowDown", True, "", id="too much"),
        pytest.param(500, "InternalError", True, "", id="broken"),
        pytest.param(429, "Whatever", True, "", id="too many"),
        pytest.param(400, "&lt;odd&gt; do-not-show-me", False, "", id="odd words"),
    ],
)
@pytest.mark.usefixtures("at_once")
def test_what_the_server_refuses(
    bucket: Bucket, storage: S3Storage, status: int, code: str, is_transient: bool, hint: str
) -> None:
    bucket.says((status, said(code)))
    with pytest.raises(StorageError) as caught:
        portal().run(storage.check(KEY, **LIMITS))
    assert caught.value.is_transient is is_transient
    assert hint in caught.value.hint
    assert "do-not-show-me" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_what_is_not_there_is_missing(bucket: Bucket, storage: S3Storage) -> None:
    bucket.says((404, said("NoSuchKey")))
    with pytest.raises(ContextRefused) as caught:
        portal().run(storage.check(KEY, **LIMITS))
    assert caught.value.reason == "missing"


@pytest.mark.usefixtures("at_once")
def test_a_server_that_fails_for_a_moment_is_asked_again(
    bucket: Bucket, storage: S3Storage
) -> None:
    bucket.says((503, said("SlowDown")), (500, said("InternalError")), (200, ARCHIVE))
    assert portal().run(storage.check(KEY, **LIMITS)).n_entries == 3
    assert len(bucket.asked) == 3


@pytest.mark.usefixtures("at_once")
def test_closing_waits_for_no_further_tries(bucket: Bucket) -> None:
    storage = S3Storage("b", endpoint_url=bucket.url, **KEYS)
    portal().run(storage.open())

    def slow(request: Scripted) -> None:
        closing.append(portal().submit(storage.close()))
        portal().run(asyncio.sleep(0))  # it has begun by then
        request.reply(503, said("SlowDown"))

    closing: list[Any] = []
    bucket.says(slow)
    with pytest.raises(StorageError, match="was closed"):
        portal().run(storage.check(KEY, **LIMITS))
    closing[0].done.result(30)
    assert len(bucket.asked) == 1


@pytest.mark.usefixtures("at_once")
def test_a_server_that_is_not_there_may_come_back(opened: Opened) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        storage = opened(S3Storage("b", endpoint_url=url, **KEYS))
        for call in (storage.check(KEY, **LIMITS), storage.delete(KEY), storage.sweep(1)):
            with pytest.raises(StorageError, match="does not answer") as caught:
                portal().run(call)
            assert caught.value.is_transient
            assert KEY not in str(caught.value)
        # Addresses are signed here.
        assert portal().run(storage.upload(KEY, expires_s=9, max_bytes=9)).upload_url


def test_an_answer_that_breaks_off_is_no_fault_of_the_archive(
    bucket: Bucket, storage: S3Storage
) -> None:
    def half(request: Scripted) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(ARCHIVE)))
        request.end_headers()
        request.wfile.write(ARCHIVE[:600])
        request.close_connection = True

    bucket.says(half)
    with pytest.raises(StorageError) as caught:
        portal().run(storage.check(KEY, **LIMITS))
    assert caught.value.is_transient


def test_an_answer_that_is_none_of_s3_is_not_that_of_a_missing_archive(
    bucket: Bucket, storage: S3Storage
) -> None:
    bucket.says((404, b"<html>do-not-show-me</html>"))
    with pytest.raises(StorageError, match="refuses: an unknown error") as caught:
        portal().run(storage.check(KEY, **LIMITS))
    assert "do-not-show-me" not in str(caught.value)


def test_an_answer_that_boto_cannot_read_may_be_a_proxy_s(storage: S3Storage) -> None:
    def call(_: object) -> None:
        raise ResponseParserError("do-not-show-me")

    with pytest.raises(StorageError, match="does not answer") as caught:
        storage._called(call)
    assert caught.value.is_transient
    assert "do-not-show-me" not in str(caught.value)


def test_no_credentials_are_said(opened: Opened) -> None:
    storage = opened(S3Storage("b", endpoint_url="http://127.0.0.1:1"))
    with pytest.raises(StorageError, match="needs credentials") as caught:
        portal().run(storage.upload(KEY, expires_s=9, max_bytes=9))
    assert not caught.value.is_transient


def test_a_wrong_profile_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    storage = S3Storage("b")
    with pytest.raises(StorageError, match="ProfileNotFound"):
        portal().run(storage.open())
    portal().run(storage.close())


# ------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param({"bucket": ""}, "bucket", id="no bucket"),
        pytest.param({"bucket": "a/b"}, "bucket", id="a folder in the bucket's name"),
        pytest.param({"access_key_id": "x"}, "secret_access_key", id="half of the credentials"),
        pytest.param({"endpoint_url": "minio:9000"}, "endpoint_url", id="no scheme"),
        pytest.param({"public_endpoint_url": "ftp://x"}, "public_endpoint_url", id="no HTTP"),
        pytest.param({"build_endpoint_url": "http://a:b@x"}, "build_endpoint_url", id="a login"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        S3Storage(**{"bucket": "b", **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("expires_s", [0, -1, 7 * 86_400 + 1])
def test_an_address_is_good_for_a_week_at_most(storage: S3Storage, expires_s: int) -> None:
    with pytest.raises(UsageError, match="expires_s"):
        portal().run(storage.download_url(KEY, expires_s=expires_s))


def test_a_bucket_that_is_not_open_says_so() -> None:
    with pytest.raises(UsageError, match="not open"):
        portal().run(S3Storage("b").delete(KEY))


def test_it_shows_itself_without_secrets() -> None:
    storage = S3Storage("b", endpoint_url="http://inner:9000", **KEYS)
    assert repr(storage) == "S3Storage('b', endpoint_url='http://inner:9000')"
    assert repr(S3Storage("b")) == "S3Storage('b')"
    for text in (repr(storage), storage._repr_html_()):
        assert "do-not-show-me" not in text
        assert "AKIA" not in text
