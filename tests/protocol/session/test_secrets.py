"""The secrets service, asked as the daemon asks it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from depotlab import secret
from depotlab._proto import secrets_pb2
from depotlab._rpc import RpcFault, Status
from depotlab._session import Secrets, Session
from depotlab.errors import DepotlabError, UsageError
from depotlab.secret import MAX_BYTES, Secret
from tests.support.calls import ask_once

METHOD = "/moby.buildkit.secrets.v1.Secrets/GetSecret"


def serve(**secrets: Secret) -> tuple[Session, list[DepotlabError]]:
    problems: list[DepotlabError] = []
    services = [Secrets(secrets, report=problems.append)]
    return Session(services=services, problems=problems), problems


def get(session: Session, name: str) -> bytes:
    request = secrets_pb2.GetSecretRequest(ID=name, annotations={"a": "b"}).SerializeToString()
    answer = asyncio.run(ask_once(session.handlers[METHOD], request))
    return secrets_pb2.GetSecretResponse.FromString(answer).data


def test_each_secret_is_given_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(b"\x00file\n")
    monkeypatch.setenv("DEPOTLAB_TEST_SECRET", "variable")
    session, _ = serve(
        value=secret.value("text"),
        variable=secret.env("DEPOTLAB_TEST_SECRET"),
        file=secret.file(tmp_path / "key"),
        empty=secret.value(""),
        largest=secret.value(bytes(MAX_BYTES)),
    )
    assert (METHOD, "x-docker-expose-session-grpc-method") in {
        (v, k) for k, v in session.metadata()
    }
    assert get(session, "value") == b"text"
    assert get(session, "variable") == b"variable"
    assert get(session, "file") == b"\x00file\n"
    assert get(session, "empty") == b""
    assert get(session, "largest") == bytes(MAX_BYTES)


@pytest.mark.parametrize("name", ["other", "", "VALUE", "value ", "GIT_AUTH_TOKEN"])
def test_any_other_id_is_not_found_and_nothing_to_report(name: str) -> None:
    # Another code would fail a step that may do without the secret.
    session, problems = serve(value=secret.value("text"))
    with pytest.raises(RpcFault) as caught:
        get(session, name)
    assert caught.value.status is Status.NOT_FOUND
    assert problems == session.problems == []


def test_a_secret_that_cannot_be_read_stops_the_build_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        serve(key=secret.file(tmp_path / "none"))


def test_no_value_reaches_a_log_or_a_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    session, _ = serve(value=secret.value("pl4nted-s3cr3t"))
    assert get(session, "value") == b"pl4nted-s3cr3t"
    with pytest.raises(RpcFault) as caught:
        get(session, "other")
    shown = f"{session!r} {session.handlers!r} {caplog.text} {caught.value} {session.metadata()}"
    assert "pl4nted" not in shown
