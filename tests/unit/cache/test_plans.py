"""Caches of a build: what is asked of the daemon, what is served, what is done afterwards."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from depotlab import cache
from depotlab._oci import Layout
from depotlab.errors import ContextError, ReferenceInvalid, UsageError
from tests.support.layouts import INDEX, MANIFEST, HandMade, tagged

CONFIG = "application/vnd.buildkit.cacheconfig.v0"


def write_cache(hand: HandMade, word: bytes) -> dict[str, object]:
    """Write what a daemon writes, and return the descriptor of its manifest."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
    return hand.document(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": hand.document({"layers": [word.decode()]}, CONFIG),
            "layers": [{**layer, "digest": hand.blob(word), "size": len(word)}],
        },
        MANIFEST,
    )


def answer(descriptor: dict[str, object]) -> dict[str, str]:
    return {"cache.manifest": json.dumps(descriptor)}


# -------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize("prepare", [cache.as_exports, cache.as_imports])
def test_none_one_and_several_are_taken(prepare) -> None:
    one, two = cache.registry("h/a:1"), cache.registry("h/a:2")
    assert prepare(None).entries == []
    assert [attrs["ref"] for _, attrs in prepare(one).entries] == ["h/a:1"]
    assert [attrs["ref"] for _, attrs in prepare([one, two, one]).entries] == ["h/a:1", "h/a:2"]


@pytest.mark.parametrize(
    ("prepare", "argument"), [(cache.as_exports, "cache_to"), (cache.as_imports, "cache_from")]
)
@pytest.mark.parametrize("given", ["ghcr.io/me/app:cache", ["ghcr.io/me/app:cache"], 1, {"a": 1}])
def test_what_is_no_cache_is_refused(prepare, argument: str, given) -> None:
    with pytest.raises(UsageError, match=f"{argument}=.* is not a cache") as caught:
        prepare(given)
    assert "cache.registry(" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "call"),
    [
        ("type=local,src=dir", "cache_from=cache.local('dir')"),
        ("type=registry,ref=h/a:1,mode=max", "cache_from=cache.registry('h/a:1')"),
        ("type=gha", "cache_from=cache.gha(...)"),
    ],
)
def test_a_cache_in_the_words_of_docker_is_said_in_ours(given: str, call: str) -> None:
    with pytest.raises(UsageError) as caught:
        cache.as_imports(given)
    assert caught.value.hint == f"write {call}"


def test_one_place_takes_one_cache(tmp_path: Path) -> None:
    for pair in (
        [cache.registry("h/a:1"), cache.registry("h/a:1", mode="max")],
        [cache.local(tmp_path / "x", tag="a"), cache.local(tmp_path / "x", tag="b")],
    ):
        with pytest.raises(UsageError, match="twice, with different options"):
            cache.as_exports(pair)


def test_an_inline_cache_is_not_looked_into_by_itself() -> None:
    with pytest.raises(UsageError, match="does not say in which image") as caught:
        cache.as_imports(cache.inline())
    assert "cache.registry(" in caught.value.hint


def test_a_cache_is_not_left_under_a_digest(tmp_path: Path) -> None:
    digest = "sha256:" + "0" * 64
    with pytest.raises(ReferenceInvalid, match="under a digest"):
        cache.as_exports(cache.registry(f"h/a@{digest}"))
    with pytest.raises(UsageError, match="has a digest"):
        cache.as_exports(cache.local(tmp_path / "x", digest=digest))
    assert not (tmp_path / "x").exists()


# -------------------------------------------------------------------------------------- local


def test_a_local_export_makes_its_directory_and_is_listed_afterwards(tmp_path: Path) -> None:
    exports = cache.as_exports(cache.local(tmp_path / "a" / "b", tag="main", mode="max"))
    dest = str(tmp_path / "a" / "b")
    assert exports.entries == [("local", {"mode": "max", "dest": dest})]
    assert list(exports.stores) == [f"local:{dest}"]
    hand = HandMade.__new__(HandMade)
    hand.host_path = tmp_path / "a" / "b"
    (hand.host_path / "blobs/sha256").mkdir()
    manifest = write_cache(hand, b"layer")
    assert exports.finish(answer(manifest)) == ()
    found = Layout(hand.host_path).find("main")
    assert found is not None
    assert found.digest == manifest["digest"]


def test_a_path_becomes_a_store_id_that_a_header_can_have(tmp_path: Path) -> None:
    path = tmp_path / "été: 1"
    exports = cache.as_exports(cache.local(path))
    ((_, attrs),) = exports.entries
    assert attrs["dest"].isascii()
    assert attrs["dest"].endswith("/%C3%A9t%C3%A9%3A%201")
    assert exports.stores[f"local:{attrs['dest']}"].host_path == path


def test_a_directory_that_cannot_be_made_is_named_before_the_build(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ContextError, match="cannot be made"):
        cache.as_exports(cache.local(tmp_path / "file"))


