"""A Depot API in this process: answers as it is told, and keeps what it was asked. It may stand before a real one.

It speaks HTTP/1.1 itself, byte by byte, so that a test can make it break every rule of it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from depotlab._depot.wire import enveloped

__all__ = [
    "Asked",
    "FakePlane",
    "body_of",
    "ended",
    "fault",
    "forwarded",
    "http",
    "message",
    "serving",
    "stream",
]


@dataclass(frozen=True)
class Asked:
    """One request, whole.

    Attributes:
        name: Last word of the path.
        connection: Number of the connection that it came on, from 0.
    """

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def parsed(self, kind: type[Any]) -> Any:
        return kind.FromString(self.body)


Reply = bytes | None
"""What is written back; None closes the connection without a word."""

Script = Callable[[Asked], Reply | Awaitable[Reply]]


def http(status: int, body: bytes = b"", content_type: str = "text/plain", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


def message(reply: Any) -> bytes:
    return http(200, reply.SerializeToString(), "application/proto")


def fault(status: int, code: str, text: str, **headers: str) -> bytes:
    body = json.dumps({"code": code, "message": text}).encode()
    return http(status, body, "application/json", **headers)


def ended(error: dict[str, str] | None = None) -> bytes:
    data = json.dumps({"error": error} if error else {}).encode()
    return b"\x02" + enveloped(data)[1:]


def stream(*envelopes: bytes, whole: bool = True) -> bytes:
    """A chunked answer of these envelopes; one that is not whole lacks the last chunk."""
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/connect+proto\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(e), e) for e in envelopes)
    return head.encode() + chunks + (b"0\r\n\r\n" if whole else b"")


@dataclass
class FakePlane:
    """Listens on the loopback while `serving` is entered.

    Attributes:
        answers: For each method by its last word: a reply, a list of replies of which the last one stays, or
            what makes one of a request. A reply that does not end a body closes the connection after it.
        before: URL of the API that answers everything else; empty refuses it.
        asked: Requests so far.
    """

    answers: dict[str, Reply | list[Reply] | Script] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    before: str = ""
    n_connections: int = 0
    n_open: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def named(self, name: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.name == name]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that connections and requests change."""
        async with self.changed:
            await self.changed.wait_for(holds)

    async def _say(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.n_connections = self.n_connections, self.n_connections + 1
        self.n_open += 1
        try:
            while (asked := await _request(reader, number)) is not None:
                self.asked.append(asked)
                await self._say()
                reply = await self._reply(asked)
                if reply is None:
                    return
                writer.write(reply)
                await writer.drain()
                if b"\r\ncontent-length:" not in reply and not reply.endswith(b"0\r\n\r\n"):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.n_open -= 1
            writer.close()
            await self._say()

    async def _reply(self, asked: Asked) -> Reply:
        if asked.name not in self.answers and self.before:
            return await forwarded(self.before, asked)
        if asked.name not in self.answers:
            return fault(404, "unimplemented", "no answer was planned")
        answer = self.answers[asked.name]
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            made = answer(asked)
            return made if made is None or isinstance(made, bytes) else await made
        return answer


@asynccontextmanager
async def serving(
    answers: dict[str, Any] | None = None, *, tls: ssl.SSLContext | None = None, before: str = ""
) -> AsyncIterator[FakePlane]:
    plane = FakePlane(answers or {}, before=before)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await plane._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    plane.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    try:
        yield plane
    finally:
        server.close()
        await asyncio.sleep(0.01)  # connections that were just accepted get their task
        for _ in range(10):  # also when the computer had no time for us meanwhile
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the loop lets go of aborted sockets in its next turn


async def forwarded(url: str, asked: Asked) -> Reply:
    """Ask another API the same, over a connection of its own; None if it breaks off."""
    there = urlsplit(url)
    assert there.hostname is not None
    assert there.port is not None
    left_out = ("connection", "content-length", "transfer-encoding")
    lines = [f"{name}: {value}" for name, value in asked.headers.items() if name not in left_out]
    head = [f"POST {asked.path} HTTP/1.1", *lines, "connection: close"]
    head.append(f"content-length: {len(asked.body)}")
    try:
        reader, writer = await asyncio.open_connection(there.hostname, there.port)
        try:
            writer.write("\r\n".join((*head, "", "")).encode() + asked.body)
            return await reader.read() or None
        finally:
            writer.transport.abort()
    except ConnectionError:
        return None


def body_of(reply: bytes) -> bytes:
    """The body of a reply that came from another API."""
    head, _, rest = reply.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while rest:
        length, _, rest = rest.partition(b"\r\n")
        n_bytes = int(length, 16)
        body, rest = body + rest[:n_bytes], rest[n_bytes + 2 :]
    return body


async def _request(reader: asyncio.StreamReader, connection: int) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = head[:-4].decode().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while n_bytes := int(await reader.readline(), 16):
            body += (await reader.readexactly(n_bytes + 2))[:-2]
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(start.split(" ")[1], headers, body, connection)
