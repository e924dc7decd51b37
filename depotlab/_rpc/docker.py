"""The BuildKit inside a Docker Engine, as an endpoint.

Each connection is a fresh one to the engine's API, over its unix socket, TCP, TLS, or a program such as ssh, and is
upgraded: one to `/grpc` for our calls, one to `/session` for each session.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from functools import partial

from depotlab._docker import DockerHost
from depotlab._rpc.dial import dial
from depotlab._rpc.endpoint import Endpoint
from depotlab._rpc.hijack import upgrade
from depotlab._rpc.process import ProcessTransport
from depotlab._rpc.tls import TlsTransport
from depotlab._rpc.transport import Transport
from depotlab.errors import Unreachable

__all__ = ["docker_endpoint"]

CONNECT_S = 30.0


def docker_endpoint(host: DockerHost, *, address: str = "docker://") -> Endpoint:
    """Return the endpoint of an engine's own BuildKit. Opens nothing.

    Args:
        host: From `find_docker`.
        address: What messages call it.
    """
    return Endpoint(
        address,
        dialer=partial(_dial, host, "/grpc"),
        session_dialer=partial(_dial, host, "/session"),
        docker=host,
    )


async def _dial(host: DockerHost, path: str, metadata: Sequence[tuple[str, str]] = ()) -> Transport:
    try:
        async with asyncio.timeout(CONNECT_S):
            return await upgrade(await _open(host), path, metadata, address=str(host))
    except TimeoutError:
        raise Unreachable(
            f"The Docker Engine at {host} did not answer within {CONNECT_S:g} s.",
            address=host.address,
            hint="check the address, the firewall and the network",
        ) from None


async def _open(host: DockerHost) -> Transport:
    """Open one connection to the engine's API."""
    if host.argv:
        return await ProcessTransport.start(host.argv, address=host.address)
    try:
        plain = await dial(Endpoint(host.address), timeout_s=CONNECT_S)
        if host.tls is None:
            return plain
        try:
            return await TlsTransport.start(
                plain,
                await asyncio.to_thread(host.tls.context),
                server_name=host.tcp[0],
                address=host.address,
            )
        except BaseException:
            await plain.close()
            raise
    except Unreachable as error:
        # Its words are about a BuildKit daemon at this address.
        if isinstance(error.__cause__, OSError):
            raise host.unreachable(error.__cause__) from error
        raise
    except ssl.SSLError as error:
        raise host.unreachable(error) from error
