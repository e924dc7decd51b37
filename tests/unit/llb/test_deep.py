"""Graphs of any depth: nothing recurses, nothing grows faster than the graph."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import time

import pytest

from depotlab import llb, mount
from depotlab.llb import FileAction, ImageConfig, State

DEEP = 5_000  # far above the recursion limit


def chain(length: int) -> State:
    state = llb.image("alpine")
    for number in range(length):
        state = state.run(["x", str(number)])
    return state


def diamonds(height: int) -> State:
    """Every level reads the one below twice: 2**height paths."""
    state = llb.image("alpine")
    for number in range(height):
        state = state.run(["x", str(number)], mounts=[mount.bind("/again", state)])
    return state


def merges(height: int) -> State:
    state = llb.image("alpine")
    for _ in range(height):
        state = llb.merge(state, llb.diff(llb.image("alpine"), state))
    return state


def lazies(length: int) -> State:
    state = llb.image("alpine")
    for number in range(length):
        state = (lambda inner: llb.lazy(lambda: inner))(state.run(["x", str(number)]))
    return state


@pytest.fixture(scope="module", params=[chain, diamonds, merges], ids=lambda build: build.__name__)
def deep(request: pytest.FixtureRequest) -> State:
    return request.param(DEEP if request.param is not merges else DEEP // 4)


def test_recursion_limit_is_the_usual_one() -> None:
    assert sys.getrecursionlimit() < DEEP // 4


def test_deep_graphs_marshal_and_load(deep: State) -> None:
    definition = deep.marshal("linux/amd64")
    assert llb.load(definition.to_bytes()).marshal("linux/amd64").data == definition.data
    assert len(definition.ops) == len(definition.digests)


def test_deep_graphs_compare_and_hash(deep: State) -> None:
    again = pickle.loads(pickle.dumps(deep))
    assert again == deep
    assert hash(again) == hash(deep)
    assert deep != deep.run("more")
    assert copy.deepcopy(deep) is deep


def test_deep_graphs_are_described(deep: State) -> None:
    assert len(repr(deep)) <= 200
    assert deep.explain().startswith(f"{len(deep.marshal().digests) - 1} ops, result sha256:")


def test_deep_graphs_are_resolved(deep: State) -> None:
    (ref,) = llb.unresolved(deep)
    done = deep.resolved({ref: ImageConfig(env={"A": "1"})})
    assert llb.unresolved(done) == ()


def test_deep_graphs_are_freed_without_overflow() -> None:
    states = [chain(DEEP), diamonds(DEEP), merges(DEEP // 4), lazies(DEEP)]
    states += [llb.load(states[0].marshal().to_bytes())]
    states.clear()
    gc.collect()


def test_lazy_states_may_be_nested_deeply() -> None:
    state = lazies(DEEP // 4)
    assert len(state.marshal().data) == DEEP // 4 + 2
    assert len(llb.unresolved(state)) == 1


def actions(length: int) -> FileAction:
    action = llb.mkdir("/d")
    for number in range(length):
        action = action.mkfile(f"/d/{number}", "x")
    return action


def test_long_chains_of_file_actions() -> None:
    action = actions(DEEP)
    assert action == actions(DEEP)
    assert pickle.loads(pickle.dumps(action)) == action
    assert len(repr(action)) < 300
    assert len(llb.scratch().file(action).marshal().data) == 2


def test_bound_actions_may_be_nested_deeply_and_shared() -> None:
    bound = llb.mkfile("/f", "x").on(llb.scratch())
    for _ in range(200):
        bound = llb.copy(bound, "/f", "/g").copy(bound, "/f", "/h").on(llb.image("alpine"))
    state = llb.scratch().file(llb.copy(bound, "/g", "/i"))
    assert len(state.marshal().data) == 3


def test_a_chain_of_a_hundred_thousand_works() -> None:
    state = chain(100_000)
    definition = state.marshal("linux/amd64")
    assert len(definition.data) == 100_002
    assert repr(state).endswith("100001 ops)")
    assert len(definition.to_bytes()) > 100_000 * 200
    del state
    gc.collect()


def test_time_grows_with_the_size_of_the_graph_and_no_faster() -> None:
    """Four times the ops take far less than the sixteen times that a quadratic walk would."""

    def seconds(length: int) -> float:
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            chain(length).marshal("linux/amd64").to_bytes()
            best = min(best, time.process_time() - start)
        return best

    assert seconds(8_000) < 9 * seconds(2_000)
