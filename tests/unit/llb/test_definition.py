"""A definition can be looked into, and tells a session what to serve."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from depotlab import llb, mount
from depotlab.llb import OpMetadata, State

ALPINE = llb.image("alpine")


def test_ops_are_described() -> None:
    state = ALPINE.run("make", name="build").copy(llb.local("/s", name="src"), "/a", "/b")
    definition = state.marshal("linux/amd64", local_unique_id="u")
    assert [(op.kind, op.name) for op in definition.ops] == [
        ("source", "docker-image://docker.io/library/alpine:latest"),
        ("exec", "build"),
        ("source", "local://src"),
        ("file", "copy /a /b"),
        ("final", "result of copy /a /b"),
    ]
    assert [len(op.inputs) for op in definition.ops] == [0, 1, 0, 2, 1]
    assert definition.ops[3].inputs[0] == (definition.ops[1].digest, 0)
    assert definition.ops[1].description == {"llb.customname": "build"}


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (ALPINE.run("a", "b"), "a b"),
        (ALPINE.file(llb.mkdir("/a"), llb.rm("/b")), "mkdir /a, rm /b"),
        (ALPINE.symlink("/old", "/new"), "symlink /new -> /old"),
        (
            llb.diff(ALPINE, llb.scratch()),
            "diff docker-image://docker.io/library/alpine:latest -> scratch",
        ),
        (ALPINE.requires(ALPINE.run("t"), id="tests"), "passthrough tests"),
        (llb.build(ALPINE), "build"),
        (
            llb.merge(llb.image("a", name="A"), llb.image("b", name="B")),
            "merge (A, B)",
        ),
    ],
)
def test_ops_are_named_as_the_daemon_names_them(state: State, name: str) -> None:
    assert state.marshal().ops[-2].name == name


def test_names_of_nested_merges_stay_short() -> None:
    state = ALPINE
    for _ in range(200):
        state = llb.merge(state, state)
    assert max(len(op.name) for op in state.marshal().ops) <= 214


def test_local_directories_are_listed_by_name() -> None:
    state = llb.merge(
        llb.local("/a", name="one"), llb.local("/b", name="two"), llb.local("/a", name="one")
    )
    assert state.marshal().locals == {"one": Path("/a"), "two": Path("/b")}


def test_relative_directories_start_at_the_working_directory_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = llb.local("sub/../src")
    monkeypatch.chdir("/")
    assert state.marshal().locals == {"src": tmp_path / "src"}


def test_equal_relative_paths_in_two_places_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = llb.local("src")
    monkeypatch.chdir("/")
    with pytest.raises(ValueError, match="two directories"):
        llb.merge(first, llb.local("src")).marshal()


def test_secrets_and_agents_are_listed() -> None:
    mounts = [
        mount.secret("required"),
        mount.secret("maybe", optional=True),
        mount.secret("both", optional=True),
        mount.secret("variable", env="V"),
        mount.ssh(),
        mount.ssh("work"),
    ]
    run = ALPINE.run("x", mounts=mounts).run("y", mounts=[mount.secret("both")])
    state = llb.merge(
        run,
        llb.git("git@github.com:a/b.git", auth_header_secret="", ssh_id="deploy"),
        llb.http("https://e.com/f", auth_header_secret="header"),
    )
    for definition in (state.marshal(), llb.load(state.marshal().to_bytes()).marshal()):
        assert definition.secret_ids == {"required", "variable", "both", "header"}
        assert definition.optional_secret_ids == {"maybe", "GIT_AUTH_TOKEN"}
        assert definition.ssh_ids == {"default", "work", "deploy"}


def test_metadata_of_equal_ops_is_put_together() -> None:
    first = ALPINE.run("x", name="first", ignore_cache=True)
    second = ALPINE.run("x", description={"llb.customname": "second", "k": "v"}, export_cache=False)
    definition = llb.merge(first, second).marshal()
    found = definition.metadata[first.digest]
    assert found == OpMetadata(
        True, {"llb.customname": "second", "k": "v"}, False, found.caps, None, None
    )


def test_metadata_cannot_be_changed() -> None:
    definition = ALPINE.run("x", name="n").marshal()
    with pytest.raises(TypeError):
        definition.metadata["x"] = OpMetadata()
    with pytest.raises(TypeError):
        definition.metadata[definition.head].description["k"] = "v"
    with pytest.raises(TypeError):
        definition.locals["x"] = Path("/")


def test_a_definition_is_a_value() -> None:
    definition = llb.local("/a", name="n").run("x").marshal(local_unique_id="u")
    again = pickle.loads(pickle.dumps(definition))
    assert again == definition
    assert hash(again) == hash(definition)
    assert again.locals == definition.locals
    assert again.locations == definition.locations
    assert again.to_bytes() == definition.to_bytes()
    assert definition != ALPINE.marshal()
    assert definition != "definition"
    assert repr(definition).startswith("Definition(3 ops, ")


def test_marshal_options_reach_every_op() -> None:
    group = llb.ProgressGroup("g", "all")
    limits = llb.Resources(memory_bytes=5)
    definition = ALPINE.run("x").marshal(progress_group=group, resources=limits, require=["a==1"])
    for digest in definition.digests[:-1]:
        assert definition.metadata[digest].progress_group == group
        assert definition.metadata[digest].resources == limits
    assert all(b"a==1" in data for data in definition.data[:-1])
