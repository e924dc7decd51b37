"""Random graphs for property tests: programs of a few words, so that a failing one can be read."""

from __future__ import annotations

import warnings
from typing import Any

from hypothesis import strategies as st

from depotlab import llb, mount
from depotlab.llb import Platform, State

TARGETS = ("/a", "/b", "/in", "!odd")
PATHS = ("/x", "x", "../y", "z/", ".")
names = st.sampled_from(("A", "B", "PATH"))
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
numbers = st.integers(0, 30)
flags = st.booleans()

options = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(("one", "two")),
        "ignore_cache": flags,
        "require": st.lists(st.sampled_from(("a==1", "b==2")), max_size=2),
        "platform": st.sampled_from(("linux/arm64", "linux/arm/v7")),
    },
)
mounts = st.lists(st.tuples(st.sampled_from(TARGETS), st.none() | numbers, flags), max_size=3)
steps = st.one_of(
    st.tuples(st.just("image"), st.sampled_from(("alpine", "busybox:1")), options),
    st.tuples(st.just("local"), st.sampled_from(("src", "lib")), st.lists(words, max_size=2)),
    st.tuples(st.just("env"), numbers, names, words),
    st.tuples(st.just("dir"), numbers, st.sampled_from(PATHS)),
    st.tuples(st.just("cmd"), numbers, words),
    st.tuples(st.just("run"), numbers, st.lists(words, min_size=1, max_size=3), mounts, options),
    st.tuples(st.just("copy"), numbers, numbers, st.sampled_from(PATHS), st.sampled_from(PATHS)),
    st.tuples(st.just("mkfile"), numbers, st.sampled_from(PATHS), st.binary(max_size=3)),
    st.tuples(st.just("merge"), st.lists(numbers, min_size=1, max_size=4)),
    st.tuples(st.just("diff"), numbers, numbers),
    st.tuples(st.just("lazy"), numbers),
)
programs = st.lists(steps, max_size=12)


def build(program: list[tuple[Any, ...]]) -> State:
    """Run a program. Each step adds a state; numbers mean earlier states, counted around."""
    states: list[State] = [llb.image("alpine"), llb.scratch()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "merge keeps the image config", UserWarning)
        for kind, *args in program:
            states.append(_step(kind, args, states))
    return states[-1]


def _step(kind: str, args: list[Any], states: list[State]) -> State:
    def at(number: int) -> State:
        return states[number % len(states)]

    match kind, args:
        case "image", [ref, given]:
            return llb.image(ref, **given)
        case "local", [name, include]:
            return llb.local(f"/host/{name}", name=name, include=include)
        case "env", [base, name, value]:
            return at(base).env({name: value})
        case "dir", [base, path]:
            return at(base).dir(path)
        case "cmd", [base, word]:
            return at(base).cmd([word])
        case "run", [base, argv, places, given]:
            bound = [
                mount.bind(target, None if source is None else at(source), readonly=readonly)
                for target, source, readonly in places
            ]
            return at(base).run(argv, mounts=bound, **given)
        case "copy", [base, source, src, dest]:
            return at(base).copy(at(source), src, dest)
        case "mkfile", [base, path, data]:
            return at(base).mkfile(path, data)
        case "merge", [chosen]:
            return llb.merge(*map(at, chosen))
        case "diff", [lower, upper]:
            return llb.diff(at(lower), at(upper))
        case "lazy", [base]:
            state = at(base)
            return llb.lazy(lambda: state)
    raise AssertionError(kind)


def marshal(state: State) -> llb.Definition:
    return state.marshal(Platform("linux", "amd64"), local_unique_id="u")
