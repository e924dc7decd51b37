"""The status page: one static file, and the little JSON that it asks for.

On the loopback it needs no token to look and to cancel; from elsewhere it needs the plane's token, as
the password of HTTP's basic login. A page of another site can neither read it nor press its button:
requests must name this host, and changes carry a header that such a page may not send.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from depotlab._plane.history import BuildRecord, Step
from depotlab._plane.parts import Parts
from depotlab._serving import is_loopback

__all__ = ["Page"]

_MOST_BUILDS = 50
_STEPS_OF_A_CARD = 40
_STEPS_OF_A_BUILD = 2000
_LOGS_OF_A_BUILD = 2000
_LONGEST_BODY_BYTES = 10_000


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class _Asked:
    method: str
    words: tuple[str, ...]
    headers: dict[str, str] = field(repr=False)
    peer: str
    body: bytes = field(repr=False)


class Page:
    """The ASGI application of everything that is no method of the API.

    Args:
        parts: What it shows, and the logins that it approves.
        hosts: Names under which this plane is reached, besides those of the loopback.
    """

    def __init__(self, parts: Parts, hosts: Iterable[str] = ()) -> None:
        self._parts = parts
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        html = resources.files("depotlab._plane").joinpath("page.html").read_bytes()
        inline = [
            f"{kind} 'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
            for kind, tag in (("style-src", b"style"), ("script-src", b"script"))
            for text in re.findall(b"<%b>(.*?)</%b>" % (tag, tag), html, re.DOTALL)
        ]
        policy = (
            f"default-src 'none'; connect-src 'self'; {'; '.join(inline)}; "
            "frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
        )
        self._html = _Answer(
            200,
            html,
            "text/html; charset=utf-8",
            ((b"content-security-policy", policy.encode()),),
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        body = b""
        while len(body) <= _LONGEST_BODY_BYTES:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        asked = _Asked(
            scope["method"],
            tuple(scope["path"].strip("/").split("/")),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            (scope.get("client") or ("",))[0],
            body,
        )
        answer = self._answer(asked)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        content = b"" if asked.method == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": content, "more_body": False})

    # ---------------------------------------------------------------------------------- routing

    def _answer(self, asked: _Asked) -> _Answer:
        host = _without_port(asked.headers.get("host", ""))
        if host not in self._hosts and not is_loopback(host):
            return _Answer(421, b"this plane has another name")
        shared = asked.words[0] == "share" or asked.words[:2] == ("page", "share")
        if not shared and not is_loopback(asked.peer) and not self._logged_in(asked):
            wanted = b'Basic realm="the token of this plane is the password"'
            return _Answer(401, b"a token is needed", headers=((b"www-authenticate", wanted),))
        if asked.method in ("GET", "HEAD"):
            return self._get(asked.words)
        if asked.method == "POST" and asked.words[0] == "page":
            if "x-depotlab-page" not in asked.headers:
                return _Answer(403, b"only the page itself may do this")
            return self._post(asked)
        return _Answer(404, b"there is nothing here")

    def _get(self, words: tuple[str, ...]) -> _Answer:
        match words:
            case ("page", "state"):
                return _json(self._state())
            case ("page", "builds", build_id):
                return self._build(self._parts.history.find(build_id), read_only=False)
            case ("page", "share", secret):
                return self._build(self._parts.history.shared(secret), read_only=True)
            case ("",) | ("builds" | "share" | "login", _):
                return self._html
        return _Answer(404, b"there is nothing here")

    def _post(self, asked: _Asked) -> _Answer:
        try:
            fields = json.loads(asked.body)
            values = {str(name): str(value) for name, value in fields.items()}
        except (ValueError, AttributeError):
            return _Answer(400, b"the body must be a JSON object")
        if asked.words == ("page", "cancel"):
            record = self._parts.history.find(values.get("build_id", ""))
            if record is None:
                return _Answer(404, b"this build was not found")
            self._parts.builds.cancel(record.build_id)
            return _json({})
        if asked.words == ("page", "login"):
            caller = self._parts.tokens.check(values.get("token", "").strip())
            if caller is None or caller.kind not in ("user", "organization"):
                return _Answer(403, b"this is not the token of this plane")
            if not self._parts.logins.approve(values.get("login_id", "")):
                return _Answer(404, b"this login is not known, or has ended; start it again")
            return _json({})
        return _Answer(404, b"there is nothing here")

    def _logged_in(self, asked: _Asked) -> bool:
        scheme, _, value = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            secret = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
        caller = self._parts.tokens.check(secret)
        return caller is not None and caller.kind in ("user", "organization")

    # ------------------------------------------------------------------------------------- JSON

    def _state(self) -> dict[str, Any]:
        history, now_ns = self._parts.history, self._parts.history.now_ns()
        records = history.recent(_MOST_BUILDS)
        counts = history.counts()
        return {
            "registry": self._parts.registry.host_port,
            "projects": [
                {
                    "project_id": project.project_id,
                    "name": project.name,
                    "keep_gb": project.cache_policy.keep_gb,
                    "keep_days": project.cache_policy.keep_days,
                    "n_builds": counts.get(project.project_id, 0),
                }
                for project in self._parts.store.projects()
            ],
            "machines": [
                {
                    "project_id": machine.project_id,
                    "platform": machine.platform,
                    "state": machine.state,
                    "builds": machine.builds,
                    "emulated": machine.emulated,
                    "for_ms": max(0, now_ns // 10**6 - int(machine.since * 1000)),
                }
                for machine in self._parts.machines.states()
            ],
            "builds": [
                self._summary(record, now_ns)
                | (
                    {"steps": self._steps(record, now_ns, _STEPS_OF_A_CARD)}
                    if record.status == "running"
                    else {}
                )
                for record in records
            ],
        }

    def _build(self, record: BuildRecord | None, *, read_only: bool) -> _Answer:
        if record is None:
            return _Answer(404, b"this build was not found")
        history, now_ns = self._parts.history, self._parts.history.now_ns()
        logs = b"".join(log.message for log in history.last_logs(record.build_id, _LOGS_OF_A_BUILD))
        return _json(
            self._summary(record, now_ns)
            | {
                "steps": self._steps(record, now_ns, _STEPS_OF_A_BUILD),
                "logs": logs.decode(errors="replace"),
                "read_only": read_only,
            }
        )

    def _summary(self, record: BuildRecord, now_ns: int) -> dict[str, Any]:
        sums = self._parts.history.sums([record.build_id])[record.build_id]
        return {
            "build_id": record.build_id,
            "project_id": record.project_id,
            "status": record.status,
            "error": record.error,
            "note": record.note,
            "canceling": record.cancels_ns is not None,
            "created_ms": record.created_ns // 10**6,
            "took_ms": _ms(record.started_ns or record.created_ns, record.finished_ns, now_ns),
            "n_steps": sums.n_steps,
            "n_cached": sums.n_cached,
        }

    def _steps(self, record: BuildRecord, now_ns: int, most: int) -> list[dict[str, Any]]:
        steps = self._parts.history.last_steps(record.build_id, most)
        end_ns = record.finished_ns or now_ns
        return [
            {
                "digest": step.digest,
                "name": step.name,
                "error": step.error,
                "state": _step_state(step),
                "took_ms": None
                if step.started_ns is None
                else _ms(step.started_ns, step.completed_ns, end_ns),
            }
            for step in steps
        ]


def _step_state(step: Step) -> str:
    if step.error:
        return "failed"
    if step.cached:
        return "cached"
    if step.started_ns is None:
        return "waiting"
    return "running" if step.completed_ns is None else "done"


def _ms(start_ns: int, end_ns: int | None, now_ns: int) -> int:
    return max(0, ((end_ns or now_ns) - start_ns) // 10**6)


def _json(value: Any) -> _Answer:
    return _Answer(200, json.dumps(value).encode(), "application/json")


def _without_port(host: str) -> str:
    """Return the host of a `Host` header: `name:1`, `127.0.0.1`, `[::1]:1`."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
