"""The same server with grpcio as the client, over a unix socket: another implementation's opinion."""

import asyncio
import zlib

import grpc
import grpc.aio
import pytest

from depotlab._rpc.call import RpcFault, Status
from depotlab._rpc.handlers import unary
from depotlab._rpc.health import HEALTH, HEALTH_CHECK
from depotlab._rpc.streams import Limits
from tests.support.rpc_peers import listening, run

MIB = 1 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", 64 * MIB),
    ("grpc.max_send_message_length", 64 * MIB),
    ("grpc.max_metadata_size", 16 * MIB),
    ("grpc.absolute_max_metadata_size", 16 * MIB),
    ("grpc.use_local_subchannel_pool", 1),
]


async def upper(call, request):
    return request.upper()


async def echo(call):
    while messages := await call.receive_many():
        call.queue(*messages)
        await call.drain()


async def total(call):
    n_bytes = 0
    while messages := await call.receive_many():
        n_bytes += sum(map(len, messages))
    await call.send(b"%d" % n_bytes)


async def squeezed(call):
    """Send back what comes, every second message compressed."""
    assert call.use_gzip()
    number = 0
    while messages := await call.receive_many():
        for body in messages:
            number += 1
            if number % 2:
                call.queue_gzip(zlib.compress(body, 1, 31))
            else:
                call.queue(body)
        await call.drain()


async def pour(call):
    size, n_messages = map(int, (await call.receive() or b"").split())
    body = bytes(size)
    for _ in range(n_messages):
        await call.send(body)


HANDLERS = {
    "/t.S/Upper": unary(upper),
    "/t.S/Echo": echo,
    "/t.S/Total": total,
    "/t.S/Pour": pour,
    "/t.S/Squeezed": squeezed,
    **HEALTH,
}


def with_channel(tmp_path, main, handlers=HANDLERS, **options):
    """Run `main(channel)` against a server with these handlers."""

    async def whole():
        async with (
            listening(handlers, str(tmp_path / "s"), **options) as address,
            grpc.aio.insecure_channel(address, options=OPTIONS) as channel,
        ):
            await main(channel)

    run(whole)


def test_the_four_kinds_of_calls(tmp_path):
    async def main(channel):
        assert await channel.unary_unary("/t.S/Upper")(b"hello") == b"HELLO"
        assert await channel.stream_unary("/t.S/Total")(iter([b"ab", b"", b"c"])) == b"3"
        answers = [m async for m in channel.unary_stream("/t.S/Pour")(b"3 1000")]
        assert answers == [bytes(3)] * 1000
        call = channel.stream_stream("/t.S/Echo")()
        for number in range(50):
            await call.write(b"%d" % number)
            assert await call.read() == b"%d" % number
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK

    with_channel(tmp_path, main)


def test_health_is_serving_and_watch_is_unimplemented(tmp_path):
    async def main(channel):
        assert await channel.unary_unary(HEALTH_CHECK)(b"") == b"\x08\x01"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/grpc.health.v1.Health/Watch")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    with_channel(tmp_path, main)


def test_sixty_four_mebibytes_in_both_directions(tmp_path):
    bodies = [bytes([number]) * (4 * MIB) for number in range(16)]

    async def main(channel):
        call = channel.stream_stream("/t.S/Echo")()

        async def write():
            for body in bodies:
                await call.write(body)
            await call.done_writing()

        writing = asyncio.create_task(write())
        for body in bodies:
            assert await call.read() == body
        await writing
        assert await call.code() is grpc.StatusCode.OK

    with_channel(tmp_path, main)


def test_the_largest_message_is_sixteen_mebibytes_unless_said_otherwise(tmp_path):
    async def main(channel):
        assert await channel.stream_unary("/t.S/Total")(iter([bytes(16 * MIB)])) == b"16777216"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.stream_unary("/t.S/Total")(iter([bytes(16 * MIB + 1)]))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    with_channel(tmp_path, main)


def test_metadata_arrives_with_all_values_and_many_of_them(tmp_path):
    lines = [f"dir{number}/**" for number in range(40_000)]
    seen = {}

    async def look(call, request):
        seen.update(call.metadata, binary=call.binary_metadata)
        return b""

    async def main(channel):
        metadata = [("dir-name", "context"), ("raw-bin", b"\0\xff")]
        metadata += [("exclude-patterns", line) for line in lines]
        await channel.unary_unary("/t.S/Look")(b"", metadata=metadata)

    with_channel(tmp_path, main, {"/t.S/Look": unary(look)})
    assert seen["dir-name"] == ["context"]
    assert seen["exclude-patterns"] == lines
    assert seen["binary"] == {"raw-bin": [b"\0\xff"]}


