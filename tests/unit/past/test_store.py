"""The file of past builds: private, bounded, shared, and no loss when it is damaged."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from depotlab._past import PastBuild, PastGraph, PastOp, PastStep, Store, find_store, store
from depotlab._past import past as past_builds
from depotlab.errors import PastError, UsageError

WRITER = """
import sys
from pathlib import Path
from depotlab._past import PastBuild, Store
for number in range(15):
    build = PastBuild("name", "t", "b", f"{sys.argv[2]}-{number}", 0.0, listings={"c": "d"})
    Store(Path(sys.argv[1])).keep(build, {"c": sys.argv[2].encode()})
"""


def build(ref, name="app", **fields):
    return PastBuild(name, "title", "here", ref, 1.0, **fields)


@pytest.fixture
def kept(tmp_path):
    return Store(tmp_path / "folder" / "past.sqlite3")


def test_what_was_kept_comes_back(kept):
    one = build(
        "1",
        options={"platform": "linux/arm64"},
        graphs=(PastGraph("linux/arm64", (PastOp("sha256:1", b"\0\xff", "n", True, "f:1"),)),),
        steps=(PastStep(("sha256:1",), "n", "ran", ("sha256:0",)),),
        listings={"context": store.listing_digest(b"files")},
        sources={"https://example.org/a": "sha256:2"},
        remarks=("missed",),
    )
    kept.keep(one, {"context": b"files"})
    number = kept.keep(build("2"), {})
    assert [past for _, past in kept.before(number, build("2"))] == [one]
    assert kept.listing(one.listings["context"]) == b"files"
    assert kept.kept().n_builds == 2


def test_only_earlier_builds_of_the_name_count(kept):
    kept.keep(build("other", name="other"), {})
    first = kept.keep(build("1"), {})
    kept.keep(build("2"), {})
    assert kept.before(first, build("1")) == []


def test_nobody_else_may_read_it(kept):
    before = os.umask(0)
    try:
        kept.keep(build("1"), {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(kept.host_path.stat().st_mode) == 0o600


def test_of_one_name_the_newest_are_kept(kept, monkeypatch):
    monkeypatch.setattr(store, "MAX_BUILDS_PER_NAME", 3)
    for number in range(5):
        last = kept.keep(build(f"{number}"), {"c": f"{number}".encode()})
    found = kept.before(last, build("4"))
    assert [past.ref for _, past in found] == ["3", "2"]
    assert kept.listing(store.listing_digest(b"0")) is None


def test_it_does_not_grow_beyond_its_limit(kept, monkeypatch):
    monkeypatch.setattr(store, "MAX_BYTES", 5000)
    for number in range(8):
        kept.keep(build(f"{number}", name=f"{number}"), {"c": os.urandom(1000)})
        assert kept.kept().size_bytes <= 5000
    assert 1 <= kept.kept().n_builds < 8


def test_a_build_that_alone_is_too_large_is_not_kept(kept, monkeypatch):
    monkeypatch.setattr(store, "MAX_BYTES", 500)
    kept.keep(build("1"), {"c": os.urandom(1000)})
    assert kept.kept().n_builds == 0


def test_a_damaged_file_is_put_aside(kept):
    kept.keep(build("1"), {})
    kept.host_path.write_bytes(b"this is no database, whatever its name says" * 100)
    kept.keep(build("2"), {})
    assert kept.kept().n_builds == 1
    assert kept.host_path.with_name("past.sqlite3.damaged").exists()


def test_a_file_cut_in_half_is_put_aside(kept):
    kept.keep(build("1"), {"c": os.urandom(100_000)})
    kept.host_path.write_bytes(kept.host_path.read_bytes()[:6000])
    kept.keep(build("2"), {"c": os.urandom(100_000)})
    assert [row.n_builds for row in [kept.kept()]] == [1]


def test_a_file_of_another_version_begins_anew(kept):
    kept.keep(build("1"), {})
    base = sqlite3.connect(kept.host_path)
    base.execute("PRAGMA user_version = 99")
    base.close()
    kept.keep(build("2"), {})
    assert kept.kept().n_builds == 1


def test_one_build_that_cannot_be_read_is_as_if_not_there(kept):
    kept.keep(build("1"), {})
    base = sqlite3.connect(kept.host_path)
    base.execute("UPDATE builds SET data = 'nonsense'")
    base.commit()
    base.close()
    assert kept.before(kept.keep(build("2"), {}), build("2")) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(PastError, match="cannot be used") as caught:
        Store(tmp_path).keep(build("1"), {})
    assert caught.value.path == str(tmp_path)
    assert "DEPOTLAB_PAST" in caught.value.hint


def test_several_processes_may_write(kept):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(kept.host_path), name])
        for name in ("one", "two", "three")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert kept.kept().n_builds == store.MAX_BUILDS_PER_NAME


def test_what_is_kept_is_listed_the_newest_first(kept):
    assert kept.builds() == ()
    for number in range(3):
        kept.keep(build(str(number)), {})
    listed = kept.builds()
    assert [one.ref for one in listed] == ["2", "1", "0"]
    assert [one.ref for one in kept.builds(limit=1)] == ["2"]
    assert repr(listed) == "<3 past builds>"
    frame = listed.to_pandas()
    assert frame.name.tolist() == ["app"] * 3
    assert frame.kept_at.is_monotonic_decreasing
    assert frame.size_bytes.min() > 0
    assert "unix" not in kept._repr_html_()


def test_it_can_be_forgotten(kept):
    kept.keep(build("1"), {})
    assert repr(kept).startswith("<1 past build, ")
    kept.forget()
    kept.forget()
    assert not kept.host_path.exists()
    assert kept.kept().n_builds == 0


@pytest.mark.parametrize("said", ["off", "0", "No"])
def test_it_can_be_switched_off(monkeypatch, said):
    monkeypatch.setenv("DEPOTLAB_PAST", said)
    assert find_store() is None
    with pytest.raises(UsageError, match="No past builds"):
        past_builds()


def test_it_lies_in_the_cache_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("DEPOTLAB_PAST")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_store().host_path == tmp_path / "depotlab" / "past.sqlite3"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_store().host_path == tmp_path / ".cache" / "depotlab" / "past.sqlite3"