def test_a_local_import_names_the_digest_of_its_tag(tmp_path: Path) -> None:
    hand = HandMade(tmp_path / "x")
    one, two = write_cache(hand, b"1"), write_cache(hand, b"2")
    hand.list_images(tagged(one, "latest"), tagged(two, "main"))
    src = str(tmp_path / "x")
    for value, digest in (
        (cache.local(src), one["digest"]),
        (cache.local(src, tag="main"), two["digest"]),
        (cache.local(src, tag="gone", digest=str(two["digest"])), two["digest"]),
    ):
        imports = cache.as_imports(value)
        assert imports.entries == [("local", {"src": src, "digest": digest})]
        assert imports.notes == ()
        (layout,) = imports.stores.values()
        assert layout.read_only


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda hand: None, "there is 'other', and not 'main'"),
        (lambda hand: (hand.host_path / "index.json").unlink(), "there is nothing yet"),
        (lambda hand: hand.list_images(), "there is nothing, and not 'main'"),
        (lambda hand: (hand.host_path / "index.json").write_text("{"), "could not be understood"),
        (
            lambda hand: hand.list_images(
                tagged({"mediaType": INDEX, "digest": "sha256:" + "0" * 64, "size": 1}, "main")
            ),
            "its blob sha256:0{64} is not there",
        ),
    ],
)
def test_a_local_import_with_nothing_there_is_left_out_with_a_note(
    tmp_path: Path, spoil, words: str
) -> None:
    hand = HandMade(tmp_path / "x")
    hand.list_images(tagged(write_cache(hand, b"1"), "other"))
    spoil(hand)
    imports = cache.as_imports([cache.local(tmp_path / "x", tag="main"), cache.registry("h/a:1")])
    assert [kind for kind, _ in imports.entries] == ["registry"]
    assert imports.stores == {}
    (note,) = imports.notes
    assert note.message.startswith(
        f"The cache import local {tmp_path / 'x'}, tag main was not used: "
    )
    assert re.search(words, note.message), note.message
    assert note.hint


def test_preparing_an_export_first_does_not_change_what_the_import_says(tmp_path: Path) -> None:
    both = cache.local(tmp_path / "x")
    cache.as_exports(both)
    (note,) = cache.as_imports(both).notes
    assert "there is nothing yet" in note.message


def test_a_manifest_of_another_cache_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """The daemon's answer has room for one; this is what it says when a registry cache came last."""
    hand = HandMade(tmp_path / "x")
    mine, theirs = write_cache(hand, b"mine"), write_cache(HandMade(tmp_path / "y"), b"theirs")
    store_id = f"local:{tmp_path / 'x'}"
    for last_written, expected in (
        ({store_id: str(mine["digest"])}, mine["digest"]),
        ({}, None),
    ):
        exports = cache.as_exports([cache.local(tmp_path / "x"), cache.registry("h/a:1")])
        notes = exports.finish(answer(theirs), last_written)
        index = tmp_path / "x" / "index.json"
        if expected is None:
            assert [note.message.endswith("wrote nothing.") for note in notes] == [True]
        else:
            found = Layout(tmp_path / "x").find("latest")
            assert found is not None
            assert (found.digest, found.media_type) == (expected, MANIFEST)
            index.unlink()


def test_an_export_that_broke_off_is_not_listed(tmp_path: Path) -> None:
    hand = HandMade(tmp_path / "x")
    layer = hand.blob(b"only a layer")
    theirs = write_cache(HandMade(tmp_path / "y"), b"theirs")
    exports = cache.as_exports(cache.local(tmp_path / "x", ignore_error=True))
    for response in ({}, answer(theirs)):
        (note,) = exports.finish(response, {f"local:{tmp_path / 'x'}": layer})
        assert "wrote nothing" in note.message
    assert not (tmp_path / "x" / "index.json").exists()


@pytest.mark.parametrize("reset", [True, False])
def test_reset_removes_what_the_cache_does_not_need_any_more(tmp_path: Path, reset: bool) -> None:
    hand = HandMade(tmp_path / "x")
    hand.list_images(tagged(write_cache(hand, b"old"), "latest"))
    kept = write_cache(hand, b"of another tag")
    Layout(tmp_path / "x").add_to_index(
        Layout(tmp_path / "x").describe(str(kept["digest"])), tag="b"
    )
    for path in (tmp_path / "x/blobs/sha256").iterdir():
        os.utime(path, (1, 1))
    exports = cache.as_exports(cache.local(tmp_path / "x", reset=reset))
    new = write_cache(hand, b"new")
    exports.finish(answer(new))
    n_blobs = len(list(Layout(tmp_path / "x").blobs()))
    assert n_blobs == (6 if reset else 9)
    assert all(node.present for node in Layout(tmp_path / "x").walk())
