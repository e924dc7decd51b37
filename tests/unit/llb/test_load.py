"""Definitions from outside: what is read back, and what bytes that nobody vouches for can do."""

from __future__ import annotations

import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab import llb, mount
from depotlab.errors import GraphError
from depotlab.llb import SourceMap
from depotlab.llb._wire import field, integer, text, varint

from .graphs import build, marshal, programs

ALPINE = llb.image("alpine")


def digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def pointing_at(op: bytes, index: int = 0) -> bytes:
    return field(1, text(1, digest(op)) + integer(2, index))


def definition(*ops: bytes) -> bytes:
    return b"".join(field(1, op) for op in ops)


def test_a_loaded_state_has_fresh_settings_but_the_platform_of_its_last_op() -> None:
    state = llb.image("alpine").env(A="1").dir("/w").run("x")
    loaded = llb.load(state.marshal("linux/s390x").to_bytes())
    op = llb.load(loaded.run("y").marshal("linux/amd64").to_bytes()).marshal().ops[-2]
    assert b"s390x" in op.data
    assert b"A=1" not in op.data


def test_a_loaded_state_can_be_mounted_copied_and_merged() -> None:
    loaded = llb.load(ALPINE.run("x").marshal("linux/amd64").to_bytes())
    state = llb.merge(
        loaded.run("y", mounts=[mount.bind("/l", loaded)]), llb.scratch().copy(loaded, "/a", "/b")
    )
    assert len(state.marshal("linux/amd64").ops) == 6


def test_names_and_flags_survive() -> None:
    state = ALPINE.run("x", name="the name", ignore_cache=True, export_cache=False)
    again = llb.load(marshal(state).to_bytes()).marshal()
    assert again.ops[1].name == "the name"
    assert again.ops[1].metadata.ignore_cache
    assert again.ops[1].metadata.export_cache is False


def test_metadata_given_to_marshal_is_not_for_loaded_ops() -> None:
    loaded = llb.load(marshal(ALPINE.run("x")).to_bytes())
    found = loaded.run("y").marshal(ignore_cache=True).metadata
    assert [each.ignore_cache for each in found.values()].count(True) == 1


def test_a_definition_without_metadata_is_accepted() -> None:
    ops = marshal(ALPINE.run("x")).data
    again = llb.load(definition(*ops)).marshal()
    assert again.data == ops
    assert list(again.metadata) == [again.digests[-1]]


def test_ops_in_any_order_are_accepted() -> None:
    image, run, final = marshal(ALPINE.run("x")).data
    assert llb.load(definition(run, image, image, final)).marshal().data == (image, run, final)


def test_ops_of_a_newer_buildkit_keep_their_bytes() -> None:
    strange = field(9, b"a new kind of op") + field(15, b"?")
    final = pointing_at(strange, 3)
    again = llb.load(definition(strange, final)).marshal()
    assert again.data == (strange, final)
    assert again.head_output == 3


def test_no_bytes_are_scratch() -> None:
    assert llb.load(b"") == llb.scratch()


def test_bytes_may_come_in_any_wrapping() -> None:
    data = marshal(ALPINE).to_bytes()
    assert llb.load(bytearray(data)).digest == llb.load(memoryview(data)).digest


def test_directories_can_be_given_for_local_sources() -> None:
    data = marshal(llb.local("/old", name="src")).to_bytes()
    assert llb.load(data).marshal().locals == {}
    assert llb.load(data, locals={"src": "/new"}).marshal().locals == {"src": Path("/new")}


def test_source_maps_survive_with_the_graph_that_they_were_read_from() -> None:
    file = SourceMap("f", b"text", "L", ALPINE)
    data = marshal(ALPINE.run("x", locations=[file.at((1, 2, 3, 4))])).to_bytes()
    assert marshal(llb.load(data)).to_bytes() == data


