"""`llb.compare`: what differs, field by field, and what therefore runs again."""

from __future__ import annotations

import itertools
import time

import pytest

from depotlab import llb, mount
from depotlab.errors import GraphError
from depotlab.llb import Comparison, Field, State

from .test_picture import golden

SRC = llb.local(".", name="context")


def app(
    python: str = "3.12",
    command: str = "make",
    *,
    lint: bool = False,
    mode: str = "debug",
    cache: str = "/root/.cache",
) -> State:
    base = llb.image(f"python:{python}-slim").env(MODE=mode).dir("/app")
    deps = base.copy(SRC, "pyproject.toml", ".").run("pip install .", mounts=[mount.cache(cache)])
    if lint:
        deps = deps.run("ruff check")
    built = deps.copy(SRC, "app", "app").run(command)
    return llb.merge(base, built)


def words(found: Comparison) -> list[tuple[str, list[str]]]:
    return [(change.what, [str(field) for field in change.fields]) for change in found.changes]


def test_equal_graphs_are_the_same() -> None:
    found = llb.compare(app(), app())
    assert found.same
    assert (found.changes, found.config, found.reruns) == ((), (), ())
    assert repr(found) == "Comparison(same: 7 ops, nothing differs)"


def test_definitions_of_two_builds_are_the_same_though_their_local_ids_differ() -> None:
    a, b = app().marshal(), app().marshal()
    assert a.head != b.head
    assert llb.compare(a, b).same


@pytest.mark.parametrize(
    ("other", "expected", "n_reruns"),
    [
        pytest.param(
            app("3.13"),
            [
                (
                    "changed",
                    [
                        "source: docker-image://docker.io/library/python:3.12-slim → "
                        "docker-image://docker.io/library/python:3.13-slim"
                    ],
                )
            ],
            6,
            id="a new base image is one change, and all on it reruns",
        ),
        pytest.param(
            app(command="make -j"), [("changed", ["command: make → make -j"])], 2, id="a command"
        ),
        pytest.param(
            app(mode="release"),
            [("changed", ["env MODE: debug → release"])] * 2,
            4,
            id="a variable, in every run that sees it",
        ),
        pytest.param(
            app(lint=True),
            [("added", []), ("changed", ["reads: run pip install . → run ruff check"])],
            4,
            id="a new step in the middle",
        ),
        pytest.param(
            app(cache="/cache"),
            [("changed", ["mount /root/.cache: cache → (none)", "mount /cache: (none) → cache"])],
            4,
            id="a mount",
        ),
    ],
)
def test_what_differs_is_named(
    other: State, expected: list[tuple[str, list[str]]], n_reruns: int
) -> None:
    found = llb.compare(app(), other)
    assert words(found) == expected
    assert len(found.reruns) == n_reruns
    assert not found.same


BUSYBOX = llb.image("busybox")


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param(
            BUSYBOX.mkfile("/a", "1", 0o600),
            BUSYBOX.mkfile("/a", "2", 0o644),
            Field("action", "mkfile /a ('1', mode 0600)", "mkfile /a ('2', mode 0644)"),
            id="a file action",
        ),
        pytest.param(
            BUSYBOX.run("x", dir="/a"),
            BUSYBOX.run("x", dir="/b"),
            Field("dir", "/a", "/b"),
            id="dir",
        ),
        pytest.param(
            BUSYBOX.run("x"), BUSYBOX.run("x", user="app"), Field("user", None, "app"), id="user"
        ),
        pytest.param(
            BUSYBOX.run("x"),
            BUSYBOX.run("x", platform="linux/arm64"),
            Field("platform", "linux/amd64", "linux/arm64"),
            id="platform",
        ),
        pytest.param(
            llb.local(".", include=["a"]),
            llb.local(".", include=["b"]),
            Field("local.includepattern", '["a"]', '["b"]'),
            id="an option of a source",
        ),
        pytest.param(
            BUSYBOX.run("x", mounts=[mount.bind("/m", BUSYBOX)]),
            BUSYBOX.run("x", mounts=[mount.bind("/m", llb.image("alpine"))]),
            Field("reads bind /m", None, "image alpine"),
            id="another input",
        ),
    ],
)
def test_fields_of_all_kinds_are_compared(a: State, b: State, expected: Field) -> None:
    one, other = a.marshal("linux/amd64"), b.marshal("linux/amd64")
    assert expected in llb.compare(one, other).changes[-1].fields


