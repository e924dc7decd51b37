"""The store in a folder: what uploaders and machines are answered over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import io
import os
import socket
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest

from depotlab._portal import portal
from depotlab.errors import ContextRefused, StorageError, UsageError
from depotlab.service._boundary import ContextFacts, Upload
from depotlab.service._storage.localstore import LocalStorage
from depotlab.service._storage.threads import Threads
from tests.support.uploadedarchives import ARCHIVE, noise, tar

T = TypeVar("T")

KEY = "shop/1700000000000000000.tar.gz"
LIMITS = {"max_bytes": 1 << 30, "max_unpacked_bytes": 1 << 30}


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(method: str, url: str, body: object = None, **headers: str) -> Answer:
    """Send one request on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        path = f"{parts.path}?{parts.query}"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=given)  # type: ignore[arg-type]
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


class Store:
    """A store with blocking verbs."""

    def __init__(self, storage: LocalStorage, folder: Path) -> None:
        self.storage = storage
        self.folder = folder

    def upload(self, key: str = KEY, *, expires_s: int = 900, max_bytes: int = 1 << 20) -> Upload:
        return portal().run(self.storage.upload(key, expires_s=expires_s, max_bytes=max_bytes))

    def url(self, key: str = KEY, *, expires_s: int = 900) -> str:
        return portal().run(self.storage.download_url(key, expires_s=expires_s))

    def put(self, data: bytes = ARCHIVE, key: str = KEY) -> Answer:
        return ask("PUT", self.upload(key).upload_url, data)

    def check(self, key: str = KEY, **limits: int) -> ContextFacts:
        return portal().run(self.storage.check(key, **{**LIMITS, **limits}))

    def files(self) -> list[Path]:
        return [p for name in ("contexts", "arriving") for p in (self.folder / name).iterdir()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    storage = LocalStorage(folder)
    portal().run(storage.open())
    yield Store(storage, folder)
    portal().run(storage.close())


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


# --------------------------------------------------------------------------------- the usual way


def test_what_was_put_is_checked_and_got(store: Store) -> None:
    upload = store.upload(max_bytes=5000)
    assert (upload.build_context_path, upload.expires_in_s, upload.max_bytes) == (KEY, 900, 5000)
    assert dict(upload.headers) == {}
    put = ask("PUT", store.upload().upload_url, ARCHIVE)
    assert put.status == 200
    assert store.check().n_entries == 3
    got = ask("GET", store.url())
    assert (got.status, got.body) == (200, ARCHIVE)
    assert got.headers["etag"] == put.headers["etag"]
    assert got.headers["content-length"] == str(len(ARCHIVE))


def test_a_large_archive_passes_in_pieces(store: Store) -> None:
    data = tar(("a", noise(5 << 20)))
    assert ask("PUT", store.upload(max_bytes=8 << 20).upload_url, data).status == 200
    assert ask("GET", store.url()).body == data
    assert store.check().unpacked_bytes == 5 << 20


def test_an_upload_without_a_length_is_taken(store: Store) -> None:
    pieces = [ARCHIVE[at : at + 700] for at in range(0, len(ARCHIVE), 700)]
    assert ask("PUT", store.upload().upload_url, iter(pieces)).status == 200
    assert ask("GET", store.url()).body == ARCHIVE


def test_the_daemon_s_questions_are_answered(store: Store) -> None:
    store.put()
    head = ask("HEAD", store.url())
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(ARCHIVE))
    etag = head.headers["etag"]
    for method in ("HEAD", "GET"):
        same = ask(method, store.url(), If_None_Match=f'"other", W/{etag}')
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
        assert ask(method, store.url(), If_None_Match='"other"').status == 200


def test_several_put_and_get_at_once(store: Store) -> None:
    data = {f"p{n}/1.tar": tar((f"f{n}", noise(200_000 + n))) for n in range(8)}
    with ThreadPoolExecutor(8) as pool:
        assert {a.status for a in pool.map(store.put, data.values(), data)} == {200}
        got = pool.map(lambda key: ask("GET", store.url(key)).body, data)
        assert list(got) == list(data.values())


