"""The auth service, asked as the daemon asks it."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depotlab._proto import auth_pb2
from depotlab._rpc import RpcFault, Status
from depotlab._session import Credentials, Session
from tests.support.calls import ask_once
from tests.support.tokenserver import TokenServer

SALT = bytes(range(32))


async def ask(session: Session, method: str, request: Any) -> bytes:
    handler = session.handlers[f"/moby.filesync.v1.Auth/{method}"]
    return await ask_once(handler, request.SerializeToString())


def login(session: Session, host: str) -> tuple[str, str]:
    request = auth_pb2.CredentialsRequest(Host=host)
    answer = auth_pb2.CredentialsResponse.FromString(
        asyncio.run(ask(session, "Credentials", request))
    )
    return answer.Username, answer.Secret


def public_key(session: Session, host: str, salt: bytes = SALT) -> bytes:
    request = auth_pb2.GetTokenAuthorityRequest(Host=host, Salt=salt)
    answer = asyncio.run(ask(session, "GetTokenAuthority", request))
    return auth_pb2.GetTokenAuthorityResponse.FromString(answer).PublicKey


def verifies(session: Session, host: str, key: bytes) -> bool:
    """What the daemon does with a token that it still has."""
    payload = b"p" * 32
    request = auth_pb2.VerifyTokenAuthorityRequest(Host=host, Payload=payload, Salt=SALT)
    answer = asyncio.run(ask(session, "VerifyTokenAuthority", request))
    signed = auth_pb2.VerifyTokenAuthorityResponse.FromString(answer).Signed
    assert signed[64:] == payload
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signed[:64], payload)
    except InvalidSignature:
        return False
    return True


@pytest.fixture
def logged_in(home: Path) -> None:
    (home / ".docker").mkdir()
    auths = {"a.io": {"auth": base64.b64encode(b"file:pw").decode()}}
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


def token_request(server: TokenServer, host: str) -> auth_pb2.FetchTokenRequest:
    return auth_pb2.FetchTokenRequest(
        ClientID="buildkit-client", Host=host, Realm=f"http://{server.address}/token",
        Service="registry", Scopes=["repository:x:pull"],
    )  # fmt: skip


@pytest.mark.usefixtures("logged_in")
def test_credentials_in_code_go_before_those_of_the_configuration() -> None:
    session = Session(
        auth={"https://a.io/": ("code", "pw2"), "docker.io": Credentials("hub", "pw3")}
    )
    assert login(session, "a.io") == ("code", "pw2")
    assert login(session, "registry-1.docker.io") == ("hub", "pw3")
    assert login(Session(), "a.io") == ("file", "pw")


def test_a_registry_that_nobody_knows_is_anonymous() -> None:
    assert login(Session(), "b.io") == ("", "")


def test_an_identity_token_is_given_without_a_user_name() -> None:
    assert login(Session(auth={"a.io": Credentials("me", identity_token="t")}), "a.io") == ("", "t")


def test_a_helper_that_does_not_work_is_a_problem_and_not_a_fault(home: Path) -> None:
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text('{"credsStore": "not-there"}')
    session = Session()
    assert login(session, "a.io") == ("", "")
    (problem,) = session.problems
    assert "docker-credential-not-there" in str(problem)


def test_a_helper_runs_once_for_a_registry(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker-credential-count"
    program.write_text(
        f'#!/bin/sh\necho x >> {tmp_path}/count\necho \'{{"Username":"me","Secret":"pw"}}\'\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text('{"credsStore": "count"}')
    session = Session()

    async def at_once() -> None:
        request = auth_pb2.CredentialsRequest(Host="a.io")
        await asyncio.gather(*(ask(session, "Credentials", request) for _ in range(5)))

    asyncio.run(at_once())
    assert (tmp_path / "count").read_text() == "x\n"


def test_a_token_is_fetched_with_the_password_that_stays_here(server: TokenServer) -> None:
    server.answers["POST"] = (
        200, {}, {"access_token": "t", "expires_in": 300, "issued_at": "2026-01-02T03:04:05Z"},
    )  # fmt: skip
    session = Session(auth={"a.io": ("me", "pw")})
    answer = asyncio.run(ask(session, "FetchToken", token_request(server, "a.io")))
    token = auth_pb2.FetchTokenResponse.FromString(answer)
    assert (token.Token, token.ExpiresIn, token.IssuedAt) == ("t", 300, 1767323045)
    assert dict(server.asked[0].fields)["password"] == "pw"


def test_an_anonymous_token_is_fetched_for_a_registry_that_nobody_knows(
    server: TokenServer,
) -> None:
    server.answers["GET"] = 200, {}, {"token": "t"}
    answer = asyncio.run(ask(Session(), "FetchToken", token_request(server, "b.io")))
    token = auth_pb2.FetchTokenResponse.FromString(answer)
    assert (token.Token, token.ExpiresIn, token.IssuedAt) == ("t", 60, 0)


def test_a_refused_token_is_a_fault_and_a_problem_without_the_secret(server: TokenServer) -> None:
    server.answers = {"POST": (401, {}, ""), "GET": (401, {}, "")}
    session = Session(auth={"a.io": ("me", "s3cr3t")})
    with pytest.raises(RpcFault) as caught:
        asyncio.run(ask(session, "FetchToken", token_request(server, "a.io")))
    (problem,) = session.problems
    assert caught.value.status is Status.UNKNOWN
    assert caught.value.message == problem.message
    assert "a.io" in problem.message
    assert "log in" in problem.hint
    assert "s3cr3t" not in f"{problem!r} {problem} {caught.value}"


def test_a_later_session_of_the_same_user_proves_that_it_is_the_same() -> None:
    key = public_key(Session(auth={"a.io": ("me", "pw")}), "a.io")
    assert len(key) == 32
    assert verifies(Session(auth={"a.io": ("me", "pw")}), "a.io", key)


@pytest.mark.usefixtures("logged_in")
def test_another_account_does_not_pass_for_the_one_that_fetched_the_token() -> None:
    key = public_key(Session(auth={"a.io": ("me", "pw")}), "a.io")
    for other in (
        Session(),  # of docker login
        Session(auth={"a.io": ("me", "other")}),
        Session(auth={"a.io": ("other", "pw")}),
        Session(auth={"a.io": Credentials()}),
        Session(auth={"a.io": Credentials(registry_token="t")}),
    ):
        assert not verifies(other, "a.io", key)


def test_a_token_of_ones_own_is_not_for_everybody() -> None:
    key = public_key(Session(auth={"a.io": Credentials(registry_token="t")}), "a.io")
    assert verifies(Session(auth={"a.io": Credentials(registry_token="t")}), "a.io", key)
    for other in (Session(), Session(auth={"a.io": Credentials(registry_token="other")})):
        assert not verifies(other, "a.io", key)


@pytest.mark.usefixtures("logged_in")
def test_the_key_is_that_of_the_go_client(home: Path) -> None:
    seed = bytes(range(16))
    kept = {"a.io": {"Seed": base64.b64encode(seed).decode()}}
    (home / ".docker" / ".token_seed").write_text(json.dumps(kept))

    def go_key(message: bytes) -> bytes:
        private = Ed25519PrivateKey.from_private_bytes(hmac.digest(SALT, message, "sha256"))
        return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    assert public_key(Session(), "a.io") == go_key(seed)
    assert public_key(Session(), "b.io") == go_key(b"")


def test_the_key_depends_on_the_salt_of_the_daemon() -> None:
    session = Session(auth={"a.io": ("me", "pw")})
    assert public_key(session, "a.io", b"1" * 32) != public_key(session, "a.io", b"2" * 32)


def test_the_daemon_fetches_tokens_itself_when_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BUILDKIT_NO_CLIENT_TOKEN", "true")
    with pytest.raises(RpcFault) as caught:
        public_key(Session(), "a.io")
    assert caught.value.status is Status.UNAVAILABLE
