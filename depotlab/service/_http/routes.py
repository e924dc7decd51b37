"""Which operations plain HTTP has, and what their bodies and queries may hold: data, and how it is checked.

The page at `/`, `/openapi.json` (see `routepages`) and the errors about fields are all made from this one table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from depotlab._serving import Fault

__all__ = [
    "ROUTES",
    "Field",
    "Kind",
    "Route",
    "find_route",
    "methods_of",
    "read_body",
    "read_query",
]

Kind = Literal["text", "map", "git", "number", "flag", "names"]

_KINDS: Final[Mapping[Kind, str]] = {
    "text": "a text",
    "map": "an object of texts",
    "git": "an address, or an object of host, owner, repository, ref, subdir, pull_request and is_public",
    "number": "a whole number",
    "flag": "true or false",
    "names": "a list of names, or one name",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a body, or of a query.

    Attributes:
        name: As it is written.
        says: What it is for.
        kind: What it may hold.
        is_needed: A request without it is refused.
    """

    name: str
    says: str
    kind: Kind = "text"
    is_needed: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    Attributes:
        name: Of what answers it.
        method: `GET`, `POST` or `DELETE`.
        path: With `{id}` where an id stands.
        says: What it does.
        body: Fields of its JSON body.
        query: Fields of its query.
        may: What the token needs; empty for an operation that is open to all.
    """

    name: str
    method: str
    path: str
    says: str
    body: tuple[Field, ...] = ()
    query: tuple[Field, ...] = ()
    may: str = ""


_BUILD = (
    Field("project", "whose build it is", is_needed=True),
    Field("deployment", "what it is for; the image is tagged PROJECT-DEPLOYMENT", is_needed=True),
    Field("build_context_path", "what came with an upload URL; this or git is needed"),
    Field("git", "a commit of a repository", "git"),
    Field("workspace", "whose project it is"),
    Field("dockerfile_path", "in the context; Dockerfile when left out"),
    Field("target", "stage to stop at"),
    Field("platform", "linux/amd64 or linux/arm64; the service has its own when left out"),
    Field("args", "build arguments; not for secrets", "map"),
    Field("labels", "for the image", "map"),
    Field("env", "secrets, for steps that mount the secret `env`", "map"),
    Field("git_token", "for the host of the repository"),
    Field("idempotency_key", "as the header Idempotency-Key: the same key makes one build"),
)

ROUTES: Final = (
    Route(
        "generate_upload_url",
        "POST",
        "/v1/uploads",
        "allow one upload: PUT an archive to upload_url, then build its build_context_path",
        body=(Field("project", "whose context it is", is_needed=True),),
        may="build",
    ),
    Route("create_build", "POST", "/v1/builds", "queue a build", body=_BUILD, may="build"),
    Route(
        "list_builds",
        "GET",
        "/v1/builds",
        "a page of builds, the newest first",
        query=(
            Field("project", "only its builds; a token of one project lists that one"),
            Field("state", "only those that are queued, running, succeeded, failed or canceled"),
            Field("page_size", "builds on a page, 50 when left out", "number"),
            Field("page_token", "next_page_token of the page before"),
        ),
        may="read",
    ),
    Route("get_build", "GET", "/v1/builds/{id}", "one build", may="read"),
    Route(
        "get_build_logs",
        "GET",
        "/v1/builds/{id}/logs",
        "the log as one JSON object a line, or as text with `Accept: text/plain`; ends with the build",
        query=(
            Field(
                "offset", "first line, 0 when left out: one more than the last that came", "number"
            ),
            Field("follow", "wait for lines to come; true when left out", "flag"),
        ),
        may="read",
    ),
    Route("cancel_build", "POST", "/v1/builds/{id}/cancel", "cancel a build", may="build"),
    Route("projects", "GET", "/v1/projects", "the projects, by name", may="read"),
    Route(
        "create_token",
        "POST",
        "/v1/tokens",
        "make a token; its secret is in this answer and nowhere else",
        body=(
            Field("description", "whom or what it is for", is_needed=True),
            Field("projects", 'those it is for; "*" for all', "names", is_needed=True),
            Field("may", "build, read, admin; build and read when left out", "names"),
            Field("expires_s", "for how many seconds it is good; for ever when left out", "number"),
        ),
        may="admin",
    ),
    Route("list_tokens", "GET", "/v1/tokens", "the tokens, without their secrets", may="admin"),
    Route("revoke_token", "DELETE", "/v1/tokens/{id}", "make a token useless", may="admin"),
    Route("health", "GET", "/v1/health", "200 if builds are taken, else 503"),
    Route("openapi", "GET", "/openapi.json", "these operations as OpenAPI 3.1"),
    Route(
        "schema",
        "GET",
        "/build_service.proto",
        "the Connect and gRPC methods, to make clients from",
    ),
    Route("page", "GET", "/", "these operations as text"),
)


def find_route(method: str, path: str) -> tuple[Route, str]:
    """Return the operation that is meant, and the id in its path, or an empty text.

    Raises:
        Fault: not_found: there is no such path. unimplemented: it has other methods.
    """
    words = path.strip("/").split("/")
    for route in ROUTES:
        found = _id_in(route, words)
        if found is None:
            continue
        if route.method == method or (method == "HEAD" and route.method == "GET"):
            return route, found
    if others := methods_of(path):
        raise Fault(
            "unimplemented", f"{method} is not for {path[:120]}", hint=f"use {' or '.join(others)}"
        )
    raise Fault("not_found", f"there is no {path[:120]}", hint="GET / says what there is")


def methods_of(path: str) -> list[str]:
    """Return the methods that the operations of a path have."""
    words = path.strip("/").split("/")
    return [route.method for route in ROUTES if _id_in(route, words) is not None]


def _id_in(route: Route, words: list[str]) -> str | None:
    """The id in a path of this operation, empty for a path without one; None if it is another's."""
    wanted = route.path.strip("/").split("/")
    if len(wanted) != len(words):
        return None
    found = ""
    for one, word in zip(wanted, words, strict=True):
        if one == "{id}" and word:
            found = word
        elif one != word:
            return None
    return found


