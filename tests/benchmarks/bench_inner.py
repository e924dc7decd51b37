"""How fast the inner server frames and unframes, with a peer in memory that only counts.

Run: python -m tests.benchmarks.bench_inner [rounds]. Prints the best round of each, in MB/s and µs a message.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from struct import pack

from hpack import Encoder

from depotlab._rpc.call import Call
from depotlab._rpc.frames import PREFACE, frame
from depotlab._rpc.inner import InnerServer

BIG_BYTES = 1 << 30
BIG_MESSAGE_BYTES = 256 << 10  # as file sync reads files
OUTPUT_MESSAGE_BYTES = 3 << 20  # as the daemon sends exports
TUNNEL_BYTES = 32 << 10  # as the daemon fills its messages
N_SMALL = 200_000
SMALL_BYTES = 60


def request(path: str, *, ends: bool, window_bytes: int) -> bytes:
    """Return the first bytes of a client with one call."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path)]
    fields += [
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    grown = pack(">L", window_bytes - 65535) if window_bytes > 65535 else b""
    return b"".join(
        (
            PREFACE,
            frame(4, 0, 0, pack(">HL", 4, window_bytes)),
            frame(8, 0, 0, grown) if grown else b"",
            frame(1, 5 if ends else 4, 1, Encoder().encode(fields)),
        )
    )


class CountingPeer:
    """A byte stream whose other end counts what it gets, and gives credit as grpc-go does."""

    def __init__(self, window_bytes: int, *, joins: bool) -> None:
        self.n_bytes = 0
        self.n_writes = 0
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._incoming.put_nowait(request("/bench/Send", ends=True, window_bytes=window_bytes))
        self._credit_bytes = window_bytes // 4
        self._owed_bytes = 0
        self._joins = joins

    async def read(self) -> bytes | None:
        return await self._incoming.get()

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        n_bytes = sum(map(len, pieces))
        if self._joins:
            assert len(b"".join(pieces)) == n_bytes
        self.n_bytes += n_bytes
        self.n_writes += 1
        self._owed_bytes += n_bytes
        if self._owed_bytes >= self._credit_bytes:
            credit = pack(">L", self._owed_bytes)
            self._incoming.put_nowait(frame(8, 0, 0, credit) + frame(8, 0, 1, credit))
            self._owed_bytes = 0
        if len(pieces[-1]) > 9 and b"grpc-status" in bytes(pieces[-1]):
            self._incoming.put_nowait(None)
        await asyncio.sleep(0)


async def timed_send(
    handler: Callable[[Call], Awaitable[None]], *, n_bytes: int, window_bytes: int, joins: bool
) -> float:
    peer = CountingPeer(window_bytes, joins=joins)
    started_s = time.perf_counter()
    await InnerServer({"/bench/Send": handler}).serve(peer)
    elapsed_s = time.perf_counter() - started_s
    assert n_bytes < peer.n_bytes < n_bytes * 1.2, (n_bytes, peer.n_bytes)
    return elapsed_s


async def send_big(call: Call) -> None:
    body = memoryview(bytearray(BIG_MESSAGE_BYTES))
    for _ in range(BIG_BYTES // BIG_MESSAGE_BYTES):
        call.queue_pieces([b"\x08\x02\x18\x01\x22\x80\x80\x10", body], length=8 + len(body))
        await call.drain()


async def send_small(call: Call) -> None:
    body = bytes(SMALL_BYTES)
    for _ in range(N_SMALL):
        call.queue(body)
        await call.drain()


class Feeder:
    """A byte stream that sends one call of equal messages in chunks, as the windows allow."""

    def __init__(self, message_bytes: int, n_messages: int) -> None:
        self._chunks = self._make(message_bytes, n_messages)
        self._credit_bytes = 65535
        self._wake = asyncio.Event()
        self._sent_bytes = 0

    def _make(self, message_bytes: int, n_messages: int) -> Iterator[bytes]:
        yield request("/bench/Receive", ends=False, window_bytes=65535)
        message = pack(">BL", 0, message_bytes) + bytes(message_bytes)
        repeats = max(1, TUNNEL_BYTES // len(message))
        waiting = bytearray()
        for _ in range(n_messages // repeats):
            body = message * repeats
            for at in range(0, len(body), 16384):
                waiting += frame(0, 0, 1, body[at : at + 16384])
                while len(waiting) >= TUNNEL_BYTES:
                    yield bytes(waiting[:TUNNEL_BYTES])
                    del waiting[:TUNNEL_BYTES]
        yield bytes(waiting + frame(0, 1, 1, b""))

    async def read(self) -> bytes | None:
        while self._sent_bytes > self._credit_bytes:
            self._wake.clear()
            await self._wake.wait()
        await asyncio.sleep(0)
        chunk = next(self._chunks, None)
        self._sent_bytes += len(chunk or b"")
        return chunk

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        for piece in pieces:
            if piece[3] == 8:
                # Frame heads are counted as if they were data, so follow the connection generously.
                self._credit_bytes += int.from_bytes(piece[9:13]) if not piece[8] else 1 << 14
        self._wake.set()


async def timed_receive(message_bytes: int, n_messages: int) -> float:
    taken = 0

    async def receive(call: Call) -> None:
        nonlocal taken
        while messages := await call.receive_many():
            taken += len(messages)

    # Frames are made in advance: only our side is timed.
    feeder = Feeder(message_bytes, n_messages)
    chunks = list(feeder._chunks)
    feeder._chunks = iter(chunks)
    started_s = time.perf_counter()
    await InnerServer({"/bench/Receive": receive}).serve(feeder)
    elapsed_s = time.perf_counter() - started_s
    assert taken >= n_messages * 0.99, taken
    return elapsed_s


def main(rounds: int = 3) -> None:
    """Run all and print a table."""
    for name, window_bytes, joins in (
        ("1 GiB out, 16 MiB window, framing alone", 16 << 20, False),
        ("1 GiB out, 16 MiB window, joined", 16 << 20, True),
        ("1 GiB out, 64 KiB window, joined", 65535, True),
    ):
        best_s = min(
            asyncio.run(
                timed_send(send_big, n_bytes=BIG_BYTES, window_bytes=window_bytes, joins=joins)
            )
            for _ in range(rounds)
        )
        print(f"{name:45} {BIG_BYTES / best_s / 1e6:8.0f} MB/s")
    n_small = N_SMALL * SMALL_BYTES
    best_s = min(
        asyncio.run(timed_send(send_small, n_bytes=n_small, window_bytes=16 << 20, joins=True))
        for _ in range(rounds)
    )
    print(f"{'200 000 messages of 60 bytes out':45} {best_s / N_SMALL * 1e6:8.2f} µs each")
    n_outputs = (256 << 20) // OUTPUT_MESSAGE_BYTES
    best_s = min(asyncio.run(timed_receive(OUTPUT_MESSAGE_BYTES, n_outputs)) for _ in range(rounds))
    n_bytes = n_outputs * OUTPUT_MESSAGE_BYTES
    print(f"{'256 MiB in, messages of 3 MiB':45} {n_bytes / best_s / 1e6:8.0f} MB/s")
    best_s = min(asyncio.run(timed_receive(SMALL_BYTES, N_SMALL)) for _ in range(rounds))
    print(f"{'200 000 messages of 60 bytes in':45} {best_s / N_SMALL * 1e6:8.2f} µs each")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
