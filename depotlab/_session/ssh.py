"""SSH agents that the steps of a build may use.

Before a step that mounts an agent the daemon asks `CheckAgent`; any error means that there is none, and
fails the step unless its mount is optional. Then it makes a socket for the step, and one `ForwardAgent` call
for each connection to it: bytes in both directions, in chunks without meaning. The end of one direction is
that of the connection; we end the call when we have answered what came before it.

Requests are taken one by one. Those that list keys or sign are answered by the keys in memory or by the
agent on this machine, over a connection of its own; everything else is refused here.

Source: moby/buildkit `session/sshforward/`, `solver/llbsolver/mounts/mount.go`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from depotlab._proto import sshforward_pb2
from depotlab._rpc import Call, Handler, RpcFault, Status, unary
from depotlab._session.service import Report
from depotlab._session.sshagent import (
    FAILURE,
    Frames,
    FrameTooLong,
    KeyAgent,
    check_length,
    frame,
    is_allowed,
)
from depotlab.errors import SessionError
from depotlab.ssh import DEFAULT_ID, Agent

__all__ = ["Ssh"]

_SERVICE = "/moby.sshforward.v1.SSH"
_CHUNK_BYTES = 32 << 10
_CONNECT_S = 5.0

_Ask = Callable[[bytes], Awaitable[bytes]]


class Ssh:
    """The service `moby.sshforward.v1.SSH`.

    Args:
        agents: By id.
        report: Takes what goes wrong on our side.

    Attributes:
        methods: See `Service`.

    Raises:
        UsageError: An agent cannot be used.
    """

    def __init__(self, agents: Mapping[str, Agent], *, report: Report) -> None:
        self._report = report
        self._agents: dict[str, KeyAgent | Path] = {}
        for name, agent in agents.items():
            ready = agent.check()
            self._agents[name or DEFAULT_ID] = ready.host_socket or KeyAgent(ready.keys)
        self.methods: Mapping[str, Handler] = {
            f"{_SERVICE}/CheckAgent": unary(self._check_agent),
            f"{_SERVICE}/ForwardAgent": self._forward_agent,
        }

    async def _check_agent(self, _call: Call, message: bytes) -> bytes:
        request = sshforward_pb2.CheckAgentRequest.FromString(message)
        self._known(request.ID)
        return sshforward_pb2.CheckAgentResponse().SerializeToString()

    async def _forward_agent(self, call: Call) -> None:
        name = self._known(call.metadata.get("buildkit.ssh.id", [""])[0])
        frames = Frames()
        async with self._connected(name) as ask:
            while (message := await call.receive()) is not None:
                data = sshforward_pb2.BytesMessage.FromString(message).data
                try:
                    requests = frames.feed(data)
                except FrameTooLong as error:
                    raise RpcFault(Status.INVALID_ARGUMENT, f"SSH agent: {error}") from error
                for request in requests:
                    await _send(call, await ask(request) if is_allowed(request) else FAILURE)

    def _known(self, name: str) -> str:
        name = name or DEFAULT_ID
        if name not in self._agents:
            raise RpcFault(Status.NOT_FOUND, f"the build was given no SSH agent {name!r}")
        return name

    @contextlib.asynccontextmanager
    async def _connected(self, name: str) -> AsyncIterator[_Ask]:
        """Connect to the agent; yield what gets one answer for one request."""
        agent = self._agents[name]
        if isinstance(agent, KeyAgent):
            yield partial(_ask_in_memory, agent)
            return
        try:
            async with _Connection.open(agent) as connection:
                yield connection.ask
        except (OSError, EOFError, FrameTooLong) as error:
            problem = _lost(name, agent, error)
            self._report(problem)
            raise RpcFault(Status.UNAVAILABLE, problem.message) from error


async def _ask_in_memory(agent: KeyAgent, request: bytes) -> bytes:
    return await asyncio.to_thread(agent.answer, request)


class _Connection:
    """A connection to the agent on this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, host_socket: Path) -> AsyncIterator[_Connection]:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_unix_connection(host_socket)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def ask(self, request: bytes) -> bytes:
        """Send a request and wait for its answer, as long as it takes: agents ask their user."""
        self._writer.write(frame(request))
        await self._writer.drain()
        length = int.from_bytes(await self._reader.readexactly(4), "big")
        check_length(length)
        return await self._reader.readexactly(length)


async def _send(call: Call, answer: bytes) -> None:
    data = frame(answer)
    for at in range(0, len(data), _CHUNK_BYTES):
        chunk = sshforward_pb2.BytesMessage(data=data[at : at + _CHUNK_BYTES])
        await call.send(chunk.SerializeToString())


def _lost(name: str, host_socket: Path, error: Exception) -> SessionError:
    reason = "it closed the connection"
    if isinstance(error, FrameTooLong):
        reason = f"it sent {error}"
    elif isinstance(error, TimeoutError):
        reason = f"it took no connection within {_CONNECT_S:g} s"
    elif isinstance(error, OSError):
        reason = (error.strerror or type(error).__name__).lower()
    return SessionError(
        f"The SSH agent {name!r} at {host_socket} gave no answer: {reason}.",
        path=str(host_socket),
        hint="see with `ssh-add -l` whether it runs; ssh.keys(...) needs no agent",
    )
