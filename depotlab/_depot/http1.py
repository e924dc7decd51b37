"""HTTP/1.1 as a client of one origin needs it: a few connections that are kept, and answers of bounded size.

The client speaks first. A request is a head and a body, whose length is told or which comes in chunks; the answer
is the same the other way round. A connection may be used again when both were read to their ends. The peer may
close a kept connection at any moment: then a request on it is lost, and nobody knows whether it was seen.

Behind a proxy, a request to an http address goes to the proxy with the whole URL in it; to an https address the proxy
is asked for a tunnel first, and TLS is spoken with the origin through it.

Source: RFC 9112 sections 3.2.2, 6, 7 and 9; RFC 9110 section 9.3.6 (CONNECT).
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from depotlab._depot.proxies import HttpProxy, find_http_proxy

__all__ = ["Answer", "Http", "HttpBroken", "HttpMalformed", "HttpUnreached", "HttpUntrusted"]

_HEAD_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024
_MAX_KEPT = 8
_MAX_IDLE_S = 30.0


class HttpUnreached(Exception):
    """Nothing was sent: the peer cannot be reached, or its certificate is not trusted."""


class HttpUntrusted(HttpUnreached):
    """There was no agreement on TLS; most often, the peer's certificate is not trusted."""


class HttpBroken(Exception):
    """The connection ended before the whole answer was there; the request may have been obeyed."""


class HttpMalformed(Exception):
    """The answer is not HTTP, or is larger than allowed."""


@dataclass(slots=True)
class _Link:
    """One connection. `idle_since` is of the monotonic clock, in seconds."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_since: float = 0.0


class Answer:
    """The head of an answer, and its body as it comes.

    Attributes:
        status: Such as 200.
        headers: By lower-case name; several of one name are joined by commas.
        finished: Whether the body was read to its end.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str], reader: asyncio.StreamReader
    ) -> None:
        self.status = status
        self.headers = headers
        self.finished = False
        self._reader = reader

    @property
    def keeps(self) -> bool:
        """Whether the connection may be used again, once the body was read."""
        words = {word.strip().lower() for word in self.headers.get("connection", "").split(",")}
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        return framed and "close" not in words

    async def read(self, *, max_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            HttpBroken: It is cut short.
            HttpMalformed: It has more than `max_bytes`.
        """
        pieces = []
        size_bytes = 0
        async for piece in self.pieces():
            size_bytes += len(piece)
            if size_bytes > max_bytes:
                raise HttpMalformed(f"the answer has more than {max_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces of at most 64 KiB.

        Raises:
            HttpBroken: It is cut short.
            HttpMalformed: Its framing is wrong.
        """
        with _reading():
            if "chunked" in self.headers.get("transfer-encoding", "").lower():
                while n_bytes := _chunk_length(await self._reader.readuntil(b"\n")):
                    async for piece in self._exactly(n_bytes):
                        yield piece
                    await self._reader.readuntil(b"\n")
                while (await self._reader.readuntil(b"\n")).strip():
                    pass
            elif "content-length" in self.headers:
                async for piece in self._exactly(_content_length(self.headers["content-length"])):
                    yield piece
            else:
                while piece := await self._reader.read(_PIECE_BYTES):
                    yield piece
        self.finished = True

    async def _exactly(self, n_bytes: int) -> AsyncIterator[bytes]:
        while n_bytes:
            piece = await self._reader.read(min(n_bytes, _PIECE_BYTES))
            if not piece:
                raise HttpBroken("the answer is cut short")
            n_bytes -= len(piece)
            yield piece


class Http:
    """Connections to one origin. To be used on one event loop; opens nothing before the first request.

    Args:
        origin: `http://host:port` or `https://host`.
        trust: What certificates are checked against; None is the system's roots (and `SSL_CERT_FILE`).
        environ: Names the proxy, if there is one; None is this process's.

    Raises:
        UsageError: The environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        origin: str,
        *,
        trust: ssl.SSLContext | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        url = urlsplit(origin)
        self._secure = url.scheme == "https"
        self._host = url.hostname or ""
        self._port = url.port or (443 if self._secure else 80)
        self._authority = url.netloc.rpartition("@")[2]
        self._trust = trust
        self._kept: list[_Link] = []
        self._closed = False
        environ = os.environ if environ is None else environ
        self._proxy = find_http_proxy(self._host, self._port, secure=self._secure, environ=environ)

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | AsyncIterable[bytes] = b"",
        *,
        max_idle_s: float = _MAX_IDLE_S,
    ) -> AsyncIterator[Answer]:
        """Send a request and give its answer as soon as its head is there.

        Args:
            method: Such as `POST`.
            target: Path and query.
            headers: Without `host` and what says how long the body is.
            body: What is still coming when the peer has answered is not sent any more.
            max_idle_s: A kept connection that was idle for longer is not used.

        Raises:
            HttpUnreached: Nothing was sent.
            HttpBroken: The connection ended before there was a whole head.
            HttpMalformed: The answer is not HTTP.
        """
        link = await self._take(max_idle_s)
        done = False
        try:
            if isinstance(body, bytes):
                length = [("content-length", str(len(body)))]
                with suppress(ConnectionError):  # what the peer said before it closed is worth more
                    link.writer.write(self._head(method, target, headers, length) + body)
                    await link.writer.drain()
                answer = await _answer(link.reader)
                sent = True
            else:
                link.writer.write(
                    self._head(method, target, headers, [("transfer-encoding", "chunked")])
                )
                answer, sent = await _answer_while_sending(link, body)
            yield answer
            done = sent and answer.finished and answer.keeps
        finally:
            if done and not self._closed and len(self._kept) < _MAX_KEPT:
                link.idle_since = time.monotonic()
                self._kept.append(link)
            else:
                link.writer.transport.abort()

    def close(self) -> None:
        """Close what is kept, and from now on keep nothing. Harmless when called twice."""
        self._closed = True
        kept, self._kept = self._kept, []
        for link in kept:
            link.writer.transport.abort()

    def _head(
        self, method: str, target: str, headers: Mapping[str, str], more: Iterable[tuple[str, str]]
    ) -> bytes:
        if self._proxy is not None and not self._secure:
            target = f"http://{self._authority}{target}"
            if self._proxy.authorization:
                more = (*more, ("proxy-authorization", self._proxy.authorization))
        lines = [f"{method} {target} HTTP/1.1", f"host: {self._authority}"]
        for name, value in (*headers.items(), *more):
            if not value.isprintable():
                raise ValueError(f"header {name} cannot be sent: it holds control characters")
            lines.append(f"{name}: {value}")
        return "\r\n".join((*lines, "", "")).encode()

    async def _take(self, max_idle_s: float) -> _Link:
        if self._kept:
            await asyncio.sleep(0)  # lets the loop see which of them the peer has closed
        while self._kept:
            link = self._kept.pop()
            usable = not link.reader.at_eof() and not link.writer.is_closing()
            if usable and time.monotonic() - link.idle_since <= max_idle_s:
                return link
            link.writer.transport.abort()
        try:
            if self._secure and self._trust is None:
                places = (os.environ.get(name, "") for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
                self._trust = _default_trust(*places)
            if self._proxy is not None:
                reader, writer = await self._through(self._proxy)
            else:
                reader, writer = await asyncio.open_connection(
                    self._host,
                    self._port,
                    ssl=self._trust if self._secure else None,
                    limit=_HEAD_BYTES,
                )
        except ssl.SSLCertVerificationError as error:
            raise HttpUntrusted(
                f"its certificate is not accepted: {error.verify_message}"
            ) from error
        except ssl.SSLError as error:
            raise HttpUntrusted(f"TLS failed: {error.reason or error}") from error
        except OSError as error:
            raise HttpUnreached(str(error) or type(error).__name__) from error
        return _Link(reader, writer)

    async def _through(self, proxy: HttpProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the proxy, and through it where TLS is to be spoken with the origin itself."""
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port, limit=_HEAD_BYTES)
        if not self._secure:
            return reader, writer
        assert self._trust is not None
        try:
            host = f"[{self._host}]" if ":" in self._host else self._host
            lines = [f"CONNECT {host}:{self._port} HTTP/1.1", f"host: {host}:{self._port}"]
            if proxy.authorization:
                lines.append(f"proxy-authorization: {proxy.authorization}")
            writer.write("\r\n".join((*lines, "", "")).encode())
            try:
                answer = await _answer(reader)
            except (HttpBroken, HttpMalformed) as error:
                raise HttpUnreached(f"the proxy {proxy} does not answer as one: {error}") from error
            if not 200 <= answer.status < 300:
                raise HttpUnreached(f"the proxy {proxy} refused: HTTP {answer.status}")
            await writer.start_tls(self._trust, server_hostname=self._host)
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer


