"""Who may do what in the plane's registry. Pure: a request in, a decision out.

A repository is named by the project that owns it, and a login sees that one only. Beside them there is a shelf,
`library/…`, that everybody may read and nobody may write: it stands in for Docker Hub where there is no network.

Requests that the registry might understand otherwise than we do (escapes, dots, empty segments) are refused, and
none of the protocol's own has them.
Source: opencontainers/distribution-spec spec.md; RFC 7617 for Basic.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from depotlab._plane.boundary import Admit

SHELF = "library/"

_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(
    rf"/v2/(?P<name>{_NAME}(?:/{_NAME})*)/(?P<kind>manifests|blobs|tags|referrers)/(?P<rest>.+)"
)
# Of the protocol: digests, tags, upload ids, `list`, `uploads/`.
_REST = re.compile(r"[A-Za-z0-9_+:=.-]+(?:/[A-Za-z0-9_=-]+)?/?")
_READS = frozenset(("GET", "HEAD"))
_WRITES = frozenset(("POST", "PUT", "PATCH", "DELETE"))


@dataclass(frozen=True, slots=True)
class Forward:
    """The registry may have it.

    Attributes:
        target: Path and query to ask for.
    """

    target: str


@dataclass(frozen=True, slots=True)
class Denied:
    """It may not.

    Attributes:
        status: Of HTTP.
        code: Of the protocol, such as `DENIED`.
        message: For people.
        challenge: Ask for a login.
    """

    status: int
    code: str
    message: str
    challenge: bool = False

    @property
    def body(self) -> bytes:
        """What the protocol says about errors."""
        return json.dumps({"errors": [{"code": self.code, "message": self.message}]}).encode()


@dataclass(frozen=True, slots=True)
class _Login:
    user: str
    password: str = field(repr=False)


_LOG_IN = Denied(401, "UNAUTHORIZED", "log in with a token of the plane as password", True)


def decide(method: str, target: str, authorization: str | None, admit: Admit) -> Forward | Denied:
    """Say what becomes of a request.

    Args:
        method: Of HTTP.
        target: Path and query, as sent.
        authorization: The header, or None.
        admit: Who may use which repository.
    """
    path, _, query = target.partition("?")
    if method not in _READS | _WRITES:
        return Denied(405, "UNSUPPORTED", f"{method} is no method of a registry")
    login = _login(authorization)
    if path in ("/v2", "/v2/"):
        known = login is not None and admit(login.user, login.password, "", False)
        return Forward("/v2/") if known and method in _READS else _LOG_IN
    found = _PATH.fullmatch(path)
    if found is None or not _REST.fullmatch(found["rest"]) or ".." in path:
        return Denied(404, "NAME_UNKNOWN", "there is no such thing in this registry")
    name, writes = found["name"], method in _WRITES
    if "/" in name:
        return _on_the_shelf(name, target, writes=writes)
    if login is None:
        return _LOG_IN
    if not admit(login.user, login.password, name, writes):
        if not admit(login.user, login.password, "", False):
            return _LOG_IN
        doing = "push to" if writes else "pull from"
        return Denied(403, "DENIED", f"this login may not {doing} {name}")
    if method == "POST" and query:
        query = _without_foreign_mount(query, login, admit)
    return Forward(f"{path}?{query}" if query else path)


def _on_the_shelf(name: str, target: str, *, writes: bool) -> Forward | Denied:
    if not name.startswith(SHELF):
        return Denied(404, "NAME_UNKNOWN", f"{name} is not in this registry")
    if writes:
        return Denied(403, "DENIED", f"nobody may push to {name}")
    return Forward(target)


def _without_foreign_mount(query: str, login: _Login, admit: Admit) -> str:
    """Drop the wish to take a blob over from a repository that the login may not read.

    The registry then begins an ordinary upload, as the protocol has it for blobs that cannot be mounted.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    sources = [value for key, value in pairs if key == "from"]
    readable = all(
        source.startswith(SHELF)
        or ("/" not in source and admit(login.user, login.password, source, False))
        for source in sources
    )
    # Without a source the registry might look for the blob everywhere.
    if readable and (sources or all(key != "mount" for key, _ in pairs)):
        return query
    return urlencode([pair for pair in pairs if pair[0] not in ("from", "mount")])


def _login(authorization: str | None) -> _Login | None:
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, separator, password = (
            b64decode(encoded.strip(), validate=True).decode().partition(":")
        )
    except (binascii.Error, UnicodeDecodeError):
        return None
    return _Login(user, password) if separator and password else None
