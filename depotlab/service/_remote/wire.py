"""A service elsewhere, asked over HTTP: requests that are tried again where that is safe, and logs that are resumed.

A request whose answer is lost may have been obeyed. So only those are sent again that come to the same when they are
obeyed twice; `create_build` is one of them, because it always carries an idempotency key.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from depotlab._depot.agent import user_agent
from depotlab._depot.http1 import (
    Answer,
    Http,
    HttpBroken,
    HttpMalformed,
    HttpUnreached,
    HttpUntrusted,
)
from depotlab._depot.wire import retry_after_s
from depotlab.errors import (
    ConnectionLost,
    ContextRefused,
    DepotlabError,
    ProtocolError,
    ServiceError,
    Unreachable,
    UsageError,
)
from depotlab.service._jsonvalues import Json, read_line
from depotlab.service._values import LogLine

__all__ = ["PATIENT_TRIES", "RemoteWire", "check_token", "check_url"]

_TRIES: Final = 5
PATIENT_TRIES: Final = 9
"""For a build that is there, and a log that had begun: about a minute, in which a service is started anew."""
_FIRST_PAUSE_S: Final = 0.2
_MOST_PAUSE_S: Final = 30.0
_TIMEOUT_S: Final = 60.0
# The server breaks a silence after 15 s; when it has not for so long, nobody is there any more.
_MOST_SILENCE_S: Final = 60.0
_MAX_ANSWER_BYTES: Final = 16 << 20
_MAX_LINE_BYTES: Final = 16 << 20
_MIN_SECRET_CHARS: Final = 8
_ERROR_FIELDS: Final = ("code", "message", "hint")
_CODES: Final[Mapping[int, str]] = {
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    429: "resource_exhausted",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
}


class _Failed(Exception):
    """One try went wrong.

    Attributes:
        error: What the caller is to be told.
        may_pass: It is worth asking again.
        wait_s: After how long, if the service says so.
    """

    def __init__(
        self, error: DepotlabError, *, may_pass: bool, wait_s: float | None = None
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.may_pass = may_pass
        self.wait_s = wait_s


class RemoteWire:
    """Requests to one service with one token. To be used on one event loop; connects when it is first used.

    Args:
        url: Of the service.
        token: Sent as bearer. Never shown.
        ca: File with the authority of its certificate; None is the system's roots.
        first_pause_s: Before the second try; it doubles with each one.

    Raises:
        UsageError: An argument cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca: str | os.PathLike[str] | None = None,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self.url = check_url(url)
        self._prefix = urlsplit(self.url).path
        self._token = check_token(token)
        self._first_pause_s = first_pause_s
        trust = None if ca is None else _trust(ca)
        self._http = Http(self.url, trust=trust)
        self._random = random.Random()  # noqa: S311 - spreads pauses, protects nothing

    def close(self) -> None:
        """Close the connections. Harmless when called twice."""
        self._http.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Json | None = None,
        again: bool = True,
        tries: int = _TRIES,
    ) -> Any:
        """Ask, and again where that helps, and return what the answer's JSON says.

        Args:
            method: Such as `GET`.
            path: Of the operation, with what is variable quoted.
            query: Its fields; those that are None are left out.
            body: Its fields.
            again: Whether obeying it twice is the same as once.
            tries: How often it is asked then, at most.

        Raises:
            ServiceError: The service refuses it.
            Unreachable: It cannot be reached.
            ConnectionLost: The connection broke, and nobody knows whether the request was obeyed.
            ProtocolError: The answer is not one of a build service.
            UsageError: A field cannot be said in JSON.
        """
        try:
            data = b"" if body is None else json.dumps(body).encode()
        except (TypeError, ValueError) as error:  # of kinds of values only, not of what they hold
            raise UsageError(
                f"The request cannot be sent: {error}.",
                hint="give texts, numbers, and mappings of texts",
            ) from None
        n_tried = 0
        while True:
            n_tried += 1
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    async with self._exchange(method, path, query, data, again=again) as answer:
                        return _object(await answer.read(max_bytes=_MAX_ANSWER_BYTES))
            except TimeoutError:
                failed = _Failed(
                    ConnectionLost(
                        f"{self.url} did not answer within {_TIMEOUT_S:g} s.",
                        address=self.url,
                        hint="try again; if it stays, look whether the service runs",
                    ),
                    may_pass=True,
                )
            except _Failed as failure:
                failed = failure
            pause_s = self._pause_s(failed, n_tried, most=tries) if again else None
            if pause_s is None:
                raise failed.error from failed.__cause__
            await asyncio.sleep(pause_s)

    async def log(
        self, build_id: str, *, offset: int, follow: bool
    ) -> AsyncGenerator[list[LogLine], None]:
        """Yield the lines of a log, as many at a time as are there; after a break it goes on where it was.

        Raises:
            ServiceError: The service refuses it.
            Unreachable: It cannot be reached, for several tries.
            ConnectionLost: The connection broke several times without a sign of life in between.
            ProtocolError: The answer is not one of a build service.
        """
        n_failed, most = 0, _TRIES
        while True:
            try:
                async with aclosing(self._lines(build_id, offset, follow)) as pieces:
                    async for lines in pieces:
                        # A service that was there before is worth waiting for: it may be started anew.
                        n_failed, most = 0, PATIENT_TRIES
                        fresh = [line for line in lines if line.offset >= offset]
                        if fresh:
                            offset = fresh[-1].offset + 1
                            yield fresh
                return
            except _Failed as failed:
                n_failed += 1
                pause_s = self._pause_s(failed, n_failed, most=most)
                if pause_s is None:
                    raise failed.error from failed.__cause__
            await asyncio.sleep(pause_s)

    async def _lines(
        self, build_id: str, offset: int, follow: bool
    ) -> AsyncGenerator[list[LogLine], None]:
        """One connection; what breaks a silence is an empty list."""
        query = {"offset": offset, "follow": "true" if follow else "false"}
        path = f"/v1/builds/{quote(build_id, safe='')}/logs"
        async with self._exchange("GET", path, query, b"", again=True) as answer:
            held = bytearray()
            pieces = answer.pieces()
            while True:
                try:
                    async with asyncio.timeout(_MOST_SILENCE_S):
                        piece = await anext(pieces)
                except StopAsyncIteration:
                    break
                except TimeoutError:
                    raise HttpBroken(f"nothing came for {_MOST_SILENCE_S:g} s") from None
                held += piece
                *whole, rest = held.split(b"\n")
                held = bytearray(rest)
                if len(held) > _MAX_LINE_BYTES:
                    raise _not_ours("a line is too long")
                said = [_object(bytes(line)) for line in whole if line.strip()]
                lines = [read_line(one) for one in said if "code" not in one]
                if lines or len(said) < len(whole):
                    yield lines
                for one in said:
                    if "code" in one:
                        raise self._refusal(one)
            if held:
                raise HttpBroken("the log is cut short")

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        data: bytes,
        *,
        again: bool,
    ) -> AsyncIterator[Answer]:
        """One request, and its answer if it is none that refuses."""
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        target = self._prefix + path + (f"?{urlencode(asked)}" if asked else "")
        headers = {"user-agent": user_agent(), "accept": "application/json, application/x-ndjson"}
        if data:
            headers["content-type"] = "application/json"
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            async with self._http.exchange(
                method, target, headers, data, max_idle_s=30.0 if again else 1.0
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise await self._refused(answer)
                yield answer
        except HttpUntrusted as error:
            untrusted = Unreachable(
                f"{self.url} cannot be trusted: {error}.",
                address=self.url,
                hint="give the authority of its certificate with ca=",
            )
            raise _Failed(untrusted, may_pass=False) from error
        except HttpUnreached as error:
            unreached = Unreachable(
                f"{self.url} cannot be reached: {error}.",
                address=self.url,
                hint="check the address, and that the service runs",
            )
            raise _Failed(unreached, may_pass=True) from error
        except HttpBroken as error:
            broken = ConnectionLost(
                f"{self.url} broke the connection: {error}.",
                address=self.url,
                hint="try again; what the service was asked to do it may have done",
            )
            raise _Failed(broken, may_pass=True) from error
        except HttpMalformed as error:
            raise _not_ours(str(error)) from error

    async def _refused(self, answer: Answer) -> _Failed:
        try:
            said = _object(await answer.read(max_bytes=_MAX_ANSWER_BYTES))
        except (HttpMalformed, ProtocolError):  # a proxy's page; its status says enough
            said = {}
        if not isinstance(said.get("code"), str):
            code = _CODES.get(answer.status, "unknown")
            said = {"code": code, "message": f"{self.url} answers HTTP {answer.status}."}
        return self._refusal(said, retry_after_s(answer.headers.get("retry-after", "")))

    def _refusal(self, said: Json, wait_s: float | None = None) -> _Failed:
        """The error that the service tells, as it would be raised where the service is."""
        code, message, hint = (self._masked(str(said.get(x, ""))) for x in _ERROR_FIELDS)
        reason = said.get("reason")
        error: ServiceError = (
            ContextRefused(message, reason=str(reason), hint=hint)
            if reason
            else ServiceError(message, code=code, hint=hint)
        )
        may_pass = code == "unavailable" or (code == "resource_exhausted" and wait_s is not None)
        return _Failed(error, may_pass=may_pass, wait_s=wait_s)

    def _masked(self, text: str) -> str:
        return text.replace(self._token, "•••") if len(self._token) >= _MIN_SECRET_CHARS else text

    def _pause_s(self, failed: _Failed, n_tried: int, *, most: int) -> float | None:
        """How long to wait before the next try; None to give up. Half of our own pause is left to chance."""
        asked_s = failed.wait_s or 0.0
        if not failed.may_pass or n_tried >= most or asked_s > _MOST_PAUSE_S:
            return None
        ours_s = min(self._first_pause_s * 2.0 ** (n_tried - 1), _MOST_PAUSE_S)
        return max(ours_s * (0.5 + self._random.random() / 2), asked_s)


def check_url(url: str) -> str:
    """Return the URL of a service without a slash at its end.

    Raises:
        UsageError: It is no http or https URL with a host, or has a user, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname)
        right = right and (parts.port is None or parts.port > 0)
        right = right and not (parts.username or parts.password or parts.query or parts.fragment)
    except (ValueError, AttributeError):
        right = False
    if not right or not url.isprintable() or " " in url:
        # The URL is not repeated: it may have a password in it.
        raise UsageError(
            "url= is no http or https address without user, query and fragment.",
            hint="give what `depotlab serve` prints, or server.url, such as http://127.0.0.1:8080",
        )
    return url.rstrip("/")


def check_token(token: str) -> str:
    """Return the token.

    Raises:
        UsageError: There is none, or it holds what no token holds.
    """
    if not isinstance(token, str) or not token:
        raise UsageError(
            "There is no token for the build service.",
            hint="give token=, or set DEPOTLAB_SERVICE_TOKEN; `depotlab serve token create` makes one there",
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            "The token for the build service holds a space, a line break or a character that no token has.",
            hint="copy it again, without line breaks and quotes",
        )
    return token


def _trust(ca: str | os.PathLike[str]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=os.fspath(ca))
    except (OSError, ssl.SSLError, TypeError) as error:
        raise UsageError(
            f"ca={ca!r} is no file with a certificate: {error}.",
            hint="give the path of a PEM file, such as server.ca",
        ) from error


def _object(data: bytes) -> Json:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _not_ours("what should be a JSON object is none")
    return found


def _not_ours(why: str) -> ProtocolError:
    return ProtocolError(
        f"The answer is not one of a build service: {why}.",
        hint="check the address, and that no proxy changes its answers",
    )
