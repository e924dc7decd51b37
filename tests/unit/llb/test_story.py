"""Graphs in words: `explain()`, and the tables of definitions and ops."""

from __future__ import annotations

import random
import time

import pytest

from depotlab import llb, mount
from depotlab.llb import State
from depotlab.llb._fields import op_fields
from depotlab.llb._story import rerun_counts

from .test_picture import golden

BASE = llb.image("busybox")
SRC = llb.local(".", name="context")


def lines(state: State) -> list[str]:
    return state.explain().splitlines()


def test_explain_says_what_each_op_reads_and_what_a_change_to_it_reruns() -> None:
    one = BASE.run("one")
    two = one.copy(SRC, "a", "/a")
    text = lines(two.run("three", mounts=[mount.bind("/x", SRC)]))
    body = [line.split(None, 2) for line in text[3:8]]
    assert [row[0] for row in body] == ["1", "2", "3", "4", "5"]
    assert [" ".join(row[2].split()) for row in body] == [
        "image busybox 2, 4-5",
        "run one 1 4-5",
        "local context 4-5",
        "copy /a /a 2, 3 (/a) 5",
        "run three 4, 3 (bind /x)",
    ]


def test_explain_is_its_own_repr() -> None:
    text = BASE.run("a").explain()
    assert repr(text) == str(text)
    assert isinstance(text, str)


def test_explain_says_what_a_build_must_be_given() -> None:
    state = BASE.run("x", mounts=[mount.secret("a"), mount.secret("b", optional=True), mount.ssh()])
    text = state.copy(SRC, "x", "/").explain()
    assert "\nreads on this machine: context = " in text
    assert "\nneeds secrets: a\n" in text
    assert "\nuses secrets if given: b\n" in text
    assert text.endswith("\nneeds SSH agents: default")


def test_explain_of_scratch() -> None:
    assert lines(llb.scratch().cmd(["a"])) == [
        "scratch: no ops, an empty file system",
        "config only, changes no digest: cmd ['a']",
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(BASE, "0 layers on top of image busybox", id="image"),
        pytest.param(BASE.run("a").mkdir("/b"), "2 layers on top of image busybox", id="steps"),
        pytest.param(llb.scratch().mkdir("/b"), "1 layer", id="scratch"),
        pytest.param(SRC, "1 layer", id="local"),
        pytest.param(
            llb.merge(BASE, SRC, BASE.run("a")), "2 layers on top of image busybox", id="merge"
        ),
        pytest.param(
            llb.diff(BASE, BASE.run("a").run("b").run("c")),
            "3 layers",
            id="diff of what was built on it",
        ),
        pytest.param(llb.diff(BASE.run("x"), BASE.run("a").run("b")), "1 layer", id="other diff"),
        pytest.param(
            llb.diff(llb.scratch(), BASE.run("a")),
            "1 layer on top of image busybox",
            id="diff with scratch",
        ),
        pytest.param(
            BASE.run("a", mounts=[mount.bind("/m", SRC, readonly=False)]).mounted("/m"),
            "2 layers",
            id="a mount",
        ),
        pytest.param(
            BASE.run("a").requires(SRC, id="x"), "1 layer on top of image busybox", id="passthrough"
        ),
    ],
)
def test_explain_counts_layers(state: State, expected: str) -> None:
    assert lines(state)[0].endswith(f", {expected}")


def test_reruns_are_counted_exactly_in_any_graph() -> None:
    chance = random.Random(7)
    states = [BASE]
    for number in range(120):
        base, other = chance.choices(states[-12:], k=2)
        states.append(base.run(f"x {number}", mounts=[mount.bind("/o", other)]))
    views = llb.merge(*states).marshal().ops[:-1]
    users: dict[str, set[str]] = {view.digest: set() for view in views}
    for view in reversed(views):
        for digest, _ in view.inputs:
            users[digest] |= users[view.digest] | {view.digest}
    rows = chance.sample(range(len(views)), 40)
    expected = {row: len(users[views[row].digest]) for row in rows}
    assert rerun_counts(views, rows) == expected


def test_a_long_listing_loses_its_middle_and_stays_narrow() -> None:
    state = BASE
    for number in range(3000):
        state = state.run(f"step {number} " + "word " * 30)
    started_at = time.process_time()
    text = lines(state)
    assert time.process_time() - started_at < 5
    assert len(text) < 1000
    assert sum("… 2801 more ops …" in line for line in text) == 1
    assert any("2999 of 3001" in line for line in text)
    assert max(map(len, text)) < 140


def test_a_definition_shows_its_ops_as_a_table() -> None:
    definition = BASE.run("make", name="build <it>").marshal()
    bundle = definition._repr_mimebundle_()
    assert bundle["text/plain"].splitlines()[0] == repr(definition)
    assert [line.split()[2] for line in bundle["text/plain"].splitlines()[2:]] == ["image", "exec"]
    assert "build &lt;it&gt;" in bundle["text/html"]
    assert "<td" in bundle["text/html"]


def test_an_op_shows_all_its_fields() -> None:
    bundle = (
        BASE.env(A="1")
        .run("make", user="app", ignore_cache=True)
        .marshal()
        .ops[1]
        ._repr_mimebundle_()
    )
    rows = dict(line.split(None, 1) for line in bundle["text/plain"].splitlines()[1:])
    assert (rows["command"], rows["user"], rows["cache"]) == ("make", "app", "ignored")


def test_every_golden_graph_can_be_explained_and_shown() -> None:
    for _, definition in golden():
        assert llb.load(definition.to_bytes()).explain().startswith(f"{len(definition.ops) - 1} op")
        for view in definition.ops[:-1]:
            assert view.digest in view._repr_mimebundle_()["text/plain"]


def test_golden_ops_with_other_bytes_have_other_fields() -> None:
    """No setting is left out: what differs without the inputs, can be read."""
    seen: dict[tuple[tuple[str, str], ...], set[bytes]] = {}
    for _, definition in golden():
        for view in definition.ops[:-1]:
            body = view.data
            for _ in view.inputs:
                body = body[2 + body[1] :]  # inputs stand first and are shorter than 128 bytes
            seen.setdefault(tuple(op_fields(view.data).items()), set()).add(body)
    doubled = {fields: len(bodies) for fields, bodies in seen.items() if len(bodies) > 1}
    assert doubled == {}
    assert len(seen) > 150
