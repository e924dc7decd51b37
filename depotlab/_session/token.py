"""Access tokens: the exchange with a registry's token server, as the daemon wants it done.

A registry that wants a token names a server (the *realm*), a service and scopes. With a password
or an identity token the exchange is an OAuth POST; servers that know only the older way answer
405, 404 or 401, and are asked again by GET with basic authentication. Without credentials it is a
plain GET. No secret is part of an error's text, and none follows a redirect to another place.

Source: moby/buildkit `session/auth/authprovider/authprovider.go`; containerd
`core/remotes/docker/auth/fetch.go`; the distribution project's documents on token authentication.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from depotlab._session.credentials import Credentials
from depotlab.errors import SessionError

__all__ = ["CLIENT_ID", "Token", "TokenRequest", "fetch_token"]

CLIENT_ID = "buildkit-client"
"""The name that the daemon has at token servers; some of them know only this one."""

_DEFAULT_LIFE_S = 60
_MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a registry asks of its token server.

    Attributes:
        host: The registry.
        realm: URL of the token server.
        service: Its name for the registry.
        scopes: Such as `repository:me/app:pull,push`.
        client_id: Who asks.
    """

    host: str
    realm: str
    service: str
    scopes: tuple[str, ...]
    client_id: str = CLIENT_ID


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """An access token; without repr, because it is a secret.

    Attributes:
        text: The token.
        life_s: Seconds that it lives after `issued_at`.
        issued_at: When it was issued, or None if the server does not say: now.
    """

    text: str
    life_s: int = _DEFAULT_LIFE_S
    issued_at: datetime | None = None


def fetch_token(
    request: TokenRequest, credentials: Credentials, *, timeout_s: float = 25.0
) -> Token:
    """Get a token. Blocks; `timeout_s` limits each of at most two exchanges.

    Proxies are those of the environment or the system, certificates those that Python trusts.

    Raises:
        SessionError: The server refused, did not answer, or answered something else.
    """
    if credentials.registry_token:
        return Token(credentials.registry_token)
    if urlsplit(request.realm).scheme not in ("http", "https"):
        raise _failed(request, "its address is not one of HTTP", credentials)
    if not credentials.secret:
        return _exchange(request, _get(request, credentials), credentials, timeout_s)
    try:
        return _exchange(request, _post(request, credentials), credentials, timeout_s)
    except _Refused as refused:
        username, _ = credentials.login
        if refused.code not in (404, 401) and not (refused.code == 405 and username):
            raise
    return _exchange(request, _get(request, credentials), credentials, timeout_s)


class _Refused(SessionError):
    """The server answered with an HTTP status that is no success.

    Attributes:
        code: The status.
    """

    def __init__(self, message: str, *, code: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def _post(request: TokenRequest, credentials: Credentials) -> urllib.request.Request:
    username, secret = credentials.login
    form = {"service": request.service, "client_id": request.client_id}
    if request.scopes:
        form["scope"] = " ".join(request.scopes)
    if username:
        form |= {"grant_type": "password", "username": username, "password": secret}
    else:
        form |= {"grant_type": "refresh_token", "refresh_token": secret}
    kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    return urllib.request.Request(request.realm, urlencode(form).encode(), kind, method="POST")  # noqa: S310 - checked


def _get(request: TokenRequest, credentials: Credentials) -> urllib.request.Request:
    parts = urlsplit(request.realm)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if request.service:
        query.append(("service", request.service))
    query += [("scope", scope) for scope in request.scopes]
    get = urllib.request.Request(urlunsplit(parts._replace(query=urlencode(query))))  # noqa: S310 - checked
    if credentials.secret:
        login = ":".join(credentials.login).encode()
        get.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    return get


def _exchange(
    request: TokenRequest,
    message: urllib.request.Request,
    credentials: Credentials,
    timeout_s: float,
) -> Token:
    message.add_header("User-Agent", "depotlab")
    message.add_header("Accept", "application/json")
    try:
        with _opener().open(message, timeout=timeout_s) as answer:
            body = answer.read(_MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(request, error.code, credentials) from None
    except urllib.error.URLError as error:
        # The reason is an OSError of the connection, or a text; neither has what was sent.
        raise _failed(request, str(error.reason), credentials) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failed(request, type(error).__name__, credentials) from None
    try:
        return _read(json.loads(body))
    except (ValueError, TypeError):
        raise _failed(request, "its answer has no token", credentials) from None


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS through the system's proxies; no files, no FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _read(answer: Any) -> Token:
    text = answer.get("access_token") or answer.get("token") if isinstance(answer, dict) else None
    if not isinstance(text, str) or not text:
        raise ValueError("no token")
    life_s = int(answer.get("expires_in") or _DEFAULT_LIFE_S)
    issued = answer.get("issued_at")
    issued_at: datetime | None = None
    if issued:
        issued_at = datetime.fromisoformat(str(issued))
        if issued_at.tzinfo is None:
            issued_at = issued_at.replace(tzinfo=UTC)
    return Token(text, life_s, issued_at)


def _refused(request: TokenRequest, code: int, credentials: Credentials) -> _Refused:
    who = "anonymously" if credentials.anonymous else "with the credentials for it"
    hint = "check the name of the image, and whether the registry allows it to everyone"
    if not credentials.anonymous:
        hint = f"log in to {request.host} again, and check that the account may use this image"
    return _Refused(
        f"The token server of {request.host} refused a token {who} (HTTP {code}).",
        code=code,
        hint=hint,
    )


def _failed(request: TokenRequest, reason: str, credentials: Credentials) -> SessionError:
    for secret in (credentials.secret, credentials.registry_token):
        if secret:
            reason = reason.replace(secret, "•••")
    server = urlsplit(request.realm).hostname or "no host"
    return SessionError(
        f"The token server of {request.host} ({server}) gave no token: {reason}.",
        hint=f"check that {server} can be reached from this machine, also through its proxy settings",
    )
