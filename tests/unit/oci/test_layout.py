"""Image layouts: which image is meant, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab._oci import Descriptor, Layout, oci_store
from depotlab.errors import ContextError, DepotlabError, ReferenceInvalid, UsageError
from tests.support.layouts import INDEX, MANIFEST, HandMade, sha256, tagged

ABSENT = "sha256:" + "0" * 64


@pytest.fixture
def hand(tmp_path: Path) -> HandMade:
    return HandMade(tmp_path / "My Images")


def two_images(hand: HandMade) -> tuple[str, str]:
    one, two = hand.image({"a": b"1"}), hand.image({"a": b"2"})
    hand.list_images(
        tagged(one, "1.0", "docker.io/me/app:1.0"), tagged(two, "2.0", "docker.io/me/app:2.0")
    )
    return str(one["digest"]), str(two["digest"])


# ---------------------------------------------------------------------------- which image


def test_a_tag_a_whole_name_and_a_digest_each_name_an_image(hand: HandMade) -> None:
    one, two = two_images(hand)
    layout = Layout(hand.host_path)
    assert layout.resolve("1.0").digest == one
    assert layout.resolve("docker.io/me/app:2.0").digest == two
    assert layout.resolve(one).digest == one
    assert layout.resolve(f"whatever:9@{two}").digest == two  # the digest decides
    assert layout.tags() == ("docker.io/me/app:1.0", "docker.io/me/app:2.0")


def test_without_a_tag_latest_is_meant(hand: HandMade) -> None:
    one, two = hand.image({"a": b"1"}), hand.image({"a": b"2"})
    hand.list_images(tagged(one, "old"), tagged(two, "latest"))
    assert Layout(hand.host_path).resolve().digest == two["digest"]


@pytest.mark.parametrize("tag", ["", "odd"])
def test_without_a_tag_the_only_image_is_meant(hand: HandMade, tag: str) -> None:
    one = hand.image({"a": b"1"})
    hand.list_images(tagged(one, tag))
    assert Layout(hand.host_path).resolve().digest == one["digest"]


def test_a_tag_that_is_asked_for_is_never_taken_for_another(hand: HandMade) -> None:
    hand.list_images(tagged(hand.image({"a": b"1"}), "odd"))
    with pytest.raises(ContextError, match=r"no image 'latest' in .*: there is 'odd'"):
        Layout(hand.host_path).resolve("latest")


def test_an_unknown_tag_is_answered_with_those_there_are(hand: HandMade) -> None:
    two_images(hand)
    with pytest.raises(ContextError) as caught:
        Layout(hand.host_path).resolve("3.0")
    assert "'docker.io/me/app:1.0', 'docker.io/me/app:2.0'" in caught.value.message
    assert caught.value.path == str(hand.host_path)


def test_several_images_and_none_called_latest_need_a_tag(hand: HandMade) -> None:
    two_images(hand)
    with pytest.raises(ContextError, match="no image 'latest'"):
        Layout(hand.host_path).resolve()


def test_a_tag_of_two_images_is_refused_unless_they_are_one(hand: HandMade) -> None:
    one, two = hand.image({"a": b"1"}), hand.image({"a": b"2"})
    hand.list_images(tagged(one, "1", "h/a:1"), tagged(two, "1", "h/b:1"))
    with pytest.raises(ContextError, match=r"2 images .* h/a:1, h/b:1"):
        Layout(hand.host_path).resolve("1")
    assert Layout(hand.host_path).resolve("h/b:1").digest == two["digest"]
    hand.list_images(tagged(one, "1", "h/a:1"), tagged(one, "1", "h/b:1"))
    assert Layout(hand.host_path).resolve("1").digest == one["digest"]


def test_an_image_that_no_index_lists_is_found_by_digest(hand: HandMade) -> None:
    image = hand.image({"a": b"1"})
    hand.list_images()
    found = Layout(hand.host_path).resolve(str(image["digest"]))
    assert found == Descriptor(str(image["digest"]), int(str(image["size"])), MANIFEST)


def test_an_empty_layout_says_so(hand: HandMade) -> None:
    hand.list_images()
    with pytest.raises(ContextError, match="it lists no image at all"):
        Layout(hand.host_path).resolve()


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../etc/passwd",
        "sha256:" + "../" * 21 + "a",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 63 + "/",
        "sha256:" + "a" * 63 + "\n",
        "sha256:",
        "sha512:" + "a" * 64,
        "name@sha256:../../x",
        "name@md5:" + "a" * 32,
        "name@",
    ],
)
def test_what_is_no_digest_never_becomes_a_path(hand: HandMade, digest: str) -> None:
    hand.list_images()
    with pytest.raises(ReferenceInvalid, match="is not a digest"):
        Layout(hand.host_path).resolve(digest)


@pytest.mark.parametrize("call", [Layout.info, Layout.open_blob, Layout.delete_blob])
@pytest.mark.parametrize("digest", ["", "x", "sha256:..", "../sha256:" + "a" * 64, "/etc/passwd"])
def test_no_call_takes_a_path_for_a_digest(hand: HandMade, call, digest: str) -> None:
    with pytest.raises(ReferenceInvalid):
        call(Layout(hand.host_path), digest)


def test_a_digest_in_a_document_is_checked_as_well(hand: HandMade) -> None:
    trick = {"mediaType": MANIFEST, "digest": "sha256:../../index.json", "size": 1}
    hand.list_images(tagged(trick, "latest"))
    with pytest.raises(ReferenceInvalid):
        Layout(hand.host_path).resolve()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is no such directory"),
        (lambda path: path.mkdir(), "it has no index.json"),
        (lambda path: path.write_text("x"), "it is a file"),
    ],
)
def test_what_is_no_layout_is_said_to_be_none(tmp_path: Path, make, words: str) -> None:
    make(tmp_path / "x")
    with pytest.raises(ContextError, match=f"is not an OCI image layout: {words}"):
        Layout(tmp_path / "x").resolve()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"manifests": 1}', '{"manifests": [1]}', '{"manifests": [{}]}', "[" * 100_000]
    + [
        f'{{"manifests": [{{"digest": "{ABSENT}", "size": {size}}}]}}'
        for size in ("-1", '"1"', "true")
    ],
)
def test_an_index_that_is_damaged_is_named(hand: HandMade, text: str) -> None:
    hand.list_images()
    (hand.host_path / "index.json").write_text(text)
    with pytest.raises(ContextError, match=r"index\.json could not be understood"):
        Layout(hand.host_path).resolve()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from([ABSENT, INDEX, MANIFEST]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "manifests",
                    "layers",
                    "config",
                    "digest",
                    "size",
                    "mediaType",
                    "annotations",
                    "platform",
                ]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(JSON, JSON)
def test_whatever_documents_say_only_our_errors_come_of_it(
    tmp_path_factory, index, document
) -> None:
    hand = HandMade(tmp_path_factory.mktemp("fuzz") / "x")
    data = json.dumps(document).encode()
    listed = {"digest": hand.blob(data), "size": len(data), "mediaType": MANIFEST}
    for one in (index, {"manifests": index}, {"manifests": [listed]}):
        (hand.host_path / "index.json").write_text(json.dumps(one))
        layout = Layout(hand.host_path)
        for look in (layout.tags, layout.resolve, lambda: list(layout.walk())):  # noqa: B023
            try:
                look()
            except DepotlabError:
                continue


def test_a_blob_that_is_missing_is_named(hand: HandMade) -> None:
    image = hand.image({"a": b"1"})
    hand.list_images(image)
    hand.blob_path(str(image["digest"])).unlink()
    layout = Layout(hand.host_path)
    for ref in ("", str(image["digest"])):
        with pytest.raises(ContextError, match=f"has no blob {image['digest']}"):
            layout.resolve(ref)
    with pytest.raises(ContextError, match="has no blob"):
        layout.open_blob(ABSENT)
    assert layout.info(ABSENT) is None


def test_a_manifest_that_was_cut_off_is_found_out(hand: HandMade) -> None:
    image = hand.image({"a": b"1"})
    hand.list_images(image)
    path = hand.blob_path(str(image["digest"]))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ContextError, match=f"and not {image['size']}, as the index says"):
        Layout(hand.host_path).resolve()


def test_a_manifest_with_another_content_is_found_out(hand: HandMade) -> None:
    image = hand.image({"a": b"1"})
    hand.list_images(image)
    path = hand.blob_path(str(image["digest"]))
    path.write_bytes(path.read_bytes().replace(b"amd64", b"arm64").replace(b"layers", b"lagers"))
    with pytest.raises(ContextError, match="another content than its name says"):
        list(Layout(hand.host_path).walk())


def test_a_layer_is_no_image(hand: HandMade) -> None:
    hand.list_images(tagged(hand.image({"a": b"1"}), "1"))
    layer = hand.blob(b"[1, 2]"), hand.blob(b'{"a": 1}')
    with pytest.raises(ContextError, match="could not be understood"):
        Layout(hand.host_path).resolve(layer[0])
    with pytest.raises(ContextError, match="neither the manifest of an image nor an index"):
        Layout(hand.host_path).resolve(layer[1])


def test_a_pipe_or_a_directory_in_place_of_a_blob_is_no_blob(hand: HandMade) -> None:
    os.mkfifo(hand.blob_path(ABSENT))
    other = "sha256:" + "1" * 64
    hand.blob_path(other).mkdir()
    layout = Layout(hand.host_path)
    for digest in (ABSENT, other):
        assert layout.info(digest) is None
        with pytest.raises(ContextError):
            layout.open_blob(digest)
    assert list(layout.blobs()) == []


def test_blobs_may_be_links_as_build_tools_make_them(hand: HandMade, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"data")
    digest = sha256(b"data")
    hand.blob_path(digest).symlink_to(tmp_path / "elsewhere")
    with Layout(hand.host_path).open_blob(digest) as blob:
        assert blob.read() == b"data"


def test_a_layout_for_reading_changes_nothing(hand: HandMade) -> None:
    layout = Layout(hand.host_path, read_only=True)
    some = Descriptor(ABSENT, 1)
    for change in (
        layout.create,
        layout.ingest,
        lambda: layout.write_blob([b"x"]),
        lambda: layout.delete_blob(ABSENT),
        lambda: layout.keep(ABSENT),
        lambda: layout.add_to_index(some),
        lambda: layout.collect_garbage(before_ns=0),
    ):
        with pytest.raises(UsageError, match="for reading only"):
            change()
    assert "read only" in repr(layout)


# ------------------------------------------------------------------------------------ walking


def test_a_walk_visits_platforms_configurations_and_layers(hand: HandMade) -> None:
    images = [hand.image({"a": b"1"}, platform=p) for p in ("linux/amd64", "linux/arm64/v8")]
    index = hand.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": images}, INDEX)
    hand.list_images(tagged(index, "latest"))
    nodes = list(Layout(hand.host_path).walk())
    assert [node.role for node in nodes] == ["index", *(["manifest", "config", "layer"] * 2)]
    assert [node.descriptor.platform_name for node in nodes if node.role == "manifest"] == [
        "linux/amd64",
        "linux/arm64/v8",
    ]
    assert [len(node.parents) for node in nodes] == [0, 1, 2, 2, 1, 2, 2]
    assert all(node.present for node in nodes)


def test_a_walk_says_what_is_not_there(hand: HandMade) -> None:
    here, gone = hand.image({"a": b"1"}), hand.image({"b": b"2"}, platform="linux/s390x")
    index = hand.document({"manifests": [here, gone]}, INDEX)
    hand.list_images(index)
    hand.blob_path(str(gone["digest"])).unlink()
    found = {n.descriptor.digest: n.present for n in Layout(hand.host_path).walk()}
    assert found[str(here["digest"])]
    assert not found[str(gone["digest"])]
    assert len(found) == 5


def test_a_walk_of_documents_that_repeat_each_other_stays_short(hand: HandMade) -> None:
    below = hand.image({"a": b"1"})
    for _ in range(40):  # 2**40 paths
        below = hand.document({"manifests": [below, below]}, INDEX)
    hand.list_images(below)
    assert len(list(Layout(hand.host_path).walk())) == 1 + 40 * 2 + 2


def test_a_document_without_a_media_type_is_recognised(hand: HandMade) -> None:
    image = hand.image({"a": b"1"})
    index = hand.document({"manifests": [image]}, "")
    assert [n.role for n in Layout(hand.host_path).walk(Descriptor(str(index["digest"]), 1))] == [
        "index",
        "manifest",
        "config",
        "layer",
    ]


# ------------------------------------------------------------------------------ for a build


def test_an_image_has_a_name_for_builds(hand: HandMade) -> None:
    one, _ = two_images(hand)
    found = oci_store(hand.host_path, "1.0")
    assert found.name.startswith("layout/my-images-")
    assert found.identifier == f"oci-layout://{found.name}@{one}"
    assert found.store_id == f"oci:{found.name}"
    assert (found.ref, found.digest) == (f"{found.name}@{one}", one)
    assert found.layout.read_only


def test_layouts_of_one_name_in_two_places_have_two_names_for_builds(tmp_path: Path) -> None:
    names = set()
    for folder in ("a/x", "b/x", "c/äöü", "d/äöü"):
        hand = HandMade(tmp_path / folder)
        hand.list_images(hand.image({"a": b"1"}))
        names.add(oci_store(tmp_path / folder).name)
    assert len(names) == 4
    assert all(name.isascii() and name == name.lower() for name in names)
