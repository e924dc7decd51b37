"""Looking into images that were written to this machine."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab._oci import Descriptor, LayerFile, read_archive
from depotlab.errors import ContextError, UsageError
from tests.support.layouts import IMAGE_NAME, INDEX, REF_NAME, HandMade, sha256, tagged, tar_bytes

FILES = {"etc/": b"", "etc/hosts": b"127.0.0.1\n", "bin/app": b"\x7fELF"}


@pytest.fixture
def hand(tmp_path: Path) -> HandMade:
    return HandMade(tmp_path / "layout")


def contents(files) -> dict[str, str]:
    return {one.path: one.digest for one in files}


@pytest.mark.parametrize("form", ["archive", "directory", "compressed archive"])
def test_an_image_is_read_with_its_names_configuration_and_files(
    hand: HandMade, tmp_path: Path, form: str
) -> None:
    image = hand.image({"a": b"1", "b/c": b"2"}, compressed=True, env=("K=v",))
    hand.list_images(tagged(image, "1", "docker.io/me/app:1"))
    path = hand.host_path
    if form != "directory":
        path = hand.as_tar(tmp_path / "image.tar")
    if form == "compressed archive":
        path = tmp_path / "image.tar.gz"
        path.write_bytes(gzip.compress((tmp_path / "image.tar").read_bytes()))
    found = read_archive(path)
    assert found.names == ("docker.io/me/app:1",)
    assert found.digest == image["digest"]
    (one,) = found.images
    assert one.platform == "linux/amd64"
    assert one.config["config"]["Env"] == ["K=v"]
    assert one.manifest.digest == image["digest"]
    (layer,) = one.layers
    assert contents(found.files(layer)) == {"a": sha256(b"1"), "b/c": sha256(b"2")}
    assert json.loads(found.read_blob(one.manifest.digest))["schemaVersion"] == 2


def test_platforms_and_attestations_are_told_apart(hand: HandMade, tmp_path: Path) -> None:
    images = [hand.image({"a": p.encode()}, platform=p) for p in ("linux/amd64", "linux/arm/v7")]
    proof = hand.image({"p": b"x"}, platform="unknown/unknown")
    proof["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    index = hand.document({"manifests": [*images, proof]}, INDEX)
    hand.list_images(tagged(index, "1"))
    found = read_archive(hand.as_tar(tmp_path / "x.tar"))
    assert [one.platform for one in found.images] == ["linux/amd64", "linux/arm/v7"]
    assert [one.digest for one in found.attestations] == [proof["digest"]]
    assert found.digest == index["digest"]
    assert found.names == ("1",)


def test_several_images_in_one_archive_have_no_common_digest(hand: HandMade) -> None:
    hand.list_images(tagged(hand.image({"a": b"1"}), "1"), tagged(hand.image({"a": b"2"}), "2"))
    found = read_archive(hand.host_path)
    assert (found.digest, found.names, len(found.images)) == ("", ("1", "2"), 2)


def test_what_older_tools_save_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"
    config = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["sh"]}}
    parts = {
        "abc.json": json.dumps(config).encode(),
        "l1/layer.tar": tar_bytes({"a": b"1"}),
        "manifest.json": json.dumps(
            [{"Config": "abc.json", "RepoTags": ["app:1"], "Layers": ["l1/layer.tar"]}]
        ).encode(),
    }
    path.write_bytes(tar_bytes(parts))
    found = read_archive(path)
    assert (found.names, found.digest) == (("app:1",), "")
    (one,) = found.images
    assert (one.platform, one.config["config"]["Cmd"]) == ("linux/amd64", ["sh"])
    assert contents(found.files(one.layers[0])) == {"a": sha256(b"1")}


def one_layer(tmp_path: Path, blob: bytes) -> list[LayerFile]:
    hand = HandMade(tmp_path / "one")
    digest = hand.blob(blob)
    hand.list_images()
    return list(read_archive(hand.host_path).files(Descriptor(digest, len(blob))))


def test_every_kind_of_file_is_told(tmp_path: Path) -> None:
    out = io.BytesIO()
    made = [
        ("./d/", {"type": tarfile.DIRTYPE, "mode": 0o1777}),
        ("f", {"mode": 0o4755, "uid": 1, "gid": 2, "mtime": 1.5}),
        ("hard", {"type": tarfile.LNKTYPE, "linkname": "f"}),
        ("soft", {"type": tarfile.SYMTYPE, "linkname": "../../x"}),
        ("null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
        ("disk", {"type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 0}),
        ("pipe", {"type": tarfile.FIFOTYPE}),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), {}),
        ("x", {"pax_headers": {"SCHILY.xattr.user.k": "v"}}),
    ]
    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape"
    ) as tar:
        for name, fields in made:
            member = tarfile.TarInfo(name)
            for key, value in fields.items():
                setattr(member, key, value)
            tar.addfile(member)
    found = {one.path: one for one in one_layer(tmp_path, out.getvalue())}
    assert [one.kind for one in found.values()] == [
        "directory",
        "file",
        "hardlink",
        "symlink",
        "character device",
        "block device",
        "fifo",
        "file",
        "file",
    ]
    assert found["d"].mode == 0o1777
    assert found["f"] == LayerFile("f", "file", 0o4755, 1, 2, 0, 1.5, digest=sha256(b""))
    assert (found["hard"].link, found["soft"].link) == ("f", "../../x")
    assert (found["null"].device, found["disk"].device) == ((1, 3), (8, 0))
    assert "\udcff\udcfe" in found
    assert found["x"].xattrs == {"user.k": "v"}


names = st.text(st.sampled_from("abcé /."), min_size=1, max_size=12).filter(
    lambda name: name.strip("/ .") and not name.endswith("/") and not name.startswith("./")
)


@settings(max_examples=40)
@given(files=st.dictionaries(names, st.binary(max_size=2000), max_size=5), gz=st.booleans())
def test_any_layer_is_listed_as_it_is(tmp_path_factory, files: dict[str, bytes], gz: bool) -> None:
    blob = tar_bytes(files)
    found = one_layer(tmp_path_factory.mktemp("layer"), gzip.compress(blob) if gz else blob)
    assert [(one.path, one.size_bytes, one.digest) for one in found] == [
        (name.removeprefix("./"), len(data), sha256(data)) for name, data in files.items()
    ]


def test_a_layer_compressed_with_zstd_is_unpacked(tmp_path: Path) -> None:
    compress = importlib.import_module("zstandard").compress
    plain = tar_bytes({"a": b"1" * 100_000})
    (one,) = one_layer(tmp_path, compress(plain[:5000]) + compress(plain[5000:]))
    assert (one.path, one.digest) == ("a", sha256(b"1" * 100_000))


def test_without_a_package_for_zstd_the_error_names_it(tmp_path: Path, monkeypatch) -> None:
    def import_module(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("depotlab._oci.archive.importlib.import_module", import_module)
    with pytest.raises(UsageError, match="compressed with zstd") as caught:
        one_layer(tmp_path, b"\x28\xb5\x2f\xfd rest")
    assert "pip install zstandard" in caught.value.hint


# ------------------------------------------------------------------------------- what is damaged


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no tar at all" * 100, id="something else"),
        pytest.param(tar_bytes({"a": b"1"}), id="an archive of something else"),
        pytest.param(tar_bytes({"manifest.json": b"[{}]"}), id="a manifest without content"),
        pytest.param(tar_bytes({"manifest.json": b"{"}), id="a manifest that is no JSON"),
        pytest.param(tar_bytes({"index.json": b"{}"}), id="an index without content"),
        pytest.param(tar_bytes({"index.json": b"["}), id="an index that is no JSON"),
    ],
)
def test_what_is_no_image_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(ContextError) as caught:
        read_archive(tmp_path / "x.tar")
    assert "x.tar" in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="no such file"):
        read_archive(tmp_path / "x.tar")


@pytest.mark.parametrize("form", ["archive", "directory"])
def test_documents_are_checked_against_their_digests(
    hand: HandMade, tmp_path: Path, form: str
) -> None:
    image = hand.image({"a": b"1"})
    hand.list_images(image)
    path = hand.blob_path(str(image["digest"]))
    path.write_bytes(path.read_bytes() + b" ")
    source = hand.host_path if form == "directory" else hand.as_tar(tmp_path / "x.tar")
    with pytest.raises(ContextError, match="another content than its name says"):
        read_archive(source)


@pytest.mark.parametrize("form", ["archive", "directory"])
def test_a_configuration_that_is_missing_is_named(
    hand: HandMade, tmp_path: Path, form: str
) -> None:
    image = hand.image({"a": b"1"})
    hand.list_images(image)
    config = json.loads(hand.blob_path(str(image["digest"])).read_text())["config"]["digest"]
    hand.blob_path(config).unlink()
    source = hand.host_path if form == "directory" else hand.as_tar(tmp_path / "x.tar")
    with pytest.raises(ContextError, match=f"no {'blob ' if form == 'directory' else ''}{config}"):
        read_archive(source)


@pytest.mark.parametrize("cut", [1, 100, 600])
def test_a_layer_that_was_cut_off_is_an_error_and_no_shorter_list(tmp_path: Path, cut: int) -> None:
    blob = gzip.compress(tar_bytes({"a": bytes(range(256)) * 40, "b": b"2"}), mtime=0)
    with pytest.raises(ContextError, match="cannot be read"):
        one_layer(tmp_path, blob[:-cut])


def test_names_without_an_image_name_are_tags(hand: HandMade) -> None:
    one, two = hand.image({"a": b"1"}), hand.image({"a": b"2"})
    hand.list_images(tagged(one, "1"), tagged(two, "2", "h/b:2"), hand.image({"a": b"3"}))
    assert read_archive(hand.host_path).names == ("1", "h/b:2")
    assert {REF_NAME, IMAGE_NAME} == set(tagged(two, "2", "h/b:2")["annotations"])
