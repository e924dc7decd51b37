"""One request and many answers on our own connection, against grpcio's server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from depotlab._rpc import outeranswers
from depotlab._rpc.channel import Channel
from depotlab._rpc.dial import dial
from depotlab._rpc.endpoint import Endpoint
from depotlab._rpc.failed import RpcFailed
from depotlab._rpc.outeranswers import OuterAnswers
from depotlab._rpc.spare import Spare
from depotlab.errors import ConnectionLost, ProtocolError, Unreachable
from tests.support.rpc_peers import run

METHOD = "/t/Answers"
LIMIT_BYTES = 1 << 20

Serve = Callable[[bytes, Any], AsyncIterator[bytes]]


@asynccontextmanager
async def peer(path: Path, serve: Serve) -> AsyncIterator[tuple[Endpoint, grpc.aio.Server]]:
    server = grpc.aio.server()
    handlers = {"Answers": grpc.unary_stream_rpc_method_handler(serve)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", handlers),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield Endpoint(f"unix://{path}"), server
    finally:
        await server.stop(None)


async def ask(spare: Spare, request: bytes = b"?") -> OuterAnswers:
    return await spare.ask(METHOD, request, (), limit_bytes=LIMIT_BYTES)


async def count(request: bytes, context: Any) -> AsyncIterator[bytes]:
    """Answer with as many messages as asked for, each of another length, some empty and some of many frames."""
    await context.send_initial_metadata((("clock", "noon"),))
    for number in range(int(request)):
        yield str(number).encode() * (number * 37 % 9_001)


def test_all_answers_come_whole_and_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with peer(tmp_path / "s", count) as (endpoint, _):
            spare = Spare(endpoint)
            call = await ask(spare, b"3000")
            bursts = []
            while messages := await call.read_many():
                bursts.append(messages)
            assert await call.header("clock") == "noon"
            assert await call.header("other") == ""
            await call.close()
            await spare.close()
            got = [message for burst in bursts for message in burst]
            assert got == [str(n).encode() * (n * 37 % 9_001) for n in range(3000)]

    run(main)


def test_small_answers_hard_on_each_other_are_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outeranswers, "_HARD_ON_S", 60.0)
    monkeypatch.setattr(outeranswers, "_PAUSE_S", 0.5)
    taken = asyncio.Semaphore(1)

    async def talk(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(outeranswers._MANY):
            await taken.acquire()  # one by one
            yield b"."
        for _ in range(50):
            yield b"."

    async def main() -> None:
        async with peer(tmp_path / "s", talk) as (endpoint, _):
            spare = Spare(endpoint)
            call = await ask(spare)
            sizes = []
            while messages := await call.read_many():
                sizes.append(len(messages))
                taken.release()
            assert sizes[: outeranswers._MANY - 1] == [1] * (outeranswers._MANY - 1)
            assert sum(sizes) == outeranswers._MANY + 50
            assert len(sizes) < outeranswers._MANY + 5
            await call.close()
            await spare.close()

    run(main)


def test_large_answers_are_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outeranswers, "_HARD_ON_S", 60.0)
    monkeypatch.setattr(outeranswers, "_PAUSE_S", 3600.0)

    async def talk(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(500):
            yield bytes(outeranswers._SMALL_BYTES)

    async def main() -> None:
        async with peer(tmp_path / "s", talk) as (endpoint, _):
            spare = Spare(endpoint)
            call = await ask(spare)
            n_messages = 0
            while messages := await call.read_many():
                n_messages += len(messages)
            assert n_messages == 500
            await call.close()
            await spare.close()

    run(main)


def test_answers_that_arrived_together_are_handed_out_together(tmp_path: Path) -> None:
    written = asyncio.Event()

    async def talk(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(20):
            yield bytes([number])
        written.set()

    async def main() -> None:
        async with peer(tmp_path / "s", talk) as (endpoint, _):
            spare = Spare(endpoint)
            call = await ask(spare)
            await written.wait()
            assert await call.read_many() == [bytes([number]) for number in range(20)]
            await call.close()
            await spare.close()

    run(main)


def test_the_connection_serves_the_next_request(tmp_path: Path) -> None:
    seen = []

    async def who(request: bytes, context: Any) -> AsyncIterator[bytes]:
        seen.append(context.peer())
        yield request

    async def main() -> None:
        async with peer(tmp_path / "s", who) as (endpoint, _):
            spare = Spare(endpoint)
            for number in range(5):
                call = await ask(spare, str(number).encode())
                assert await call.read_many() == [str(number).encode()]
                assert await call.read_many() == []
                await call.close()
            await spare.close()
        assert len(seen) == 5
        assert len(set(seen)) == 1

    run(main)


def test_closing_early_cancels_the_call_and_keeps_the_connection(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def for_ever(request: bytes, context: Any) -> AsyncIterator[bytes]:
        if request == b"short":
            yield b"done"
            return
        try:
            while True:
                yield b"tick"
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    async def main() -> None:
        async with peer(tmp_path / "s", for_ever) as (endpoint, _):
            spare = Spare(endpoint)
            call = await ask(spare)
            assert (await call.read_many())[0] == b"tick"
            await call.close()
            await call.close()
            await ended.wait()
            call = await ask(spare, b"short")
            assert await call.read_many() == [b"done"]
            await call.close()
            await spare.close()

    run(main)


def test_a_status_of_the_peer_is_raised_after_the_answers_before_it(tmp_path: Path) -> None:
    async def refuse(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such build")

    async def main() -> None:
        async with peer(tmp_path / "s", refuse) as (endpoint, _):
            spare = Spare(endpoint)
            call = await ask(spare)
            assert await call.read_many() == [b"first"]
            with pytest.raises(RpcFailed, match="no such build"):
                await call.read_many()
            await call.close()
            await spare.close()

    run(main)


def test_an_answer_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async def long(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield bytes(LIMIT_BYTES + 1)

    async def main() -> None:
        async with peer(tmp_path / "s", long) as (endpoint, _):
            spare = Spare(endpoint)
            call = await ask(spare)
            with pytest.raises(ProtocolError, match="larger than"):
                await call.read_many()
            await call.close()
            await spare.close()

    run(main)


def test_a_peer_that_goes_away_is_told(tmp_path: Path) -> None:
    async def silent(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(30)

    async def main() -> None:
        async with peer(tmp_path / "s", silent) as (endpoint, server):
            spare = Spare(endpoint)
            call = await ask(spare)
            assert await call.read_many() == [b"first"]
            await server.stop(None)
            with pytest.raises((ConnectionLost, RpcFailed)):
                await call.read_many()
            await call.close()
            await spare.close()

    run(main)


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    async def main() -> None:
        spare = Spare(Endpoint(f"unix://{tmp_path}/nobody"))
        with pytest.raises(Unreachable):
            await ask(spare)
        await spare.close()

    run(main)


def test_where_a_connection_is_a_program_answers_share_that_of_grpcio(tmp_path: Path) -> None:
    n_dialled = 0

    async def main() -> None:
        nonlocal n_dialled
        async with peer(tmp_path / "s", count) as (endpoint, _):

            async def dialer() -> Any:
                nonlocal n_dialled
                n_dialled += 1
                return await dial(endpoint)

            channel = Channel(Endpoint("test://there", dialer=dialer))
            answers = await channel.ask(METHOD, b"3")
            got = []
            while messages := await answers.read_many():
                got += messages
            assert await answers.header("clock") == "noon"
            await answers.close()
            await channel.close()
        assert got == [str(n).encode() * (n * 37 % 9_001) for n in range(3)]
        assert n_dialled == 1

    run(main)
