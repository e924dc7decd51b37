"""A transport on a socket, against the other end of a socket pair."""

from __future__ import annotations

import asyncio
import socket

import pytest

from depotlab._rpc import sockets
from depotlab._rpc.sockets import SocketTransport


class Clock:
    """Stands for `time` in the transport: whoever waits gets a portion meanwhile."""

    def __init__(self, peer: socket.socket, portion: bytes) -> None:
        self._peer = peer
        self._portion = portion
        self.n_waits = 0

    def sleep(self, seconds: float) -> None:
        assert seconds == sockets.GATHER_S
        self.n_waits += 1
        self._peer.sendall(self._portion)


@pytest.mark.parametrize(
    ("n_bytes", "n_waits"),
    [
        pytest.param(1_000, 0, id="words"),
        pytest.param(20_000, 1, id="a bulk in portions"),
    ],
)
def test_portions_of_a_bulk_are_gathered_and_words_never_wait(
    n_bytes: int, n_waits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, peer = socket.socketpair()
    portion = bytes(n_bytes)
    clock = Clock(peer, portion)
    monkeypatch.setattr(sockets, "time", clock)

    async def main() -> list[int]:
        ours.setblocking(False)
        transport = SocketTransport(ours, address="a peer")
        sizes = []
        for _ in range(2):
            peer.sendall(portion)
            sizes.append(len(await transport.read() or b""))
        await transport.close()
        return sizes

    assert asyncio.run(main()) == [n_bytes, n_bytes * (1 + n_waits)]
    assert clock.n_waits == n_waits
    peer.close()
