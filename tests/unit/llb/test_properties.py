"""What holds for every graph."""

from __future__ import annotations

import copy
import pickle
from hashlib import sha256
from typing import Any

from hypothesis import given, settings

from depotlab import llb
from depotlab.llb import ImageConfig
from depotlab.llb._decode import as_bytes, fields

from .graphs import build, marshal, programs

Program = list[tuple[Any, ...]]


def has_lazy(program: Program) -> bool:
    return any(step[0] == "lazy" for step in program)


@given(programs)
def test_a_graph_marshals_the_same_every_time(program: Program) -> None:
    first, second = build(program), build(program)
    assert marshal(first).to_bytes() == marshal(first).to_bytes() == marshal(second).to_bytes()


@given(programs)
def test_equal_content_is_equal_and_has_an_equal_digest(program: Program) -> None:
    first, second = build(program), build(program)
    if not has_lazy(program):
        assert first == second
        assert hash(first) == hash(second)
    assert marshal(first).head == marshal(second).head


@given(programs, programs)
def test_equal_states_have_equal_definitions(one: Program, other: Program) -> None:
    first, second = build(one), build(other)
    if first == second:
        assert marshal(first) == marshal(second)
        assert first.image_config() == second.image_config()


@given(programs)
def test_digests_are_hashes_of_the_ops(program: Program) -> None:
    definition = marshal(build(program))
    hashes = [f"sha256:{sha256(data).hexdigest()}" for data in definition.data]
    assert list(definition.digests) == hashes
    assert len(set(hashes)) == len(hashes)


@given(programs)
def test_inputs_come_before_their_users(program: Program) -> None:
    seen: set[str] = set()
    for op in marshal(build(program)).ops:
        assert {digest for digest, _ in op.inputs} <= seen
        seen.add(op.digest)


@given(programs)
def test_loading_gives_the_same_ops(program: Program) -> None:
    definition = marshal(build(program))
    again = marshal(llb.load(definition.to_bytes()))
    assert sorted(again.data) == sorted(definition.data)
    assert (again.head, again.head_output) == (definition.head, definition.head_output)
    assert again.metadata == definition.metadata


@given(programs)
def test_a_loaded_graph_can_be_extended_like_the_one_it_came_from(program: Program) -> None:
    state = build(program)
    if state == llb.scratch() or not marshal(state).data:
        return
    plain = llb.scratch().with_output(state)
    loaded = llb.scratch().with_output(llb.load(marshal(state).to_bytes()))
    assert marshal(plain.platform("linux/amd64").run(["x"])).head == (
        marshal(loaded.platform("linux/amd64").run(["x"])).head
    )


@given(programs)
def test_pickling_keeps_everything(program: Program) -> None:
    if has_lazy(program):
        return
    state = build(program)
    again = pickle.loads(pickle.dumps(state))
    assert again == state
    assert type(again) is type(state)
    assert marshal(again) == marshal(state)
    assert marshal(again).locations == marshal(state).locations
    assert copy.deepcopy(state) is state


@given(programs)
def test_sharing_is_kept(program: Program) -> None:
    """No op is written twice, and none that the graph does not read."""
    if has_lazy(program):
        return
    state = build(program)
    found = [state._op] if state._op else []
    for op in found:
        found += [dep for dep in dict.fromkeys(op.deps) if dep not in found]
    assert len(marshal(state).data) <= len(found) + 1
    again = pickle.loads(pickle.dumps(state))
    copied = [again._op] if again._op else []
    for op in copied:
        copied += [dep for dep in dict.fromkeys(op.deps) if dep not in copied]
    assert len(copied) == len(found)


@given(programs)
def test_looking_changes_nothing(program: Program) -> None:
    state = build(program)
    before = marshal(state).to_bytes()
    repr(state), state.explain(), hash(state), state.digest, state.image_config()
    llb.unresolved(state)
    state.marshal("linux/arm64", source="calls", require=["x==1"], description={"a": "b"})
    assert marshal(state).to_bytes() == before


@given(programs)
def test_resolving_with_empty_configs_changes_no_byte(program: Program) -> None:
    state = build(program)
    refs = llb.unresolved(state)
    done = state.resolved(dict.fromkeys(refs, ImageConfig()))
    assert marshal(done).to_bytes() == marshal(state).to_bytes()
    assert llb.unresolved(done) == ()


@given(programs)
def test_resolving_leaves_nothing_to_resolve(program: Program) -> None:
    config = ImageConfig(env={"BASE": "1"}, working_dir="/base", user="base")
    state = build(program)
    done = state.resolved(dict.fromkeys(llb.unresolved(state), config))
    assert llb.unresolved(done) == ()
    assert done.resolved({}) == done


@given(programs)
def test_the_repr_is_one_short_line(program: Program) -> None:
    text = repr(build(program))
    assert len(text) <= 200
    assert len(text.splitlines()) == 1


@settings(max_examples=50)
@given(programs)
def test_metadata_and_source_are_sorted_by_digest(program: Program) -> None:
    data = marshal(build(program)).to_bytes()
    for wanted in (2, 3):
        entries = [as_bytes(value) for number, value in fields(data) if number == wanted]
        if wanted == 3:
            entries = [as_bytes(v) for e in entries for n, v in fields(e) if n == 1]
        keys = [as_bytes(dict(fields(entry))[1]) for entry in entries]
        assert keys == sorted(keys)