def test_names_and_config_are_compared_and_rerun_nothing() -> None:
    a = BUSYBOX.run("x", name="one").cmd(["a"]).label(team="core")
    b = BUSYBOX.run("x", name="two", ignore_cache=True).cmd(["b"])
    found = llb.compare(a, b)
    assert found.changes[0].fields == (
        Field("description llb.customname", "one", "two"),
        Field("cache", None, "ignored"),
    )
    assert found.config == (Field("cmd", "['a']", "['b']"), Field("labels team", "core", None))
    assert found.reruns == ()
    assert not found.same


def test_a_step_that_lost_everything_in_common_is_one_gone_and_one_new() -> None:
    found = llb.compare(BUSYBOX, llb.http("https://example.com/x"))
    assert [change.what for change in found.changes] == ["added", "removed"]


def test_scratch_can_be_compared() -> None:
    assert llb.compare(llb.scratch(), llb.scratch()).same
    assert [change.what for change in llb.compare(llb.scratch(), BUSYBOX).changes] == ["added"]
    assert [change.what for change in llb.compare(BUSYBOX, llb.scratch()).changes] == ["removed"]


def test_a_comparison_reads_well_in_text_and_html() -> None:
    found = llb.compare(app(), app(command="make '<all>'"))
    assert repr(found) == "Comparison(1 changed; 2 of 7 ops rerun)"
    text = str(found).splitlines()
    assert text[1].startswith("changed  run make")
    assert text[-1] == "reruns at most: make '<all>', merge of 2"
    html = found._repr_mimebundle_()["text/html"]
    assert "&lt;all&gt;" in html
    assert "<all>" not in html
    assert repr(found.changes[0]).startswith("Change(changed run make")
    assert len(repr(llb.compare(app(), app(command="x" * 999)).changes[0])) <= 200


def test_the_truth_of_a_comparison_is_not_guessed() -> None:
    with pytest.raises(TypeError, match=r"comparison\.same"):
        bool(llb.compare(BUSYBOX, BUSYBOX))


def test_other_things_are_refused() -> None:
    with pytest.raises(GraphError, match="neither a state nor a definition"):
        llb.compare(BUSYBOX, "busybox")  # type: ignore[arg-type]


def test_every_golden_graph_is_the_same_as_itself_and_differs_from_the_next() -> None:
    # Two that differ only in the id of a local directory are the same on purpose.
    graphs = [definition for name, definition in golden() if name != "local_unique_per_op"]
    for one, other in itertools.pairwise(graphs):
        assert llb.compare(one, one).same
        found, back = llb.compare(one, other), llb.compare(other, one)
        is_equal = one.data == other.data and one.metadata == other.metadata
        assert (found.same, back.same) == (is_equal, is_equal)
        assert bool(found.changes) == bool(back.changes) == (not is_equal)
        removed = [change for change in found.changes if change.what == "removed"]
        added = [change for change in back.changes if change.what == "added"]
        assert len(removed) == len(added)


def chain(n: int, first: str, command: str = "step {}") -> State:
    state: State = llb.image(first)
    for number in range(n):
        state = state.run(command.format(number))
    return state


def test_thousands_of_ops_are_compared_in_linear_time() -> None:
    """Four times the ops take far less than the sixteen times that a quadratic comparison would."""

    def seconds(n: int) -> float:
        a, b = chain(n, "one").marshal(), chain(n, "two").marshal()
        assert (len(a.ops), len(b.ops)) == (n + 2, n + 2)  # decoded before the clock starts
        best = float("inf")
        for _ in range(3):
            started_at = time.process_time()
            found = llb.compare(a, b)
            best = min(best, time.process_time() - started_at)
        assert (len(found.changes), len(found.reruns)) == (1, n + 1)
        return best

    assert seconds(4_000) < 9 * seconds(1_000)


def test_a_change_in_the_middle_of_equal_commands_is_found() -> None:
    a, b = chain(500, "one", "same"), chain(501, "one", "same")
    assert [change.what for change in llb.compare(a, b).changes] == ["added"]
