"""The service as plain JSON over HTTP, for `curl` and for `RemoteBuildService`: no envelopes, a line for each log line.

The operations and their fields are in `routes`; here requests become calls, and values and errors become answers.
A log has status 200 by the time that something can go wrong with it, so what goes wrong is its last line, in the form
of any other error; a reader asks again from the offset that comes next.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from depotlab._serving import Fault
from depotlab.service._access.access import NOBODY, Access, Caller
from depotlab.service._asking.git import git
from depotlab.service._boundary import BuildContext, UploadedContext
from depotlab.service._http.guarded import DOWN_RETRY_S, Guarded, refusals
from depotlab.service._http.routepages import openapi, page
from depotlab.service._http.routes import find_route, methods_of, read_body, read_query
from depotlab.service._jsonvalues import (
    Json,
    build_json,
    line_json,
    project_json,
    token_json,
    upload_json,
)
from depotlab.service._values import LogLine

__all__ = ["MAX_REQUEST_BYTES", "JsonApp"]

_LOG = logging.getLogger("depotlab.service")

MAX_REQUEST_BYTES: Final = 1 << 20
"""Largest request; contexts are uploaded elsewhere."""

_BEAT_S = 15.0
_LOG_KINDS: Final = ("text/plain", "application/x-ndjson", "application/json", "*/*")
_STATUS: Final[Mapping[str, int]] = {
    "already_exists": 409,
    "deadline_exceeded": 504,
    "failed_precondition": 409,
    "internal": 500,
    "invalid_argument": 400,
    "not_found": 404,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "unauthenticated": 401,
    "unavailable": 503,
    "unimplemented": 405,
}

Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, read.

    Attributes:
        caller: Who asks.
        id: In the path, or empty.
        fields: Of the body or the query.
        headers: By lower-case name.
    """

    caller: Caller
    id: str
    fields: Json
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class JsonApp:
    """The ASGI application of the JSON operations.

    Args:
        guarded: What callers may do.
        access: Knows them.
        url: Of the server, as its clients know it; said once it is known.
        schema: Of the methods that stand beside it, as the text of a file.
        stopping: Set when the server stops: logs end then.
        beat_s: After so much silence, a log that is followed gets an empty line.
    """

    def __init__(
        self,
        guarded: Guarded,
        access: Access,
        *,
        url: Callable[[], str],
        schema: str,
        stopping: asyncio.Event,
        beat_s: float = _BEAT_S,
    ) -> None:
        self._guarded = guarded
        self._access = access
        self._url = url
        self._schema_text = schema
        self._stopping = stopping
        self._beat_s = beat_s

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        try:
            route, found_id = find_route(scope["method"], scope["path"])
            caller = NOBODY
            if route.may:
                caller = self._access.identify(headers.get("authorization", ""))
            query = read_query(route, scope["query_string"])
            body = await _body(receive, headers)
            fields = read_body(route, body) if route.method == "POST" else query
            asked = _Asked(caller, found_id, fields, headers)
            if route.name == "get_build_logs":
                await self._get_build_logs(asked, scope["method"], receive, send)
                return
            answer: _Answer = await getattr(self, f"_{route.name}")(asked)
        except _Left:
            return
        except _TooLarge:
            answer = _refusal(
                Fault(
                    "invalid_argument",
                    f"the request has more than {MAX_REQUEST_BYTES} bytes",
                    hint="contexts are uploaded to an upload URL",
                ),
                status=413,
            )
        except Fault as fault:
            answer = _refusal(fault, path=scope["path"])
        except Exception:  # noqa: BLE001 - a mistake of ours is logged, and the client is told so
            _LOG.exception("%s %s failed", scope["method"], scope["path"])
            answer = _refusal(Fault("internal", "this failed here; the log of the server has more"))
        await _send(send, answer, scope["method"])

    # ----------------------------------------------------------------------------- the operations

    async def _generate_upload_url(self, asked: _Asked) -> _Answer:
        upload = await self._guarded.generate_upload_url(asked.caller, asked.fields["project"])
        return _json(upload_json(upload))

    async def _create_build(self, asked: _Asked) -> _Answer:
        order = dict(asked.fields)
        context = _context(order.pop("build_context_path", ""), order.pop("git", None))
        key = asked.headers.get("idempotency-key", "")
        if key and order.get("idempotency_key", key) != key:
            raise Fault(
                "invalid_argument",
                "the header Idempotency-Key and the field idempotency_key differ",
                hint="send one of them",
            )
        if key:
            order["idempotency_key"] = key
        build = await self._guarded.create_build(asked.caller, context, **order)
        where = ("location", f"/v1/builds/{build.build_id}")
        return _json(build_json(build), status=201, headers=(where,))

    async def _list_builds(self, asked: _Asked) -> _Answer:
        found = await self._guarded.list_builds(
            asked.caller,
            project=asked.fields.get("project"),
            state=asked.fields.get("state"),
            page_size=asked.fields.get("page_size", 50),
            page_token=asked.fields.get("page_token", ""),
        )
        said = {"builds": [build_json(b) for b in found], "next_page_token": found.next_page_token}
        return _json(said)

    async def _get_build(self, asked: _Asked) -> _Answer:
        return _json(build_json(await self._guarded.get_build(asked.caller, asked.id)))

    async def _cancel_build(self, asked: _Asked) -> _Answer:
        return _json(build_json(await self._guarded.cancel_build(asked.caller, asked.id)))

    async def _projects(self, asked: _Asked) -> _Answer:
        found = await self._guarded.projects(asked.caller)
        return _json({"projects": [project_json(one) for one in found]})

    async def _create_token(self, asked: _Asked) -> _Answer:
        made = await self._guarded.create_token(asked.caller, **asked.fields)
        return _json(token_json(made), status=201)

    async def _list_tokens(self, asked: _Asked) -> _Answer:
        found = await self._guarded.list_tokens(asked.caller)
        return _json({"tokens": [token_json(one) for one in found]})

    async def _revoke_token(self, asked: _Asked) -> _Answer:
        await self._guarded.revoke_token(asked.caller, asked.id)
        return _json({})

    async def _health(self, _: _Asked) -> _Answer:
        """Numbers of customers' builds are nobody's business who has no token."""
        found = await self._guarded.health()
        if not found.takes_builds or self._stopping.is_set():
            soon = ("retry-after", str(math.ceil(DOWN_RETRY_S)))
            return _json({"status": "not taking builds"}, status=503, headers=(soon,))
        return _json({"status": "ok" if found.starts_builds else "builds wait"})

    async def _openapi(self, _: _Asked) -> _Answer:
        return _json(openapi(self._url()))

    async def _page(self, _: _Asked) -> _Answer:
        return _Answer(200, page(self._url()).encode(), "text/plain; charset=utf-8")

    async def _schema(self, _: _Asked) -> _Answer:
        return _Answer(200, self._schema_text.encode(), "text/plain; charset=utf-8")

    # ----------------------------------------------------------------------------------- the logs

    async def _get_build_logs(
        self, asked: _Asked, method: str, receive: Receive, send: Send
    ) -> None:
        await self._guarded.open_log(asked.caller, asked.id)
        is_text = _prefers_text(asked.headers.get("accept", ""))
        await send(
            _head(200, "text/plain; charset=utf-8" if is_text else "application/x-ndjson", ())
        )
        if method == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        work = asyncio.create_task(self._send_log(asked, is_text, send))
        left = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            left.cancel()
            await asyncio.wait((work, left))
        if work.cancelled() or work.exception() is not None:
            return  # the client has left
        fault = work.result()
        last = b"" if fault is None else _last_line(fault, is_text)
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _send_log(self, asked: _Asked, is_text: bool, send: Send) -> Fault | None:
        """Send a log piece by piece, the next when the reader has taken the one before; return what ended it early."""
        offset: int = asked.fields.get("offset", 0)
        follow: bool = asked.fields.get("follow", True)
        said = _text_line if is_text else _json_line

        async def give(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        try:
            while True:
                coming = asyncio.create_task(
                    self._guarded.next_lines(asked.id, offset, follow=follow)
                )
                try:
                    # In a long silence an empty line tells both sides whether the other is there.
                    while not (await asyncio.wait([coming], timeout=self._beat_s))[0]:
                        if not is_text:
                            await give(b"\n")
                finally:
                    coming.cancel()
                lines = coming.result()
                if not lines:
                    return None
                await give(b"".join(map(said, lines)))
                offset = lines[-1].offset + 1
        except Fault as fault:
            return fault
        except Exception:  # noqa: BLE001 - a mistake of ours is logged, and the client is told so
            _LOG.exception("the log of a build could not be sent on")
            return Fault("internal", "this failed here; the log of the server has more")


class _TooLarge(Exception):
    """A request has more bytes than any may have."""


class _Left(Exception):
    """The client went away before all of its request was there: nothing is done, and nobody is told."""


async def _body(receive: Receive, headers: Mapping[str, str]) -> bytes:
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_REQUEST_BYTES:
        raise _TooLarge
    pieces, n_bytes, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        pieces.append(message.get("body", b""))
        n_bytes += len(pieces[-1])
        if n_bytes > MAX_REQUEST_BYTES:
            raise _TooLarge
        more = message.get("more_body", False)
    return b"".join(pieces)


async def _gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _context(key: str, given: Any) -> BuildContext:
    if bool(key) == bool(given):
        raise Fault(
            "invalid_argument",
            "one of build_context_path and git is needed, and not both",
            hint="POST /v1/uploads gives a build_context_path",
        )
    if key:
        return UploadedContext(key)
    with refusals("create_build"):
        if isinstance(given, str):
            return git(given)
        given = {name: value for name, value in given.items() if value is not None}
        known = ("host", "owner", "repository", "ref", "subdir", "pull_request", "is_public")
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise Fault(
                "invalid_argument",
                f"git has {unknown[0][:60]!r}, which is no part of a repository's address",
                hint=f"there is {', '.join(known)}",
            )
        if "host" not in given:
            raise Fault("invalid_argument", "git has no host", hint="such as github.com")
        return git(**given)


def _prefers_text(accept: str) -> bool:
    """Whether text is named before any JSON; libraries such as axios name it behind, with each request."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    said = [kind for kind in kinds if kind in _LOG_KINDS]
    return bool(said) and said[0] == "text/plain"


def _json_line(line: LogLine) -> bytes:
    return json.dumps(line_json(line), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _text_line(line: LogLine) -> bytes:
    return f"{line.text}\n".encode("utf-8", "replace")


def _last_line(fault: Fault, is_text: bool) -> bytes:
    if is_text:
        return f"[{fault.text}: the log is not complete]\n".encode()
    return json.dumps(_fault_json(fault)).encode() + b"\n"


def _fault_json(fault: Fault) -> Json:
    said = {"code": fault.code, "message": fault.text, "hint": fault.hint}
    return said | ({"reason": fault.reason} if fault.reason else {})


def _json(said: Json, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> _Answer:
    return _Answer(status, json.dumps(said).encode() + b"\n", headers=headers)


def _refusal(fault: Fault, *, status: int = 0, path: str = "") -> _Answer:
    headers: list[tuple[str, str]] = []
    if fault.retry_after_s is not None:
        headers.append(("retry-after", str(max(1, math.ceil(fault.retry_after_s)))))
    if fault.code == "unimplemented":  # RFC 9110, 15.5.6: an answer 405 has to say what there is
        headers.append(("allow", ", ".join(methods_of(path))))
    if fault.code == "unauthenticated":
        headers.append(("www-authenticate", "Bearer"))
    return _json(_fault_json(fault), status=status or _STATUS[fault.code], headers=tuple(headers))


def _head(status: int, content_type: str, headers: tuple[tuple[str, str], ...]) -> Json:
    all_headers = (
        ("content-type", content_type),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        *headers,
    )
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode(), value.encode()) for name, value in all_headers],
    }


async def _send(send: Send, answer: _Answer, method: str) -> None:
    length = ("content-length", str(len(answer.body)))
    await send(_head(answer.status, answer.content_type, (*answer.headers, length)))
    body = b"" if method == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": False})
