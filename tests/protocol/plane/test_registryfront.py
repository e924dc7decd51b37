"""The registry's front between a client and a registry that a test plays, also a faulty one."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from depotlab._local import _ports
from depotlab._plane.registryfront import Front
from tests.support.secure_peers import Answer, listening, tasks_that_stay

GOOD = "Basic " + b64encode(b"x-token:good").decode()
BLOB = "/v2/p/blobs/sha256:" + "a" * 64


def admit(user: str, password: str, project_id: str, push: bool) -> bool:
    return password == "good" and project_id in ("", "p")


class Client:
    """Speaks raw HTTP/1.1 on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, method: str, target: str, *fields: str, body: bytes = b"") -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: registry.example:1", *fields]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def hear(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        n_bytes = int(fields.get("content-length", 0))
        return int(head[0].split()[1]), fields, await self.reader.readexactly(n_bytes)

    async def ask(self, method: str, target: str, *fields: str, body: bytes = b""):
        self.say(method, target, f"Authorization: {GOOD}", *fields, body=body)
        return await self.hear()


@asynccontextmanager
async def front(folder: Path, registry: Answer) -> AsyncIterator[tuple[Front, Client]]:
    made = Front(admit, folder / "r.sock")
    async with listening(registry, path=folder / "r.sock"):
        port = _ports.choose(folder, None)
        await made.open("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield made, Client(reader, writer)
        finally:
            writer.close()
            await made.close()
            await made.close()


def play(story: Callable[[Client], Awaitable[None]], folder: Path, registry: Answer) -> None:
    async def run() -> list[str]:
        async with front(folder, registry) as (_, client):
            async with asyncio.timeout(100):
                await story(client)
        return await tasks_that_stay()

    assert asyncio.run(run()) == []


def scripted(*answers: bytes, heard: list[bytes] | None = None) -> Answer:
    """A registry that answers the requests of a connection in order, each once its head is there."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for text in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            if heard is not None:
                heard.append(head)
            writer.write(text)
            await writer.drain()

    return answer


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_the_registry_never_sees_the_token_and_fields_of_one_connection_stay_there(tmp_path):
    heard: list[bytes] = []

    async def story(client: Client) -> None:
        status, _, body = await client.ask(
            "GET", BLOB, "X-Forwarded-Host: evil", "Accept: a/b", "Range: bytes=0-1"
        )
        assert (status, body) == (200, b"hi")

    play(story, tmp_path, scripted(OK, heard=heard))
    (head,) = heard
    assert b"uthorization" not in head
    assert GOOD.encode() not in head
    assert b"evil" not in head
    assert b"accept: a/b" in head.lower()
    assert b"range: bytes=0-1" in head.lower()
    assert b"host: registry.example:1" in head.lower()


def test_one_connection_serves_many_requests_also_refused_ones(tmp_path):
    async def story(client: Client) -> None:
        for _ in range(3):
            assert (await client.ask("GET", BLOB))[0] == 200
            client.say("GET", BLOB)
            status, fields, _ = await client.hear()
            assert status == 401
            assert fields["www-authenticate"].startswith("basic realm=")
            assert (await client.ask("GET", "/v2/q/tags/list"))[0] == 403

    play(story, tmp_path, scripted(OK, OK, OK))


@pytest.mark.parametrize(
    "location",
    [
        "/v2/p/blobs/uploads/1?_state=x%3D",
        "http://registry/v2/p/blobs/uploads/1?_state=x%3D",
        "https://elsewhere:5/v2/p/blobs/uploads/1?_state=x%3D",
    ],
)
def test_an_upload_goes_on_at_the_front(tmp_path, location):
    answer = f"HTTP/1.1 202 Accepted\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()

    async def story(client: Client) -> None:
        _, fields, _ = await client.ask("POST", "/v2/p/blobs/uploads/", "Content-Length: 0")
        assert fields["location"] == "/v2/p/blobs/uploads/1?_state=x%3d"

    play(story, tmp_path, scripted(answer))


def test_a_body_passes_in_both_framings(tmp_path):
    got: list[bytes] = []

    async def registry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"chunked" in head:
                body = b""
                while n_bytes := int(await reader.readline(), 16):
                    body += await reader.readexactly(n_bytes)
                    await reader.readline()
                await reader.readline()
            else:
                body = await reader.readexactly(7)
            got.append(body)
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    async def story(client: Client) -> None:
        target = "/v2/p/blobs/uploads/1"
        assert (await client.ask("PATCH", target, "Content-Length: 7", body=b"7 bytes"))[0] == 202
        chunks = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
        assert (await client.ask("PATCH", target, "Transfer-Encoding: chunked", body=chunks))[
            0
        ] == 202

    play(story, tmp_path, registry)
    assert got == [b"7 bytes", b"abcdefg"]


def test_an_answer_without_a_length_passes(tmp_path):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

    async def story(client: Client) -> None:
        client.say("GET", BLOB, f"Authorization: {GOOD}")
        heard = await client.reader.readuntil(b"0\r\n\r\n")
        assert b"abc" in heard

    play(story, tmp_path, scripted(answer))


def test_a_client_that_waits_for_the_go_ahead_gets_it_only_when_it_may(tmp_path):
    async def registry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"expect" not in head.lower()
        assert await reader.readexactly(3) == b"abc"
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    async def story(client: Client) -> None:
        target = "/v2/p/manifests/b1"
        waits = ("Content-Length: 3", "Expect: 100-continue")
        client.say("PUT", target, f"Authorization: {GOOD}", *waits)
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 Continue")
        client.writer.write(b"abc")
        assert (await client.hear())[0] == 201
        client.say("PUT", target, *waits)
        status, fields, _ = await client.hear()
        assert (status, fields["connection"]) == (401, "close")

    play(story, tmp_path, registry)


def test_head_has_a_length_and_no_body(tmp_path):
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n", OK]

    async def story(client: Client) -> None:
        client.say("HEAD", BLOB, f"Authorization: {GOOD}")
        assert b"content-length: 77" in (await client.reader.readuntil(b"\r\n\r\n")).lower()
        client.say("HEAD", BLOB)
        assert b"401" in await client.reader.readuntil(b"\r\n\r\n")
        assert (await client.ask("GET", BLOB))[2] == b"hi"

    play(story, tmp_path, scripted(*answers))


def test_a_registry_that_is_gone_is_told_as_such_and_the_next_request_tries_again(tmp_path):
    n_connections = [0]

    async def registry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        n_connections[0] += 1
        await reader.readuntil(b"\r\n\r\n")
        if n_connections[0] > 1:
            writer.write(OK)
            await writer.drain()
            await reader.read()

    async def story(client: Client) -> None:
        status, _, body = await client.ask("GET", BLOB)
        assert status == 502
        assert b"does not answer" in body
        assert (await client.ask("GET", BLOB))[0] == 200

    play(story, tmp_path, registry)


def test_a_registry_that_stops_inside_an_answer_ends_the_connection(tmp_path):
    async def registry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async def story(client: Client) -> None:
        client.say("GET", BLOB, f"Authorization: {GOOD}")
        assert (await client.reader.read(-1)).endswith(b"half")  # short, so the client knows

    play(story, tmp_path, registry)


def test_a_refusal_in_the_middle_of_an_upload_reaches_the_client(tmp_path):
    async def registry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(1000)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(0.5)

    async def story(client: Client) -> None:
        target = "/v2/p/blobs/uploads/1"
        client.say("PATCH", target, f"Authorization: {GOOD}", "Content-Length: 50000000")
        client.writer.write(bytes(1 << 20))
        status, fields, body = await client.hear()
        assert (status, fields["connection"], body) == (413, "close", b"no")

    play(story, tmp_path, registry)


def test_a_client_that_leaves_in_the_middle_of_an_upload_ends_it(tmp_path):
    ended = asyncio.Event()

    async def registry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass
        ended.set()

    async def story(client: Client) -> None:
        target = "/v2/p/blobs/uploads/1"
        client.say("PATCH", target, f"Authorization: {GOOD}", "Content-Length: 50000000")
        client.writer.write(bytes(100_000))
        await client.writer.drain()
        client.writer.close()
        await ended.wait()

    play(story, tmp_path, registry)


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01" + bytes(50), b"GET / HTTP/9\r\n\r\n", b"GET /" + b"a" * 100_000]
)
def test_what_is_no_http_ends_the_connection(tmp_path, data):
    async def story(client: Client) -> None:
        client.writer.write(data)
        assert await client.reader.read() == b""

    play(story, tmp_path, scripted(OK))


def test_a_large_layer_passes_without_being_held(tmp_path):
    n_bytes = 64 << 20
    may_read = asyncio.Event()

    async def registry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await may_read.wait()
        left = n_bytes
        while left:
            left -= len(await reader.read(1 << 20))
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    async def story(client: Client) -> None:
        target = "/v2/p/blobs/uploads/1"
        client.say("PATCH", target, f"Authorization: {GOOD}", f"Content-Length: {n_bytes}")
        sent = [0]

        async def send() -> None:
            for _ in range(n_bytes >> 16):
                client.writer.write(bytes(1 << 16))
                sent[0] += 1 << 16
                await client.writer.drain()

        sending = asyncio.create_task(send())
        before = -1
        while sent[0] != before:  # until nothing moves any more
            before = sent[0]
            await asyncio.sleep(0.3)
        assert sent[0] < 20 << 20
        may_read.set()
        await sending
        assert (await client.hear())[0] == 202

    play(story, tmp_path, registry)
