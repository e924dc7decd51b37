"""Open a connection to a daemon: unix socket, TCP, TCP with TLS, or whatever the endpoint's dialer opens.

grpcio opens its own connections; these are for what we drive ourselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

from depotlab._rpc.endpoint import TLS, Endpoint
from depotlab._rpc.proxy import ask_for_tunnel, find_proxy
from depotlab._rpc.reasons import not_http2, reason_of
from depotlab._rpc.sockets import SocketTransport
from depotlab._rpc.tls import TlsTransport, client_context
from depotlab._rpc.transport import Transport

__all__ = ["dial"]

# A host with several addresses: the next one is tried when the one before has not answered for so long.
# Source: RFC 8305 ("Happy Eyeballs"), section 8.
STAGGER_S = 0.25

# The kernel asks an idle peer whether it is there, so that a connection in waiting does not outlive its other
# end: after so many seconds, in such intervals, so many times. These are no pings of HTTP/2, which the
# daemon limits.
KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


# Of a unix socket, as far as the system allows. TCP finds its own; a unix socket has room for less than one batch
# otherwise, and each then takes two turns of the loop: a third of our work for a large file.
UNIX_BUFFER_BYTES = 1 << 20


async def dial(endpoint: Endpoint, *, timeout_s: float = 10.0) -> Transport:
    """Return a new connection, on the running loop.

    Args:
        endpoint: Where to.
        timeout_s: For hosts that do not answer; a refusal is reported at once. A dialer has its own.

    Raises:
        Unreachable: With the reason that the operating system or TLS gives.
        UsageError: The certificates of the endpoint cannot be used.
    """
    if endpoint.dialer is not None:
        return await endpoint.dialer()
    try:
        async with asyncio.timeout(timeout_s):
            plain = SocketTransport(await _connect(endpoint), address=endpoint.address)
            if endpoint.tls is None:
                return plain
            try:
                return await _secure(endpoint, endpoint.tls, plain)
            except BaseException:
                await plain.close()
                raise
    except OSError as error:  # a timeout and the errors of ssl are such
        raise reason_of(error, endpoint, timeout_s=timeout_s) from error


async def _secure(endpoint: Endpoint, tls: TLS, plain: SocketTransport) -> TlsTransport:
    transport = await TlsTransport.start(
        plain,
        await asyncio.to_thread(client_context, tls),  # reads files; the system's take 30 ms
        server_name=tls.server_name or endpoint.host,
        address=endpoint.address,
    )
    if transport.protocol != "h2":
        raise not_http2(endpoint)
    return transport


async def _connect(endpoint: Endpoint) -> socket.socket:
    if endpoint.socket_path:
        return await _connect_one(socket.AF_UNIX, endpoint.socket_path)
    proxy = None if endpoint.direct else find_proxy(endpoint.host, os.environ)
    if proxy is None:
        return await _connect_tcp(endpoint.host, endpoint.port)
    connected = await _connect_tcp(proxy.host, proxy.port)
    try:
        await ask_for_tunnel(connected, endpoint.host, endpoint.port, proxy)
    except BaseException:
        connected.close()
        raise
    return connected


async def _connect_tcp(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    trying: set[asyncio.Task[socket.socket]] = set()
    failures: list[BaseException] = []
    try:
        while found or len(failures) < len(trying):
            if found:
                family, _, _, _, target = found.pop(0)
                trying.add(loop.create_task(_connect_one(family, target)))
            await asyncio.wait(
                [task for task in trying if not task.done()],
                timeout=STAGGER_S if found else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            ended = [task for task in trying if task.done()]
            failures = [error for task in ended if (error := task.exception()) is not None]
            winner = next((task for task in ended if task.exception() is None), None)
            if winner is not None:
                trying.remove(winner)
                return winner.result()
        raise failures[0]
    finally:
        for task in trying:
            task.add_done_callback(_close_late)  # we may be interrupted once more meanwhile
            task.cancel()
        if trying:
            await asyncio.wait(trying)


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect_one(family: socket.AddressFamily, target: Any) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        if family == socket.AF_UNIX:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNIX_BUFFER_BYTES)
        else:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE:
                with contextlib.suppress(AttributeError, OSError):  # not every system has them
                    opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        await asyncio.get_running_loop().sock_connect(opened, target)
    except BaseException:
        opened.close()
        raise
    return opened
