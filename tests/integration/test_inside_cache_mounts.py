"""Cache mounts of a real daemon: looked into, filled, taken out, emptied."""

from __future__ import annotations

import time

import pytest

import depotlab as dl
from depotlab import llb, mount
from depotlab.errors import CommandFailed, ContextError, FileMissing, UsageError

BUSYBOX = llb.image("busybox")


def test_what_a_build_left_is_seen(bk):
    unique = time.time_ns()
    script = f"mkdir -p /c/d; echo {unique} > /c/d/f; head -c 5000 /dev/zero > /c/z"
    bk.build(BUSYBOX.run(script, mounts=[mount.cache("/c", id="seen")]), progress="quiet")
    cache = bk.cache_mount("seen")
    assert [file.name for file in cache.ls()] == ["d", "z"]
    assert cache.read("d/f") == f"{unique}\n".encode()
    assert sum(entry.size_bytes for entry in cache.du()) == 5000 + len(f"{unique}\n")
    with pytest.raises(FileMissing):
        cache.read("d/g")
    assert repr(cache).startswith("<cache mount seen on unix://")


def test_it_is_filled_used_taken_out_and_emptied(bk, tmp_path):
    host = tmp_path / "wheels"
    (host / "sub").mkdir(parents=True)
    (host / "a.whl").write_bytes(b"wheel")
    (host / "sub" / "big").write_bytes(b"x" * (18 << 20))
    (host / "link").symlink_to("a.whl")
    cache = bk.cache_mount(f"round{time.time_ns()}")
    assert list(cache.ls()) == []
    cache.seed(host)
    assert [file.name for file in cache.ls()] == ["a.whl", "link", "sub"]
    used = bk.run(BUSYBOX, "cat /w/a.whl; rm /w/a.whl", mounts=[mount.cache("/w", id=cache.id)])
    assert used.stdout == "wheel"
    out = cache.extract(tmp_path / "out")
    assert (out / "sub" / "big").read_bytes() == b"x" * (18 << 20)
    assert (out / "link").is_symlink()
    assert not (out / "a.whl").exists()
    assert cache.clear().freed_bytes > 18 << 20
    assert list(cache.ls()) == []
    assert cache.clear().freed_bytes < 10_000


def test_only_the_one_is_emptied(bk):
    one, two = (bk.cache_mount(f"{name}-{time.time_ns()}") for name in ("one", "two"))
    for cache in (one, two):
        bk.run(BUSYBOX, "touch /c/kept", mounts=[mount.cache("/c", id=cache.id)])
    one.clear()
    assert list(one.ls()) == []
    assert [file.name for file in two.ls()] == ["kept"]


def test_those_of_dockerfiles_have_ids_of_their_own(bk):
    text = f"FROM busybox\nRUN --mount=type=cache,target=/root/.pip echo {time.time_ns()} > /root/.pip/f"
    bk.build(dl.dockerfile(text=text), progress="quiet")
    assert "f" in [file.name for file in bk.cache_mount("/root/.pip", dockerfile=True).ls()]


def test_states_that_cannot_copy_are_refused_with_a_reason(bk, tmp_path):
    with pytest.raises(CommandFailed, match="no shell"):
        bk.cache_mount("x").seed(tmp_path, using=llb.scratch())


def test_arguments_are_checked(bk, tmp_path):
    with pytest.raises(ContextError, match="not a directory"):
        bk.cache_mount("x").seed(tmp_path / "nope")
    with pytest.raises(UsageError, match="sharing="):
        bk.cache_mount("x", sharing="all")
    with pytest.raises(UsageError, match="id="):
        bk.cache_mount("")
    with pytest.raises(UsageError, match="using="):
        bk.cache_mount("x").extract(tmp_path, using="busybox")
