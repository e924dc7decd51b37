from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from depotlab._session.credentials import ANONYMOUS, Credentials
from depotlab._session.token import TokenRequest, fetch_token
from depotlab.errors import SessionError
from tests.support.tokenserver import TokenServer

ME = Credentials("me", "s3cr3t")
IDENTITY = Credentials(identity_token="s3cr3t")
SCOPES = ("repository:a:pull", "repository:b:pull,push")


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


def request(server: TokenServer, path: str = "/token") -> TokenRequest:
    return TokenRequest("registry.io", f"http://{server.address}{path}", "the registry", SCOPES)


def ok(token: str, **more: object) -> tuple[int, dict[str, str], object]:
    return 200, {}, {"token": token, **more}


def refusal(status: int) -> tuple[int, dict[str, str], object]:
    return status, {}, {"errors": [{"detail": "s3cr3t"}]}


def test_without_credentials_it_is_a_plain_get(server: TokenServer) -> None:
    server.answers["GET"] = ok("t", expires_in=300, issued_at="2026-01-02T03:04:05.123456789Z")
    token = fetch_token(request(server, "/token?account=x"), ANONYMOUS)
    assert (token.text, token.life_s) == ("t", 300)
    assert token.issued_at == datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)
    (asked,) = server.asked
    assert asked.fields == [
        ("account", "x"), ("service", "the registry"), ("scope", SCOPES[0]), ("scope", SCOPES[1]),
    ]  # fmt: skip
    assert "Authorization" not in asked.headers


def test_a_password_is_exchanged_by_post(server: TokenServer) -> None:
    server.answers["POST"] = 200, {}, {"access_token": "t"}
    token = fetch_token(request(server), ME)
    assert (token.text, token.life_s, token.issued_at) == ("t", 60, None)
    (asked,) = server.asked
    assert dict(asked.fields) == {
        "grant_type": "password", "username": "me", "password": "s3cr3t",
        "service": "the registry", "scope": " ".join(SCOPES), "client_id": "buildkit-client",
    }  # fmt: skip


def test_an_identity_token_is_exchanged_by_post(server: TokenServer) -> None:
    server.answers["POST"] = 200, {}, {"access_token": "t"}
    assert fetch_token(request(server), IDENTITY).text == "t"
    fields = dict(server.asked[0].fields)
    assert fields["grant_type"] == "refresh_token"
    assert fields["refresh_token"] == "s3cr3t"
    assert "username" not in fields


@pytest.mark.parametrize("status", [405, 404, 401])
def test_servers_that_know_no_post_are_asked_with_basic_authentication(
    server: TokenServer, status: int
) -> None:
    server.answers = {"POST": refusal(status), "GET": ok("t")}
    assert fetch_token(request(server), ME).text == "t"
    post, get = server.asked
    assert (post.method, get.method) == ("POST", "GET")
    assert get.headers["Authorization"] == "Basic " + base64.b64encode(b"me:s3cr3t").decode()


@pytest.mark.parametrize(("status", "asked_again"), [(404, True), (401, True), (405, False)])
def test_an_identity_token_falls_back_too_but_not_from_405(
    server: TokenServer, status: int, asked_again: bool
) -> None:
    server.answers = {"POST": refusal(status), "GET": ok("t")}
    if asked_again:
        assert fetch_token(request(server), IDENTITY).text == "t"
    else:
        with pytest.raises(SessionError, match="405"):
            fetch_token(request(server), IDENTITY)


@pytest.mark.parametrize("credentials", [ME, ANONYMOUS])
def test_a_refusal_names_the_registry_and_no_secret(
    server: TokenServer, credentials: Credentials
) -> None:
    server.answers = {"POST": refusal(403), "GET": refusal(401)}
    with pytest.raises(SessionError) as caught:
        fetch_token(request(server), credentials)
    assert "registry.io" in caught.value.message
    assert caught.value.hint
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    ["", "no JSON", "[]", "{}", '{"token": ""}', '{"token": 5}', '{"token":"t","expires_in":"soon"}',
     '{"token":"t","issued_at":"yesterday"}'],
)  # fmt: skip
def test_an_answer_without_a_token_is_an_error(server: TokenServer, body: str) -> None:
    server.answers["GET"] = 200, {}, body
    with pytest.raises(SessionError, match="no token"):
        fetch_token(request(server), ANONYMOUS)


def test_a_registry_token_is_used_as_it_is(server: TokenServer) -> None:
    token = fetch_token(request(server), Credentials(registry_token="t"))
    assert (token.text, token.life_s) == ("t", 60)
    assert server.asked == []


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "ftp://x/y", "/token", ""])
def test_only_http_is_spoken(realm: str) -> None:
    with pytest.raises(SessionError, match="HTTP"):
        fetch_token(TokenRequest("registry.io", realm, "", ()), ME)


def test_a_redirect_is_followed_without_the_password(server: TokenServer) -> None:
    with TokenServer() as other:
        other.answers["GET"] = ok("t")
        server.answers = {
            "POST": refusal(404),
            "GET": (302, {"Location": f"http://{other.address}/elsewhere"}, ""),
        }
        assert fetch_token(request(server), ME).text == "t"
        assert "Authorization" in server.asked[1].headers
        assert "Authorization" not in other.asked[0].headers


def test_a_redirect_to_a_file_is_refused(server: TokenServer) -> None:
    server.answers["GET"] = 302, {"Location": "file:///etc/passwd"}, ""
    with pytest.raises(SessionError):
        fetch_token(request(server), ANONYMOUS)


def test_a_server_that_is_not_there_or_says_nothing_is_named_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        silent_request = TokenRequest("registry.io", f"http://127.0.0.1:{port}/token", "", ())
        with pytest.raises(SessionError, match=r"127\.0\.0\.1"):
            fetch_token(silent_request, ANONYMOUS, timeout_s=0.3)  # it never answers
    with pytest.raises(SessionError, match="refused"):
        fetch_token(silent_request, ANONYMOUS)


def test_the_proxy_of_the_environment_is_used(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{server.address}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.answers["GET"] = ok("t")
    assert (
        fetch_token(TokenRequest("r.io", "http://auth.r.io/token", "", ()), ANONYMOUS).text == "t"
    )
    assert server.asked[0].headers["Host"] == "auth.r.io"
