"""What `buildctl debug dump-llb` printed can be loaded again."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab import llb
from depotlab.errors import GraphError
from depotlab.llb import Definition

GOLDEN = Path(__file__).parents[2] / "golden"
DUMPS: dict[str, str] = json.loads((GOLDEN / "llb-dumps.json").read_text())["dumps"]
CASES = {
    case["name"]: case for case in json.loads((GOLDEN / "llb-golden.json").read_text())["cases"]
}
LOSSY = "file_chain_mixed"  # it has a symlink, which Go prints as an empty object


def loaded(data: bytes) -> Definition:
    return llb.load(data).marshal("linux/amd64", local_unique_id="u")


@pytest.mark.parametrize("name", sorted(DUMPS.keys() - {LOSSY}))
def test_a_dump_loads_as_the_definition_it_was_printed_from(name: str) -> None:
    from_dump = loaded(DUMPS[name].encode())
    from_bytes = loaded(base64.b64decode(CASES[name]["definition_b64"]))
    assert from_dump.data == from_bytes.data
    assert dict(from_dump.metadata) == dict(from_bytes.metadata)


def test_a_dump_that_lost_something_is_refused() -> None:
    with pytest.raises(GraphError, match="line 3 leaves something out"):
        llb.load(DUMPS[LOSSY].encode())


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "{}",
        '{"Op": 3}',
        '{"Op": {"Op": {"exec": 3}}, "Digest": "x"}',
        '{"Op": {"Op": {"unknown": {}}}, "Digest": "x"}',
        '{"Op": {"Op": {"exec": {"unknown": 1}}}, "Digest": "x"}',
        '{"Op": {"Op": {"exec": {"meta": {"args": "x"}}}}, "Digest": 5}',
        '{"Op": {"Op": {"file": {"actions": [{"Action": {"mkfile": {"data": "?"}}}]}}}, "Digest": "x"}',
        '{"Op": {"Op": {}}, "Digest": "sha256:0", "OpMetadata": []}',
        '{"Op":' * 10_000,
    ],
)
def test_lines_that_are_no_ops_are_refused(line: str) -> None:
    with pytest.raises(GraphError):
        llb.load(line.encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**65) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Op", "exec", "meta", "args", "mounts", "input", "file", "inputs", "attrs"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values, json_values)
def test_any_json_is_loaded_or_refused(op: object, metadata: object) -> None:
    line = json.dumps({"Op": op, "Digest": "sha256:0", "OpMetadata": metadata}).encode()
    with pytest.raises(GraphError):
        llb.load(line)
