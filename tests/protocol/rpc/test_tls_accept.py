"""Both sides of TLS over a pair of sockets: who is let in says who it is, and who is not is told."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from depotlab._plane.authority import Authority
from depotlab._rpc import TLS, SocketTransport, TlsTransport, client_context, server_context
from depotlab.errors import ConnectionLost, Unreachable

NAME = "machine.test"
URI = "spiffe://test/build/b1"


def meeting(
    server: Authority,
    client: Authority,
    both: Callable[[Awaitable[TlsTransport], Awaitable[TlsTransport]], Awaitable[Any]],
) -> Any:
    """Run `both` with the two handshakes, which nobody has begun yet."""
    leaf, visitor = server.server(NAME), client.client(URI, "visitor")
    there = server_context((leaf.key_pem + leaf.cert_pem).encode(), client_ca=server.ca_pem)
    here = client_context(
        TLS(
            ca=server.ca_pem.encode(),
            cert=visitor.cert_pem.encode(),
            key=visitor.key_pem.encode(),
            server_name=NAME,
        )
    )

    async def run() -> Any:
        pair = socket.socketpair()
        ends = []
        for one in pair:
            one.setblocking(False)
            ends.append(SocketTransport(one, address="a peer"))
        try:
            return await both(
                TlsTransport.accept(ends[0], there, address="a client"),
                TlsTransport.start(ends[1], here, server_name=NAME, address="the machine"),
            )
        finally:
            for end in ends:
                await end.close()

    return asyncio.run(run())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def test_bytes_go_both_ways_and_the_client_has_said_who_it_is(authority):
    data = bytes(range(256)) * 8000

    async def both(accepting, starting):
        near, far = await asyncio.gather(accepting, starting)
        assert (near.protocol, near.peer_uris, far.protocol) == ("h2", [URI], "h2")
        for one, other in ((near, far), (far, near)):
            sending = asyncio.create_task(one.write([data[:1000], memoryview(data)[1000:]]))
            got = b""
            while len(got) < len(data):
                got += await other.read()
            await sending
            assert got == data
        await far.close()
        assert await near.read() is None
        await near.close()
        await near.close()

    meeting(authority, authority, both)


def test_a_client_of_another_authority_is_refused_and_told(authority, tmp_path):
    async def both(accepting, starting):
        async def serve():
            with pytest.raises(ssl.SSLError):
                await accepting

        async def visit():
            far = await starting
            with pytest.raises(Unreachable, match=r"does not accept our certificate.*unknown ca"):
                await far.read()

        await asyncio.gather(serve(), visit())

    meeting(authority, Authority(tmp_path / "other"), both)


def test_nothing_is_sent_after_the_end(authority):
    async def both(accepting, starting):
        near, far = await asyncio.gather(accepting, starting)
        await near.write([b"first"])
        assert await far.read() == b"first"
        await near.close()
        with pytest.raises(ConnectionLost, match=r"to a client|to a peer"):
            await near.write([b"more"])

    meeting(authority, authority, both)
