"""A state is a frozen value; settings hold for later steps only."""

from __future__ import annotations

import copy

import pytest

from depotlab import llb, mount
from depotlab.errors import GraphError
from depotlab.llb import Definition, Exec, State

from .support import exec_meta, last_exec

ALPINE = llb.image("alpine")


def test_run_of_one_text_is_a_shell_command() -> None:
    assert exec_meta(ALPINE.run("a | b > c")).args == ["/bin/sh", "-c", "a | b > c"]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("make", "-j", "4"), id="several texts"),
        pytest.param((["make", "-j", "4"],), id="one list"),
        pytest.param((("make", "-j", "4"),), id="one tuple"),
        pytest.param((iter(["make", "-j", "4"]),), id="one iterator"),
        pytest.param((llb.shlex("make -j 4"),), id="words of a command line"),
    ],
)
def test_run_of_several_texts_is_an_argv(command: tuple) -> None:
    assert exec_meta(ALPINE.run(*command)).args == ["make", "-j", "4"]


def test_settings_hold_for_the_steps_after_them_only() -> None:
    first = ALPINE.run("one")
    second = first.env(A="1").dir("/w").user("me").run("two")
    assert exec_meta(first).env == []
    meta = exec_meta(second)
    assert (meta.env, meta.cwd, meta.user) == (["A=1"], "/w", "me")


def test_settings_of_a_run_do_not_last() -> None:
    state = ALPINE.run("one", env={"A": "1"}, dir="/w", user="me").run("two")
    meta = exec_meta(state)
    assert (meta.env, meta.cwd, meta.user) == ([], "/", "")


def test_env_takes_a_mapping_words_and_numbers() -> None:
    state = ALPINE.env({"PATH": "/bin"}, PORT=8000).env(PATH="/usr/bin").run("x")
    assert exec_meta(state).env == ["PORT=8000", "PATH=/usr/bin"]


def test_two_branches_grow_from_one_base() -> None:
    base = ALPINE.env(A="1")
    left, right = base.run("left"), base.run("right")
    assert left.digest != right.digest
    assert base == ALPINE.env(A="1")


def test_no_method_changes_a_state() -> None:
    base = ALPINE.dir("/a").env(A="1").run("x", mounts=[mount.bind("/m")])
    before = base.marshal("linux/amd64", local_unique_id="u").to_bytes()
    config = base.image_config()
    base.env(B="2").dir("b").user("u").platform("linux/arm64").network("host")
    base.hosts({"h": "10.0.0.1"}).ulimit("core", 1).hostname("h").cgroup_parent("c")
    base.cmd(["x"]).entrypoint(["y"]).label(k="v").expose(1).volume("/v").stop_signal("SIGINT")
    base.run("y").copy(ALPINE, "/a", "/b").mkdir("/c").mkfile("/d").rm("/e").symlink("/f", "/g")
    base.mounted("/m").run("z")
    llb.merge(base, ALPINE)
    llb.diff(ALPINE, base)
    assert base.marshal("linux/amd64", local_unique_id="u").to_bytes() == before
    assert base.image_config() == config


@pytest.mark.parametrize("name", ["_edge", "_settings", "anything"])
def test_attributes_of_a_state_cannot_be_set(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(ALPINE, name, None)
    with pytest.raises(AttributeError):
        delattr(ALPINE, name)


def test_a_state_is_not_made_by_calling_the_class() -> None:
    with pytest.raises(TypeError, match="image"):
        State()


def test_equal_graphs_are_equal_and_hash_alike() -> None:
    def build() -> State:
        base = llb.image("alpine").env(A="1").run("x", name="n")
        return llb.merge(base, llb.local("/src", name="s")).cmd(["y"])

    assert build() == build()
    assert hash(build()) == hash(build())
    assert len({build(), build()}) == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(ALPINE.run("y"), id="another command"),
        pytest.param(ALPINE.run("x", name="n"), id="a name"),
        pytest.param(ALPINE.run("x", ignore_cache=True), id="ignore cache"),
        pytest.param(ALPINE.run("x").env(A="1"), id="a variable afterwards"),
        pytest.param(ALPINE.run("x").cmd(["c"]), id="config only"),
        pytest.param(ALPINE.run("x").dir("c"), id="a directory afterwards"),
        pytest.param(llb.image("busybox").run("x"), id="another base"),
        pytest.param(llb.image("alpine", platform="linux/arm64").run("x"), id="a platform"),
        pytest.param("State", id="something else"),
    ],
)
def test_different_states_are_not_equal(other: object) -> None:
    assert ALPINE.run("x") != other


def test_two_local_directories_of_one_name_are_different_states() -> None:
    assert llb.local("/a", name="n") != llb.local("/b", name="n")


def test_the_line_that_made_a_state_is_no_part_of_it() -> None:
    first = ALPINE.run("x")
    second = ALPINE.run("x")
    assert first == second


def test_copies_of_a_state_are_the_state() -> None:
    state = ALPINE.run("x")
    assert copy.copy(state) is state
    assert copy.deepcopy(state) is state


