"""grpcio through a dialer: a real gRPC server behind transports that are no sockets of grpcio's."""

import asyncio
import contextlib
import gc
import os
import socket
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from depotlab._rpc import Channel, Endpoint, RpcFailed, Status, call_once
from depotlab._rpc.bridge import SocketBridge
from depotlab._rpc.dial import dial
from depotlab.errors import ConnectionLost, LinkError, Unreachable, UsageError
from tests.support.links import ScriptedTransport
from tests.support.rpc_peers import moment, run


async def echo(request, context):
    return request[::-1]


async def chatter(request, context):
    for n in range(100):
        yield b"%d" % n


@asynccontextmanager
async def grpc_server(path):
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 << 20)])
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Chatter": grpc.unary_stream_rpc_method_handler(chatter),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", handlers),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


class Dialer:
    """Connects to a socket, and remembers its transports."""

    def __init__(self, path):
        self.path = path
        self.opened = []

    async def __call__(self):
        self.opened.append(await dial(Endpoint(f"unix://{self.path}")))
        return self.opened[-1]


def endpoint(dialer):
    return Endpoint("docker-container://bk", dialer=dialer)


def folders():
    import tempfile

    return {p.name for p in Path(tempfile.gettempdir()).glob("depotlab-*")}


def test_calls_and_streams_go_through(tmp_path):
    async def main():
        async with grpc_server(tmp_path / "s"):
            dialer = Dialer(tmp_path / "s")
            channel = Channel(endpoint(dialer))
            await channel.ready()
            big = os.urandom(8 << 20)
            assert await channel.unary("/t/Echo", big) == big[::-1]
            assert [m async for m in channel.stream("/t/Chatter", b"")][-1] == b"99"
            await channel.close()

    run(main)


def test_only_its_owner_can_reach_the_socket_and_nothing_is_left(tmp_path):
    async def main():
        before = folders()
        bridge = SocketBridge(Dialer(tmp_path / "none"), address="it")
        folder = bridge.host_path.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        await bridge.close()
        await bridge.close()
        assert not folder.exists()
        assert folders() == before

    run(main)


def test_a_bridge_that_nobody_closed_goes_with_the_process():
    script = (
        "import asyncio\n"
        "from depotlab._rpc.bridge import SocketBridge\n"
        "async def main():\n"
        "    print(SocketBridge(None, address='it').host_path.parent)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip()
    assert not Path(done.stdout.strip()).exists()


def test_a_path_too_long_for_a_socket_is_avoided(tmp_path, monkeypatch):
    async def main():
        long = tmp_path / ("x" * 90)
        long.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(long))
        bridge = SocketBridge(Dialer(tmp_path / "none"), address="it")
        assert len(str(bridge.host_path)) < 104
        await bridge.close()
        assert list(long.iterdir()) == []

    run(main)


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("`docker exec` ended with code 1: No such container: bk", address="it"),
        UsageError("The TLS files cannot be used."),
    ],
)
def test_why_dialing_failed_is_what_ready_raises(error):
    async def main():
        async def dial():
            raise error

        channel = Channel(endpoint(dial))
        with pytest.raises(type(error)) as caught:
            await channel.ready()
        assert caught.value is error
        await channel.close()

    run(main)


def test_what_the_operating_system_says_is_told():
    async def main():
        async def dial():
            raise FileNotFoundError(2, "No such file or directory")

        channel = Channel(endpoint(dial))
        with pytest.raises(LinkError, match="docker-container://bk failed: No such file"):
            await channel.ready()
        await channel.close()

    run(main)


def test_a_peer_that_never_speaks_is_not_waited_for_longer_than_asked(tmp_path):
    async def main():
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        channel = Channel(endpoint(Dialer(tmp_path / "s")))
        with pytest.raises(Unreachable, match="does not answer as a BuildKit daemon does"):
            await channel.ready(timeout_s=0.3)
        await channel.close()
        listener.close()

    run(main)


def test_a_connection_that_breaks_tells_the_running_calls_why(tmp_path):
    async def main():
        class Breaking(ScriptedTransport):
            def __init__(self):
                super().__init__([])
                self.called = asyncio.Event()

            async def write(self, pieces):
                self.called.set()

            async def read(self):
                await self.called.wait()
                raise ConnectionLost("`ssh` was ended by signal 9", address="it")

        async def dial():
            return Breaking()

        channel = Channel(endpoint(dial))
        with pytest.raises(RpcFailed) as caught:
            await channel.unary("/t/Echo", b"x")
        assert caught.value.status is Status.UNAVAILABLE
        assert caught.value.link is not None
        assert "signal 9" in caught.value.link.message
        await channel.close()

    run(main)


def test_a_new_connection_is_dialed_after_one_is_lost(tmp_path):
    async def main():
        async with grpc_server(tmp_path / "s"):
            dialer = Dialer(tmp_path / "s")
            channel = Channel(endpoint(dialer))
            await channel.ready()
            for one in dialer.opened:
                await one.close()

            async def call_until_it_works():
                while True:
                    try:
                        return await channel.unary("/t/Echo", b"ab")
                    except RpcFailed as failure:
                        assert failure.status is Status.UNAVAILABLE  # noqa: PT017

            assert await asyncio.wait_for(call_until_it_works(), 60) == b"ba"
            await channel.close()

    run(main)


def test_closing_the_channel_closes_the_transports(tmp_path):
    async def main():
        async with grpc_server(tmp_path / "s"):
            dialer = Dialer(tmp_path / "s")
            channel = Channel(endpoint(dialer))
            await channel.ready()
            await channel.close()
            assert dialer.opened
            for one in dialer.opened:
                with pytest.raises(ConnectionLost):
                    await one.write([b"x"])

    run(main)


def test_one_call_without_a_loop_goes_through_too(tmp_path):
    path = tmp_path / "s"
    script = (
        "import sys; from concurrent import futures; import grpc\n"
        "s = grpc.server(futures.ThreadPoolExecutor(1))\n"
        "h = {'Echo': grpc.unary_unary_rpc_method_handler(lambda r, c: r[::-1])}\n"
        "s.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('t', h),))\n"
        "s.add_insecure_port('unix:' + sys.argv[1]); s.start(); print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout.readline() == b"up\n"
        assert call_once(endpoint(Dialer(path)), "/t/Echo", b"ab", timeout_s=10) == b"ba"
        with pytest.raises(LinkError):
            call_once(endpoint(Dialer(tmp_path / "none")), "/t/Echo", b"ab", timeout_s=10)
        server.stdin.close()


@pytest.mark.parametrize("n_turns", range(4))
def test_who_connects_in_the_moment_of_the_end_is_let_go(tmp_path, n_turns):
    async def main():
        bridge = SocketBridge(Dialer(tmp_path / "nobody"), address="x")
        await moment()  # it listens
        with socket.socket(socket.AF_UNIX) as near:
            near.connect(str(bridge.host_path))
            for _ in range(n_turns):
                await asyncio.sleep(0)
            await bridge.close()  # a socket that nobody closed is a warning, and with it an error
            gc.collect()
            near.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert near.recv(1) == b""

    run(main)
