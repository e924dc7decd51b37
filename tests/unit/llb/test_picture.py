"""Graphs as pictures: boxes in plain words, edges that say how an input comes in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from depotlab import llb, mount
from depotlab._graph import Node
from depotlab.errors import UsageError
from depotlab.llb import Definition, Picture, State

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "llb-golden.json").read_text())
BASE = llb.image("python:3.12-slim")
SRC = llb.local(".", name="context")


def node(state: State) -> Node:
    """Return the box of the op on top."""
    return state.graph().graph.nodes[-1]


def edges(state: State) -> list[tuple[str, str, str]]:
    graph = state.graph().graph
    labels = {node.id: node.label for node in graph.nodes}
    return [(labels[e.source], labels[e.target], e.label) for e in graph.edges]


@pytest.mark.parametrize(
    ("state", "kind", "label", "lines"),
    [
        pytest.param(
            BASE, "image", "python:3.12-slim", (), id="an official image has its short name"
        ),
        pytest.param(
            llb.image("ghcr.io/astral-sh/uv:0.9"),
            "image",
            "uv:0.9",
            ("ghcr.io/astral-sh",),
            id="a registry is a small line",
        ),
        pytest.param(
            llb.image("busybox@sha256:" + "ab" * 32),
            "image",
            "busybox@abababababab…",
            (),
            id="a digest is shortened",
        ),
        pytest.param(SRC, "local", "context", (), id="local files"),
        pytest.param(
            llb.git("https://github.com/moby/buildkit", "v1"),
            "git",
            "buildkit#v1",
            ("github.com/moby",),
            id="a repository",
        ),
        pytest.param(
            llb.http("https://example.com/dl/tool.tgz"),
            "http",
            "tool.tgz",
            ("example.com/dl",),
            id="a download",
        ),
        pytest.param(
            llb.oci_layout("s@sha256:" + "0" * 64), "oci", "s@000000000000…", (), id="oci"
        ),
        pytest.param(BASE.run("make\n  all"), "exec", "make all", (), id="a shell command"),
        pytest.param(BASE.run("echo", "a b"), "exec", "echo 'a b'", (), id="an argv is quoted"),
        pytest.param(
            BASE.run("make", name="build"), "exec", "build", ("make",), id="a name comes first"
        ),
        pytest.param(
            BASE.copy(SRC, "a", "b", "/x/"), "file", "copy /a /b /x/", (), id="two copies are one"
        ),
        pytest.param(
            BASE.file(llb.mkdir("/a").symlink("/a", "/b")),
            "file",
            "mkdir /a, symlink /b -> /a",
            (),
            id="actions in order",
        ),
        pytest.param(llb.merge(BASE, SRC), "merge", "merge of 2", (), id="merge"),
        pytest.param(llb.diff(BASE, BASE.run("x")), "diff", "what changes", (), id="diff"),
        pytest.param(llb.build(SRC), "build", "build a stored definition", (), id="build"),
        pytest.param(
            BASE.requires(SRC, id="tests"), "passthrough", "wait for tests", (), id="passthrough"
        ),
    ],
)
def test_a_box_says_what_it_is(state: State, kind: str, label: str, lines: tuple[str, ...]) -> None:
    box = node(state)
    assert (box.kind, box.label, box.lines) == (kind, label, lines)


def test_the_stage_of_a_dockerfile_is_the_group_of_its_steps() -> None:
    box = node(BASE.run("make", name="[linux/amd64 builder 2/5] RUN make"))
    assert (box.group, box.label) == ("builder", "RUN make")
    grouped = node(BASE.run("make", progress_group=llb.ProgressGroup("g", "the app")))
    assert grouped.group == "the app"


def test_badges_name_caches_secrets_and_loud_settings() -> None:
    mounts = [
        mount.cache("/root/.cache/pip"),
        mount.secret("token"),
        mount.ssh(),
        mount.tmpfs("/t"),
    ]
    box = node(BASE.run("make", mounts=[*mounts, mount.secret("k", env="KEY")], network="none"))
    labels = [badge.label for badge in box.badges]
    assert labels[:3] == ["cache pip", "tmpfs t", "secret token"]
    assert labels[3].startswith("+")
    caches = node(
        BASE.run("make", mounts=[mount.cache("/a"), mount.cache("/b")], security="insecure")
    )
    assert [badge.label for badge in caches.badges] == ["2 caches", "insecure"]


def test_edges_say_how_an_input_comes_in() -> None:
    step = BASE.run("make", mounts=[mount.bind("/src", SRC), mount.bind("/out")])
    assert edges(step)[-2:] == [("python:3.12-slim", "make", ""), ("context", "make", "/src")]
    out = llb.scratch().copy(step.mounted("/out"), "/", "/")
    assert edges(out)[-1] == ("make", "copy / /", "from /out")
    both = BASE.file(llb.copy(SRC, "a", "/").copy(step, "b", "/"))
    assert [label for *_, label in edges(both)[-3:]] == ["", "/a", "/b"]


def test_hovering_shows_the_whole_op_and_the_line_of_the_call() -> None:
    state = BASE.env(MODE="fast").dir("/app").run("make " + "x" * 300, user="app", name="build")
    lines = node(state).title.splitlines()
    assert lines[0] == "build"
    assert lines[1] == "run make " + "x" * 300
    assert {"env MODE: fast", "dir: /app", "user: app"} <= set(lines)
    assert not any(line.startswith("env PATH") for line in lines)
    assert "test_picture.py, line " in lines[-2]
    assert lines[-1] == state.marshal().head[:19]


def test_the_id_of_a_node_is_the_digest_of_its_op() -> None:
    definition = BASE.run("a").marshal()
    assert [each.id for each in definition.graph().graph.nodes] == list(definition.digests[:-1])


def test_a_state_and_a_picture_show_themselves_in_a_notebook() -> None:
    state = BASE.run("make")
    bundle = state._repr_mimebundle_()
    assert bundle["image/svg+xml"] == state.graph().svg
    assert bundle["text/plain"] == repr(state)
    assert "text/html" not in bundle
    assert repr(state.graph()) == 'Picture(2 steps; .svg, .html, .save("graph.svg"))'


def test_a_large_graph_comes_with_a_search_field() -> None:
    state = BASE
    for number in range(200):
        state = state.run(f"step {number}")
    bundle = state._repr_mimebundle_()
    assert "<details" in bundle["text/html"]
    assert len(bundle["image/svg+xml"]) < 300_000


def test_to_show_a_state_never_computes_its_lazy_parts() -> None:
    def never() -> State:
        raise AssertionError("called")

    state = llb.lazy(never).run("a").copy(SRC, "x", "/")
    assert set(state._repr_mimebundle_()) == {"text/plain"}
    assert set(llb.scratch()._repr_mimebundle_()) == {"text/plain"}


def test_other_tools_get_text() -> None:
    state = BASE.run("make")
    assert state.to_mermaid().startswith("flowchart TD")
    assert state.to_dot().startswith("digraph")
    assert [each["kind"] for each in json.loads(state.to_json())["nodes"]] == ["image", "exec"]
    definition = state.marshal()
    assert definition.to_json() == state.to_json()
    assert definition.to_dot() == state.to_dot()
    assert definition.to_mermaid() == state.to_mermaid()


@pytest.mark.parametrize("ending", ["svg", "html", "mmd", "dot", "json"])
def test_a_picture_is_saved_by_the_end_of_its_name(tmp_path: Path, ending: str) -> None:
    path = BASE.run("make").graph().save(tmp_path / f"graph.{ending}")
    assert "python:3.12-slim" in path.read_text() or ending in ("mmd", "html")
    assert path.stat().st_size > 100


def test_a_picture_in_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be saved") as caught:
        BASE.graph().save(tmp_path / "graph.png")
    assert ".svg" in caught.value.hint


def golden() -> Iterator[tuple[str, Definition]]:
    for case in GOLDEN["cases"]:
        if case.get("definition_b64"):
            yield case["name"], llb.load(base64.b64decode(case["definition_b64"])).marshal()


@pytest.mark.parametrize(("name", "definition"), [pytest.param(*c, id=c[0]) for c in golden()])
def test_every_golden_graph_has_a_picture(name: str, definition: Definition) -> None:
    picture = definition.graph()
    assert len(picture.graph.nodes) == len(definition.ops) - 1
    assert ElementTree.fromstring(picture.svg).tag.endswith("svg")
    assert all(each.label for each in picture.graph.nodes)


def test_scratch_has_an_empty_picture() -> None:
    picture = llb.scratch().graph()
    assert isinstance(picture, Picture)
    assert repr(picture).startswith("Picture(0 steps")
    assert picture.svg.startswith("<svg")