@lru_cache(maxsize=4)
def _default_trust(cert_file: str, cert_dir: str) -> ssl.SSLContext:
    """The system's roots, or what these variables name. Reading them takes 30 ms, so it is done once."""
    return ssl.create_default_context()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    """Read a head, after those that only announce another."""
    while True:
        with _reading():
            head = await reader.readuntil(b"\r\n\r\n")
        start, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, _, rest = start.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or len(status) != 3 or not status.isdecimal():
            raise HttpMalformed("the answer does not begin as HTTP/1.1 does")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise HttpMalformed("the answer has a header that is none")
            name = name.lower()
            value = value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if not status.startswith("1"):
            return Answer(int(status), headers, reader)


async def _answer_while_sending(link: _Link, body: AsyncIterable[bytes]) -> tuple[Answer, bool]:
    """Return the answer, and whether all of the body was sent before it came."""
    sending = asyncio.create_task(_send_chunks(link.writer, body))
    hearing = asyncio.create_task(_answer(link.reader))
    try:
        await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()  # what the caller's iterator raised
        answer = await hearing
        return answer, sending.done()
    finally:
        for task in (sending, hearing):
            task.cancel()
        await asyncio.gather(sending, hearing, return_exceptions=True)


async def _send_chunks(writer: asyncio.StreamWriter, body: AsyncIterable[bytes]) -> None:
    with suppress(ConnectionError):  # the answer, or its absence, says more
        async for piece in body:
            if piece:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


class _reading:  # noqa: N801 - used as a word in a with statement
    """Names what goes wrong while bytes are read."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncio.IncompleteReadError):
            raise HttpBroken(
                "the peer closed the connection before its answer was complete"
            ) from error
        if isinstance(error, asyncio.LimitOverrunError):
            raise HttpMalformed("the answer has a line that is too long") from error
        if isinstance(error, OSError):
            raise HttpBroken(str(error) or type(error).__name__) from error


def _chunk_length(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise HttpMalformed("a chunk of the answer has no length")
    return int(digits, 16)


def _content_length(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise HttpMalformed(f"the answer's length is no number: {text!r}")
    return int(text)
