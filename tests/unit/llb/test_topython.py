"""A graph said as Python makes the same graph; and its three panes."""

import re

import pytest

from depotlab import llb, mount

BASE = llb.image("busybox")
DEPS = BASE.run("deps", name="deps")


def run(state):
    program = state.to_python()
    names = {}
    exec(program, names)
    return program, names["result"]


@pytest.mark.parametrize(
    "state",
    [
        BASE.run("make", name="make it"),
        BASE.env(A="1", B="x y")
        .dir("/w")
        .run(["a", "b"])
        .user("me")
        .run("c")
        .network("none")
        .run("d"),
        BASE.run("x", mounts=[mount.cache("/c", id="i", sharing="locked"), mount.tmpfs("/t")]),
        BASE.run("x", mounts=[mount.secret("key", "/k"), mount.ssh()]),
        BASE.run("x", mounts=[mount.bind("/b", DEPS), mount.bind("/e", BASE, source_path="/etc")]),
        DEPS.run("x", mounts=[mount.bind("/o", BASE, readonly=False)]).mounted("/o").run("y"),
        BASE.mkdir("/a", mode=0o700, parents=True).mkfile("/a/b", "c", mode=0o600).rm("/x"),
        BASE.symlink("/a", "/b").copy(DEPS, "/x", "/y", owner="1:2"),
        llb.merge(DEPS, llb.diff(BASE, BASE.run("z"))).run("end"),
        BASE.copy(llb.http("https://example.org/a", filename="b"), "b", "/c"),
        llb.image("alpine:3").copy(llb.local(".", name="here", include=["*.py"]), ".", "/a"),
    ],
)
def test_the_program_makes_the_same_graph(state):
    program, found = run(state)
    assert llb.compare(state, found).same, program


def test_the_image_config_is_said_too():
    state = BASE.run("x").cmd(["a"]).expose(80).label(a="b")
    assert run(state)[1].image_config() == state.image_config()


def test_names_of_steps_become_names_of_variables():
    program, _ = run(DEPS.run("class", name="class").run("end"))
    assert "\ndeps = base.run('deps', name='deps')\n" in program
    assert "\nresult = " in program
    assert "\nclass = " not in program


def test_a_pane_for_each_with_links_between_them():
    state = BASE.run("one", name="<one>").run("two")
    panes = state.panes()
    assert repr(panes) == "<Panes of 3 operations: 3 lines of Dockerfile, 5 of Python>"
    html = panes.html
    for number in (1, 2, 3):
        marked = re.findall(rf'class="[^"]*\bo{number}\b', html)
        assert len(marked) == 3, "a line, a box and a statement"
    assert "<one>" not in html
    assert "<script" not in html


def test_two_views_do_not_light_up_each_other():
    panes = BASE.panes()
    names = {re.search(r"dlp-[0-9a-f]{8}", panes.html)[0] for _ in range(2)}
    assert len(names) == 2


def test_without_a_dockerfile_its_pane_has_the_reason():
    panes = BASE.rm("/x").panes()
    assert not panes.is_said
    assert "deleting without a program" in panes.html
    assert "no lines of Dockerfile" in repr(panes)


def test_the_panes_can_be_saved(tmp_path):
    path = BASE.run("x").panes().save(tmp_path / "panes.html")
    assert path.read_text().startswith("<!doctype html>")