def test_a_connection_serves_several_uploads(store: Store) -> None:
    urls = [urlsplit(store.upload(f"p/{n}").upload_url) for n in range(3)]
    connection = http.client.HTTPConnection(urls[0].hostname or "", urls[0].port, timeout=30)
    for url in [*urls, urls[0]]:
        connection.request("PUT", f"{url.path}?{url.query}", body=ARCHIVE)
        answer = connection.getresponse()
        answer.read()
    assert answer.status == 409
    connection.close()


# -------------------------------------------------------------------------------------- refusals


def test_an_address_is_good_for_one_upload(store: Store) -> None:
    url = store.upload().upload_url
    assert ask("PUT", url, ARCHIVE).status == 200
    again = ask("PUT", url, tar(("other", b"")))
    assert again.status == 409
    assert b"already" in again.body
    assert ask("GET", store.url()).body == ARCHIVE


def test_of_two_uploads_at_once_one_is_kept(store: Store) -> None:
    url = urlsplit(store.upload().upload_url)
    both = [http.client.HTTPConnection(url.hostname or "", url.port, timeout=30) for _ in "ab"]
    for connection in both:
        connection.putrequest("PUT", f"{url.path}?{url.query}")
        connection.putheader("Content-Length", str(len(ARCHIVE)))
        connection.endheaders(ARCHIVE[:-1])
    for connection in both:
        connection.send(ARCHIVE[-1:])
    assert sorted(connection.getresponse().status for connection in both) == [200, 409]
    for connection in both:
        connection.close()
    assert len(store.files()) == 1


def test_more_uploads_at_once_would_fill_the_disk_and_are_refused(store: Store) -> None:
    url = urlsplit(store.upload().upload_url)
    with ExitStack() as stack:
        for _ in "ab":
            connection = socket.create_connection((url.hostname, url.port or 0), timeout=30)
            stack.enter_context(connection)
            head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n"
            connection.sendall(head.encode() + b"abc")
        server = store.storage._open.listener._app.app  # type: ignore[union-attr]
        until(lambda: server._n_arriving[KEY] == 2)
        third = ask("PUT", url.geturl(), ARCHIVE)
        assert (third.status, b"under way" in third.body) == (429, True)
    until(lambda: not server._n_arriving)
    assert ask("PUT", url.geturl(), ARCHIVE).status == 200


@pytest.mark.parametrize("said", [True, False], ids=["a length that is said", "no length"])
def test_an_upload_over_the_limit_is_refused_and_leaves_nothing(store: Store, said: bool) -> None:
    data = noise(3 << 20)
    body = data if said else iter([data[:5000], data[5000:]])
    answer = ask("PUT", store.upload(max_bytes=100_000).upload_url, body)
    assert answer.status == 413
    assert b"larger than 100 kB" in answer.body
    until(lambda: not store.files())


def test_an_upload_that_breaks_off_leaves_nothing(store: Store) -> None:
    url = urlsplit(store.upload(max_bytes=8 << 20).upload_url)
    with socket.create_connection((url.hostname, url.port or 0), timeout=30) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
        connection.sendall(head.encode() + noise(3 << 20))
        until(lambda: len(store.files()) == 1)
    until(lambda: not store.files())
    with pytest.raises(ContextRefused) as caught:
        store.check()
    assert caught.value.reason == "missing"
    assert store.put().status == 200


def test_an_upload_that_stalls_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depotlab.service._storage.storeserver._STALLED_S", 0.05)
    url = urlsplit(store.upload().upload_url)
    with socket.create_connection((url.hostname, url.port or 0), timeout=30) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n"
        connection.sendall(head.encode() + b"abc")
        assert b" 408 " in connection.recv(100)
    until(lambda: not store.files())


