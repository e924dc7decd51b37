"""The gate and its clients in one process: who is refused before a byte reaches a daemon, and how bytes pass."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from depotlab._plane.authority import Authority
from depotlab._plane.gate import Gate, Refused
from depotlab._plane.identity import Identity, MachineKey
from tests.support.machinery import client_context, until
from tests.support.secure_peers import Answer, echo, listening, tasks_that_stay

MACHINE = MachineKey("p", "amd64")
OTHER = MachineKey("q", "amd64")
BUILD = Identity("b1", MACHINE)
# What every client says first; the tap wants to see it.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def data_frame(n_bytes: int) -> bytes:
    """DATA of a call that is no solve."""
    return b"\0\x40\0" + b"\0\0" + b"\0\0\0\1" + bytes(n_bytes)


FRAME = data_frame(16384)


@dataclass
class Door:
    """A gate in front of a daemon that is not one, and what it was asked."""

    authority: Authority
    gate: Gate
    folder: Path
    came: list[Identity] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)

    def admit(self, identity: Identity) -> Path:
        if identity.build_id in self.closed:
            raise Refused(f"{identity.build_id} may not")
        self.came.append(identity)
        return self.folder / "daemon.sock"

    async def enter(
        self,
        identity: Identity = BUILD,
        *,
        server_name: str = "",
        context: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1",
            self.gate.port,
            ssl=context or self.context(identity),
            server_hostname=server_name or identity.machine.server_name,
            limit=1 << 16,
        )

    def context(self, identity: Identity, authority: Authority | None = None) -> ssl.SSLContext:
        leaf = (authority or self.authority).client(identity.uri, "x")
        return client_context(self.authority.ca_pem, leaf.cert_pem, leaf.key_pem)


@asynccontextmanager
async def door(folder: Path, daemon: Answer = echo) -> AsyncIterator[Door]:
    authority = Authority(folder / "ca")
    made: list[Door] = []
    gate = Gate(authority, admit=lambda who: made[0].admit(who), tell=lambda build_id, m: None)
    made.append(Door(authority, gate, folder))
    gate.add_machine(MACHINE)
    gate.add_machine(OTHER)
    async with listening(daemon, path=folder / "daemon.sock"):
        await gate.open("127.0.0.1")
        try:
            yield made[0]
        finally:
            await gate.close()
            await gate.close()


async def refused(door: Door, **how) -> str:
    """Try to come in; returns why the gate says no. The client sees the end, or an alert."""
    n_before = len(door.gate.refused)
    try:
        reader, writer = await door.enter(**how)
        writer.write(HELLO)
        assert await reader.read(100) == b""
        writer.close()
        await writer.wait_closed()
    except (ssl.SSLError, ConnectionError):
        pass
    await until(lambda: len(door.gate.refused) > n_before, what="the gate says why")
    return door.gate.refused[n_before]


def play(story: Callable[[Door], Awaitable[None]], folder: Path, daemon: Answer = echo) -> None:
    async def run() -> list[str]:
        async with door(folder, daemon) as made:
            await story(made)
        return await tasks_that_stay()

    assert asyncio.run(run()) == []


def test_the_right_certificate_comes_in_and_bytes_pass_as_they_are(tmp_path):
    async def story(door: Door) -> None:
        reader, writer = await door.enter()
        writer.write(HELLO + FRAME)
        assert await reader.readexactly(len(HELLO + FRAME)) == HELLO + FRAME
        assert door.came == [BUILD]
        assert list(door.gate._visitors) == [BUILD]
        (connection,) = door.gate._visitors[BUILD].connections
        writer.close()
        await until(connection.done, what="the connection ends")
        assert list(door.gate.refused) == []

    play(story, tmp_path)


def test_who_shows_no_certificate_is_refused(tmp_path):
    async def story(door: Door) -> None:
        why = await refused(door, context=client_context(door.authority.ca_pem))
        assert "peer did not return a certificate" in why
        assert door.came == []

    play(story, tmp_path)


def test_a_certificate_of_another_authority_is_refused(tmp_path):
    async def story(door: Door) -> None:
        foreign = Authority(tmp_path / "foreign")
        why = await refused(door, context=door.context(BUILD, foreign))
        assert "certificate verify failed" in why
        assert door.came == []

    play(story, tmp_path)


@pytest.mark.parametrize("hours", [-30, 30], ids=["expired", "not yet valid"])
def test_a_certificate_of_another_time_is_refused(tmp_path, hours):
    async def story(door: Door) -> None:
        then = Authority(tmp_path / "ca", now=lambda: datetime.now(UTC) + timedelta(hours=hours))
        why = await refused(door, context=door.context(BUILD, then))
        assert "certificate verify failed" in why
        assert door.came == []

    play(story, tmp_path)


def test_a_certificate_of_a_machine_does_not_make_a_client(tmp_path):
    async def story(door: Door) -> None:
        leaf = door.authority.server(MACHINE.server_name)
        context = client_context(door.authority.ca_pem, leaf.cert_pem, leaf.key_pem)
        assert "certificate verify failed" in await refused(door, context=context)

    play(story, tmp_path)


@pytest.mark.parametrize("uri", ["https://example.org/b1", BUILD.uri + "/more"])
def test_a_certificate_of_ours_that_names_no_build_is_refused(tmp_path, uri):
    async def story(door: Door) -> None:
        leaf = door.authority.client(uri, "x")
        context = client_context(door.authority.ca_pem, leaf.cert_pem, leaf.key_pem)
        assert "names no build" in await refused(door, context=context)

    play(story, tmp_path)


def test_the_build_of_another_project_is_refused_though_its_certificate_is_good(tmp_path):
    async def story(door: Door) -> None:
        stranger = Identity("b2", OTHER)
        why = await refused(door, identity=stranger, server_name=MACHINE.server_name)
        assert why == f"build b2 asked for {MACHINE.server_name}, which is not its machine"
        assert door.came == []

    play(story, tmp_path)


def test_a_name_that_no_machine_has_is_refused_in_the_handshake(tmp_path):
    async def story(door: Door) -> None:
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await door.enter(server_name="amd64.x.machines.depotlab.internal")
        assert any("which is no machine" in why for why in door.gate.refused)

    play(story, tmp_path)


def test_a_client_that_asks_for_no_name_is_refused(tmp_path):
    async def story(door: Door) -> None:
        context = door.context(BUILD)
        context.check_hostname = False
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await asyncio.open_connection(
                "127.0.0.1", door.gate.port, ssl=context, server_hostname=""
            )

    play(story, tmp_path)


def test_a_build_that_may_not_is_refused(tmp_path):
    async def story(door: Door) -> None:
        door.closed.add("b1")
        assert await refused(door) == "b1 may not"

    play(story, tmp_path)


def test_older_tls_and_other_protocols_are_refused(tmp_path):
    async def story(door: Door) -> None:
        context = door.context(BUILD)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert "unsupported protocol" in await refused(door, context=context)
        context = door.context(BUILD)
        context.set_alpn_protocols(["http/1.1"])
        assert "does not speak HTTP/2" in await refused(door, context=context)
        reader, writer = await asyncio.open_connection("127.0.0.1", door.gate.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.read()
        writer.close()
        assert door.came == []

    play(story, tmp_path)


def test_a_client_that_is_no_http2_client_is_cut_off(tmp_path):
    async def story(door: Door) -> None:
        reader, writer = await door.enter()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        await until(lambda: door.gate.refused, what="the gate says why")
        assert "build b1" in door.gate.refused[0]

    play(story, tmp_path)


def test_the_daemon_closing_ends_the_connection_after_its_last_bytes(tmp_path):
    async def last_words(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(HELLO))
        writer.write(b"goodbye" * 100_000)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def story(door: Door) -> None:
        reader, writer = await door.enter()
        writer.write(HELLO)
        heard = b""
        while data := await reader.read(1 << 20):
            heard += data
        assert heard == b"goodbye" * 100_000
        writer.close()

    play(story, tmp_path, last_words)


def test_a_daemon_that_does_not_read_slows_its_client_and_fills_no_memory(tmp_path):
    release = asyncio.Event()
    taken = [0]

    async def reads_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        while data := await reader.read(1 << 20):
            taken[0] += len(data)

    n_frames = 4000  # 65 MB

    async def story(door: Door) -> None:
        _, writer = await door.enter()
        writer.transport.set_write_buffer_limits(high=1 << 16)
        writer.write(HELLO)
        sent = [len(HELLO)]

        async def send() -> None:
            for _ in range(n_frames):
                writer.write(FRAME)
                sent[0] += len(FRAME)
                await writer.drain()

        sending = asyncio.create_task(send())
        before = -1
        while sent[0] != before:  # until nothing moves any more
            before = sent[0]
            await asyncio.sleep(0.3)
        # Kernel buffers of two sockets on two sides, and a few chunks of ours.
        assert sent[0] < 20 << 20
        release.set()
        await sending
        await until(lambda: taken[0] == sent[0], timeout_s=20, what="all has arrived")
        assert sent[0] == len(HELLO) + n_frames * len(FRAME)
        writer.close()

    play(story, tmp_path, reads_late)


def test_sending_a_build_away_cuts_its_connections_and_no_others(tmp_path):
    async def story(door: Door) -> None:
        neighbour = Identity("b2", MACHINE)
        one, two = await door.enter(), await door.enter(neighbour)
        for reader, writer in (one, two):
            writer.write(HELLO)
            await reader.readexactly(len(HELLO))
        await door.gate.send_away(BUILD)
        await door.gate.send_away(BUILD)
        assert await one[0].read() == b""
        two[1].write(FRAME)
        assert await two[0].readexactly(len(FRAME)) == FRAME
        assert list(door.gate._visitors) == [neighbour]
        for _, writer in (one, two):
            writer.close()

    play(story, tmp_path)


def test_a_client_that_says_nothing_does_not_keep_the_gate_from_closing(tmp_path):
    async def story(door: Door) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", door.gate.port)
        await asyncio.sleep(0.05)
        async with asyncio.timeout(60):
            await door.gate.close()
        writer.close()

    play(story, tmp_path)


@pytest.mark.parametrize("n_turns", range(4))
def test_who_connects_in_the_moment_of_the_end_is_not_left_hanging(tmp_path, n_turns):
    async def main() -> bytes:
        async with door(tmp_path) as made:
            _, writer = await made.enter()  # it listens, and waits for the next
            writer.close()
            with socket.create_connection(("127.0.0.1", made.gate.port)) as near:
                near.settimeout(60)
                for _ in range(n_turns):
                    await asyncio.sleep(0)
                gc.disable()  # it would close what nobody has
                try:
                    await made.gate.close()
                    return near.recv(1)
                except ConnectionResetError:  # it was never taken
                    return b""
                finally:
                    gc.enable()

    assert asyncio.run(main()) == b""
