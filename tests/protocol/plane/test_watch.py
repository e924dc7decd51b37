"""The plane's own calls to a daemon, and its reader of a build's status. grpcio is the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from depotlab._plane.calls import Call, ask
from depotlab._plane.watch import STATUS, Watch
from depotlab._proto import control_pb2
from depotlab._rpc import RpcFailed, Status
from depotlab.errors import ConnectionLost, Unreachable

ECHO = "/x.Y/Echo"


class Daemon(grpc.GenericRpcHandler):
    """Answers status with what a test has put down, one list of messages or an error for each call."""

    def __init__(self) -> None:
        self.answers: list[list[bytes] | grpc.StatusCode] = []
        self.asked: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()

    def service(self, details):
        if details.method == STATUS:
            return grpc.unary_stream_rpc_method_handler(self.status)
        if details.method == ECHO:
            return grpc.unary_unary_rpc_method_handler(self.echo)
        return None

    async def echo(self, request: bytes, context) -> bytes:
        return request

    async def status(self, request: bytes, context):
        self.asked.append(control_pb2.StatusRequest.FromString(request).Ref)
        answer = self.answers.pop(0)
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "no such job")
            return
        for message in answer:
            yield message
        await self.hold.wait()


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[tuple[Daemon, Path]]:
    daemon, socket = Daemon(), folder / "d.sock"
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((daemon,))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield daemon, socket
    finally:
        daemon.hold.set()
        await server.stop(0)


async def read(socket: Path, *, is_solving: Callable[[], bool] = lambda: True) -> list[bytes]:
    heard: list[bytes] = []
    watch = await Watch.open(socket, "ref")
    try:
        await watch.run(heard.append, is_solving)
    finally:
        await watch.close()
    return heard


def test_every_message_is_told_in_order(tmp_path):
    messages = [b"one", b"", b"three" * 100_000, *(b"%d" % n for n in range(500))]

    async def story():
        async with listening(tmp_path) as (daemon, socket):
            daemon.answers = [messages]
            assert await read(socket) == messages
            assert daemon.asked == ["ref"]

    asyncio.run(story())


def test_messages_are_told_while_the_build_runs(tmp_path):
    async def story():
        async with listening(tmp_path) as (daemon, socket):
            daemon.answers = [[b"one"]]
            daemon.hold.clear()
            heard: asyncio.Queue[bytes] = asyncio.Queue()
            watch = await Watch.open(socket, "ref")
            running = asyncio.create_task(watch.run(heard.put_nowait, lambda: True))
            assert await asyncio.wait_for(heard.get(), 60) == b"one"
            assert not running.done()
            daemon.hold.set()
            await asyncio.wait_for(running, 60)

    asyncio.run(story())


def test_a_build_that_the_daemon_does_not_know_yet_is_asked_for_again(tmp_path):
    async def story():
        async with listening(tmp_path) as (daemon, socket):
            daemon.answers = [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.NOT_FOUND, [b"late"]]
            assert await read(socket) == [b"late"]
            assert daemon.asked == ["ref"] * 3

    asyncio.run(story())


@pytest.mark.parametrize(
    ("answers", "is_solving", "n_asked"),
    [
        pytest.param([grpc.StatusCode.NOT_FOUND] * 9, True, 5, id="it never comes"),
        pytest.param([grpc.StatusCode.NOT_FOUND] * 9, False, 1, id="its client has left"),
        pytest.param([grpc.StatusCode.INTERNAL] * 9, True, 1, id="another failure"),
    ],
)
def test_asking_ends(tmp_path, answers, is_solving, n_asked):
    async def story():
        async with listening(tmp_path) as (daemon, socket):
            daemon.answers = list(answers)
            with pytest.raises(RpcFailed):
                await read(socket, is_solving=lambda: is_solving)
            assert len(daemon.asked) == n_asked

    asyncio.run(story())


def test_one_question_has_one_answer(tmp_path):
    async def story():
        async with listening(tmp_path) as (_, socket):
            assert await ask(socket, ECHO, b"hello", timeout_s=60) == b"hello"
            with pytest.raises(RpcFailed) as caught:
                await ask(socket, "/x.Y/Nothing", b"", timeout_s=60)
            assert caught.value.status is Status.UNIMPLEMENTED

    asyncio.run(story())


def test_a_daemon_that_is_not_there_is_said(tmp_path):
    with pytest.raises(Unreachable, match="does not answer"):
        asyncio.run(ask(tmp_path / "nobody.sock", ECHO, b"", timeout_s=5))


def test_a_daemon_that_leaves_is_said(tmp_path):
    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    async def story():
        server = await asyncio.start_unix_server(hangs_up, tmp_path / "d.sock")
        async with server:
            call = await Call.open(tmp_path / "d.sock", STATUS, b"")
            with pytest.raises(ConnectionLost):
                await call.read()
            await call.close()
            await call.close()

    asyncio.run(story())
