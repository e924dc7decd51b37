"""Ports that speak HTTP/1.1 and HTTP/2, with and without TLS, over hypercorn's protocols.

Hypercorn's own `serve` is not used for two reasons: the vendor's CLI sends `authorization: Bearer `
when it has no token, which h2 takes for a broken connection unless its check of headers is off; and
a server that stops must not wait for clients that do not. Without TLS, HTTP/2 is told by its preface.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

__all__ = ["App", "Listener"]

App = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""

# Clients report each 5 s and would otherwise reconnect each time.
_KEEP_ALIVE_S = 75
_FOREVER = 10**9
_GRACE_S = 2.0


class Listener:
    """Serves one application on any number of sockets.

    Args:
        app: The application.
        log: Hears of connections that went wrong.
    """

    def __init__(self, app: App, *, log: logging.Logger) -> None:
        config = Config()
        config.errorlog = log
        config.accesslog = None
        config.include_server_header = False
        config.keep_alive_timeout = _KEEP_ALIVE_S
        config.keep_alive_max_requests = _FOREVER
        config.h2_max_concurrent_streams = 1000
        self._config = config
        self._app = ASGIWrapper(app)
        self._context = WorkerContext(None)
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], _Connection] = {}

    async def listen(self, bound: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a bound socket, with TLS if a context is given."""
        if tls is not None:
            tls.set_alpn_protocols(["h2", "http/1.1"])
        self._servers.append(
            await asyncio.start_server(self._serve, sock=bound, ssl=tls, backlog=512)
        )

    async def close(self, *, grace_s: float = _GRACE_S) -> None:
        """Stop: answers that are under way get a moment, then every connection is cut. Idempotent."""
        for server in self._servers:
            server.close()
        await self._context.terminated.set()  # closes the idle ones
        await self._ended(grace_s)
        # As if every client had left: cancelling would stop the tasks that answers are written by, and
        # leave answers waiting for them.
        for connection in self._connections.values():
            connection.writer.transport.abort()
        await self._ended(grace_s)
        for task in self._connections:
            task.cancel()
        await self._ended(grace_s)

    async def _ended(self, timeout_s: float) -> None:
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout_s)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = self._connections[task] = _Connection(
            self._app,
            asyncio.get_running_loop(),
            self._config,
            self._context,
            LifespanState({}),
            reader,
            writer,
        )
        try:
            await connection.run()
        except asyncio.CancelledError:
            writer.transport.abort()  # only `close` does this, and nothing waits for us
        finally:
            del self._connections[task]


class _Connection(TCPServer):
    """Hypercorn's connection, with our choice of protocols."""

    async def run(self) -> None:
        peer = self.writer.get_extra_info("socket")
        encrypted = self.writer.get_extra_info("ssl_object")
        try:
            async with TaskGroup(self.loop) as tasks:
                self._task_group = tasks
                self.protocol = _Protocols(
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState(self.state),
                    encrypted is not None,
                    parse_socket_addr(peer.family, peer.getpeername()),
                    parse_socket_addr(peer.family, peer.getsockname()),
                    self.protocol_send,
                    encrypted.selected_alpn_protocol() if encrypted else "http/1.1",
                )
                await self.protocol.initiate()
                await self.idle_task.restart(tasks, self._idle_timeout)
                await self._read_data()
                # Its wait would else keep the socket of a client that has left, as long as an idle one may stay.
                await self.idle_task.stop()
        except OSError:
            return  # the peer is gone, perhaps before it could be asked for its address
        finally:
            await self._close()


class _Streams(dict[int, Any]):
    """Streams of a connection by their numbers. What still comes for one that is answered is taken and forgotten.

    A client may be refused before its request has ended, and goes on sending it. Hypercorn 0.18 does not know such a
    stream any more, and its `KeyError` would end the connection, with all other streams. Source: RFC 9113 section 8.1.
    """

    def __missing__(self, stream_id: int) -> _Answered:
        return _Answered()


class _Answered:
    async def handle(self, event: Event) -> None: ...


class _Protocols(ProtocolWrapper):
    """Hypercorn's switch from HTTP/1.1 to HTTP/2, whose check of headers is off.

    When a connection is gone its answers must end: the task that writes them has ended, and they would
    wait for it for ever. Seen with hypercorn 0.18 and a client that is killed while it reads a stream.
    """

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Closed) and isinstance(self.protocol, H2Protocol):
            for buffer in list(self.protocol.stream_buffers.values()):
                await buffer.close()

    @property
    def protocol(self) -> H11Protocol | H2Protocol:
        return self._protocol

    @protocol.setter
    def protocol(self, chosen: H11Protocol | H2Protocol) -> None:
        if isinstance(chosen, H2Protocol):
            chosen.connection.config.validate_inbound_headers = False
            chosen.streams = _Streams()
        self._protocol = chosen