def read_body(route: Route, body: bytes) -> dict[str, Any]:
    """Return the fields of a request's body.

    Raises:
        Fault: invalid_argument: it is no JSON object, has a field that there is not, lacks one, or one is of a wrong
            kind. Values are not repeated: they may be secrets.
    """
    try:
        given = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise Fault(
            "invalid_argument",
            "the body is no JSON",
            hint=f"send an object with {_listed(route.body)}",
        ) from None
    if not isinstance(given, dict):
        raise Fault(
            "invalid_argument",
            "the body is JSON, and no object",
            hint=f"send an object with {_listed(route.body)}",
        )
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Fault(
            "invalid_argument",
            "the body has half of a character",
            hint="\\ud800 to \\udfff stand in pairs only",
        ) from None
    _check(given, route.body, "body")
    given = {name: value for name, value in given.items() if value is not None}
    for field in route.body:
        if field.name in given and not _is(field.kind, given[field.name]):
            raise Fault("invalid_argument", f"{field.name} has to be {_KINDS[field.kind]}")
    return given


def read_query(route: Route, query: bytes) -> dict[str, Any]:
    """Return the fields of a request's query; numbers and flags are read.

    Raises:
        Fault: invalid_argument: as for `read_body`.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise Fault("invalid_argument", "the query is malformed") from None
    given: dict[str, Any] = dict(pairs)
    _check(given, route.query, "query")
    for field in route.query:
        text = given.get(field.name)
        if text is None:
            continue
        if field.kind == "number":
            if not (text.isascii() and text.isdigit()) or len(text) > 18:
                raise Fault(
                    "invalid_argument",
                    f"{field.name}={text[:40]!r} has to be a whole number from 0",
                )
            given[field.name] = int(text)
        elif field.kind == "flag":
            if text not in ("true", "false", "1", "0"):
                raise Fault(
                    "invalid_argument", f"{field.name}={text[:40]!r} has to be true or false"
                )
            given[field.name] = text in ("true", "1")
    return given


def _check(given: Mapping[str, Any], fields: tuple[Field, ...], where: str) -> None:
    unknown = sorted(set(given) - {field.name for field in fields})
    if unknown:
        shown = ", ".join(repr(name[:60]) for name in unknown[:5])
        raise Fault(
            "invalid_argument",
            f"the {where} has {shown}, which this operation does not know",
            hint=f"there is {_listed(fields)}",
        )
    for field in fields:
        if field.is_needed and given.get(field.name) in (None, ""):
            raise Fault("invalid_argument", f"{field.name} is missing", hint=field.says)


def _listed(fields: tuple[Field, ...]) -> str:
    return ", ".join(field.name for field in fields) or "nothing"


def _is(kind: Kind, value: Any) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "map":
            return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        case "git":
            return isinstance(value, str | dict)
        case "number":
            return isinstance(value, int) and not isinstance(value, bool)
        case "flag":
            return isinstance(value, bool)
        case "names":
            return isinstance(value, str) or (
                isinstance(value, list) and all(isinstance(one, str) for one in value)
            )
