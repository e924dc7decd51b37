"""A channel that nobody closes, and nobody holds any more, leaves nothing on its loop."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from depotlab._rpc import Channel, Endpoint
from depotlab._rpc.dial import dial
from depotlab._rpc.forgotten import close_when_forgotten
from depotlab._rpc.transport import Transport
from tests.support.rpc_peers import run
from tests.support.secure_peers import listening


class Part:
    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def close(self) -> None:
        self.closed.set()


class Owner:
    pass


def test_parts_are_closed_when_their_owner_is_collected() -> None:
    async def main() -> None:
        part, owner = Part(), Owner()
        close_when_forgotten(owner, part)
        del owner
        gc.collect()
        await part.closed.wait()

    run(main)


def test_parts_of_an_owner_that_closes_them_itself_are_left_alone() -> None:
    async def main() -> None:
        part, owner = Part(), Owner()
        close_when_forgotten(owner, part).detach()
        del owner
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not part.closed.is_set()

    run(main)


def test_an_owner_may_outlive_its_loop() -> None:
    kept: list[Owner] = []

    async def main() -> None:
        kept.append(Owner())
        close_when_forgotten(kept[0], Part())

    run(main)
    kept.clear()
    gc.collect()


@pytest.mark.parametrize("is_dialled", [False, True], ids=["socket", "dialer"])
def test_a_channel_that_is_forgotten_closes_its_connections(
    tmp_path: Path, is_dialled: bool
) -> None:
    opened, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.set()
        while await reader.read(1 << 16):
            pass
        ended.set()
        writer.close()

    async def main() -> None:
        async with listening(serve, path=tmp_path / "s") as address:
            socket = Endpoint(address)

            async def dialer() -> Transport:
                return await dial(socket)

            channel = Channel(Endpoint("test://there", dialer=dialer) if is_dialled else socket)
            channel._spare.fill()  # what `ready` begins, which wants more of a daemon
            await opened.wait()
            del channel
            gc.collect()
            async with asyncio.timeout(10):
                await ended.wait()

    run(main)
