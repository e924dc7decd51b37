"""A `Transport` on a socket, without a copy between us and the kernel.

Asyncio's own transports join the pieces of a write and copy what does not fit into the socket at once; a GiB is then
copied twice more than needed. Here pieces go to the kernel as they are (`sendmsg`), and what it did not take is
sent when it can take more. `write` returns while the last batch may still be on its way, so that the next one is made
meanwhile, and waits before it takes a third.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from itertools import islice

from depotlab._rpc.tcpinfo import LinkWatch
from depotlab.errors import ConnectionLost

__all__ = ["SocketTransport"]

READ_BYTES = 256 << 10
# Chunks that were read and nobody has taken; then the kernel keeps the rest.
READ_AHEAD = 2
# Most pieces that one sendmsg takes (IOV_MAX of Linux and macOS is 1024).
MOST_PIECES = 1000
CLOSE_S = 1.0


class SocketTransport:
    """A `Transport` on a connected socket that does not block.

    Args:
        connected: Belongs to the transport from now on.
        address: For errors.
    """

    def __init__(self, connected: socket.socket, *, address: str) -> None:
        self._socket = connected
        self._descriptor = connected.fileno()
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes] = deque()
        self._input_ended = False
        self._read_failure: OSError | None = None
        self._write_failure: OSError | None = None
        self._reader: asyncio.Future[None] | None = None
        self._reading = False  # the loop tells us when there is something to read
        self._unsent: deque[bytes | memoryview] = deque()
        self._unsent_bytes = 0
        self._waiting_for_room = False  # the loop tells us when the kernel takes more
        self._writer: asyncio.Future[None] | None = None
        self._closed = False
        self._link = LinkWatch(connected)

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the peer has closed, or we have.

        Raises:
            ConnectionLost: The connection broke.
        """
        while not self._chunks:
            if self._read_failure is not None:
                raise self._lost(self._read_failure)
            if self._input_ended or self._closed:
                return None
            if not self._reading:
                self._reading = True
                self._loop.add_reader(self._descriptor, self._receive)
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._chunks.popleft()

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces in order; returns when the peer has taken all that was given before.

        Buffers must not change afterwards.

        Raises:
            ConnectionLost: The connection broke, or is closed.
        """
        while self._unsent:
            await self._until_sent()
        if self._write_failure is None and not self._closed:
            self._unsent.extend(pieces)
            self._unsent_bytes = sum(map(len, pieces))
            self._send()
            if self._unsent and not self._waiting_for_room:
                self._waiting_for_room = True
                self._loop.add_writer(self._descriptor, self._send_rest)
        if self._write_failure is not None or self._closed:
            raise self._lost(self._write_failure)

    def is_link_full(self) -> bool:
        """Whether the network holds up what was written; see `LinkWatch`."""
        return not self._closed and self._link.is_full()

    async def close(self) -> None:
        """Send what is left, for a moment at most, and close. Can be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    while self._unsent:
                        await self._until_sent()
        finally:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._socket.close()
            self._unsent.clear()
            _wake(self._reader)
            _wake(self._writer)

    def _receive(self) -> None:
        """Called by the loop when there is something to read."""
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._read_failure = error
        else:
            if data:
                self._chunks.append(data)
            else:
                self._input_ended = True
        if self._input_ended or self._read_failure or len(self._chunks) >= READ_AHEAD:
            self._reading = False
            self._loop.remove_reader(self._descriptor)
        _wake(self._reader)

    async def _until_sent(self) -> None:
        self._writer = self._loop.create_future()
        try:
            await self._writer
        finally:
            self._writer = None

    def _send_rest(self) -> None:
        """Called by the loop when the kernel takes more."""
        if not self._unsent:  # the one before sent all, and nothing has come since
            self._waiting_for_room = False
            self._loop.remove_writer(self._descriptor)
            return
        self._send()
        if not self._unsent:
            _wake(self._writer)

    def _send(self) -> None:
        """Give the kernel what it takes."""
        unsent = self._unsent
        try:
            while unsent:
                n_sent = self._socket.sendmsg(islice(unsent, MOST_PIECES))
                self._unsent_bytes -= n_sent
                if not self._unsent_bytes:
                    unsent.clear()
                    return
                while n_sent >= len(unsent[0]):
                    n_sent -= len(unsent.popleft())
                if n_sent:
                    unsent[0] = memoryview(unsent[0])[n_sent:]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._write_failure = error
            unsent.clear()

    def _lost(self, error: OSError | None) -> ConnectionLost:
        reason = (error.strerror or str(error)).lower() if error is not None else "it is closed"
        return ConnectionLost(
            f"The connection to {self._address} was lost: {reason}.",
            address=self._address,
            hint="finished steps are in the daemon's cache: build again",
        )


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
