"""Registries that want a login, real ones, through a real daemon."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab import export
from depotlab._session import Credentials, MemoryTree, Session
from depotlab.errors import DepotlabError
from tests.support.registry import private_registry
from tests.support.sessions import build
from tests.support.tokenregistry import TokenRegistry, token_registry

PASSWORD = "planted-s3cr3t"
IDENTITY = "planted-1dent1ty"
TREE = MemoryTree({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in (
        "DOCKER_AUTH_CONFIG",
        "REGISTRY_USERNAME",
        "REGISTRY_PASSWORD",
        "REGISTRY_URL",
        "BUILDKIT_NO_CLIENT_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker"


@pytest.fixture(scope="module")
def basic(engine) -> Iterator[str]:
    with private_registry(user="me", password=PASSWORD) as host:
        yield host


@pytest.fixture
def tokens(engine) -> Iterator[TokenRegistry]:
    with token_registry(user="me", password=PASSWORD, identity=IDENTITY) as registry:
        yield registry


def push(address: str, ref: str, auth: dict[str, Credentials] | None = None) -> Session:
    session = Session({"context": TREE, "dockerfile": TREE}, auth=auth)
    build(address, session, outputs=[export.image(ref, push=True)])
    assert session.problems == []
    return session


def test_a_registry_that_wants_a_password_takes_one_given_in_code(engine, basic: str) -> None:
    push(engine.address, f"{basic}/it/code:1", {basic: Credentials("me", PASSWORD)})


def test_a_registry_that_wants_a_password_takes_that_of_docker_login(
    engine, basic: str, home: Path
) -> None:
    packed = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    (home / "config.json").write_text(json.dumps({"auths": {basic: {"auth": packed}}}))
    push(engine.address, f"{basic}/it/file:1")


def test_a_registry_that_wants_a_password_takes_that_of_a_helper(
    engine, basic: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"ServerURL": basic, "Username": "me", "Secret": PASSWORD})
    program = home / "docker-credential-test"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/local/bin:/usr/bin:/bin")
    (home / "config.json").write_text(json.dumps({"credHelpers": {basic: "test"}}))
    push(engine.address, f"{basic}/it/helper:1")


def test_a_registry_that_wants_a_password_takes_that_of_the_environment(
    engine, basic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_USERNAME", "me")
    monkeypatch.setenv("REGISTRY_PASSWORD", PASSWORD)
    monkeypatch.setenv("REGISTRY_URL", f"http://{basic}/v2/")
    push(engine.address, f"{basic}/it/variables:1")


def test_a_registry_that_wants_a_password_takes_that_of_a_ci_system(
    engine, basic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {basic: {"auth": packed}}}))
    push(engine.address, f"{basic}/it/ci:1")


@pytest.mark.parametrize("auth", [None, Credentials("me", "wrong")])
def test_a_registry_that_wants_another_password_refuses(
    engine, basic: str, auth: Credentials | None
) -> None:
    with pytest.raises(DepotlabError, match=r"401|[Uu]nauthorized|refused|login"):
        push(engine.address, f"{basic}/it/wrong:1", {basic: auth} if auth else {})


def pull(address: str, ref: str, auth: dict[str, Credentials]) -> Session:
    tree = MemoryTree({"Dockerfile": f"FROM {ref}\nCOPY Dockerfile /{time.time_ns()}\n"})
    session = Session({"context": tree, "dockerfile": tree}, auth=auth)
    build(address, session)
    return session


def test_a_token_is_fetched_by_us_and_used_again_by_the_next_session(
    engine, tokens: TokenRegistry
) -> None:
    auth = {tokens.host: Credentials("me", PASSWORD)}
    ref = f"{tokens.host}/it/token:1"
    push(engine.address, ref, auth)
    assert {one.method for one in tokens.server.asked} == {"POST"}
    # Not the daemon, which would say who it is.
    assert {one.headers["User-Agent"] for one in tokens.server.asked} == {"depotlab"}
    scopes = [dict(one.fields)["scope"].split() for one in tokens.server.asked]
    assert all("repository:it/token:pull,push" in scope for scope in scopes)
    pull(engine.address, ref, auth)
    n_asked = len(tokens.server.asked)
    pull(engine.address, ref, auth)
    assert len(tokens.server.asked) == n_asked  # it took our signature for the token that it had


def test_an_identity_token_is_exchanged_by_us(engine, tokens: TokenRegistry) -> None:
    ref = f"{tokens.host}/it/identity:1"
    push(engine.address, ref, {tokens.host: Credentials(identity_token=IDENTITY)})
    assert {dict(one.fields)["grant_type"] for one in tokens.server.asked} == {"refresh_token"}


def test_an_identity_token_of_a_helper_is_exchanged_by_us(
    engine, tokens: TokenRegistry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = home / "docker-credential-test"
    answer = json.dumps({"ServerURL": "", "Username": "<token>", "Secret": IDENTITY})
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/local/bin:/usr/bin:/bin")
    (home / "config.json").write_text(json.dumps({"credsStore": "test"}))
    push(engine.address, f"{tokens.host}/it/identity-helper:1")
    assert {dict(one.fields)["grant_type"] for one in tokens.server.asked} == {"refresh_token"}


@pytest.mark.parametrize("place", ["in code", "in the configuration"])
def test_a_registry_token_is_given_as_it_is(
    engine, tokens: TokenRegistry, home: Path, place: str
) -> None:
    name = f"it/registry-token-{place[-4:]}"
    token = tokens.issue(f"repository:{name}:pull,push")
    auth = {tokens.host: Credentials(registry_token=token)}
    if place == "in the configuration":
        (home / "config.json").write_text(
            json.dumps({"auths": {tokens.host: {"registrytoken": token}}})
        )
        auth = {}
    push(engine.address, f"{tokens.host}/{name}:1", auth)
    assert tokens.server.asked == []


def test_a_registry_token_that_the_daemon_has_is_not_for_everybody(
    engine, tokens: TokenRegistry
) -> None:
    ref = f"{tokens.host}/it/mine:1"
    auth = {tokens.host: Credentials(registry_token=tokens.issue("repository:it/mine:pull,push"))}
    push(engine.address, ref, auth)
    pull(engine.address, ref, auth)
    with pytest.raises(DepotlabError):
        pull(engine.address, ref, {})


def test_everybody_can_pull_what_is_public_and_nothing_else(engine, tokens: TokenRegistry) -> None:
    auth = {tokens.host: Credentials("me", PASSWORD)}
    for name in ("public/open", "it/closed"):
        push(engine.address, f"{tokens.host}/{name}:1", auth)
    tokens.server.asked.clear()
    pull(engine.address, f"{tokens.host}/public/open:1", {})
    assert {one.method for one in tokens.server.asked} == {"GET"}
    assert all("Authorization" not in one.headers for one in tokens.server.asked)
    with pytest.raises(DepotlabError, match="it/closed"):
        pull(engine.address, f"{tokens.host}/it/closed:1", {})
    # Anonymous in code, though the configuration has a login.
    with pytest.raises(DepotlabError, match="it/closed"):
        pull(engine.address, f"{tokens.host}/it/closed:1", {tokens.host: Credentials()})


def test_a_base_image_and_a_push_to_two_repositories_ask_for_their_scopes(
    engine, tokens: TokenRegistry
) -> None:
    auth = {tokens.host: Credentials("me", PASSWORD)}
    base = f"{tokens.host}/it/base:1"
    push(engine.address, base, auth)
    tokens.server.asked.clear()
    tree = MemoryTree({"Dockerfile": f"FROM {base}\nCOPY Dockerfile /{time.time_ns()}\n"})
    session = Session({"context": tree, "dockerfile": tree}, auth=auth)
    names = [f"{tokens.host}/it/{name}:1" for name in ("one", "two")]
    build(engine.address, session, outputs=[export.image(*names, push=True)])
    scopes = {scope for one in tokens.server.asked for scope in dict(one.fields)["scope"].split()}
    assert "repository:it/one:pull,push" in scopes
    assert "repository:it/two:pull,push" in scopes
    assert any(scope.startswith("repository:it/base:") for scope in scopes)


def test_a_session_of_another_account_does_not_get_the_token_that_the_daemon_has(
    engine, tokens: TokenRegistry
) -> None:
    ref = f"{tokens.host}/it/other:1"
    push(engine.address, ref, {tokens.host: Credentials("me", PASSWORD)})
    pull(engine.address, ref, {tokens.host: Credentials("me", PASSWORD)})
    with pytest.raises(DepotlabError) as caught:
        pull(engine.address, ref, {tokens.host: Credentials("you", "no")})
    assert PASSWORD not in str(caught.value)
    assert tokens.host in str(caught.value)


def test_the_daemon_fetches_the_token_when_the_user_says_so(
    engine, tokens: TokenRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKIT_NO_CLIENT_TOKEN", "1")
    push(engine.address, f"{tokens.host}/it/daemon:1", {tokens.host: Credentials("me", PASSWORD)})
    assert any("buildkit" in one.headers.get("User-Agent", "") for one in tokens.server.asked)
