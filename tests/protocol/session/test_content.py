"""The content service against a peer that asks as the daemon does."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab._oci import Layout
from depotlab._proto import content_pb2
from depotlab._rpc import RpcFault, Status
from depotlab._session.content import ContentStores
from depotlab.errors import SessionError
from tests.support.contentpeer import COMMIT, CONTENT, STAT, WRITE, ContentPeer
from tests.support.layouts import sha256

ABSENT = "sha256:" + "0" * 64
STORE = "local:/some/where"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "layout")
    layout.create()
    return layout


@pytest.fixture
def peer(layout: Layout) -> ContentPeer:
    return ContentPeer({STORE: layout})


def files(layout: Layout) -> list[str]:
    return sorted(p.name for p in layout.host_path.rglob("*") if p.is_file())


def name(data: bytes) -> str:
    return sha256(data).partition(":")[2]


# ------------------------------------------------------------------------------------ reading


@settings(max_examples=80)
@given(
    n_bytes=st.integers(0, 5000),
    offset=st.integers(-2, 5001),
    size=st.integers(-1, 6000),
    piece_bytes=st.integers(1, 3000),
)
def test_any_range_is_read(tmp_path_factory, n_bytes, offset, size, piece_bytes) -> None:
    data = bytes(i % 251 for i in range(n_bytes))
    layout = Layout(tmp_path_factory.mktemp("read"))
    layout.create()
    digest = layout.write_blob([data]).digest
    peer = ContentPeer({STORE: layout})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("depotlab._session.content._PIECE_BYTES", piece_bytes)
        reading = peer.read(digest, offset, size)
        if offset > n_bytes:
            with pytest.raises(RpcFault) as caught:
                asyncio.run(reading)
            assert caught.value.status is Status.OUT_OF_RANGE
            return
        first = max(0, offset)
        assert asyncio.run(reading) == data[first : first + size if size > 0 else None]
    assert peer.problems == []


def test_reading_at_the_end_of_a_blob_gives_nothing_and_is_no_error(layout, peer) -> None:
    digest = layout.write_blob([b"data"]).digest
    assert asyncio.run(peer.read(digest, 4, 512)) == b""


def test_info_tells_the_length(layout, peer) -> None:
    digest = layout.write_blob([b"data"]).digest
    found = asyncio.run(peer.info(digest))
    assert (found.digest, found.size, dict(found.labels)) == (digest, 4, {})
    assert abs(found.created_at.ToNanoseconds() - layout.info(digest).modified_ns) < 10


def test_a_big_blob_goes_out_as_fast_as_it_is_taken(layout, peer) -> None:
    data = os.urandom(9 << 20)
    digest = layout.write_blob([data]).digest

    async def run() -> int:
        call = peer.call(high_water_bytes=1 << 16)
        call.deliver(content_pb2.ReadContentRequest(digest=digest).SerializeToString())
        call.half_close()
        serving = asyncio.create_task(call.serve(peer.service.methods[CONTENT + "Read"]))
        got = bytearray()
        while (answer := await call.take()) is not None:
            got += content_pb2.ReadContentResponse.FromString(answer).data
        assert await serving is None
        assert got == data
        return call.peak_bytes

    assert asyncio.run(run()) < 2 << 20


def test_a_read_that_is_given_up_leaves_no_file_open(layout, peer) -> None:
    digest = layout.write_blob([bytes(8 << 20)]).digest

    async def run() -> None:
        call = peer.call(high_water_bytes=1)
        call.deliver(content_pb2.ReadContentRequest(digest=digest).SerializeToString())
        call.half_close()
        serving = asyncio.create_task(call.serve(peer.service.methods[CONTENT + "Read"]))
        assert await call.take()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(run())
    assert len(os.listdir("/proc/self/fd")) == before
    assert peer.problems == []


def test_a_blob_that_is_cut_off_meanwhile_ends_the_read_and_is_reported(layout, peer) -> None:
    digest = layout.write_blob([bytes(3 << 20)]).digest

    async def run() -> RpcFault | None:
        call = peer.call(high_water_bytes=1)
        call.deliver(content_pb2.ReadContentRequest(digest=digest).SerializeToString())
        call.half_close()
        serving = asyncio.create_task(call.serve(peer.service.methods[CONTENT + "Read"]))
        assert await call.take()
        os.truncate(layout.host_path / "blobs" / digest.replace(":", "/"), 100)
        while await call.take() is not None:
            pass
        return await serving

    fault = asyncio.run(run())
    assert fault is not None
    assert "cut off" in fault.message
    assert isinstance(peer.problems[0], SessionError)


def test_what_is_not_there_is_not_found(peer) -> None:
    for asking in (peer.info(ABSENT), peer.read(ABSENT)):
        with pytest.raises(RpcFault) as caught:
            asyncio.run(asking)
        assert caught.value.status is Status.NOT_FOUND
    assert peer.problems == []  # a store that is written to is asked what it has


def test_what_is_not_there_in_a_source_is_reported(layout) -> None:
    peer = ContentPeer({"oci:x": Layout(layout.host_path, read_only=True)})
    with pytest.raises(RpcFault):
        asyncio.run(peer.read(ABSENT))
    assert str(layout.host_path) in str(peer.problems[0])
    assert ABSENT in str(peer.problems[0])


@pytest.mark.parametrize("digest", ["", "../../x", "sha256:../../../../etc/passwd", "sha256:aa"])
@pytest.mark.parametrize("method", ["info", "read"])
def test_what_is_no_digest_is_refused(peer, method: str, digest: str) -> None:
    with pytest.raises(RpcFault) as caught:
        asyncio.run(getattr(peer, method)(digest))
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert peer.problems == []


def test_a_listing_has_every_blob(layout, peer) -> None:
    digests = {layout.write_blob([b"%d" % i]).digest for i in range(250)}
    answers = asyncio.run(peer.ask("List", content_pb2.ListContentRequest().SerializeToString()))
    assert len(answers) == 3
    found = [i for a in answers for i in content_pb2.ListContentResponse.FromString(a).info]
    assert {info.digest for info in found} == digests


# -------------------------------------------------------------------------------------- stores


def test_every_call_says_which_store(layout) -> None:
    peer = ContentPeer({STORE: layout})
    peer.metadata = {}
    with pytest.raises(RpcFault) as caught:
        asyncio.run(peer.info(ABSENT))
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_a_store_that_was_not_given_is_named(layout) -> None:
    peer = ContentPeer({"oci:one": layout, "local:/x": layout}, store_id="oci:")
    with pytest.raises(RpcFault) as caught:
        asyncio.run(peer.info(ABSENT))
    assert caught.value.status is Status.NOT_FOUND
    assert "'oci:'" in str(peer.problems[0])
    assert "there is oci:one, local:/x" in str(peer.problems[0])


def test_stores_do_not_see_each_other(tmp_path: Path) -> None:
    one, two = Layout(tmp_path / "1"), Layout(tmp_path / "2")
    for layout in (one, two):
        layout.create()
    digest = one.write_blob([b"data"]).digest
    stores = {"oci:1": one, "oci:2": two}
    assert asyncio.run(ContentPeer(stores, store_id="oci:1").read(digest)) == b"data"
    with pytest.raises(RpcFault):
        asyncio.run(ContentPeer(stores, store_id="oci:2").read(digest))


def test_a_source_is_never_changed(layout) -> None:
    digest = layout.write_blob([b"data"]).digest
    peer = ContentPeer({"oci:x": Layout(layout.host_path, read_only=True)})
    requests = {
        "Write": content_pb2.WriteContentRequest(ref="x").SerializeToString(),
        "Delete": content_pb2.DeleteContentRequest(digest=digest).SerializeToString(),
        "Abort": content_pb2.AbortRequest(ref="x").SerializeToString(),
    }
    for method, request in requests.items():
        with pytest.raises(RpcFault) as caught:
            asyncio.run(peer.ask(method, request))
        assert caught.value.status is Status.PERMISSION_DENIED
    assert files(layout) == [name(b"data")]


def test_the_service_has_the_methods_of_containerd(layout) -> None:
    service = ContentStores({}, report=lambda _: None)
    methods = {m.removeprefix(CONTENT) for m in service.methods}
    assert methods == {
        *("Info", "Update", "List", "Delete", "Read"),
        *("Status", "ListStatuses", "Write", "Abort"),
    }


# ------------------------------------------------------------------------------------- writing


@settings(max_examples=60)
@given(data=st.binary(max_size=4000), piece_bytes=st.integers(1, 1500))
def test_any_blob_is_written(tmp_path_factory, data: bytes, piece_bytes: int) -> None:
    layout = Layout(tmp_path_factory.mktemp("write"))
    layout.create()
    peer = ContentPeer({STORE: layout})
    asyncio.run(peer.send_blob(data, sha256(data), piece_bytes=piece_bytes))
    assert files(layout) == [name(data)]
    with layout.open_blob(sha256(data)) as blob:
        assert blob.read() == data
    assert peer.service.last_written == {STORE: sha256(data)}
    assert peer.problems == []


def test_a_blob_that_is_there_need_not_be_sent(layout, peer) -> None:
    digest = layout.write_blob([b"data"]).digest
    path = layout.host_path / "blobs" / digest.replace(":", "/")
    os.utime(path, (1, 1))
    with pytest.raises(RpcFault) as caught:
        asyncio.run(peer.send_blob(b"data", digest))
    assert caught.value.status is Status.ALREADY_EXISTS
    assert peer.service.last_written == {STORE: digest}
    assert path.stat().st_mtime > 1  # wanted now, so not garbage
    assert peer.problems == []


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"expected": sha256(b"other"), "total": 4}, "another content"),
        ({"expected": sha256(b"data"), "total": 5}, "of 5 bytes arrived with 4"),
    ],
)
def test_another_blob_than_was_said_leaves_nothing(layout, peer, last, words: str) -> None:
    async def run() -> None:
        async with peer.write() as stream:
            await stream.say(action=STAT, ref="r")
            await stream.say(action=WRITE, data=b"data")
            await stream.say(action=COMMIT, offset=4, **last)

    with pytest.raises(RpcFault, match=words) as caught:
        asyncio.run(run())
    assert caught.value.status is Status.FAILED_PRECONDITION
    assert files(layout) == []
    assert words in peer.problems[0].message
    assert peer.service.last_written == {}


def test_a_write_has_to_go_on_where_it_is(layout, peer) -> None:
    async def run() -> None:
        async with peer.write() as stream:
            await stream.say(action=STAT, ref="r")
            await stream.say(action=WRITE, data=b"data")
            await stream.say(action=WRITE, offset=3, data=b"more")

    with pytest.raises(RpcFault, match="write at 3, where 4 bytes have arrived") as caught:
        asyncio.run(run())
    assert caught.value.status is Status.OUT_OF_RANGE
    assert files(layout) == []


def test_a_write_at_0_begins_again(layout, peer) -> None:
    async def run() -> None:
        async with peer.write() as stream:
            await stream.say(action=STAT, ref="r")
            await stream.say(action=WRITE, data=b"something wrong")
            assert (await stream.say(action=WRITE, offset=0, data=b"da")).offset == 2
            assert (await stream.say(action=STAT)).offset == 2
            answer = await stream.say(action=COMMIT, offset=2, data=b"ta", expected=sha256(b"data"))
            assert (answer.offset, answer.digest) == (4, sha256(b"data"))

    asyncio.run(run())
    assert files(layout) == [name(b"data")]


def test_a_commit_without_an_offset_is_at_the_end(layout, peer) -> None:
    async def run() -> None:
        async with peer.write() as stream:
            await stream.say(action=STAT, ref="r", total=4)
            await stream.say(action=WRITE, data=b"data")
            answer = await stream.say(action=COMMIT)
            assert (answer.offset, answer.total, answer.digest) == (4, 4, sha256(b"data"))

    asyncio.run(run())


@pytest.mark.parametrize("how", ["the stream ends", "the call is cancelled"])
def test_a_write_that_is_given_up_leaves_nothing(layout, peer, how: str) -> None:
    async def run() -> None:
        async with peer.write() as stream:
            await stream.say(action=STAT, ref="r")
            await stream.say(action=WRITE, data=b"data")
            assert len(files(layout)) == 1
            if how == "the stream ends":
                return
            stream.serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stream.serving
            stream.serving = asyncio.ensure_future(asyncio.sleep(0))

    asyncio.run(run())
    assert files(layout) == []
    assert peer.problems == []


def test_a_write_that_is_cancelled_while_the_disk_is_slow_leaves_nothing(
    layout, peer, monkeypatch
) -> None:
    began, may_go_on = threading.Event(), threading.Event()
    real = os.write

    def write(handle: int, data: bytes) -> int:
        began.set()
        assert may_go_on.wait(10)
        return real(handle, data)

    monkeypatch.setattr("depotlab._oci.ingest.os.write", write)

    async def run() -> None:
        async with peer.write() as stream:
            await stream.say(action=STAT, ref="r")
            saying = asyncio.create_task(stream.say(action=WRITE, data=b"data"))
            await asyncio.to_thread(began.wait, 10)
            stream.serving.cancel()
            asyncio.get_running_loop().call_later(0.05, may_go_on.set)
            with pytest.raises(asyncio.CancelledError):
                await stream.serving
            stream.serving = asyncio.ensure_future(asyncio.sleep(0))
            saying.cancel()

    asyncio.run(run())
    assert files(layout) == []


def test_a_write_that_is_cancelled_twice_leaves_nothing(layout, peer, monkeypatch) -> None:
    """By the end of the call and by that of the session, while all threads are busy."""
    may_go_on = threading.Event()
    real = os.write

    async def run() -> None:
        loop, began = asyncio.get_running_loop(), asyncio.Event()
        loop.set_default_executor(ThreadPoolExecutor(max_workers=1))

        def write(handle: int, data: bytes) -> int:
            loop.call_soon_threadsafe(began.set)
            assert may_go_on.wait(10)
            return real(handle, data)

        monkeypatch.setattr("depotlab._oci.ingest.os.write", write)
        async with peer.write() as stream:
            await stream.say(action=STAT, ref="r")
            saying = asyncio.create_task(stream.say(action=WRITE, data=b"data"))
            await began.wait()
            for _ in range(2):
                stream.serving.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            may_go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await stream.serving
            stream.serving = asyncio.ensure_future(asyncio.sleep(0))
            saying.cancel()

    asyncio.run(run())
    assert files(layout) == []


def test_one_name_is_written_once_at_a_time(layout, peer) -> None:
    async def run() -> None:
        async with peer.write() as one:
            await one.say(action=STAT, ref="r")
            with pytest.raises(RpcFault) as caught:
                async with peer.write() as two:
                    await two.say(action=STAT, ref="r")
            assert caught.value.status is Status.UNAVAILABLE
        async with peer.write() as three:
            await three.say(action=STAT, ref="r")

    asyncio.run(run())


def test_many_blobs_are_written_at_the_same_time(layout, peer) -> None:
    blobs = [os.urandom(300_000 + i) for i in range(12)]

    async def run() -> None:
        await asyncio.gather(
            *(peer.send_blob(data, sha256(data), piece_bytes=70_000) for data in blobs)
        )

    asyncio.run(run())
    assert files(layout) == sorted(map(name, blobs))


def test_a_full_disk_is_reported_and_leaves_nothing(layout, peer, monkeypatch) -> None:
    def write(_handle: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("depotlab._oci.ingest.os.write", write)
    with pytest.raises(RpcFault, match="No space left on device"):
        asyncio.run(peer.send_blob(b"data", sha256(b"data")))
    assert isinstance(peer.problems[0], SessionError)
    assert "make room" in peer.problems[0].hint
    assert files(layout) == []


def test_a_really_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    """As above, with a limit of the kernel on the size of files in place of a full disk."""
    import resource
    import signal

    layout = Layout(tmp_path / "x")
    layout.create()
    peer = ContentPeer({STORE: layout})
    data = os.urandom(3 << 20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
    try:
        with pytest.raises(RpcFault, match="File too large"):
            asyncio.run(peer.send_blob(data, sha256(data)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert files(layout) == []
    assert "File too large" in peer.problems[0].message


@pytest.mark.parametrize(
    ("first", "status"),
    [
        ({"action": STAT}, Status.INVALID_ARGUMENT),
        ({"action": STAT, "ref": "r", "expected": "sha256:../../x"}, Status.INVALID_ARGUMENT),
    ],
)
def test_a_first_message_that_says_too_little_is_refused(layout, peer, first, status) -> None:
    async def run() -> None:
        async with peer.write() as stream:
            await stream.say(**first)

    with pytest.raises(RpcFault) as caught:
        asyncio.run(run())
    assert caught.value.status is status
    assert files(layout) == []


def test_what_is_being_written_can_be_asked_for_and_ended(layout, peer) -> None:
    def ref(kind):
        return kind(ref="r").SerializeToString()

    async def run() -> None:
        async with peer.write() as stream:
            await stream.say(action=STAT, ref="r", total=9, expected=ABSENT)
            await stream.say(action=WRITE, data=b"data")
            (one,) = await peer.ask("Status", ref(content_pb2.StatusRequest))
            status = content_pb2.StatusResponse.FromString(one).status
            assert (status.ref, status.offset, status.total) == ("r", 4, 9)
            assert status.expected == ABSENT
            (several,) = await peer.ask("ListStatuses", b"")
            found = content_pb2.ListStatusesResponse.FromString(several).statuses
            assert [one.ref for one in found] == ["r"]
            await peer.ask("Abort", ref(content_pb2.AbortRequest))
            with pytest.raises(RpcFault, match="given up"):
                await stream.say(action=WRITE, offset=4, data=b"more")
        for method, kind in (
            ("Status", content_pb2.StatusRequest),
            ("Abort", content_pb2.AbortRequest),
        ):
            with pytest.raises(RpcFault) as caught:
                await peer.ask(method, ref(kind))
            assert caught.value.status is Status.NOT_FOUND

    asyncio.run(run())
    assert files(layout) == []


def test_labels_are_not_kept_and_blobs_can_be_deleted(layout, peer) -> None:
    digest = layout.write_blob([b"data"]).digest
    info = content_pb2.Info(digest=digest, labels={"a": "b"})

    async def run() -> None:
        request = content_pb2.UpdateRequest(info=info).SerializeToString()
        (answer,) = await peer.ask("Update", request)
        updated = content_pb2.UpdateResponse.FromString(answer).info
        assert (updated.digest, updated.size, dict(updated.labels)) == (digest, 4, {})
        delete = content_pb2.DeleteContentRequest(digest=digest).SerializeToString()
        assert await peer.ask("Delete", delete) == [b""]
        with pytest.raises(RpcFault) as caught:
            await peer.ask("Delete", delete)
        assert caught.value.status is Status.NOT_FOUND

    asyncio.run(run())
    assert files(layout) == []


def test_the_loop_is_free_while_the_disk_is_slow(layout, peer, monkeypatch) -> None:
    """A session whose health answer is late is dropped."""
    digest = layout.write_blob([b"data"]).digest
    asked, may_go_on = threading.Event(), threading.Event()
    real = os.pread

    def pread(handle: int, n_bytes: int, at: int) -> bytes:
        asked.set()
        assert may_go_on.wait(10)
        return real(handle, n_bytes, at)

    monkeypatch.setattr("depotlab._session.content.os.pread", pread)

    async def run() -> bytes:
        reading = asyncio.create_task(peer.read(digest))
        await asyncio.to_thread(asked.wait, 10)
        for _ in range(100):  # the loop turns meanwhile
            await asyncio.sleep(0)
        assert not reading.done()
        may_go_on.set()
        return await reading

    assert asyncio.run(run()) == b"data"
