"""The Connect protocol as a client: typed calls and streams over HTTP/1.1.

`wire` knows the framing, `http1` the connections, `retry` when to try again; here they are put together.
A call has one deadline for all its tries. It is told to the server, and kept by our own clock.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError

from depotlab._depot.address import DEFAULT_URL, check_token, check_url
from depotlab._depot.agent import user_agent
from depotlab._depot.errors import (
    BadReply,
    DeadlineExceeded,
    DepotError,
    TlsFailed,
    error_for,
)
from depotlab._depot.http1 import (
    Answer,
    Http,
    HttpBroken,
    HttpMalformed,
    HttpUnreached,
    HttpUntrusted,
)
from depotlab._depot.retry import Retry
from depotlab._depot.telling import told
from depotlab._depot.wire import Envelopes, enveloped, http_error
from depotlab._rpc import Telling

__all__ = ["Connect", "Message", "Method"]

MAX_REPLY_BYTES = 16 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024

# What is shorter guards nothing, and would be cut out of ordinary words.
_MIN_SECRET_CHARS = 8

# A call that must not be obeyed twice is not risked on a connection that the peer may just be closing.
_MAX_IDLE_ONCE_S = 1.0


class Message(Protocol):
    """What every generated message can do."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        ...

    def ParseFromString(self, serialized: bytes) -> int:  # noqa: N802 - protobuf's name
        ...


ReplyT = TypeVar("ReplyT", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[ReplyT]):
    """One method of the API.

    Attributes:
        path: On the wire, such as `/depot.core.v1.ProjectService/GetProject`.
        reply: The message that it answers with.
        idempotent: Whether obeying it twice is the same as once, so that it may be tried again.
    """

    path: str
    reply: type[ReplyT]
    idempotent: bool = False

    @property
    def name(self) -> str:
        """The last word of the path."""
        return self.path.rpartition("/")[2]


