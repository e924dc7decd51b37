"""Image layouts of this machine as the base of builds, and images written as layouts, on the real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from depotlab import llb
from depotlab._local import install
from depotlab._oci import Layout, oci_store, read_archive
from depotlab.errors import DaemonError, SessionError
from tests.support.cachebuilds import build, files_of
from tests.support.layouts import INDEX, HandMade, sha256, tagged


@pytest.fixture
def base(tmp_path: Path) -> HandMade:
    """A layout with a file that nobody else has, so that no daemon has it either."""
    hand = HandMade(tmp_path / "Base Images")
    image = hand.image({"base": unique()}, compressed=True, env=("FROM_BASE=yes",))
    hand.list_images(tagged(image, "1.0"))
    return hand


def unique() -> bytes:
    return str(time.time_ns()).encode()


def content(hand: HandMade) -> str:
    (one,) = read_archive(hand.host_path).images
    (entry,) = read_archive(hand.host_path).files(one.layers[0])
    return entry.digest


def test_a_graph_starts_from_a_layout(engine, base: HandMade, tmp_path: Path) -> None:
    source = oci_store(base.host_path, "1.0")
    graph = llb.oci_layout(source.ref, store_id=source.name).file(llb.mkfile("/added", b"new"))
    built = build(
        engine.address, graph, stores={source.store_id: source.layout}, image=tmp_path / "out"
    )
    assert files_of(tmp_path / "out") == {"base": content(base), "added": sha256(b"new")}
    assert built.problems == []


def test_a_dockerfile_starts_from_a_layout(engine, base: HandMade, tmp_path: Path) -> None:
    source = oci_store(base.host_path)
    built = build(
        engine.address,
        "FROM base\nCOPY app /app\n",
        files={"app": "mine"},
        attrs={"context:base": source.identifier},
        stores={source.store_id: source.layout},
        image=tmp_path / "out",
    )
    assert files_of(tmp_path / "out") == {"base": content(base), "app": sha256(b"mine")}
    (one,) = read_archive(tmp_path / "out").images
    assert "FROM_BASE=yes" in one.config["config"]["Env"]  # inherited
    assert built.problems == []


def test_a_dockerfile_copies_from_two_layouts(engine, base: HandMade, tmp_path: Path) -> None:
    other = HandMade(tmp_path / "other")
    other.list_images(other.image({"x/y": unique()}))
    one, two = oci_store(base.host_path), oci_store(other.host_path)
    build(
        engine.address,
        "FROM scratch\nCOPY --from=one /base /1\nCOPY --from=two /x /2\n",
        attrs={"context:one": one.identifier, "context:two": two.identifier},
        stores={one.store_id: one.layout, two.store_id: two.layout},
        image=tmp_path / "out",
    )
    assert files_of(tmp_path / "out") == {"1": content(base), "2/y": content(other)}


def test_of_several_platforms_the_one_that_is_built_for_is_read(engine, tmp_path: Path) -> None:
    hand = HandMade(tmp_path / "many")
    images = [hand.image({p: unique()}, platform=p) for p in ("linux/amd64", "linux/s390x")]
    hand.list_images(tagged(hand.document({"manifests": images, "mediaType": INDEX}, INDEX), "1"))
    for image in images[1:]:  # as tools copy one platform only
        hand.blob_path(str(image["digest"])).unlink()
    source = oci_store(hand.host_path)
    graph = llb.oci_layout(source.ref, store_id=source.name, platform="linux/amd64")
    built = build(
        engine.address,
        graph.file(llb.mkfile("/added", b"")),
        stores={source.store_id: source.layout},
        image=tmp_path / "out",
    )
    assert set(files_of(tmp_path / "out")) == {"linux/amd64", "added"}
    assert built.problems == []  # nobody asked for the other


def test_a_layout_that_another_tool_wrote_is_read_and_ours_is_read_by_it(
    engine, tmp_path: Path
) -> None:
    there = tmp_path / "theirs"
    skopeo("copy", "--src-tls-verify=false")(
        f"docker://{engine.registry}/library/busybox:latest", f"oci:{there}:of-skopeo"
    )
    source = oci_store(there, "of-skopeo")
    word = unique().decode()
    built = build(
        engine.address,
        f"FROM base\nRUN echo {word} > /word\n",
        attrs={"context:base": source.identifier},
        stores={source.store_id: source.layout},
        image=tmp_path / "ours",
    )
    assert files_of(tmp_path / "ours")["word"] == sha256(f"{word}\n".encode())
    config = json.loads(skopeo("inspect", "--config")(f"oci:{tmp_path / 'ours'}:1"))
    ours = read_archive(tmp_path / "ours")
    assert config["rootfs"]["diff_ids"] == ours.images[0].config["rootfs"]["diff_ids"]
    assert ours.digest == built.response["containerimage.digest"]
    listed = skopeo("inspect", "--raw")(f"oci:{tmp_path / 'ours'}:1")
    assert sha256(listed.encode()) == ours.digest


def skopeo(*options: str):
    def run(*rest: str) -> str:
        done = subprocess.run(
            ["skopeo", *options, *rest], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_big_image_goes_both_ways(engine, tmp_path: Path) -> None:
    hand = HandMade(tmp_path / "big")
    hand.list_images(hand.image({"big": os.urandom(24 << 20)}))
    source = oci_store(hand.host_path)
    graph = llb.oci_layout(source.ref, store_id=source.name).file(llb.mkfile("/added", b""))
    build(engine.address, graph, stores={source.store_id: source.layout}, image=tmp_path / "out")
    assert files_of(tmp_path / "out")["big"] == content(hand)


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_archive_that_the_daemon_wrote_is_read(engine, tmp_path: Path, form: str) -> None:
    word = unique().decode()
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nRUN echo {word} > /word\nCMD word\n")
    program = install().buildctl
    assert program is not None, "buildctl is installed with the engine"
    subprocess.run(
        [
            program.host_path,
            f"--addr={engine.address}",
            "build",
            "--frontend=dockerfile.v0",
            f"--local=context={tmp_path}",
            f"--local=dockerfile={tmp_path}",
            f"--output=type={form},dest={tmp_path}/image.tar,name=me/app:1",
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    found = read_archive(tmp_path / "image.tar")
    assert found.names == ("docker.io/me/app:1",)
    assert found.digest.startswith("sha256:")
    (one,) = found.images
    assert one.config["config"]["Cmd"] == ["/bin/sh", "-c", "word"]
    assert one.platform in ("linux/amd64", "linux/arm64")
    (entry,) = found.files(one.layers[-1])
    assert (entry.path, entry.digest) == ("word", sha256(f"{word}\n".encode()))
    assert len(one.config["rootfs"]["diff_ids"]) == len(one.layers)


# ---------------------------------------------------------------------------------- what fails


def test_a_layer_that_is_missing_is_named(engine, base: HandMade) -> None:
    source = oci_store(base.host_path)
    layer = next(node for node in source.layout.walk() if node.role == "layer")
    base.blob_path(layer.descriptor.digest).unlink()
    with pytest.raises(SessionError) as caught:
        build(
            engine.address,
            "FROM base\nCOPY app /app\n",
            files={"app": unique().decode()},
            attrs={"context:base": source.identifier},
            stores={source.store_id: source.layout},
        )
    assert layer.descriptor.digest in caught.value.message
    assert caught.value.path == str(base.host_path)


def test_a_layer_that_was_changed_is_not_taken(engine, base: HandMade) -> None:
    source = oci_store(base.host_path)
    layer = next(node for node in source.layout.walk() if node.role == "layer")
    path = base.blob_path(layer.descriptor.digest)
    path.write_bytes(path.read_bytes()[:-9] + b"tampered!")
    with pytest.raises(DaemonError, match=f"The blob {layer.descriptor.digest} is damaged"):
        build(
            engine.address,
            "FROM base\nCOPY app /app\n",
            files={"app": unique().decode()},
            attrs={"context:base": source.identifier},
            stores={source.store_id: source.layout},
        )


def test_a_store_that_was_not_given_is_named(engine, base: HandMade) -> None:
    source = oci_store(base.host_path)
    graph = llb.oci_layout(
        source.ref
    )  # without store_id=, the daemon asks for a store without a name
    with pytest.raises(SessionError, match=r"content store 'oci:'") as caught:
        build(engine.address, graph, stores={source.store_id: source.layout})
    assert source.store_id in caught.value.hint
    assert "store_id=" in caught.value.hint


def test_a_disk_that_is_full_is_named_and_nothing_half_written_stays(
    engine, tmp_path: Path, monkeypatch
) -> None:
    import errno

    def write(_handle: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("depotlab._oci.ingest.os.write", write)
    with pytest.raises(SessionError, match="No space left on device"):
        build(
            engine.address,
            "FROM scratch\nCOPY app /app\n",
            files={"app": unique().decode()},
            image=tmp_path / "out",
        )
    assert list(Layout(tmp_path / "out").blobs()) == []
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []
