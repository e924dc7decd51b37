"""The store of contexts over HTTP: PUT an archive once, GET it, each with an address that was signed for it.

`curl -T context.tar.gz "$URL"` puts one. The daemon gets it: on a repeat it sends HEAD with `If-None-Match` first, so
that is answered with an address for GET as well. An archive is written as it comes; it has its name when all of it is
there, so a broken upload leaves nothing. Answers are words for people.

Source of what the daemon asks: moby/buildkit `source/http/source.go`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from depotlab._values import bytes_text
from depotlab.service._storage.shelf import Arriving, Leaving, Shelf, Taken, etag
from depotlab.service._storage.signing import Denied, Signer
from depotlab.service._storage.threads import Threads

__all__ = ["StoreServer"]

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_PIECE_BYTES = 1 << 20
_STALLED_S = 60.0
# Who is refused may still be sending, and hears us only if we listen for a while.
_HEARD_BYTES = 16 << 20
_HEARD_S = 10.0
# Who tries again may come before it is noticed that his first try broke off.
_MOST_AT_ONCE = 2


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class _Gone(Exception):
    """The client is no more there."""


class StoreServer:
    """An ASGI application.

    Args:
        shelf: Where archives are.
        signer: Knows which addresses are good.
        threads: For what blocks.
    """

    def __init__(self, shelf: Shelf, signer: Signer, threads: Threads) -> None:
        self._shelf = shelf
        self._signer = signer
        self._threads = threads
        self._n_arriving: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        key = scope["path"].removeprefix("/")
        query = scope["query_string"].decode("latin-1")
        try:
            match scope["method"]:
                case "PUT":
                    await self._put(key, query, headers, receive, send)
                case "GET" | "HEAD" as method:
                    await self._get(method, key, query, headers, receive, send)
                case _:
                    raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Archives are put and got here.")
        except Denied as error:
            await _refuse(HTTPStatus.FORBIDDEN, str(error), receive, send)
        except _Refused as error:
            await _refuse(error.status, error.text, receive, send)
        except _Gone:
            return

    async def _put(
        self, key: str, query: str, headers: dict[str, str], receive: Receive, send: Send
    ) -> None:
        max_bytes = self._signer.check("PUT", key, query)
        said_bytes = headers.get("content-length", "")
        if said_bytes and not re.fullmatch("[0-9]{1,18}", said_bytes):
            raise _Refused(HTTPStatus.BAD_REQUEST, "The content-length is no number.")
        if said_bytes and int(said_bytes) > max_bytes:
            raise _too_large(max_bytes)
        if await self._threads.run(self._shelf.has, key):
            raise _taken()
        # Of many at once each would fill the disk up to the limit.
        if self._n_arriving[key] == _MOST_AT_ONCE:
            raise _Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{_MOST_AT_ONCE} uploads to this address are under way. Wait for one of them to end.",
            )
        self._n_arriving[key] += 1
        try:
            kept_as = await self._receive(key, max_bytes, said_bytes, receive)
        except OSError as error:
            # Its text would name a file of ours.
            raise _Refused(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"The archive could not be kept: {error.strerror or type(error).__name__}. Try again later.",
            ) from error
        finally:
            self._n_arriving[key] -= 1
            if not self._n_arriving[key]:
                del self._n_arriving[key]
        await _answer(HTTPStatus.OK, b"", kept_as, send)

    async def _receive(self, key: str, max_bytes: int, said_bytes: str, receive: Receive) -> str:
        arriving = self._shelf.arrive()
        try:
            n_bytes = await self._write(arriving, max_bytes, receive)
            if said_bytes and n_bytes != int(said_bytes):
                raise _Gone
            host_path = self._shelf.path(key)
            return etag(await self._threads.run(arriving.keep, host_path))
        except Taken:
            raise _taken() from None
        finally:
            # Also when we are cancelled: nothing is left then.
            await asyncio.shield(self._threads.run(arriving.abandon))

    async def _write(self, arriving: Arriving, max_bytes: int, receive: Receive) -> int:
        """Write a body as it comes, and return how long it was."""
        n_bytes = 0
        waiting = bytearray()
        more = True
        while more:
            piece, more = await _body(receive)
            n_bytes += len(piece)
            if n_bytes > max_bytes:
                raise _too_large(max_bytes)
            waiting += piece
            if len(waiting) >= _PIECE_BYTES or (waiting and not more):
                await self._threads.run(arriving.write, bytes(waiting))
                waiting.clear()
        return n_bytes

    async def _get(
        self,
        method: str,
        key: str,
        query: str,
        headers: dict[str, str],
        receive: Receive,
        send: Send,
    ) -> None:
        self._signer.check("GET", key, query)
        try:
            # At once: one that was opened in a thread for who is cancelled meanwhile would stay open.
            leaving = self._shelf.open(key)
        except FileNotFoundError:
            raise _Refused(HTTPStatus.NOT_FOUND, "There is no archive under this key.") from None
        try:
            if _knows(headers.get("if-none-match", ""), leaving.etag):
                await _answer(HTTPStatus.NOT_MODIFIED, b"", leaving.etag, send)
                return
            about = [
                (b"content-type", b"application/octet-stream"),
                (b"content-length", str(leaving.size_bytes).encode()),
                (b"etag", leaving.etag.encode()),
            ]
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": about})
            if method == "GET":
                await self._send(leaving, receive, send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            await asyncio.shield(self._threads.run(leaving.close))

    async def _send(self, leaving: Leaving, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            while not gone.done() and (
                piece := await self._threads.run(leaving.read, _PIECE_BYTES)
            ):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            gone.cancel()


async def _body(receive: Receive) -> tuple[bytes, bool]:
    """Return a piece of a body, and whether there are more."""
    try:
        async with asyncio.timeout(_STALLED_S):
            message = await receive()
    except TimeoutError:
        raise _Refused(HTTPStatus.REQUEST_TIMEOUT, f"Nothing came for {_STALLED_S:g} s.") from None
    if message["type"] == "http.disconnect":
        raise _Gone
    return message.get("body", b""), message.get("more_body", False)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(status: HTTPStatus, body: bytes, etag_text: str, send: Send) -> None:
    headers = [(b"etag", etag_text.encode())]
    if status != HTTPStatus.NOT_MODIFIED:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(status: HTTPStatus, text: str, receive: Receive, send: Send) -> None:
    """Say no at once, and listen to the rest for a while: who still sends would find the connection reset instead."""
    body = f"{text}\n".encode()
    about = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": about})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    n_bytes, more = 0, True
    with contextlib.suppress(_Gone, _Refused, TimeoutError):
        async with asyncio.timeout(_HEARD_S):
            while more and n_bytes < _HEARD_BYTES:
                piece, more = await _body(receive)
                n_bytes += len(piece)
    await send({"type": "http.response.body", "body": b""})


def _too_large(max_bytes: int) -> _Refused:
    return _Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The archive is larger than {bytes_text(max_bytes)}. Leave out what the build does not need.",
    )


def _taken() -> _Refused:
    return _Refused(
        HTTPStatus.CONFLICT,
        "An archive was put here already. Build that one, or ask for another upload URL.",
    )


def _knows(said: str, etag_text: str) -> bool:
    known = [one.strip().removeprefix("W/") for one in said.split(",")]
    return "*" in known or etag_text in known
