"""The steps that a file system went through, told by the bytes of a graph alone."""

import pytest

from depotlab import llb, mount
from depotlab.errors import UsageError

BASE = llb.image("busybox")


def kinds(state):
    return [stage.op.kind for stage in llb.lineage(state.marshal("linux/amd64"))]


def digest(state):
    return state.marshal("linux/amd64").head


def test_a_chain_is_told_from_its_base_on():
    app = BASE.run("a").mkfile("/x").run("b")
    stages = llb.lineage(app.marshal("linux/amd64"))
    assert [stage.op.name for stage in stages] == [
        "docker-image://docker.io/library/busybox:latest",
        "/bin/sh -c a",
        "mkfile /x",
        "/bin/sh -c b",
    ]
    assert digest(stages[1].after) == digest(BASE.run("a"))
    assert digest(stages[1].before) == digest(BASE)
    assert digest(stages[0].before) == ""


def test_what_was_only_copied_from_is_no_ancestor():
    other = llb.image("alpine").run("make")
    assert kinds(BASE.copy(other, "/x", "/x")) == ["source", "file"]


def test_what_was_only_mounted_is_no_ancestor():
    other = llb.image("alpine").run("make")
    made = BASE.run("x", mounts=[mount.bind("/a", other)])
    assert kinds(made) == ["source", "exec"]


def test_what_a_mount_became_began_as_what_was_mounted():
    made = BASE.run("x", mounts=[mount.bind("/out", llb.scratch().mkfile("/seed"), readonly=False)])
    stages = llb.lineage(made.mounted("/out").marshal("linux/amd64"))
    assert [stage.op.kind for stage in stages] == ["file", "exec"]
    assert digest(stages[1].before) == digest(llb.scratch().mkfile("/seed"))


def test_several_actions_in_one_op_are_one_step():
    chained = BASE.file(llb.mkdir("/a"), llb.mkfile("/a/b"), llb.rm("/a"))
    assert kinds(chained) == ["source", "file"]


def test_files_on_nothing_come_from_nothing():
    assert kinds(llb.scratch().mkfile("/x").mkfile("/y")) == ["file", "file"]
    assert kinds(llb.scratch()) == []


def test_a_merge_comes_from_its_first_input():
    merged = llb.merge(BASE.run("a"), llb.scratch().mkfile("/x"))
    assert kinds(merged) == ["source", "exec", "merge"]


def test_a_passthrough_is_no_step():
    waiting = BASE.run("a").requires(BASE.run("test"), id="tests")
    assert kinds(waiting) == ["source", "exec"]


def test_a_loaded_graph_tells_the_same():
    app = BASE.run("a").mkfile("/x")
    again = llb.load(app.marshal("linux/amd64").to_bytes())
    assert kinds(again) == kinds(app)


def test_a_step_is_found_by_its_digest():
    app = BASE.run("a").mkfile("/x")
    found = llb.step_state(app.marshal("linux/amd64"), digest(BASE.run("a")))
    assert digest(found) == digest(BASE.run("a"))


def test_the_files_of_a_run_are_its_root_whatever_else_is_written():
    made = BASE.run("x", mounts=[mount.bind("/a", llb.scratch()), mount.bind("/z", llb.scratch())])
    whole = made.marshal("linux/amd64")
    found = llb.step_state(whole, whole.head).marshal("linux/amd64")
    assert (found.head, found.head_output) == (whole.head, whole.head_output)


def test_a_step_that_is_not_there_is_refused():
    whole = BASE.marshal("linux/amd64")
    for wrong in ("", "sha256:" + "0" * 64, whole.digests[-1]):
        with pytest.raises(UsageError, match="has no step"):
            llb.step_state(whole, wrong)


def test_local_directories_stay_known(tmp_path):
    app = BASE.copy(llb.local(tmp_path, name="src"), ".", "/app").run("x")
    whole = app.marshal("linux/amd64")
    stages = llb.lineage(whole)
    assert stages[1].after.marshal("linux/amd64").locals == {"src": tmp_path.resolve()}
