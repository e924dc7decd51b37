"""Builds of customers know the logins that they are given, and none of the computer that the service runs on."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest

from depotlab._proto import auth_pb2
from depotlab._session import Session
from depotlab.service._boundary import Order, UploadedContext
from depotlab.service._run.buildrequest import Given, build_request
from depotlab.service._settings.registry import Registry
from tests.support.calls import ask_once


@pytest.fixture(autouse=True)
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator has logged in to two registries."""
    login = base64.b64encode(b"operator:planted").decode()
    config = {"auths": {"ghcr.io": {"auth": login}, "quay.io": {"auth": login}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("REGISTRY_USERNAME", "REGISTRY_PASSWORD", "REGISTRY_URL"):
        monkeypatch.delenv(name, raising=False)


def login(session: Session, host: str) -> tuple[str, str]:
    """What the daemon is told when it asks for a login."""
    handler = session.handlers["/moby.filesync.v1.Auth/Credentials"]
    request = auth_pb2.CredentialsRequest(Host=host).SerializeToString()
    found = auth_pb2.CredentialsResponse.FromString(asyncio.run(ask_once(handler, request)))
    return found.Username, found.Secret


def test_a_session_that_does_not_look_knows_what_it_was_given() -> None:
    session = Session(auth={"ghcr.io": ("me", "mine")}, finds_logins=False)
    assert login(session, "ghcr.io") == ("me", "mine")
    assert login(session, "quay.io") == ("", "")


def test_a_session_of_ones_own_build_looks() -> None:
    assert login(Session(), "quay.io") == ("operator", "planted")


def test_builds_of_customers_do_not_look() -> None:
    order = Order(build_id="b1", project="p", deployment="d", context=UploadedContext("p/1.tar.gz"))
    registry = Registry("ghcr.io/acme/apps", user="me", password="mine")
    request = build_request(order, Given(context_url="http://store/1"), registry, timeout_s=60)
    assert not request.finds_logins
    assert [(host, one.username) for host, one in request.auth.items()] == [("ghcr.io", "me")]
