from __future__ import annotations

import pytest

from depotlab import llb, mount
from depotlab.errors import GraphError
from depotlab.llb import Need, check_needs, needs

BASE = llb.image("alpine")


def brief(graph: llb.State | llb.Definition) -> set[tuple[str, str, bool, str]]:
    return {(need.kind, need.id, need.optional, need.step) for need in needs(graph)}


def test_each_step_says_what_it_asks_for() -> None:
    mounts = [
        mount.secret("file"),
        mount.secret("variable", env="V"),
        mount.secret("both", "/x", env="B"),
        mount.secret("maybe", optional=True),
        mount.secret("maybe-variable", env="M", optional=True),
        mount.ssh(),
        mount.ssh("work", optional=True),
    ]
    state = BASE.run("one", mounts=mounts, name="first").run("two", mounts=[mount.secret("file")])
    expected = {
        ("secret", "file", False, "first"),
        ("secret", "variable", False, "first"),
        ("secret", "both", False, "first"),
        ("secret", "maybe", True, "first"),
        ("secret", "maybe-variable", True, "first"),
        ("ssh", "default", False, "first"),
        ("ssh", "work", True, "first"),
        ("secret", "file", False, "/bin/sh -c two"),
    }
    assert brief(state) == expected
    assert brief(state.marshal()) == expected
    assert brief(llb.load(state.marshal().to_bytes())) == expected
    assert {need.digest for need in needs(state)} == {state.digest, state.marshal().digests[-3]}


def test_a_git_source_goes_on_without_secrets_but_not_without_its_agent() -> None:
    assert {(n.kind, n.id, n.optional) for n in needs(llb.git("https://example.com/a.git"))} == {
        ("secret", "GIT_AUTH_TOKEN", True),
        ("secret", "GIT_AUTH_HEADER", True),
    }
    over_ssh = needs(llb.git("git@example.com:a.git", ssh_id="deploy"))
    assert ("ssh", "deploy", False) in {(n.kind, n.id, n.optional) for n in over_ssh}


def test_an_http_source_fails_without_a_secret_that_it_names() -> None:
    source = llb.http("https://example.com/f", auth_header_secret="header")
    assert brief(source) == {("secret", "header", False, "https://example.com/f")}
    assert needs(llb.http("https://example.com/f")) == ()


def test_a_graph_without_needs_has_none() -> None:
    graph = BASE.run("x", mounts=[mount.cache("/c"), mount.tmpfs("/t"), mount.bind("/b", BASE)])
    assert needs(graph) == needs(llb.scratch()) == ()
    check_needs(graph)


def test_what_was_given_is_not_refused() -> None:
    graph = BASE.run("x", mounts=[mount.secret("a"), mount.ssh(), mount.secret("b", optional=True)])
    check_needs(graph, secrets={"a", "unused"}, ssh=["default"])


def test_a_step_without_its_secret_is_refused_with_its_name_and_its_line() -> None:
    graph = BASE.run("npm ci", mounts=[mount.secret("npm")])
    with pytest.raises(
        GraphError, match="secret 'npm' is needed by the step '/bin/sh -c npm ci'"
    ) as e:
        check_needs(graph, secrets={"NPM"})
    assert "secrets={'npm':" in e.value.hint
    assert e.value.location is not None
    assert e.value.location.filename.endswith("test_needs.py")


def test_a_refusal_names_everything_that_is_missing() -> None:
    mounts = [mount.ssh("work"), mount.secret("a"), mount.secret("b", env="B")]
    graph = BASE.run("x", mounts=mounts).run("y", mounts=[mount.ssh("work")])
    with pytest.raises(GraphError) as caught:
        check_needs(graph, secrets={"b"}, ssh={"default"})
    assert "'a'" in caught.value.message
    assert "SSH agent 'work'" in caught.value.message
    assert "'b'" not in caught.value.message


def test_an_agent_does_not_stand_in_for_a_secret_of_the_same_name() -> None:
    with pytest.raises(GraphError, match="SSH agent 'default'"):
        check_needs(BASE.run("x", mounts=[mount.ssh()]), secrets={"default"})


def test_needs_are_values() -> None:
    (need,) = needs(BASE.run("x", mounts=[mount.secret("a")], name="n"))
    assert need == Need("secret", "a", False, "n", need.digest)