def test_every_status_arrives_with_its_text(tmp_path):
    text = 'über "quotes" 100% \n second line'

    async def fail(call, request):
        raise RpcFault(Status(int(request)), text)

    async def main(channel):
        for status in list(Status)[1:]:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/t.S/Fail")(b"%d" % status)
            assert caught.value.code().value[0] == status
            assert caught.value.details() == text

    with_channel(tmp_path, main, {"/t.S/Fail": unary(fail)})


def test_a_deadline_ends_the_call_and_the_handler(tmp_path):
    ended = asyncio.Event()

    async def slow(call):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def main(channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t.S/Slow")(b"", timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await ended.wait()

    with_channel(tmp_path, main, {"/t.S/Slow": slow})


def test_a_cancelled_call_cancels_its_handler_and_no_other(tmp_path):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow(call):
        begun.set()
        try:
            await call.receive()
            await call.receive()
        finally:
            ended.set()

    async def main(channel):
        other = channel.stream_stream("/t.S/Echo")()
        await other.write(b"before")
        call = channel.stream_stream("/t.S/Slow")()
        await call.write(b"x")
        await begun.wait()
        call.cancel()
        await ended.wait()
        assert await other.read() == b"before"
        await other.done_writing()
        assert await other.code() is grpc.StatusCode.OK

    with_channel(tmp_path, main, {"/t.S/Slow": slow, **HANDLERS})


def test_gzip_requests_are_understood(tmp_path):
    async def main(channel):
        call = channel.unary_unary("/t.S/Upper")
        body = b"a" * 100_000
        assert await call(body, compression=grpc.Compression.Gzip) == body.upper()

    with_channel(tmp_path, main)


def test_compressed_messages_among_plain_ones_arrive_as_they_were(tmp_path):
    bodies = [b"%d " % number * (number * 97 % 5000) for number in range(200)]

    async def main(channel):
        call = channel.stream_stream("/t.S/Squeezed")()
        for body in bodies:
            await call.write(body)
        await call.done_writing()
        assert [body async for body in call] == bodies
        assert await call.code() is grpc.StatusCode.OK

    with_channel(tmp_path, main)


def test_two_thousand_calls_at_once_go_through_a_thousand_streams(tmp_path):
    async def main(channel):
        call = channel.unary_unary("/t.S/Upper")
        answers = await asyncio.gather(*(call(b"a%d" % n) for n in range(2000)))
        assert answers == [b"A%d" % n for n in range(2000)]

    with_channel(tmp_path, main)


def test_health_is_answered_while_bulk_data_flows_both_ways(tmp_path):
    async def main(channel):
        up = channel.stream_stream("/t.S/Echo")()
        down = channel.unary_stream("/t.S/Pour")(b"1000000 100000")

        async def write():
            while True:
                await up.write(bytes(MIB))

        async def read(call):
            while await call.read() is not grpc.aio.EOF:
                pass

        tasks = [asyncio.create_task(t) for t in (write(), read(up), read(down))]
        await asyncio.sleep(0.2)
        for _ in range(20):
            await channel.unary_unary(HEALTH_CHECK)(b"", timeout=10)  # the daemon's patience
        up.cancel()
        down.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with_channel(tmp_path, main)


def test_small_windows_of_ours_only_make_it_slow(tmp_path):
    async def main(channel):
        bodies = [bytes([number]) * 300_000 for number in range(5)]
        call = channel.stream_stream("/t.S/Echo")(iter(bodies))
        assert [m async for m in call] == bodies

    with_channel(tmp_path, main, limits=Limits(window_bytes=66_000))


def test_a_handler_that_does_not_read_stops_grpcio(tmp_path):
    n_written = 0

    async def main(channel):
        nonlocal n_written
        call = channel.stream_stream("/t.S/Lazy")()

        async def write():
            nonlocal n_written
            while True:
                await call.write(bytes(MIB))
                n_written += 1

        writing = asyncio.create_task(write())
        await asyncio.sleep(1.0)
        assert n_written <= 16 + 8, "one window, and what grpcio itself buffers"
        assert await channel.unary_unary(HEALTH_CHECK)(b"", timeout=20) == b"\x08\x01"
        call.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    with_channel(tmp_path, main, {"/t.S/Lazy": lambda call: asyncio.Event().wait(), **HEALTH})