def test_pipe_calls_a_function_in_the_middle_of_a_chain() -> None:
    def tool(state: State, name: str, *, version: int) -> State:
        return state.run(f"install {name}={version}")

    assert ALPINE.pipe(tool, "git", version=2) == ALPINE.run("install git=2")


def test_run_gives_an_exec_and_settings_on_it_a_state() -> None:
    run = ALPINE.run("x")
    assert type(run) is Exec
    assert type(run.env(A="1")) is State
    assert run == run.with_output(run)


def test_with_output_keeps_the_settings_and_takes_the_files() -> None:
    state = ALPINE.env(A="1").with_output(llb.image("busybox").env(B="2"))
    assert exec_meta(state.run("x")).env == ["A=1"]
    assert "busybox" in state.explain()


def test_platform_of_a_run_holds_for_what_is_made_of_it() -> None:
    state = ALPINE.run("x", platform="linux/ppc64le").run("y")
    assert last_exec(state).platform.Architecture == "ppc64le"


def test_scratch_has_no_definition() -> None:
    definition = llb.scratch().env(A="1").cmd(["x"]).marshal()
    assert definition.to_bytes() == b""
    assert (definition.head, definition.ops, definition.digests) == ("", (), ())
    assert definition == Definition.empty()


def test_marshal_without_platform_takes_this_processor() -> None:
    assert ALPINE.marshal().head == ALPINE.marshal(llb.host_platform()).head


def test_local_sources_get_another_id_in_every_build() -> None:
    state = llb.local("/src", name="s")
    assert state.marshal().head != state.marshal().head
    fixed = [state.marshal(local_unique_id="u").head for _ in range(2)]
    assert fixed[0] == fixed[1]


def test_requires_without_states_is_the_state_itself() -> None:
    assert ALPINE.requires(id="nothing") is ALPINE


def test_merge_of_one_state_makes_no_op() -> None:
    assert llb.merge(llb.scratch(), ALPINE) == ALPINE


def test_merge_warns_when_the_config_of_another_state_is_lost() -> None:
    with pytest.warns(UserWarning, match="cmd \\['lost'\\]") as caught:
        merged = llb.merge(ALPINE, llb.image("busybox").cmd(["lost"]))
    assert merged.image_config().cmd is None
    assert caught[0].filename == __file__


def test_merge_does_not_warn_about_settings_for_building() -> None:
    llb.merge(ALPINE, llb.image("busybox").dir("/src").env(A="1"))


def test_passthrough_outputs_can_be_asked_for_by_number() -> None:
    knot = llb.passthrough("k", [ALPINE, (llb.image("busybox"), False)])
    assert len(knot.outputs) == 1
    with pytest.raises(GraphError, match="no output 1"):
        knot.output(1)
    with pytest.raises(GraphError, match="no output -1"):
        knot.output(-1)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (llb.scratch(), "State(scratch)"),
        (llb.scratch().env(A="1"), "State(scratch)"),
        (ALPINE, "State(image alpine; 1 op)"),
        (llb.image("ghcr.io/a/b:1"), "State(image ghcr.io/a/b:1; 1 op)"),
        (ALPINE.run("echo hi"), "Exec(image alpine → run 'echo hi'; 2 ops)"),
        (ALPINE.run("ls", "a b"), "Exec(image alpine → run ls 'a b'; 2 ops)"),
        (ALPINE.run("x", name="deps"), "Exec(image alpine → deps; 2 ops)"),
        (
            llb.scratch().mkdir("/a").mkfile("/a/b"),
            "State(scratch → mkdir /a → mkfile /a/b; 2 ops)",
        ),
        (llb.local("src"), "State(local src; 1 op)"),
        (llb.git("https://github.com/a/b.git", "v1"), "State(git github.com/a/b.git#v1; 1 op)"),
        (llb.http("https://e.com/f"), "State(https://e.com/f; 1 op)"),
        (llb.diff(ALPINE, ALPINE.run("x")), "State(diff (image alpine, run 'x'); 3 ops)"),
        (
            ALPINE.run("x").cmd(["cat", "/hello"]),
            "State(image alpine → run 'x'; 2 ops; config only: cmd ['cat', '/hello'])",
        ),
        (
            ALPINE.run("1").run("2").run("3").run("4"),
            "Exec(image alpine → … 2 more … → run '3' → run '4'; 5 ops)",
        ),
    ],
)
def test_repr_is_one_line_that_says_what_it_is(state: State, expected: str) -> None:
    assert repr(state) == expected


def test_repr_stays_short() -> None:
    state = ALPINE.run("x" * 1000).label({f"k{n}": "v" * 50 for n in range(50)})
    assert len(repr(state)) <= 200
    assert "\n" not in repr(state.run("a\nb"))


def test_explain_lists_the_ops_and_what_they_read() -> None:
    state = ALPINE.run("a").copy(llb.image("busybox"), "/x", "/y").entrypoint(["z"])
    text = state.explain()
    assert text.startswith("4 ops, result sha256:")
    assert "  run a  " in text
    assert "  copy /x /y  " in text
    assert text.endswith("config only, changes no digest: entrypoint ['z']")