class Connect:
    """A client of one API with one token. To be used on one event loop; connects when it is first used.

    Args:
        base_url: Such as `https://api.depot.dev`. A path in it is put before those of the methods.
        token: Sent as bearer; without one there is no such header at all. Never shown.
        trust: What the server's certificate is checked against; None is the system's roots.
        retry: How often idempotent calls are tried, and with which pauses.
        timeout_s: For a call that is not given a limit of its own.

    Raises:
        UsageError: The URL is none of http or https, or the token has characters that no header takes.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        token: str = "",
        trust: ssl.SSLContext | None = None,
        retry: Retry | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._url = check_url(base_url)
        self._prefix = urlsplit(self._url).path.rstrip("/")
        self._token = check_token(token)
        self._trust = trust
        self._retry = retry or Retry()
        self._timeout_s = timeout_s
        self._http = Http(self._url, trust=trust)
        self._owns_http = True
        self._random = random.Random()  # noqa: S311 - spreads pauses, protects nothing

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return self._url

    def __repr__(self) -> str:
        return f"Connect({self._url!r}{', token=•••' if self._token else ''})"

    def close(self) -> None:
        """Close the connections, unless they are another's. Harmless when called twice.

        Calls still work after it, each over a connection of its own.
        """
        if self._owns_http:
            self._http.close()

    def with_token(self, token: str) -> Connect:
        """Return a client of the same API with another token, which shares our connections."""
        made = self.another(token=token)
        made._http, made._owns_http = self._http, False  # noqa: SLF001 - it is one of us
        return made

    def another(self, *, token: str | None = None, retry: Retry | None = None) -> Connect:
        """Return a client of the same API with connections of its own.

        Args:
            token: None is the same.
            retry: None is the same.
        """
        return Connect(
            self._url,
            token=self._token if token is None else token,
            trust=self._trust,
            retry=retry or self._retry,
            timeout_s=self._timeout_s,
        )

    async def unary(
        self, method: Method[ReplyT], request: Message, *, timeout_s: float | None = None
    ) -> ReplyT:
        """Ask once, and again if that is safe, and return the reply.

        Args:
            method: What to ask.
            request: The message of the method.
            timeout_s: For all tries and pauses together; None is the client's own limit.

        Raises:
            DepotError: Of the class that fits, with the server's message.
        """
        reply, _ = await self.dated(method, request, timeout_s=timeout_s)
        return reply

    async def dated(
        self, method: Method[ReplyT], request: Message, *, timeout_s: float | None = None
    ) -> tuple[ReplyT, datetime | None]:
        """Do what `unary` does, and return also when the server says that it answered.

        Returns:
            The reply; and the server's clock in UTC, cut to whole seconds, or None if it did not say.

        Raises:
            DepotError: Of the class that fits, with the server's message.
        """
        data = request.SerializeToString()
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        n_tried = 0
        while True:
            n_tried += 1
            left_s = deadline - loop.time()
            try:
                async with asyncio.timeout(left_s):
                    return await self._try(method, data, left_s)
            except TimeoutError as error:
                if isinstance(error, DepotError):
                    raise
                raise self._late(method.name, timeout_s) from None
            except DepotError as error:
                pause_s = self._retry.pause_s(
                    error,
                    n_tried=n_tried,
                    idempotent=method.idempotent,
                    draw=self._random.random(),
                )
                if pause_s is None or loop.time() + pause_s >= deadline:
                    raise
            await asyncio.sleep(pause_s)

    async def stream(
        self,
        method: Method[ReplyT],
        requests: Iterable[Message] | AsyncIterable[Message],
        *,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[ReplyT, None]:
        """Send messages and yield replies, as they come; never tried again.

        On HTTP/1.1 the replies begin when the last request was sent, so this is for streams in one direction: a
        server's after one request, or a client's, whose one reply comes at its end. A server that answers before
        that ends the sending.
        Leave it early only through `contextlib.aclosing`, which closes the connection.

        Args:
            method: What to call.
            requests: One for a server's stream; any number for a client's.
            timeout_s: For the whole stream, or None.

        Raises:
            DepotError: Of the class that fits, with the server's message.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        replies = self._replies(method, requests, timeout_s)
        async with aclosing(replies):
            while True:
                # The clock runs while we wait for the server, and is off while the caller holds a reply:
                # a timeout must not reach into the caller's code.
                try:
                    async with asyncio.timeout_at(deadline):
                        reply = await anext(replies)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    if isinstance(error, DepotError):
                        raise
                    raise self._late(method.name, timeout_s or 0.0) from None
                yield reply

    async def _try(
        self, method: Method[ReplyT], data: bytes, left_s: float
    ) -> tuple[ReplyT, datetime | None]:
        idle_s = 30.0 if method.idempotent else _MAX_IDLE_ONCE_S
        headers = self._headers("application/proto", left_s)
        with told(method.path, headers, self._url) as telling:
            if telling is not None:
                telling.size("client", len(data))
            try:
                async with self._http.exchange(
                    "POST", self._prefix + method.path, headers, data, max_idle_s=idle_s
                ) as answer:
                    if answer.status != 200:
                        raise await self._refusal(answer, method.name)
                    _check_type(answer, "application/proto", method.name)
                    came = await answer.read(max_bytes=MAX_REPLY_BYTES)
                    if telling is not None:
                        telling.size("daemon", len(came))
                    return _parsed(method, came), _date_of(answer)
            except (HttpUnreached, HttpBroken, HttpMalformed) as error:
                raise self._transport_error(error, method.name) from error

    async def _replies(
        self,
        method: Method[ReplyT],
        requests: Iterable[Message] | AsyncIterable[Message],
        timeout_s: float | None,
    ) -> AsyncGenerator[ReplyT, None]:
        headers = self._headers("application/connect+proto", timeout_s)
        envelopes = Envelopes(max_bytes=MAX_REPLY_BYTES)
        with told(method.path, headers, self._url) as telling:
            try:
                async with self._http.exchange(
                    "POST",
                    self._prefix + method.path,
                    headers,
                    _envelopes_of(requests, telling),
                    max_idle_s=_MAX_IDLE_ONCE_S,
                ) as answer:
                    if answer.status != 200:
                        raise await self._refusal(answer, method.name)
                    _check_type(answer, "application/connect+proto", method.name)
                    async for piece in answer.pieces():
                        for data in envelopes.feed(piece):
                            if telling is not None:
                                telling.size("daemon", len(data))
                            yield _parsed(method, data)
                    envelopes.finish(method=method.name)
            except (HttpUnreached, HttpBroken, HttpMalformed) as error:
                raise self._transport_error(error, method.name) from error
            except DepotError as error:
                raise self._clean(error) from None

    def _headers(self, content_type: str, timeout_s: float | None) -> dict[str, str]:
        headers = {
            "content-type": content_type,
            "connect-protocol-version": "1",
            "user-agent": user_agent(),
        }
        if timeout_s is not None:
            headers["connect-timeout-ms"] = str(max(1, min(int(timeout_s * 1000), 9_999_999_999)))
        # An empty bearer is a malformed header to some servers, which then end the whole connection.
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        return headers

    async def _refusal(self, answer: Answer, name: str) -> DepotError:
        try:
            body = await answer.read(max_bytes=_MAX_ERROR_BYTES)
        except HttpMalformed:  # a page of somebody else; its status says enough
            body = b""
        return self._clean(http_error(answer.status, answer.headers, body, method=name))

    def _transport_error(self, error: Exception, name: str) -> DepotError:
        if isinstance(error, HttpMalformed):
            return BadReply(
                f"{name}: the answer of {self._url} cannot be used: {error}.",
                hint="check that DEPOT_API_URL is the address of a Depot API",
                code="internal",
                method=name,
            )
        if isinstance(error, HttpUntrusted):
            return TlsFailed(
                f"{name}: {self._url} cannot be trusted: {error}.",
                hint="check the address and this computer's clock; SSL_CERT_FILE names the authority of a private API",
                code="unavailable",
                method=name,
            )
        verb = "cannot be reached" if isinstance(error, HttpUnreached) else "broke the connection"
        failed = error_for("unavailable", f"{self._url} {verb}: {error}", method=name)
        return self._clean(failed)

    def _late(self, name: str, timeout_s: float) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{name}: {self._url} did not answer within {timeout_s:g} s.",
            hint="try again, or allow more time with timeout_s=",
            code="deadline_exceeded",
            method=name,
        )

    def masked(self, text: str) -> str:
        """Return a text without our token, should it be in there."""
        if len(self._token) < _MIN_SECRET_CHARS:
            return text
        return text.replace(self._token, "•••")

    def _clean(self, error: DepotError) -> DepotError:
        """Cut our token out of what the server said, should it have said it back."""
        error.message = self.masked(error.message)
        error.server_message = self.masked(error.server_message)
        error.args = (error.message,)
        return error


