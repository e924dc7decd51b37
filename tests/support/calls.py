"""A `Call` made in memory: a handler at one end, a test at the other."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Mapping

from depotlab._rpc import Handler, RpcFault

__all__ = ["MemoryCall", "ask_once"]


class MemoryCall:
    """A `Call` whose far end is a test.

    Args:
        method: Full name.
        metadata: Request headers.
        high_water_bytes: `drain` waits while more than this is queued.

    Attributes:
        peak_bytes: The most that was queued at one time.
        n_drained: How often `drain` was called.
        takes_gzip: Whether the far end understands compressed messages; they are inflated in `take`.
        link_is_full: What the call says of its link.
        n_gzip: How many of them were queued.
        keeps_pieces: Whether a handler may take messages apart itself.
        cut_to: How many bytes of each burst it is given then, or None for all.
    """

    def __init__(
        self,
        metadata: Mapping[str, list[str]] | None = None,
        *,
        method: str = "/test.Test/Test",
        high_water_bytes: int = 1 << 16,
    ) -> None:
        self.method = method
        self.metadata: Mapping[str, list[str]] = metadata or {}
        self.high_water_bytes = high_water_bytes
        self.peak_bytes = 0
        self.n_drained = 0
        self._incoming: deque[bytes] = deque()
        self._outgoing: deque[bytes] = deque()
        self.takes_gzip = False
        self.link_is_full = False
        self.n_gzip = 0
        self.keeps_pieces = True
        self.cut_to: int | None = None
        self._queued_bytes = 0
        self._peer_ended = False
        self._ended = False
        self._wakers: list[asyncio.Future[None]] = []

    # ---------------------------------------------------------------------------- our end

    async def receive(self) -> bytes | None:
        while not self._incoming:
            if self._peer_ended:
                return None
            await self._sleep()
        return self._incoming.popleft()

    async def receive_many(self) -> list[bytes]:
        while not self._incoming:
            if self._peer_ended:
                return []
            await self._sleep()
        messages = list(self._incoming)
        self._incoming.clear()
        return messages

    def keep_pieces(self) -> bool:
        return self.keeps_pieces

    async def receive_pieces(self) -> list[memoryview]:
        assert self.keeps_pieces
        data = b"".join(
            b"\0" + len(message).to_bytes(4, "big") + message
            for message in await self.receive_many()
        )
        data = data[: self.cut_to]
        # Cut anywhere, as a socket does.
        return [memoryview(data)[at : at + 1009] for at in range(0, len(data), 1009)]

    def queue(self, *messages: bytes | bytearray | memoryview) -> None:
        for message in messages:
            self.queue_pieces([memoryview(message)], length=len(message))

    def queue_pieces(self, pieces: list[bytes | memoryview], *, length: int) -> None:
        message = b"".join(pieces)
        assert len(message) == length, "the pieces of a message have another length than was said"
        self._outgoing.append(message)
        self._queued_bytes += length
        self.peak_bytes = max(self.peak_bytes, self._queued_bytes)
        self._wake()

    def use_gzip(self) -> bool:
        return self.takes_gzip

    def is_link_full(self) -> bool:
        return self.link_is_full

    def queue_gzip(self, message: bytes) -> None:
        assert self.takes_gzip, "a compressed message for a far end that does not understand it"
        self.n_gzip += 1
        self.queue(zlib.decompress(message, wbits=31))

    async def drain(self) -> None:
        self.n_drained += 1
        while self._queued_bytes > self.high_water_bytes:
            await self._sleep()

    async def send(self, message: bytes | bytearray | memoryview) -> None:
        self.queue(message)
        await self.drain()

    # ------------------------------------------------------------------------ the far end

    def deliver(self, *messages: bytes) -> None:
        """Send messages to the handler."""
        self._incoming.extend(messages)
        self._wake()

    def half_close(self) -> None:
        """Send no more messages."""
        self._peer_ended = True
        self._wake()

    async def take(self) -> bytes | None:
        """Take the next message of the handler, or None when it has ended and all is taken."""
        while not self._outgoing:
            if self._ended:
                return None
            await self._sleep()
        message = self._outgoing.popleft()
        self._queued_bytes -= len(message)
        self._wake()
        return message

    async def serve(self, handler: Handler) -> RpcFault | None:
        """Run a handler on this call; return how it ended, None for OK."""
        try:
            await handler(self)
        except RpcFault as fault:
            return fault
        finally:
            self._ended = True
            self._wake()
        return None

    async def _sleep(self) -> None:
        waker = asyncio.get_running_loop().create_future()
        self._wakers.append(waker)
        await waker

    def _wake(self) -> None:
        wakers, self._wakers = self._wakers, []
        for waker in wakers:
            if not waker.done():
                waker.set_result(None)


async def ask_once(handler: Handler, request: bytes) -> bytes:
    """Call a method with one request and return its one answer; its fault is raised."""
    call = MemoryCall()
    call.deliver(request)
    call.half_close()
    fault = await call.serve(handler)
    if fault is not None:
        raise fault
    answer = await call.take()
    assert answer is not None, "the handler gave no answer"
    assert await call.take() is None, "the handler gave more than one answer"
    return answer