@pytest.mark.parametrize(
    ("change", "method"),
    [
        pytest.param(lambda url: url.replace("shop/", "shot/"), "PUT", id="another key"),
        pytest.param(lambda url: url.replace("shop/", "shop/../shop/"), "PUT", id="a way up"),
        pytest.param(lambda url: url.replace("shop/", "%2e%2e%2f"), "PUT", id="a hidden way up"),
        pytest.param(lambda url: url.replace("max-bytes=1", "max-bytes=9"), "PUT", id="the size"),
        pytest.param(lambda url: url.replace("expires=", "expires=9"), "PUT", id="the moment"),
        pytest.param(lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"), "PUT", id="a letter"),
        pytest.param(lambda url: url.partition("?")[0], "PUT", id="no signature"),
        pytest.param(lambda url: url + "&signature=", "GET", id="for another verb"),
    ],
)
def test_an_address_that_was_changed_is_refused(
    store: Store, change: Callable[[str], str], method: str
) -> None:
    answer = ask(method, change(store.upload().upload_url), ARCHIVE)
    assert answer.status == 403
    assert b"not given out" in answer.body
    assert store.files() == []


def test_an_address_expires(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put()
    put, got = store.upload("shop/2").upload_url, store.url()
    later = time.time() + 901
    signer = store.storage._open.signer  # type: ignore[union-attr]
    monkeypatch.setattr(signer, "_now_s", lambda: later)
    for answer in (ask("PUT", put, ARCHIVE), ask("GET", got)):
        assert answer.status == 403
        assert b"expired" in answer.body


def test_what_is_not_there_is_not_found(store: Store) -> None:
    assert ask("GET", store.url()).status == 404
    assert ask("DELETE", store.url()).status == 405


def test_a_full_disk_is_said_without_names_of_files(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/secret/path")

    monkeypatch.setattr("depotlab.service._storage.shelf.Arriving.write", full)
    answer = store.put()
    assert answer.status == 507
    assert b"No space left" in answer.body
    assert b"secret" not in answer.body


# ---------------------------------------------------------------------------- checks and deleting


@pytest.mark.parametrize(
    "key", ["shop/1", "", "..", "a/../b", "../../etc/passwd", "a\0b", "x" * 400]
)
def test_a_key_without_an_archive_is_missing(store: Store, key: str) -> None:
    with pytest.raises(ContextRefused) as caught:
        store.check(key)
    assert caught.value.reason == "missing"


@pytest.mark.parametrize("key", ["", "..", "a/../b", "/etc/passwd", "a//b", "a\nb", "x" * 400])
def test_no_address_is_given_for_a_key_that_cannot_be_one(store: Store, key: str) -> None:
    with pytest.raises(UsageError, match="key"):
        store.upload(key)


def test_a_bad_archive_is_refused_by_the_check(store: Store) -> None:
    store.put(ARCHIVE[:-1500])
    with pytest.raises(ContextRefused, match="damaged"):
        store.check()
    with pytest.raises(ContextRefused, match=r"larger than 1\.0 kB"):
        store.check(max_bytes=1000)


def test_a_check_that_nobody_waits_for_stops_reading() -> None:
    class Held(io.BytesIO):
        """A file whose second piece comes when it is let."""

        n_reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.n_reads += 1
            if self.n_reads == 2:
                begun.set()
                assert let.wait(30)
            return super().read(size)

    begun, let, file = threading.Event(), threading.Event(), Held(tar(("a", noise(900_000))))

    async def canceled() -> None:
        threads = Threads()
        task = asyncio.ensure_future(threads.check(lambda: file, **LIMITS))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        let.set()
        await threads.close()

    portal().run(canceled())
    assert file.n_reads == 2
    assert file.closed


def test_what_is_deleted_is_gone(store: Store) -> None:
    store.put()
    for _ in range(2):
        portal().run(store.storage.delete(KEY))
    with pytest.raises(ContextRefused):
        store.check()


def test_old_archives_are_swept(store: Store) -> None:
    for key in ("shop/old", "shop/new"):
        store.put(key=key)
    old = next(path for path in store.files() if "old" in path.name)
    abandoned = store.folder / "arriving" / "half"
    abandoned.write_bytes(b"x")
    long_ago = time.time() - 3 * 86_400
    for path in (old, abandoned):
        os.utime(path, (long_ago, long_ago))
    assert portal().run(store.storage.sweep(2 * 86_400)) == 1
    assert [path.name for path in store.files()] == ["shop%2Fnew"]


# ------------------------------------------------------------------------------ opening, again


def opened(storage: LocalStorage, use: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        await storage.open()
        try:
            return await use()
        finally:
            await storage.close()
            await storage.close()

    return portal().run(run())


def test_addresses_outlive_the_server(store: Store, folder: Path) -> None:
    store.put()
    got, put = store.url(), store.upload("shop/2").upload_url
    portal().run(store.storage.close())
    with pytest.raises(ConnectionRefusedError):
        ask("GET", got)
    again = LocalStorage(folder)
    portal().run(again.open())
    try:
        assert ask("GET", got).body == ARCHIVE
        assert ask("PUT", put, ARCHIVE).status == 200
    finally:
        portal().run(again.close())


def test_archives_are_swept_when_the_store_is_opened(store: Store, folder: Path) -> None:
    store.put()
    long_ago = time.time() - 31 * 86_400
    os.utime(store.files()[0], (long_ago, long_ago))
    portal().run(store.storage.close())
    portal().run(store.storage.open())
    assert store.files() == []


def test_its_threads_end_with_it(folder: Path) -> None:
    def ours() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name.startswith("depotlab-storage")}

    before = ours()
    assert opened(LocalStorage(folder), lambda: asyncio.sleep(0, ours() - before))
    assert ours() <= before


def test_only_the_owner_can_read_what_is_there(store: Store, folder: Path) -> None:
    store.put()
    assert stat.S_IMODE((folder / "signing.key").stat().st_mode) == 0o600
    for path in (folder, folder / "contexts", folder / "arriving"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.files()[0].stat().st_mode) == 0o600


def test_the_folder_is_where_it_was_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = LocalStorage("store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert opened(storage, lambda: asyncio.sleep(0, (folder / "contexts").is_dir()))
    assert repr(storage) == "LocalStorage('store')"


def test_others_may_be_sent_elsewhere(folder: Path) -> None:
    storage = LocalStorage(
        folder, public_url="https://up.example.com/c/", build_url="http://10.0.0.7:8900"
    )

    async def use() -> tuple[str, str]:
        upload = await storage.upload(KEY, expires_s=9, max_bytes=9)
        return upload.upload_url, await storage.download_url(KEY, expires_s=9)

    up, down = opened(storage, use)
    assert up.startswith(f"https://up.example.com/c/{KEY}?")
    assert down.startswith(f"http://10.0.0.7:8900/{KEY}?")


def test_a_taken_port_is_said(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        storage = LocalStorage(folder, port=taken.getsockname()[1])
        with pytest.raises(StorageError, match="cannot listen") as caught:
            portal().run(storage.open())
    assert not caught.value.is_transient


def test_a_folder_that_cannot_be_one_is_said(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(StorageError, match="cannot be used"):
        portal().run(LocalStorage(folder).open())


def test_a_damaged_secret_is_said(folder: Path) -> None:
    folder.mkdir()
    (folder / "signing.key").write_bytes(b"short")
    with pytest.raises(StorageError, match=r"signing\.key"):
        portal().run(LocalStorage(folder).open())


def test_a_store_that_is_not_open_says_so(folder: Path) -> None:
    with pytest.raises(UsageError, match="not open"):
        portal().run(LocalStorage(folder).download_url(KEY, expires_s=1))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param({"port": 70000}, "port", id="port"),
        pytest.param({"keep_days": 0}, "keep_days", id="keep_days"),
        pytest.param({"host": "0.0.0.0"}, "host", id="every address and no name"),
        pytest.param({"public_url": "uploads.example.com"}, "public_url", id="no scheme"),
        pytest.param({"build_url": "https://a:b@x"}, "build_url", id="credentials"),
        pytest.param({"build_url": "https://x?y"}, "build_url", id="a query"),
        pytest.param({"build_url": "https://x:0"}, "build_url", id="port 0"),
    ],
)
def test_a_wrong_argument_is_named(folder: Path, arguments: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        LocalStorage(folder, **arguments)  # type: ignore[arg-type]
    assert "a:b" not in str(caught.value)


def test_it_shows_itself_without_secrets(store: Store) -> None:
    assert repr(store.storage) == f"LocalStorage({str(store.folder)!r})"
    assert "http://127.0.0.1:" in store.storage._repr_html_()
    assert "signature" not in repr(store.upload())
