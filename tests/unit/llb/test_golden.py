"""Every graph of llb-golden.json has the bytes and digests that the Go client gives it."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from depotlab import llb
from depotlab.errors import UsageError
from depotlab.llb import Definition, Platform, ProgressGroup, State

from .builders import BUILDERS, MUST_FAIL
from .builders.graphs import FRONTEND_INPUTS

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "llb-golden.json").read_text())
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in GOLDEN["cases"]}

# The set only matters for this one feature; the Go client asks for no other.
CAPABILITY_SETS = {"all": ["exec.meta.setsdefaultpath"], "none": []}


def marshal(state: State, defaults: dict[str, Any]) -> Definition:
    words = defaults["platform"]
    options: dict[str, Any] = {
        key: defaults[key]
        for key in ("local_unique_id", "require", "description", "ignore_cache", "export_cache")
        if key in defaults
    }
    if "progress_group" in defaults:
        options["progress_group"] = ProgressGroup(**defaults["progress_group"])
    if "capability_set" in defaults:
        options["caps"] = CAPABILITY_SETS[defaults["capability_set"]]
    platform = Platform(words["os"], words["architecture"], words.get("variant", ""))
    return state.marshal(platform, **options)


def check(definition: Definition, expected: dict[str, Any]) -> None:
    assert list(definition.digests) == expected["digests"]
    assert [f"sha256:{sha256(op.data).hexdigest()}" for op in definition.ops] == expected["digests"]
    assert (definition.head, definition.head_output) == (expected["head"], expected["head_output"])
    encoded = definition.to_bytes()
    if "definition_b64" in expected:
        assert encoded == base64.b64decode(expected["definition_b64"])
    assert len(encoded) == expected["definition_size"]
    assert sha256(encoded).hexdigest() == expected["definition_sha256"]
    for digest, metadata in expected.get("metadata", {}).items():
        ours = definition.metadata[digest]
        assert ours.description == metadata.get("description", {})
        assert ours.caps == metadata.get("caps", {}).keys()
        assert ours.ignore_cache == metadata.get("ignoreCache", False)


def test_every_case_has_a_builder() -> None:
    assert BUILDERS.keys() == CASES.keys()
    assert MUST_FAIL.keys() == {case["name"] for case in GOLDEN["error_cases"]}
    assert (len(BUILDERS), len(MUST_FAIL)) == (166, 12)


@pytest.mark.parametrize("name", CASES)
def test_golden_graph(name: str) -> None:
    case = CASES[name]
    check(marshal(BUILDERS[name](), case["marshal_defaults"]), case)


@pytest.mark.parametrize("name", CASES)
def test_golden_graph_marshalled_twice(name: str) -> None:
    """Nothing that marshalling keeps changes what it gives."""
    state, defaults = BUILDERS[name](), CASES[name]["marshal_defaults"]
    assert marshal(state, defaults).to_bytes() == marshal(state, defaults).to_bytes()


@pytest.mark.parametrize("name", CASES)
def test_golden_graph_without_source_capture(name: str) -> None:
    with llb.capture_source(False):
        check(marshal(BUILDERS[name](), CASES[name]["marshal_defaults"]), CASES[name])


@pytest.mark.parametrize("name", FRONTEND_INPUTS)
def test_golden_frontend_input(name: str) -> None:
    case = CASES["frontend_inputs_map"]
    state = FRONTEND_INPUTS[name]()
    check(marshal(state, case["marshal_defaults"]), case["inputs"][name])


@pytest.mark.parametrize("name", MUST_FAIL)
def test_golden_graph_that_must_fail(name: str) -> None:
    kind = ValueError if name == "err_async" else UsageError
    with pytest.raises(kind):
        MUST_FAIL[name]().marshal("linux/amd64")


@pytest.mark.parametrize("name", CASES)
def test_loading_a_definition_gives_the_same_ops(name: str) -> None:
    definition = marshal(BUILDERS[name](), CASES[name]["marshal_defaults"])
    again = marshal(llb.load(definition.to_bytes()), CASES["scratch"]["marshal_defaults"])
    # The order may differ: a walk visits the sources of a file op from the last to the first, while the
    # op lists them from the first to the last, and that is all a loaded op knows. So does Go.
    assert sorted(again.data) == sorted(definition.data)
    assert (again.head, again.head_output) == (definition.head, definition.head_output)
    assert dict(again.metadata) == dict(definition.metadata)
    twice = marshal(llb.load(again.to_bytes()), CASES["scratch"]["marshal_defaults"])
    assert twice.to_bytes() == again.to_bytes()