def _date_of(answer: Answer) -> datetime | None:
    try:
        moment = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _check_type(answer: Answer, wanted: str, name: str) -> None:
    found = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != wanted or answer.headers.get("content-encoding", "identity") != "identity":
        raise BadReply(
            f"{name}: the answer cannot be used: it is {found or 'of no type'!r}, not {wanted!r}.",
            hint="check that DEPOT_API_URL is the address of a Depot API",
            code="internal",
            method=name,
            http_status=answer.status,
        )


def _parsed(method: Method[ReplyT], data: bytes) -> ReplyT:
    reply = method.reply()
    try:
        reply.ParseFromString(data)
    except DecodeError:
        raise BadReply(
            f"{method.name}: the answer cannot be used: it is no {type(reply).__name__}.",
            hint="check that DEPOT_API_URL is the address of a Depot API",
            code="internal",
            method=method.name,
        ) from None
    return reply


async def _envelopes_of(
    requests: Iterable[Message] | AsyncIterable[Message], telling: Telling | None
) -> AsyncIterator[bytes]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield _enveloped(request, telling)
    else:
        for request in requests:
            yield _enveloped(request, telling)


def _enveloped(request: Message, telling: Telling | None) -> bytes:
    data = request.SerializeToString()
    if telling is not None:
        telling.size("client", len(data))
    return enveloped(data)
