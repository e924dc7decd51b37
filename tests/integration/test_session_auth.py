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
TREE = MemoryTree({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker"


@pytest.fixture(scope="module")
def basic(engine) -> Iterator[str]:
    with private_registry(user="me", password=PASSWORD) as host:
        yield host


@pytest.fixture
def tokens(engine) -> Iterator[TokenRegistry]:
    with token_registry(user="me", password=PASSWORD) as registry:
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
