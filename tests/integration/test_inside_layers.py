"""Who made it big: what each step did to the files, and what differs between two states."""

from __future__ import annotations

import pytest

import depotlab as dl
from depotlab import llb

BASE = llb.image("busybox")


def test_each_step_is_told_with_what_it_takes(bk):
    app = (
        BASE.run(
            "mkdir /opt; head -c 3000000 /dev/zero > /opt/model; echo a > /opt/a", name="model"
        )
        .run("rm /opt/model; echo b > /opt/a; chmod 600 /etc/passwd", name="clean up")
        .mkfile("/note", "hi")
    )
    layers = bk.layers(app)
    assert layers[0].name == "model"
    assert layers[0].size_bytes == 3_000_002
    assert (layers[0].added, layers[0].changed, layers[0].removed) == (3, 0, 0)
    assert layers[0].largest[0].path == "/opt/model"
    source, model, clean, note = layers.in_order
    assert source.kind == "source"
    assert source.size_bytes > 1_000_000
    assert (clean.added, clean.changed, clean.removed) == (0, 2, 1)
    assert clean.removed_bytes == 3_000_000
    assert {change.what for change in clean.largest} == {"", "content", "mode"}
    assert (note.added, note.size_bytes) == (1, 2)
    assert model.digest in bk.build(app, progress="quiet").definition.digests
    assert "3.0 MB were removed by later steps" in layers._repr_html_()


def test_a_removed_directory_counts_with_all_that_was_in_it(bk):
    full = BASE.run("mkdir -p /x/y; echo 123 > /x/y/a; echo 1234567 > /x/b")
    layers = bk.layers(full.rm("/x"))
    gone = layers.in_order[-1]
    assert (gone.added, gone.changed, gone.removed) == (0, 0, 1)
    assert gone.removed_bytes == 12
    assert gone.largest[0].n_files == 2


def test_a_dockerfile_is_told_by_its_instructions(bk, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nCOPY data /data\nRUN head -c 500000 /dev/zero > /half\n"
    )
    (tmp_path / "data").write_bytes(bytes(1000))
    layers = bk.layers(dl.dockerfile(tmp_path))
    by_name = {layer.name.partition("] ")[2]: layer for layer in layers}
    assert by_name["COPY data /data"].size_bytes == 1000
    assert by_name["RUN head -c 500000 /dev/zero > /half"].size_bytes == 500_000


def test_a_difference_has_what_was_added_changed_and_removed(bk):
    one = BASE.run(
        "mkdir /d; echo same > /d/same; echo 1 > /d/changed; echo x > /d/gone; ln -s a /d/l"
    )
    two = one.run(
        "rm /d/gone; echo 22 > /d/changed; mkdir /d/new; echo n > /d/new/f; ln -sf b /d/l; chmod 700 /d/same"
    )
    difference = bk.diff(one, two)
    assert [(c.kind, c.path) for c in difference if not c.path.startswith("/etc")] == [
        ("changed", "/d/changed"),
        ("removed", "/d/gone"),
        ("changed", "/d/l"),
        ("added", "/d/new"),
        ("added", "/d/new/f"),
        ("changed", "/d/same"),
    ]
    by_path = {change.path: change for change in difference}
    assert by_path["/d/changed"].what == "content"
    assert by_path["/d/l"].what.startswith("target") or "target" in by_path["/d/l"].what
    assert by_path["/d/same"].what == "mode"
    assert by_path["/d/same"].before.mode_text == "-rw-r--r--"
    assert by_path["/d/same"].after.mode_text == "-rwx------"
    assert by_path["/d/gone"].size_bytes == 2
    assert [c.path for c in bk.diff(two, one).added] == ["/d/gone"]


def test_a_directory_in_place_of_a_file_brings_all_that_is_in_it(bk):
    one = llb.scratch().mkfile("/a", "file")
    two = llb.scratch().mkdir("/a").mkfile("/a/b", "inside")
    difference = bk.diff(one, two)
    assert [(c.kind, c.path) for c in difference] == [("changed", "/a"), ("added", "/a/b")]
    assert difference[0].what.startswith("kind")


@pytest.mark.parametrize(
    ("first", "second", "n"),
    [
        (BASE, BASE, 0),
        (llb.scratch(), llb.scratch(), 0),
        (llb.scratch(), llb.scratch().mkfile("/a", "x"), 1),
        (llb.scratch().mkfile("/a", "x"), llb.scratch(), 1),
    ],
    ids=["the same", "nothing", "from nothing", "to nothing"],
)
def test_the_ends_of_a_difference(bk, first, second, n):
    assert len(bk.diff(first, second)) == n


def test_two_dockerfiles_with_contexts_are_compared(bk, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text("FROM busybox\nCOPY f /f\n")
        (tmp_path / name / "f").write_text(name * 3)
    difference = bk.diff(dl.dockerfile(tmp_path / "one"), dl.dockerfile(tmp_path / "two"))
    assert [(c.kind, c.path) for c in difference] == [("changed", "/f")]
