"""A daemon that was gone and is back is reached at once, however often it was tried in vain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from depotlab._rpc import Channel, Endpoint, RpcFailed
from depotlab._rpc.dial import dial
from depotlab._rpc.transport import Transport
from depotlab.errors import Unreachable
from tests.support.rpc_peers import run

METHOD = "/t/Echo"


async def echo(request: bytes, _context: object) -> bytes:
    return request


@asynccontextmanager
async def daemon(host_path: Path) -> AsyncIterator[None]:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", {"Echo": handler}),))
    server.add_insecure_port(f"unix:{host_path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def notices_the_end(channel: Channel) -> None:
    """Call until a call fails: grpcio takes a connection for ready until it has read its end."""

    async def call() -> None:
        while True:
            await channel.unary(METHOD, b"hello")

    with pytest.raises(RpcFailed):
        await call()


@pytest.mark.parametrize("is_dialled", [False, True], ids=["socket", "dialer"])
def test_a_daemon_that_is_back_is_reached_at_once(tmp_path: Path, is_dialled: bool) -> None:
    host_path = tmp_path / "s"
    socket = Endpoint(f"unix://{host_path}")

    async def dialer() -> Transport:
        return await dial(socket)

    async def main() -> None:
        channel = Channel(Endpoint("test://there", dialer=dialer) if is_dialled else socket)
        try:
            for _ in range(3):
                for _ in range(3):
                    with pytest.raises(Unreachable, match="the socket does not exist"):
                        await channel.ready()
                # grpcio would now wait for 0.1 s, then for longer and longer.
                async with daemon(host_path):
                    await channel.ready()
                    assert await channel.unary(METHOD, b"hello") == b"hello"
                host_path.unlink(missing_ok=True)
                await notices_the_end(channel)
        finally:
            await channel.close()

    run(main)
