"""Two image archives, and the first place where they differ."""

import asyncio
import gzip
import io
import tarfile

import pytest

from depotlab._verbs import reproducible
from depotlab._verbs.reproducible import (
    APART_S,
    compare_archives,
    verify_reproducible,
    verify_reproducible_async,
)
from depotlab.errors import ContextError, UsageError
from tests.support.layouts import CONFIG, INDEX, LAYER, MANIFEST, HandMade, sha256


def entry(name, content=b"", **fields):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in fields.items():
        setattr(member, key, value)
    return member, content


def layer(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in entries:
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


class Images:
    """Makes archives of one image in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.n = 0

    def __call__(
        self,
        *layers,
        config=None,
        level=None,
        annotations=None,
        platform="linux/amd64",
        attest=None,
    ):
        self.n += 1
        made = HandMade(self.folder / f"layout{self.n}")
        system, _, architecture = platform.partition("/")
        described = []
        for data in layers:
            packed = data if level is None else gzip.compress(data, level, mtime=0)
            kind = LAYER if level is None else f"{LAYER}+gzip"
            described.append({"mediaType": kind, "digest": made.blob(packed), "size": len(packed)})
        document = {
            "os": system,
            "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": [sha256(data) for data in layers]},
            "history": [
                {"created_by": "ENV A=b", "empty_layer": True},
                *({"created_by": f"RUN step {n}"} for n, _ in enumerate(layers, 1)),
            ],
            **(config or {}),
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": made.document(document, CONFIG),
            "layers": described,
            **({"annotations": annotations} if annotations else {}),
        }
        where = {"os": system, "architecture": architecture}
        manifests = [made.document(manifest, MANIFEST, platform=where)]
        if attest is not None:
            statement = {
                "schemaVersion": 2,
                "config": made.document({}, CONFIG),
                "layers": [],
                "x": attest,
            }
            kind = {"vnd.docker.reference.type": "attestation-manifest"}
            nowhere = {"os": "unknown", "architecture": "unknown"}
            manifests.append(made.document(statement, MANIFEST, platform=nowhere, annotations=kind))
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
            manifests = [made.document(index, INDEX)]
        made.list_images(*manifests)
        return made.as_tar(self.folder / f"{self.n}.tar")


@pytest.fixture
def image(tmp_path):
    return Images(tmp_path)


BASE = layer(entry("bin", type=tarfile.DIRTYPE), entry("bin/sh", b"shell"))


def differ(first, second):
    found = compare_archives(first, second)
    assert found is not None
    assert compare_archives(first, first) is None
    return found


def test_the_same_image_has_no_difference(image):
    assert compare_archives(image(BASE), image(BASE)) is None
    assert compare_archives(image(BASE, level=6), image(BASE, level=6)) is None


@pytest.mark.parametrize(
    ("first", "second", "changes"),
    [
        pytest.param(
            entry("a", b"one"),
            entry("a", b"two!"),
            {"content": ("3 bytes", "4 bytes")},
            id="content",
        ),
        pytest.param(
            entry("a", mode=0o644), entry("a", mode=0o4755), {"mode": ("0644", "4755")}, id="mode"
        ),
        pytest.param(
            entry("a", mtime=0),
            entry("a", mtime=86400.5),
            {"mtime": ("1970-01-01T00:00:00Z", "1970-01-02T00:00:00.500000Z")},
            id="mtime",
        ),
        pytest.param(
            entry("a", uid=0, gid=5),
            entry("a", uid=1, gid=5),
            {"owner": ("0:5", "1:5")},
            id="owner",
        ),
        pytest.param(
            entry("a", type=tarfile.SYMTYPE, linkname="x"),
            entry("a", type=tarfile.SYMTYPE, linkname="y"),
            {"link": ("x", "y")},
            id="link",
        ),
        pytest.param(
            entry("a", type=tarfile.DIRTYPE),
            entry("a", type=tarfile.FIFOTYPE),
            {"kind": ("directory", "fifo")},
            id="kind",
        ),
        pytest.param(
            entry("a", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
            entry("a", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
            {"device": ("(1, 3)", "(1, 5)")},
            id="device",
        ),
        pytest.param(
            entry("a", pax_headers={"SCHILY.xattr.user.k": "1"}),
            entry("a", pax_headers={"SCHILY.xattr.user.k": "2"}),
            {"xattrs": ("'1'", "'2'")},
            id="xattrs",
        ),
        pytest.param(
            entry("a", b"1", mode=0o600),
            entry("a", b"2", mode=0o700),
            {"content": (), "mode": ()},
            id="two",
        ),
    ],
)
def test_the_first_file_that_differs_is_named_with_what_differs(image, first, second, changes):
    one = image(BASE, layer(entry("_before", b"same"), first, entry("z", b"1")))
    other = image(BASE, layer(entry("_before", b"same"), second, entry("z", b"2")))
    found = differ(one, other)
    assert (found.where, found.path, found.layer, found.n_layers) == ("file", "a", 2, 2)
    assert found.step == "RUN step 2"
    assert [change.what for change in found.changes] == list(changes)
    for change in found.changes:
        for shown, wanted in zip((change.first, change.second), changes[change.what], strict=False):
            assert wanted in shown
    assert "a in layer 2 of 2, made by 'RUN step 2'" in str(found)


def test_the_first_layer_that_differs_comes_before_later_ones(image):
    one = image(layer(entry("x", b"1")), layer(entry("y", b"1")))
    other = image(layer(entry("x", b"2")), layer(entry("y", b"2")))
    assert differ(one, other).path == "x"


def test_compression_does_not_hide_files(image):
    one = image(layer(entry("x", b"1")), level=1)
    other = image(layer(entry("x", b"2")), level=9)
    assert differ(one, other).path == "x"


@pytest.mark.parametrize("swap", [False, True])
def test_a_file_that_only_one_has(image, swap):
    archives = [
        image(layer(entry("a"), entry("b"), entry("c"))),
        image(layer(entry("a"), entry("c"))),
    ]
    found = differ(*(reversed(archives) if swap else archives))
    assert found.path == "b"
    (change,) = found.changes
    assert change.what == "presence"
    assert (change.first == "there") is not swap


def test_a_file_at_the_end_that_only_one_has(image):
    found = differ(image(layer(entry("a"))), image(layer(entry("a"), entry("b"))))
    assert (found.path, found.changes[0].second) == ("b", "there")


def test_the_same_files_in_another_order(image):
    one = image(layer(entry("a"), entry("b")))
    other = image(layer(entry("b"), entry("a")))
    (change,) = differ(one, other).changes
    assert (change.what, change.first, change.second) == ("order", "a", "b")


def test_entries_that_are_alike_in_a_tar_that_is_not(image):
    one = image(layer(entry("a", uname="root")))
    other = image(layer(entry("a", uname="admin")))
    found = differ(one, other)
    assert (found.where, found.layer, found.changes[0].what) == ("packing", 1, "tar headers")


def test_the_configuration_is_compared_before_the_layers(image):
    one = image(BASE, config={"created": "2026-01-01T00:00:00Z", "config": {"Env": ["A=1", "B=2"]}})
    other = image(
        BASE, config={"created": "2026-01-01T00:00:00Z", "config": {"Env": ["A=1", "B=3"]}}
    )
    found = differ(one, other)
    assert found.where == "config"
    (change,) = found.changes
    assert (change.what, change.first, change.second) == ("config.Env[1]", '"B=2"', '"B=3"')


def test_a_key_that_only_one_configuration_has(image):
    (change,) = differ(image(BASE), image(BASE, config={"author": "me"})).changes
    assert (change.what, change.first, change.second) == ("author", "nothing", '"me"')


def test_another_number_of_layers(image):
    same = {"history": []}
    found = differ(image(BASE, config=same), image(BASE, BASE, config=same))
    assert (found.where, found.changes[0].first, found.changes[0].second) == ("layers", "1", "2")


def test_equal_layers_that_were_compressed_in_another_way(image):
    content = layer(entry("a", bytes(range(256)) * 100))
    found = differ(image(content, level=1), image(content, level=9))
    assert (found.where, found.layer) == ("packing", 1)


def test_annotations_of_a_manifest(image):
    found = differ(image(BASE, annotations={"k": "1"}), image(BASE, annotations={"k": "2"}))
    assert (found.where, found.changes[0].what) == ("packing", "annotations.k")


def test_platforms(image):
    found = differ(image(BASE), image(BASE, platform="linux/arm64"))
    assert found.where == "platforms"
    assert (found.changes[0].first, found.changes[0].second) == ("linux/amd64", "linux/arm64")


def test_attestations_come_last(image):
    found = differ(image(BASE, attest="1"), image(BASE, attest="2"))
    assert found.where == "attestation"
    assert (
        differ(image(BASE, attest="1"), image(layer(entry("x")), attest="2")).where != "attestation"
    )


def test_names_that_are_no_text_can_be_printed(image):
    one = image(layer(entry("caf\udce9", b"1")))
    other = image(layer(entry("caf\udce9", b"2")))
    assert "caf\\xe9" in str(differ(one, other)).encode("utf-8").decode()


def test_times_that_no_calendar_has(image):
    found = differ(image(layer(entry("a", mtime=1e18))), image(layer(entry("a", mtime=2e18))))
    assert found.changes[0].first == "1e+18 s"


def test_what_is_no_image_is_refused(tmp_path, image):
    (tmp_path / "x.tar").write_bytes(b"no tar")
    with pytest.raises(ContextError):
        compare_archives(image(BASE), tmp_path / "x.tar")
    with pytest.raises(ContextError):
        compare_archives(tmp_path / "none.tar", image(BASE))


# ------------------------------------------------------------------------------- building twice


@pytest.fixture
def waited(monkeypatch):
    """What was done, in order: the wait between two builds takes no time here."""
    done = []
    monkeypatch.setattr(reproducible.time, "sleep", lambda seconds: done.append(seconds))
    return done


def test_the_second_build_begins_when_the_clock_shows_another_time(image, waited):
    def build(host_path):
        waited.append(host_path.name)
        host_path.write_bytes(image(BASE).read_bytes())

    verify_reproducible(build)
    assert waited == ["first.tar", APART_S, "second.tar"]
    assert APART_S >= 2, "zip archives tell every other second"


def test_two_builds_that_agree_are_true(image, tmp_path, waited):
    paths = []

    def build(host_path):
        paths.append(host_path)
        host_path.write_bytes(image(BASE).read_bytes())
        return f"result {len(paths)}"

    found = verify_reproducible(build, source_date_epoch=7)
    assert found
    assert (found.first, found.second, found.source_date_epoch) == ("result 1", "result 2", 7)
    assert repr(found).startswith("<reproducible")
    assert not any(path.exists() or path.parent.exists() for path in paths), (
        "nothing is left behind"
    )


def test_two_builds_that_differ_are_false_and_can_be_kept(image, tmp_path):
    layers = iter([layer(entry("a", b"1")), layer(entry("a", b"2"))])

    async def build(host_path):
        host_path.write_bytes(image(next(layers)).read_bytes())

    kept = tmp_path / "kept"
    kept.mkdir()
    found = asyncio.run(verify_reproducible_async(build, host_folder=kept))
    assert not found
    assert found.difference.path == "a"
    assert "a in layer 1" in repr(found)
    assert sorted(p.name for p in kept.iterdir()) == ["first.tar", "second.tar"]


def test_a_build_that_fails_leaves_nothing_behind():
    seen = []

    def build(host_path):
        seen.append(host_path)
        host_path.write_bytes(b"half")
        raise RuntimeError("failed")

    with pytest.raises(RuntimeError):
        verify_reproducible(build)
    assert not seen[0].parent.exists()


def test_a_folder_that_is_not_there_is_refused_before_anything_is_built(tmp_path):
    with pytest.raises(UsageError, match=r"^keep=.* is not a directory"):
        verify_reproducible(lambda path: pytest.fail("built"), host_folder=tmp_path / "none")
