"""Calls of the plane's own to a daemon, over its private socket: one connection, one call.

The request leaves in the same flight as the connection's preface, so when `Call.open` returns, the kernel has it: the
daemon sees it before anything that is sent to it afterwards.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from struct import Struct

from depotlab._rpc import (
    DATA,
    END_STREAM,
    ClientConnection,
    Inbox,
    RpcFailed,
    SocketTransport,
    Status,
    Tally,
    frame,
    request_block,
)
from depotlab.errors import ConnectionLost, Unreachable

_PREFIX = Struct(">BL")
_STREAM = 1  # of the only call of a connection
# Of one answer. buildkitd sends no larger one. Source: moby/buildkit util/appdefaults, 16 MiB.
_ANSWER_LIMIT_BYTES = 64 << 20


async def connect(host_socket: Path) -> SocketTransport:
    """Open a connection to a daemon.

    Raises:
        Unreachable: Nobody listens.
    """
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        # Room for a whole batch; what the system does not allow it cuts to what it does.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        await asyncio.get_running_loop().sock_connect(opened, str(host_socket))
    except OSError as error:
        opened.close()
        raise Unreachable(
            f"The machine does not answer: {error.strerror or error}.", address=str(host_socket)
        ) from error
    except BaseException:
        opened.close()
        raise
    return SocketTransport(opened, address="the machine")


class Call:
    """One request and its answers, as bytes of messages."""

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport
        self._state = ClientConnection()
        self._answers = Inbox(Tally(), limit_bytes=_ANSWER_LIMIT_BYTES)

    @classmethod
    async def open(cls, host_socket: Path, method: str, request: bytes) -> Call:
        """Send a request of at most 64 KiB.

        Args:
            host_socket: The daemon's.
            method: Full name, such as `/moby.buildkit.v1.Control/Status`.
            request: The serialized message.

        Raises:
            Unreachable: Nobody listens.
            ConnectionLost: The daemon went away.
        """
        call = cls(await connect(host_socket))
        state, message = call._state, _PREFIX.pack(0, len(request)) + request
        state.open(request_block(method, scheme="http", authority="localhost", metadata=()))
        out = state.take_control()
        state.frame_pieces([message], len(message), out)
        out.append(frame(DATA, END_STREAM, _STREAM, b""))
        try:
            await call._transport.write(out)
        except BaseException:
            await call.close()
            raise
        return call

    async def read(self) -> bytes | None:
        """Return the next answer, or None at the good end of the call.

        Raises:
            RpcFailed: The daemon ended the call with another status than OK.
            RpcFault: An answer is no message.
            ConnectionLost: The daemon went away.
        """
        state, answers = self._state, self._answers
        while not answers.ready:
            if state.ended:
                if state.failure is not None:
                    raise state.failure
                return None
            chunk = await self._transport.read()
            if chunk is None:
                raise ConnectionLost("The machine has closed the connection.", address="")
            for piece in state.receive(chunk):
                answers.feed(bytes(piece), 0, len(piece))
            if answers.fault is not None:
                raise answers.fault
            if state.has_control:
                await self._transport.write(state.take_control())
        return answers.take()

    async def close(self) -> None:
        """Let go; a call that runs is cancelled. Can be called twice."""
        await self._transport.close()


async def ask(host_socket: Path, method: str, request: bytes, *, timeout_s: float) -> bytes:
    """One request, one answer.

    Raises:
        RpcFailed: The daemon answered with another status than OK.
        LinkError: There is no daemon.
        TimeoutError: It did not answer in time.
    """
    async with asyncio.timeout(timeout_s):
        call = await Call.open(host_socket, method, request)
        try:
            answer = await call.read()
        finally:
            await call.close()
    if answer is None:
        raise RpcFailed(Status.INTERNAL, f"{method} has no answer")
    return answer