IMAGE, FINAL = marshal(ALPINE).data
RUN = marshal(ALPINE.run("x")).data[1]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"\x0a", "cut off", id="a length is missing"),
        pytest.param(b"\x0a\x05ab", "cut off", id="a field is shorter than its length"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "cut off", id="a huge length"),
        pytest.param(b"\x0a" + b"\xff" * 11, "ten bytes", id="an endless number"),
        pytest.param(b"\x00", "no field 0", id="field zero"),
        pytest.param(b"\x0b", "wire type 3", id="a group"),
        pytest.param(b"\x0f", "wire type 7", id="a wire type that does not exist"),
        pytest.param(b"\x0d\x00", "cut off", id="a short fixed number"),
        pytest.param(b"\x08\x01", "a number stands", id="an op that is a number"),
        pytest.param(definition(IMAGE), "point at one result", id="no final op"),
        pytest.param(definition(IMAGE, b""), "point at one result", id="an empty final op"),
        pytest.param(definition(IMAGE, FINAL + FINAL), "point at one", id="two results"),
        pytest.param(definition(FINAL), "is missing", id="the result is missing"),
        pytest.param(definition(RUN, pointing_at(RUN)), "is missing", id="an input is missing"),
        pytest.param(definition(IMAGE, pointing_at(IMAGE, -1)), "no output -1", id="output -1"),
        pytest.param(
            definition(IMAGE, pointing_at(IMAGE, 2**40)), "no output", id="a huge output number"
        ),
        pytest.param(
            definition(IMAGE, field(1, field(1, b"\xff"))), "not UTF-8", id="a digest of junk"
        ),
        pytest.param(
            definition(b"\x52\x02\x0a\x09", pointing_at(b"\x52\x02\x0a\x09")),
            "cut off",
            id="a platform cut off",
        ),
        pytest.param(
            definition(IMAGE, FINAL) + field(2, text(1, digest(IMAGE)) + field(2, b"\x0a")),
            "cut off",
            id="metadata cut off",
        ),
        pytest.param(
            definition(IMAGE, FINAL)
            + field(3, field(1, text(1, "d") + field(2, field(1, integer(1, 5))))),
            "no source file 5",
            id="a source file that is not there",
        ),
    ],
)
def test_malformed_definitions_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(GraphError) as caught:
        llb.load(data).marshal()
    assert why in caught.value.message


def test_nested_source_maps_end_somewhere() -> None:
    data = definition(IMAGE, FINAL)
    for _ in range(40):
        data = definition(IMAGE, FINAL) + field(3, field(2, text(1, "f") + field(3, data)))
    with pytest.raises(GraphError, match="nested"):
        llb.load(data)


def test_a_chain_of_hostile_length_does_not_overflow_the_stack() -> None:
    ops = [IMAGE]
    for number in range(5_000):
        ops.append(pointing_at(ops[-1]) + field(3, text(1, str(number))))
    ops.append(pointing_at(ops[-1]))
    assert len(llb.load(definition(*ops)).marshal().data) == 5_002


def test_memory_is_bounded_by_the_size_of_the_bytes() -> None:
    junk = b"".join(field(1, varint(number)) for number in range(20_000))
    inputs = b"".join(pointing_at(IMAGE, number) for number in range(1_000))
    hostile = junk + definition(IMAGE, inputs, pointing_at(inputs))
    tracemalloc.start()
    try:
        llb.load(hostile)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60 * len(hostile) + 10_000_000


def survives(data: bytes) -> None:
    """Load, and if that works marshal, look and extend: only a GraphError may come out."""
    try:
        state = llb.load(data)
        found = state.run(["x"]).marshal(local_unique_id="u")
        found.to_bytes(), found.ops, found.locations, found.secret_ids, found.ssh_ids
        repr(state), state.explain(), hash(state)
    except GraphError:
        return


@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(data: bytes) -> None:
    survives(data)


@settings(max_examples=300)
@given(programs, st.data())
def test_damaged_definitions_load_or_are_refused(program: list, data: st.DataObject) -> None:
    whole = bytearray(marshal(build(program)).to_bytes())
    if not whole:
        return
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        match data.draw(st.sampled_from(("flip", "cut", "insert", "repeat"))):
            case "flip":
                whole[place] = data.draw(st.integers(0, 255))
            case "cut":
                del whole[place : place + data.draw(st.integers(1, 8))]
            case "insert":
                whole[place:place] = data.draw(st.binary(min_size=1, max_size=8))
            case "repeat":
                whole += whole[place : place + 40]
        if not whole:
            return
    survives(bytes(whole))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(1, 24), st.binary(max_size=12) | st.integers(0, 2**64 - 1))))
def test_ops_of_junk_fields_load_or_are_refused(junk: list) -> None:
    """The digests are right, so that the junk is looked into."""
    op = b"".join(
        field(number, value) if isinstance(value, bytes) else varint(number << 3) + varint(value)
        for number, value in junk
    )
    survives(definition(op, pointing_at(op)) + field(2, text(1, digest(op)) + field(2, op)))
