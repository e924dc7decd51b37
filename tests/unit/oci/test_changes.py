"""Image layouts that are written to: blobs, the index, what is removed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab._oci import Descriptor, Ingest, Layout
from depotlab.errors import ContextError, ReferenceInvalid, SessionError
from tests.support.layouts import IMAGE_NAME, INDEX, MANIFEST, REF_NAME, HandMade, sha256, tagged

CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "deep" / "layout")
    layout.create()
    return layout


def files(layout: Layout) -> list[str]:
    root = layout.host_path
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir())


def entries(layout: Layout) -> list[dict]:
    return json.loads((layout.host_path / "index.json").read_text())["manifests"]


# -------------------------------------------------------------------------------------- blobs


@settings(max_examples=60)
@given(pieces=st.lists(st.binary(max_size=3000), max_size=8), said=st.booleans())
def test_a_blob_is_what_was_written_in_whatever_pieces(tmp_path_factory, pieces, said) -> None:
    layout = Layout(tmp_path_factory.mktemp("blobs"))
    layout.create()
    data = b"".join(pieces)
    found = layout.write_blob(pieces, expected=sha256(data) if said else "")
    assert found == Descriptor(sha256(data), len(data))
    assert files(layout) == ["blobs/" + sha256(data).replace(":", "/")]
    with layout.open_blob(found.digest) as blob:
        assert blob.read() == data
    assert [info.digest for info in layout.blobs()] == [found.digest]


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("when", ["at the start", "at the end"])
def test_the_digest_may_be_of_any_kind_and_may_come_late(layout, algorithm: str, when: str) -> None:
    digest = f"{algorithm}:{hashlib.new(algorithm, b'data').hexdigest()}"
    ingest = layout.ingest(expected=digest if when == "at the start" else "")
    ingest.write(b"da")
    ingest.write(memoryview(b"ta"))
    assert ingest.commit(expected=digest, size_bytes=4) == digest
    assert layout.info(digest).size_bytes == 4


@pytest.mark.parametrize(
    ("expected", "size", "words"),
    [
        (sha256(b"other"), None, "arrived with another content"),
        (sha256(b"data"), 5, "of 5 bytes arrived with 4 bytes"),
    ],
)
def test_another_blob_than_was_said_leaves_nothing(layout, expected, size, words: str) -> None:
    ingest = layout.ingest()
    ingest.write(b"data")
    with pytest.raises(SessionError, match=words):
        ingest.commit(expected=expected, size_bytes=size)
    assert files(layout) == []
    with pytest.raises(SessionError, match="given up"):
        ingest.write(b"more")


def test_what_is_given_up_leaves_nothing(layout) -> None:
    ingest = layout.ingest()
    ingest.write(b"data")
    assert len(files(layout)) == 1
    ingest.abort()
    ingest.abort()
    assert files(layout) == []


def test_writing_may_begin_again(layout) -> None:
    ingest = layout.ingest()
    ingest.write(b"something long and wrong")
    ingest.restart()
    assert ingest.offset == 0
    ingest.write(b"data")
    assert ingest.commit(expected=sha256(b"data")) == sha256(b"data")


def test_nothing_is_on_disk_before_the_first_byte(layout) -> None:
    layout.ingest()
    assert files(layout) == []


def test_an_expectation_that_is_no_digest_is_refused(layout) -> None:
    with pytest.raises(ReferenceInvalid):
        layout.ingest(expected="sha256:../../../x")


def test_a_blob_that_is_there_may_be_written_again(layout) -> None:
    for _ in range(2):
        layout.write_blob([b"data"])
    assert len(files(layout)) == 1


def test_a_full_disk_is_named_and_leaves_nothing(layout, monkeypatch) -> None:
    real = os.write

    def write(handle: int, data: bytes) -> int:
        if len(data) > 4:
            return real(handle, data[:4])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("depotlab._oci.ingest.os.write", write)
    with pytest.raises(SessionError, match="No space left on device") as caught:
        layout.write_blob([b"12345678"])
    assert "make room" in caught.value.hint
    assert files(layout) == []


def test_giving_up_waits_for_a_write_that_is_under_way(layout, monkeypatch) -> None:
    """Otherwise the write could go into a file that got the same number meanwhile."""
    began, may_go_on = threading.Event(), threading.Event()
    real = os.write

    def write(handle: int, data: bytes) -> int:
        began.set()
        assert may_go_on.wait(10)
        return real(handle, data)

    monkeypatch.setattr("depotlab._oci.ingest.os.write", write)
    ingest = Ingest(layout.host_path / "blobs")
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(ingest.write, b"data")
        assert began.wait(10)
        ending = pool.submit(ingest.abort)
        assert not ending.done()
        may_go_on.set()
        assert writing.result(10) == 4
        ending.result(10)
    assert files(layout) == []


def test_a_directory_that_may_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ContextError, match="cannot be made: not a directory"):
        Layout(tmp_path / "file" / "layout").create()


# ---------------------------------------------------------------------------------- the index


def test_an_image_is_listed_by_its_tag(layout) -> None:
    some = layout.write_blob([b"{}"])
    layout.add_to_index(Descriptor(some.digest, 2, MANIFEST, platform={"os": "linux"}), tag="main")
    assert entries(layout) == [
        {
            "mediaType": MANIFEST,
            "digest": some.digest,
            "size": 2,
            "annotations": {REF_NAME: "main"},
            "platform": {"os": "linux"},
        }
    ]
    written = json.loads((layout.host_path / "oci-layout").read_text())
    assert written == {"imageLayoutVersion": "1.0.0"}
    assert layout.resolve("main").digest == some.digest


def test_an_image_is_listed_once_for_each_of_its_names(layout) -> None:
    some = layout.write_blob([b"{}"])
    names = ["docker.io/me/app:1", "host:5000/app", "h/app@" + some.digest]
    layout.add_to_index(Descriptor(some.digest, 2, MANIFEST), names=names)
    assert [one["annotations"] for one in entries(layout)] == [
        {REF_NAME: "1", IMAGE_NAME: "docker.io/me/app:1"},
        {REF_NAME: "latest", IMAGE_NAME: "host:5000/app"},
        {REF_NAME: "latest", IMAGE_NAME: names[2]},
    ]


def test_a_tag_moves_and_everything_else_stays(tmp_path: Path) -> None:
    hand = HandMade(tmp_path / "x")
    old, other = hand.image({"a": b"1"}), hand.image({"a": b"2"})
    hand.list_images(
        tagged(old, "main"),
        {**tagged(other, "main", "h/a:main"), "vendor": [1]},
        annotations={"kept": "yes"},
        vendor={"a": 1},
    )
    new = hand.image({"a": b"3"})
    layout = Layout(hand.host_path)
    layout.add_to_index(Descriptor(str(new["digest"]), int(str(new["size"])), MANIFEST), tag="main")
    index = json.loads((layout.host_path / "index.json").read_text())
    assert [one["digest"] for one in index["manifests"]] == [other["digest"], new["digest"]]
    assert index["manifests"][0]["vendor"] == [1]
    assert (index["annotations"], index["vendor"]) == ({"kept": "yes"}, {"a": 1})
    assert index["schemaVersion"] == 2


def test_an_index_that_is_damaged_is_not_replaced(layout) -> None:
    path = layout.host_path / "index.json"
    for text in ("{", '{"manifests": {"a": 1}}'):
        path.write_text(text)
        with pytest.raises(ContextError):
            layout.add_to_index(Descriptor(sha256(b""), 0))
        assert path.read_text() == text
        assert files(layout) == ["index.json"]


def test_many_add_at_the_same_time_and_all_are_listed(tmp_path: Path) -> None:
    Layout(tmp_path).create()

    def add(number: int) -> None:
        Layout(tmp_path).add_to_index(Descriptor(sha256(b"%d" % number), 1), tag=f"t{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert {one.tag for one in Layout(tmp_path).index()} == {f"t{n}" for n in range(40)}
    assert files(Layout(tmp_path)) == ["index.json", "oci-layout"]


def test_whoever_holds_the_lock_is_waited_for(layout) -> None:
    lock = layout.host_path / "index.json.lock"
    with ThreadPoolExecutor(1) as pool:
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            adding = pool.submit(layout.add_to_index, Descriptor(sha256(b""), 0))
            time.sleep(
                0.2
            )  # it may only not be done; there is no moment at which it must have begun
            assert not adding.done()
        adding.result(10)
    assert files(layout) == ["index.json", "oci-layout"]


def test_a_lock_that_is_never_given_back_is_named(layout, monkeypatch) -> None:
    monkeypatch.setattr("depotlab._oci.index._LOCK_TIMEOUT_S", 0.1)
    with (layout.host_path / "index.json.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SessionError, match=r"has held .*index\.json\.lock"):
            layout.add_to_index(Descriptor(sha256(b""), 0))


def test_a_reader_never_sees_half_an_index(layout) -> None:
    layout.add_to_index(Descriptor(sha256(b""), 0), tag="first")
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            layout.add_to_index(Descriptor(sha256(b"%d" % number), 1), tag=f"t{number % 50}")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        for _ in range(300):
            assert "first" in layout.tags()
        stop.set()
        writing.result(10)


# ------------------------------------------------------------------------------- what is removed


def later() -> int:
    return time.time_ns() + 10**12


def test_garbage_is_what_the_index_does_not_lead_to(tmp_path: Path) -> None:
    hand = HandMade(tmp_path / "x")
    kept = hand.image({"a": b"1"})
    cache = hand.document(
        {
            "manifests": [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
                | {"digest": hand.blob(b"layer"), "size": 5},
                hand.document({"layers": []}, CACHE_CONFIG),
            ]
        },
        INDEX,
    )
    hand.list_images(tagged(kept, "1"), tagged(cache, "2"))
    layout = Layout(hand.host_path)
    before = files(layout)
    hand.image({"b": b"2"})
    hand.blob(b"left over")
    (layout.host_path / "blobs/.ingest-dead").write_bytes(b"half")
    removed = layout.collect_garbage(before_ns=later())
    assert files(layout) == before
    assert removed.n_blobs == 3 + 1 + 1
    assert removed.n_bytes > len(b"left over" + b"half")
    assert len(list(layout.walk())) == 6


def test_garbage_of_builds_that_run_now_is_spared(layout) -> None:
    layout.add_to_index(Descriptor(sha256(b""), 0))
    old, wanted = layout.write_blob([b"old"]), layout.write_blob([b"wanted again"])
    for blob in (old, wanted):
        os.utime(layout.host_path / "blobs" / blob.digest.replace(":", "/"), (1, 1))
    began_ns = time.time_ns() - 10**9
    layout.keep(wanted.digest)
    new = layout.write_blob([b"new"])
    assert layout.collect_garbage(before_ns=began_ns).n_blobs == 1
    assert {info.digest for info in layout.blobs()} == {wanted.digest, new.digest}


def test_nothing_is_removed_when_a_document_is_damaged(tmp_path: Path) -> None:
    hand = HandMade(tmp_path / "x")
    image = hand.image({"a": b"1"})
    hand.list_images(image)
    left_over = hand.blob(b"left over")
    hand.blob_path(str(image["digest"])).write_bytes(b"damaged")
    with pytest.raises(ContextError):
        Layout(hand.host_path).collect_garbage(before_ns=later())
    assert hand.blob_path(left_over).exists()


def test_files_that_are_no_blobs_are_left_alone(layout) -> None:
    layout.add_to_index(Descriptor(sha256(b""), 0))
    folder = layout.host_path / "blobs/sha256"
    folder.mkdir()
    (folder / "README").write_text("x")
    assert layout.collect_garbage(before_ns=later()).n_blobs == 0
    assert (folder / "README").exists()


def test_what_killed_processes_left_goes_after_a_day(layout) -> None:
    stale, fresh = (layout.host_path / f"blobs/.ingest-{name}" for name in ("stale", "fresh"))
    for path in (stale, fresh):
        path.write_bytes(b"half")
    os.utime(stale, (1, 1))
    layout.create()
    assert [path.exists() for path in (stale, fresh)] == [False, True]


def test_a_blob_is_deleted_once(layout) -> None:
    blob = layout.write_blob([b"x"])
    assert layout.delete_blob(blob.digest)
    assert not layout.delete_blob(blob.digest)
