"""What a build says of its outputs, when they are several: each its own, and of the build what was pushed."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

import depotlab as dl
from depotlab import export, llb
from depotlab.errors import UsageError
from tests.support import images


def app(of: str) -> llb.State:
    """Each test has a layer of its own: the first output that packs a layer decides how others find it packed."""
    return llb.image("busybox").run(f"echo answers > /answers # {of}")


@pytest.fixture(autouse=True)
def no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPOTLAB_UI", "off")


def packed(kind: str) -> dict:
    return {"compression": kind, "force_compression": True}


def test_the_digest_of_a_build_is_that_of_what_was_pushed(bk: dl.Client, engine) -> None:
    ref = f"{engine.registry}/answers/pushed:1"
    made = bk.build(
        app("pushed"),
        output=[
            export.image(ref, push=True, **packed("zstd")),
            export.tar(None),
            export.image("not-pushed:1"),
            export.oci(None, "me/plain:1", **packed("uncompressed")),
        ],
    )
    assert made.digest == images.inspect(ref)[1]["digest"]
    files, plain = made.outputs
    assert not files.digest
    assert plain.names == ("docker.io/me/plain:1",)
    assert plain.digest not in ("", made.digest), "each archive has a digest of its own"


def test_what_is_loaded_is_no_output_and_does_not_lend_its_digest(
    bk: dl.Client, engine, dockerd
) -> None:
    ref = f"{engine.registry}/answers/loaded:1"
    made = bk.build(
        app("digest"),
        # An engine of 20.10 reads no zstd, and the daemon gives layers that it has packed for one output to all.
        output=[export.image(ref, push=True, **packed("zstd")), export.tar(None)],
        tags="answers/loaded:1",
        load=dockerd.host.address,
    )
    assert made.loaded == ("answers/loaded:1",)
    assert dockerd.run("answers/loaded:1", "cat", "/answers") == "answers\n"
    assert made.digest == images.inspect(ref)[1]["digest"]
    (files,) = made.outputs
    with tarfile.open(fileobj=io.BytesIO(files.read())) as tar:
        assert "answers" in tar.getnames()


def test_a_layout_lists_its_own_image_beside_others_of_the_same_build(
    bk: dl.Client, engine, tmp_path: Path
) -> None:
    lay = tmp_path / "layout"
    alone = bk.build(app("build"), output=export.oci(lay, "me/gzip:1", tar=False))
    beside = bk.build(
        app("build"),
        output=[
            export.oci(lay, "me/zstd:1", tar=False, **packed("zstd")),
            export.image(f"{engine.registry}/answers/gzip:1", push=True),
        ],
    )
    (made,) = beside.outputs
    listed = {
        one["annotations"]["io.containerd.image.name"]: one["digest"]
        for one in json.loads((lay / "index.json").read_text())["manifests"]
    }
    assert listed == {
        "docker.io/me/gzip:1": alone.digest,
        "docker.io/me/zstd:1": made.digest,
    }
    assert made.digest not in (alone.digest, beside.digest)
    assert (made.names, made.descriptor["digest"]) == (("docker.io/me/zstd:1",), made.digest)
    manifest = json.loads((lay / "blobs" / made.digest.replace(":", "/")).read_text())
    assert {layer["mediaType"].rpartition("+")[2] for layer in manifest["layers"]} == {"zstd"}
    assert made.config_digest == manifest["config"]["digest"]


def test_a_layout_without_a_name_does_not_take_that_of_another_output(
    bk: dl.Client, tmp_path: Path
) -> None:
    lay = tmp_path / "layout"
    made = bk.build(
        app("output"), output=[export.oci(lay, tar=False), export.image("somebody-elses:1")]
    )
    assert made.outputs[0].names == ()
    (listed,) = json.loads((lay / "index.json").read_text())["manifests"]
    assert "io.containerd.image.name" not in listed["annotations"]


def test_a_result_says_whether_it_went_to_memory_or_to_a_file_object(bk: dl.Client) -> None:
    assert "into memory" in repr(bk.build(app("object"), output=export.tar(None)))
    assert "into a file object" in repr(bk.build(app("object"), output=export.tar(io.BytesIO())))


@pytest.mark.parametrize("place", ["x.tar", Path("out")], ids=["text", "a path"])
def test_a_path_is_no_output_and_the_hint_says_which_it_could_be(bk: dl.Client, place) -> None:
    with pytest.raises(UsageError, match="is not an output") as caught:
        bk.build(app("be"), output=place)
    assert repr(str(place)) in str(caught.value), "the whole of it, not its first letter"
    assert f"export.local({str(place)!r})" in caught.value.hint
