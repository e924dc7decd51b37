"""Lazy states are computed once, when marshalling needs them."""

from __future__ import annotations

import pickle

import pytest

from depotlab import llb, mount
from depotlab.errors import GraphError
from depotlab.llb import ImageConfig, State

from .support import actions, exec_meta, messages

ALPINE = llb.image("alpine")


class Counted:
    def __init__(self, state: State) -> None:
        self.state = state
        self.calls = 0

    def __call__(self) -> State:
        self.calls += 1
        return self.state


def module_level() -> State:
    return ALPINE.run("lazily")


def test_the_function_is_called_once_and_not_before() -> None:
    function = Counted(ALPINE.run("x"))
    state = llb.lazy(function)
    runs = [state.run("a"), state.run("b", mounts=[mount.bind("/l", state)])]
    assert (function.calls, repr(runs[0])) == (0, "Exec(lazy function → run 'a'; 2 ops)")
    llb.merge(*runs).marshal()
    runs[0].marshal()
    assert function.calls == 1


def test_settings_go_on_top_of_those_of_the_result() -> None:
    inner = ALPINE.env(A="1", B="1").dir("/in").user("u")
    state = llb.lazy(lambda: inner).env(B="2").dir("sub")
    meta = exec_meta(state.run("x"))
    assert (list(meta.env), meta.cwd, meta.user) == (["A=1", "B=2"], "/in/sub", "u")


def test_file_actions_start_at_the_directory_of_the_result() -> None:
    state = llb.lazy(lambda: ALPINE.dir("/in")).mkdir("d")
    assert actions(state)[0].path == "/in/d"


def test_lazy_in_lazy() -> None:
    state = llb.lazy(lambda: llb.lazy(lambda: ALPINE.env(A="1")).env(B="2")).env(C="3")
    assert list(exec_meta(state.run("x")).env) == ["A=1", "B=2", "C=3"]


def test_lazy_images_are_asked_for_their_config() -> None:
    state = llb.lazy(lambda: ALPINE.dir("a")).run("x").cmd(["c"])
    (ref,) = llb.unresolved(state)
    done = state.resolved({ref: ImageConfig(working_dir="/srv", env={"P": "1"})})
    assert exec_meta(done).cwd == "/srv/a"
    assert done.image_config() == ImageConfig(working_dir="/srv/a", env={"P": "1"}, cmd=("c",))


@pytest.mark.parametrize(
    ("state", "ops"),
    [
        pytest.param(llb.lazy(llb.scratch), 0, id="nothing at all"),
        pytest.param(llb.lazy(llb.scratch).run("x"), 1, id="a run on scratch"),
        pytest.param(llb.merge(ALPINE, llb.lazy(llb.scratch)), 1, id="a merge of one is none"),
        pytest.param(llb.diff(llb.lazy(llb.scratch), ALPINE), 1, id="a diff with nothing"),
        pytest.param(llb.diff(ALPINE, llb.lazy(llb.scratch)), 2, id="a diff to nothing"),
    ],
)
def test_a_lazy_state_may_turn_out_empty(state: State, ops: int) -> None:
    assert len(messages(state)) == ops


def test_a_tmpfs_cannot_start_from_a_lazy_state_either() -> None:
    place = mount.tmpfs("/t")._row[0]
    with pytest.raises(GraphError, match="tmpfs"):
        ALPINE.run("x", mounts=[llb.Mount(place, llb.lazy(lambda: ALPINE))])


def test_what_the_function_raises_comes_out() -> None:
    def fail() -> State:
        raise LookupError("boom")

    with pytest.raises(LookupError, match="boom"):
        llb.lazy(fail).run("x").marshal()


def test_a_function_that_failed_is_asked_again() -> None:
    answers = iter([None, ALPINE])
    state = llb.lazy(lambda: next(answers)).run("x")
    with pytest.raises(GraphError, match="returned None"):
        state.marshal()
    assert len(messages(state)) == 2


def test_a_lazy_state_that_needs_itself_is_refused() -> None:
    knot: list[State] = []
    knot.append(llb.lazy(lambda: knot[0].run("x")))
    with pytest.raises(GraphError, match="depends on itself"):
        knot[0].run("y").marshal()


def test_lazy_needs_a_function() -> None:
    with pytest.raises(GraphError, match="function"):
        llb.lazy(ALPINE)


def test_a_lazy_state_is_equal_to_itself_only() -> None:
    state = llb.lazy(module_level)
    assert state == state.env()
    assert state != llb.lazy(module_level)


def test_a_lazy_state_survives_pickling_if_its_function_does() -> None:
    state = llb.lazy(module_level).run("x")
    again = pickle.loads(pickle.dumps(state))
    assert again == state
    assert again.marshal("linux/amd64").head == state.marshal("linux/amd64").head
