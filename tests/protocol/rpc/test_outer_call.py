"""The connection that a session rides on, with peers that are not ours: grpcio, the `h2` package, raw bytes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.events
import pytest

from depotlab._rpc import Endpoint, RpcFailed, Status
from depotlab._rpc.outer import OuterCall
from depotlab._rpc.spare import Spare
from depotlab.errors import ConnectionLost, DepotlabError, ProtocolError, Unreachable
from tests.support.rpc_peers import run

METHOD = "/t/Session"
MIB = 1 << 20


def unwrap(message: bytes) -> bytes:
    """Take the bytes out of a BytesMessage by hand."""
    if not message:
        return b""
    assert message[0] == 0x0A
    length = shift = 0
    for at in range(1, len(message)):
        length |= (message[at] & 0x7F) << shift
        shift += 7
        if message[at] < 0x80:
            break
    assert at + 1 + length == len(message)
    return message[at + 1 :]


def wrap(data: bytes) -> bytes:
    size, length = bytearray(), len(data)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return b"\x0a" + bytes(size) + data


Serve = Callable[[Any, Any], AsyncIterator[bytes]]


@asynccontextmanager
async def grpcio_peer(path: Path, serve: Serve) -> AsyncIterator[Endpoint]:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 * MIB)])
    handlers = {"Session": grpc.stream_stream_rpc_method_handler(serve)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", handlers),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield Endpoint(f"unix://{path}")
    finally:
        await server.stop(None)


@asynccontextmanager
async def opened(endpoint: Endpoint, *metadata: tuple[str, str]) -> AsyncIterator[OuterCall]:
    spare = Spare(endpoint)
    call = await spare.open(METHOD, metadata)
    try:
        yield call
    finally:
        await call.close()
        await spare.close()


async def echo(requests: Any, context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


def test_bytes_come_back_in_order_whatever_their_size(tmp_path: Path) -> None:
    async def main() -> None:
        async with grpcio_peer(tmp_path / "s", echo) as endpoint, opened(endpoint) as call:
            for size in (1, 127, 128, 16_383, 16_384, 70_000, MIB):
                data = bytes(range(256)) * (size // 256 + 1)
                await call.write([data[: size // 2], memoryview(data)[size // 2 : size]])
                got = b""
                while len(got) < size:
                    got += await call.read() or pytest.fail("the stream ended")
                assert got == data[:size]

    run(main)


def test_sixty_four_mebibytes_go_both_ways_at_the_same_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with grpcio_peer(tmp_path / "s", echo) as endpoint, opened(endpoint) as call:
            sent, got = hashlib.sha256(), hashlib.sha256()
            piece = bytes(range(256)) * 1024

            async def send() -> None:
                for number in range(256):
                    head = number.to_bytes(4, "big")
                    sent.update(head + piece)
                    await call.write([head, piece])

            sending = asyncio.create_task(send())
            left = 256 * (len(piece) + 4)
            while left:
                data = await call.read()
                assert data
                got.update(data)
                left -= len(data)
            await sending
            assert got.digest() == sent.digest()

    run(main)


def test_every_value_of_a_key_arrives(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    async def note(requests: Any, context: Any) -> AsyncIterator[bytes]:
        seen.extend(context.invocation_metadata())
        yield wrap(b"x")

    async def main() -> None:
        metadata = [("x-method", "/a"), ("x-method", "/b"), ("x-long", "v" * 40_000)]
        async with grpcio_peer(tmp_path / "s", note) as endpoint, opened(endpoint, *metadata) as c:
            assert await c.read() == b"x"
            assert await c.read() is None

    run(main)
    assert [value for key, value in seen if key == "x-method"] == ["/a", "/b"]
    assert len(dict(seen)["x-long"]) == 40_000


def test_a_status_of_the_peer_is_raised_with_its_text(tmp_path: Path) -> None:
    async def refuse(requests: Any, context: Any) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you: ü")
        yield b""

    async def main() -> None:
        async with grpcio_peer(tmp_path / "s", refuse) as endpoint, opened(endpoint) as call:
            with pytest.raises(RpcFailed) as caught:
                await call.read()
            assert caught.value.status is Status.PERMISSION_DENIED
            assert caught.value.message == "not for you: ü"

    run(main)


def test_a_method_that_is_not_there_is_unimplemented(tmp_path: Path) -> None:
    async def main() -> None:
        async with grpcio_peer(tmp_path / "s", echo) as endpoint:
            spare = Spare(endpoint)
            call = await spare.open("/t/Nothing", [])
            with pytest.raises(RpcFailed) as caught:
                await call.read()
            assert caught.value.status is Status.UNIMPLEMENTED
            await call.close()
            await spare.close()

    run(main)


def test_a_connection_serves_one_call_after_another(tmp_path: Path) -> None:
    peers: set[str] = set()

    async def note(requests: Any, context: Any) -> AsyncIterator[bytes]:
        peers.add(context.peer())
        async for request in requests:
            yield request

    async def main() -> None:
        async with grpcio_peer(tmp_path / "s", note) as endpoint:
            spare = Spare(endpoint)
            for number in range(20):
                call = await spare.open(METHOD, [])
                await call.write([b"%d" % number])
                assert await call.read() == b"%d" % number
                await call.close()
            await spare.close()

    run(main)


def test_a_writer_waits_for_a_reader_that_does_not_read(tmp_path: Path) -> None:
    async def sleep(requests: Any, context: Any) -> AsyncIterator[bytes]:
        await asyncio.sleep(3600)
        yield b""

    async def main() -> None:
        async with grpcio_peer(tmp_path / "s", sleep) as endpoint, opened(endpoint) as call:
            n_written = 0
            reading = asyncio.create_task(call.read())
            try:
                async with asyncio.timeout(1.0):
                    while True:
                        await call.write([bytes(MIB)])
                        n_written += 1
            except TimeoutError:
                pass
            assert n_written < 64, "what nobody reads must not be taken"
            reading.cancel()
            await asyncio.wait([reading])

    run(main)


def test_a_peer_that_goes_away_is_a_lost_connection(tmp_path: Path) -> None:
    async def main() -> None:
        started = asyncio.Event()

        async def wait(requests: Any, context: Any) -> AsyncIterator[bytes]:
            started.set()
            await asyncio.sleep(3600)
            yield b""

        async with grpcio_peer(tmp_path / "s", wait) as endpoint:
            spare = Spare(endpoint)
            call = await spare.open(METHOD, [])
            await started.wait()
        # The server is gone now.
        with pytest.raises((ConnectionLost, RpcFailed)):
            await call.read()
        with pytest.raises((ConnectionLost, RpcFailed)):
            await call.write([b"x"])
        await call.close()
        await spare.close()

    run(main)


def test_nobody_at_the_address_is_unreachable(tmp_path: Path) -> None:
    async def main() -> None:
        spare = Spare(Endpoint(f"unix://{tmp_path}/nobody"))
        with pytest.raises(Unreachable):
            await spare.open(METHOD, [])
        await spare.close()

    run(main)


# ------------------------------------------------------------------------------ peers that are wrong


@asynccontextmanager
async def raw_peer(
    path: Path, answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[Endpoint]:
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await answer(reader, writer)
        except ConnectionError:
            pass  # we have left, as we should
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield Endpoint(f"unix://{path}")
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*serving)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


SETTINGS = frame(4, 0, 0, b"")
WRONG = {
    "no HTTP/2": b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 64,
    "a frame that is too long": SETTINGS + frame(0, 0, 1, bytes(40_000)),
    "data on a stream nobody opened": SETTINGS + frame(0, 0, 7, b"x"),
    "a window of zero growth": SETTINGS + frame(8, 0, 0, bytes(4)),
    "settings on a stream": frame(4, 0, 1, b""),
    "a ping of a wrong size": SETTINGS + frame(6, 0, 0, b"123"),
    "a continuation of nothing": SETTINGS + frame(9, 4, 1, b""),
    "headers that are no HPACK": SETTINGS + frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff"),
    "an end in the middle": SETTINGS + b"\x00\x00",
}


async def read_all(spare: Spare) -> None:
    call = await spare.open(METHOD, [])
    try:
        while await call.read() is not None:
            pass
    finally:
        await call.close()


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_peer_that_breaks_the_rules_ends_in_a_typed_error(tmp_path: Path, wrong: bytes) -> None:
    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(24)
            writer.write(wrong)
            await writer.drain()
            await asyncio.sleep(0.2)

        async with raw_peer(tmp_path / "s", answer) as endpoint:
            spare = Spare(endpoint)
            with pytest.raises((DepotlabError, RpcFailed)):
                await read_all(spare)
            await spare.close()

    run(main)


def test_pings_are_answered_in_order_and_windows_given_back_to_an_h2_peer(tmp_path: Path) -> None:
    answered: list[bytes] = []
    total = 40 * MIB

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        peer.initiate_connection()
        writer.write(peer.data_to_send())
        stream, left, begun = 0, 0, False
        chunk = wrap(bytes(MIB))
        pending = b""
        while not reader.at_eof():
            data = await reader.read(65536)
            for event in peer.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    stream, left, begun = event.stream_id, total, True
                    peer.send_headers(
                        stream, [(":status", "200"), ("content-type", "application/grpc")]
                    )
                    for number in range(10):
                        peer.ping(b"%08d" % number)
                elif isinstance(event, h2.events.PingAckReceived):
                    answered.append(event.ping_data)
            while begun and (left or pending):
                if not pending:
                    pending = b"\0" + len(chunk).to_bytes(4, "big") + chunk
                    left -= MIB
                room = min(peer.local_flow_control_window(stream), peer.max_outbound_frame_size)
                if room <= 0:
                    break
                peer.send_data(stream, pending[:room])
                pending = pending[room:]
            if begun and not left and not pending:
                begun = False
                peer.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            writer.write(peer.data_to_send())
            await writer.drain()

    async def main() -> None:
        async with raw_peer(tmp_path / "s", answer) as endpoint, opened(endpoint) as call:
            n_bytes = 0
            while (data := await call.read()) is not None:
                n_bytes += len(data)
            assert n_bytes == total

    run(main)
    assert answered == [b"%08d" % number for number in range(10)]


def test_bytes_that_are_no_bytes_message_are_refused(tmp_path: Path) -> None:
    async def chatter(requests: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"\x12\x01x"  # field 2

    async def main() -> None:
        async with grpcio_peer(tmp_path / "s", chatter) as endpoint, opened(endpoint) as call:
            with pytest.raises(ProtocolError):
                await call.read()

    run(main)
