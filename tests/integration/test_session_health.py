"""The inner server on a real `Control.Session`: the daemon asks for our health, and the session lives on."""

import asyncio
import itertools
import os
import time
import uuid

import grpc
import grpc.aio
import pytest

from depotlab._rpc.handlers import Instant
from depotlab._rpc.health import HEALTH, HEALTH_CHECK
from depotlab._rpc.inner import InnerServer
from tests.support.rpc_peers import run

SESSION = "/moby.buildkit.v1.Control/Session"


@pytest.fixture
def address(request):
    """A daemon that was named, or the embedded engine."""
    named = os.environ.get("DEPOTLAB_TEST_ADDRESS")
    return named or request.getfixturevalue("engine").address


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class PlainTunnel:
    """`BytesMessage{bytes data = 1}` by hand, on nothing but grpc.aio."""

    def __init__(self, call):
        self.call = call
        self.half_closed = False

    async def half_close(self):
        self.half_closed = True
        await self.call.done_writing()

    async def read(self):
        message = await self.call.read()
        if message is grpc.aio.EOF:
            return None
        assert message[0] == 0x0A
        at = 1
        while message[at] & 0x80:
            at += 1
        return message[at + 1 :]

    async def write(self, pieces):
        if self.half_closed:
            return  # an answer to what the daemon said before it heard us leave
        data = b"".join(pieces)
        await self.call.write(b"\x0a" + varint(len(data)) + data)


def test_the_daemon_checks_our_health_every_five_seconds_and_keeps_the_session(address):
    checks = []
    three = asyncio.Event()

    def answer(request):
        checks.append(time.monotonic())
        if len(checks) == 3:
            three.set()
        return HEALTH[HEALTH_CHECK].answer(request)

    async def main():
        metadata = (
            ("x-docker-expose-session-uuid", uuid.uuid4().hex),
            ("x-docker-expose-session-sharedkey", uuid.uuid4().hex),
            ("x-docker-expose-session-grpc-method", HEALTH_CHECK),
        )
        target = "unix:" + address.removeprefix("unix://")
        options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            call = channel.stream_stream(SESSION)(metadata=metadata)
            server = InnerServer({HEALTH_CHECK: Instant(answer)})
            tunnel = PlainTunnel(call)
            serving = asyncio.create_task(server.serve(tunnel))
            started_s = time.monotonic()
            async with asyncio.timeout(60):
                await three.wait()
            assert not serving.done()
            assert time.monotonic() - started_s > 12, "two failures would have ended it by now"
            await tunnel.half_close()
            async with asyncio.timeout(30):
                await serving
            assert await call.code() is grpc.StatusCode.OK

    run(main)
    gaps_s = [b - a for a, b in itertools.pairwise(checks)]
    assert all(2 < gap_s < 20 for gap_s in gaps_s), gaps_s
