"""Taps hear every call, in order and with its sizes, and never disturb one."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from depotlab._rpc import (
    Channel,
    Endpoint,
    Exchange,
    Instant,
    RpcFailed,
    RpcFault,
    Side,
    Status,
    begin_telling,
    call_once,
    tapped,
    unary,
)
from depotlab._rpc.health import HEALTH, HEALTH_CHECK
from depotlab.buildkit.tunnel import open_session
from depotlab.errors import LinkError
from tests.support.rpc_peers import message, run, served

BIG = 3 << 20


@dataclass
class Heard:
    """A tap that writes down what it hears."""

    wants_payloads: bool = True
    calls: list[Exchange] = field(default_factory=list)
    messages: list[tuple[int, Side, int, bytes | None]] = field(default_factory=list)
    ends: list[tuple[int, int, str]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def began(self, exchange: Exchange) -> None:
        self.calls.append(exchange)
        self.order.append("began")

    def message(
        self, exchange: Exchange, sender: Side, size_bytes: int, payload: bytes | None, at_ns: int
    ) -> None:
        assert at_ns >= exchange.began_ns
        self.messages.append((exchange.number, sender, size_bytes, payload))
        self.order.append(sender)

    def ended(self, exchange: Exchange, code: int, text: str, at_ns: int) -> None:
        assert at_ns >= exchange.began_ns
        self.ends.append((exchange.number, code, text))
        self.order.append("ended")

    def sizes(self, sender: Side) -> list[int]:
        return [size for _, who, size, _ in self.messages if who == sender]

    def payloads(self, sender: Side) -> list[bytes | None]:
        return [payload for _, who, _, payload in self.messages if who == sender]


class Broken(Heard):
    """A tap that cannot bear a message."""

    def message(self, *_: Any) -> None:
        raise RuntimeError("no room left")


# ------------------------------------------------------------------- what the daemon asks


async def upper(call: Any, request: bytes) -> bytes:
    return request.upper()


async def echo(call: Any) -> None:
    while messages := await call.receive_many():
        call.queue(*messages)
        await call.drain()


async def pieces(call: Any) -> None:
    """Take everything as it comes where that is possible, and say how much it was."""
    n_bytes = 0
    if call.keep_pieces():
        while arrived := await call.receive_pieces():
            n_bytes += sum(map(len, arrived))
    else:
        while (message := await call.receive()) is not None:
            n_bytes += len(message)
    head, rest = str(n_bytes).encode(), b"!" * BIG
    call.queue_pieces([head, rest], length=len(head) + len(rest))


async def refuse(call: Any) -> None:
    await call.receive()
    raise RpcFault(Status.NOT_FOUND, "there is none")


async def squeezed(call: Any) -> None:
    assert call.use_gzip()
    call.queue_gzip(gzip.compress(b"x" * 5000))


HANDLERS = {
    "/t.S/Upper": unary(upper),
    "/t.S/Echo": echo,
    "/t.S/Pieces": pieces,
    "/t.S/Refuse": refuse,
    "/t.S/Instant": Instant(lambda request: request * 2),
    "/moby.buildkit.secrets.v1.Secrets/GetSecret": unary(upper),
    "/moby.sshforward.v1.SSH/ForwardAgent": echo,
    **HEALTH,
}


def test_a_call_of_the_daemon_is_told_from_its_beginning_to_its_end() -> None:
    heard = Heard()

    async def main() -> None:
        async with served(HANDLERS) as s:
            with tapped(heard):
                await s.client.call("/t.S/Upper", b"hello", metadata=[("dir-name", "context")])

    run(main)
    (call,) = heard.calls
    assert (call.asker, call.service, call.method) == ("daemon", "t.S", "Upper")
    assert call.headers["dir-name"] == ("context",)
    assert heard.messages == [
        (call.number, "daemon", 5, b"hello"),
        (call.number, "client", 5, b"HELLO"),
    ]
    assert heard.ends == [(call.number, 0, "")]
    assert heard.order == ["began", "daemon", "client", "ended"]


def test_every_size_is_that_of_the_message_whatever_its_length() -> None:
    heard = Heard()
    bodies = [b"x" * n for n in (0, 1, 1000, 70_000, 300_000)]

    async def main() -> None:
        async with served(HANDLERS) as s:
            with tapped(heard):
                answer = await s.client.call("/t.S/Echo", *bodies)
            assert answer.messages == bodies

    run(main)
    assert heard.sizes("daemon") == heard.sizes("client") == [len(body) for body in bodies]
    assert heard.payloads("daemon") == heard.payloads("client") == bodies


def test_bytes_that_are_taken_as_they_come_are_told_as_messages() -> None:
    heard = Heard()
    bodies = [b"y" * n for n in (10, 40_000, 7)]

    async def main() -> None:
        async with served(HANDLERS) as s:
            untold = await s.client.call("/t.S/Pieces", *bodies)
            with tapped(heard):
                told = await s.client.call("/t.S/Pieces", *bodies)
            head = str(sum(map(len, bodies))).encode()
            assert told.messages == [head + b"!" * BIG]
            # Without a tap it was as they came, with their prefixes.
            assert len(untold.messages[0]) == len(told.messages[0])

    run(main)
    assert heard.sizes("daemon") == [10, 40_000, 7]
    assert heard.sizes("client") == [5 + BIG]


def test_the_end_says_how_it_ended() -> None:
    heard = Heard()

    async def main() -> None:
        async with served(HANDLERS) as s:
            with tapped(heard):
                await s.client.call("/t.S/Refuse", b"")
                await s.client.call("/t.S/Nowhere", b"")

    run(main)
    refused, unknown = heard.calls
    assert unknown.method == "Nowhere"
    assert heard.ends == [
        (refused.number, Status.NOT_FOUND, "there is none"),
        (unknown.number, Status.UNIMPLEMENTED, "the session does not serve /t.S/Nowhere"),
    ]


def test_answers_in_place_are_told_too() -> None:
    heard = Heard()

    async def main() -> None:
        async with served(HANDLERS) as s:
            with tapped(heard):
                await s.client.call("/t.S/Instant", b"ab")
                await s.client.call(HEALTH_CHECK, b"")

    run(main)
    assert [call.method for call in heard.calls] == ["Instant", "Check"]
    assert heard.sizes("client") == [4, 2]
    assert heard.order == ["began", "daemon", "client", "ended"] * 2


def test_a_call_that_runs_when_the_session_ends_is_told_as_cancelled() -> None:
    heard = Heard()

    async def main() -> None:
        begun = asyncio.Event()

        async def forever(_call: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        async with served({"/t.S/Forever": forever}) as s:
            with tapped(heard):
                s.client.open("/t.S/Forever")
                await s.client.flush()
                await begun.wait()
                await s.client.close()
                await s.serving

    run(main)
    assert heard.ends == [(heard.calls[0].number, Status.CANCELLED, "the session has ended")]


def test_two_taps_hear_the_same_and_one_that_is_closed_hears_nothing_more() -> None:
    first, second = Heard(), Heard(wants_payloads=False)

    async def main() -> None:
        async with served(HANDLERS) as s:
            with tapped(first):
                await s.client.call("/t.S/Upper", b"one")
                with tapped(second):
                    await s.client.call("/t.S/Upper", b"two!")
                await s.client.call("/t.S/Upper", b"three")
            await s.client.call("/t.S/Upper", b"four")

    run(main)
    assert first.sizes("daemon") == [3, 4, 5]
    assert second.sizes("daemon") == [4]
    assert second.payloads("daemon") == [None]
    assert first.calls[1] == second.calls[0]
    assert begin_telling("client", "/t.S/Upper", (), endpoint="") is None


def test_a_call_that_runs_when_its_tap_is_closed_is_told_no_further() -> None:
    heard = Heard()

    async def main() -> None:
        async with served(HANDLERS) as s:
            with tapped(heard):
                stream = s.client.open("/t.S/Echo")
                await s.client.send(stream, message(b"a"))
                while not s.client.answers[stream].body:
                    await s.client.changed()
            await s.client.send(stream, message(b"b"), ends=True)
            assert (await s.client.answer(stream)).messages == [b"a", b"b"]

    run(main)
    assert heard.sizes("client") == [1]
    assert heard.ends == []


def test_a_tap_that_raises_is_told_nothing_more_and_breaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken, heard = Broken(), Heard()

    async def main() -> None:
        async with served(HANDLERS) as s:
            with tapped(broken) as opened, tapped(heard):
                answer = await s.client.call("/t.S/Upper", b"hello")
                assert answer.messages == [b"HELLO"]
            assert repr(opened.failure) == "RuntimeError('no room left')"

    with caplog.at_level(logging.ERROR, logger="depotlab.rpc"):
        run(main)
    assert broken.order == ["began"]
    assert heard.order == ["began", "daemon", "client", "ended"]
    assert [record.message for record in caplog.records] == [
        "a tap failed and is told nothing more"
    ]


def test_secrets_and_the_traffic_of_agents_are_never_handed_on() -> None:
    heard = Heard()
    method = "/moby.buildkit.secrets.v1.Secrets/GetSecret"

    async def main() -> None:
        async with served(HANDLERS) as s:
            with tapped(heard):
                await s.client.call(method, b"id", metadata=[("authorization", "Bearer hunter2")])
                await s.client.call("/moby.sshforward.v1.SSH/ForwardAgent", b"sign this")

    run(main)
    assert heard.payloads("daemon") == [b"id", None]
    assert heard.payloads("client") == [None, None]
    assert heard.sizes("client") == [2, 9]
    assert "hunter2" not in repr(heard)


# --------------------------------------------------------------------------- what we ask


async def numbers(request: bytes, _context: Any) -> AsyncIterator[bytes]:
    for number in range(int(request)):
        yield str(number).encode() * 1000


async def shout(request: bytes, _context: Any) -> bytes:
    return request.upper()


async def say_no(_request: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
    return b""


async def say_why(_request: bytes, context: Any) -> bytes:
    await context.abort(
        grpc.StatusCode.INTERNAL, "broken", (("grpc-status-details-bin", b"12345"),)
    )
    return b""


async def mirror(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


@asynccontextmanager
async def channel_to_peer(path: Path) -> AsyncIterator[Channel]:
    server = grpc.aio.server()
    handlers = {
        "Numbers": grpc.unary_stream_rpc_method_handler(numbers),
        "Shout": grpc.unary_unary_rpc_method_handler(shout),
        "Detailed": grpc.unary_unary_rpc_method_handler(say_why),
        "No": grpc.unary_unary_rpc_method_handler(say_no),
        "Mirror": grpc.stream_stream_rpc_method_handler(mirror),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.S", handlers),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    channel = Channel(Endpoint(f"unix://{path}"))
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop(None)


def test_all_ways_to_ask_are_told(tmp_path: Path) -> None:
    heard = Heard()

    async def main() -> None:
        async with channel_to_peer(tmp_path / "s") as channel:
            with tapped(heard):
                assert await channel.unary("/t.S/Shout", b"hi") == b"HI"
                answers = await channel.ask("/t.S/Numbers", b"30")
                while await answers.read_many():
                    pass
                await answers.close()
                stream = channel.open_stream("/t.S/Mirror", metadata=[("kind", "glass")])
                await stream.write(b"me")
                assert await stream.read() == b"me"
                await stream.close_send()
                assert await stream.read() is None
                assert [m async for m in channel.stream("/t.S/Numbers", b"2")] == [
                    b"0" * 1000,
                    b"1" * 1000,
                ]

    run(main)
    assert [call.method for call in heard.calls] == ["Shout", "Numbers", "Mirror", "Numbers"]
    assert {call.asker for call in heard.calls} == {"client"}
    assert heard.calls[2].headers == {"kind": ("glass",)}
    assert all(call.endpoint == f"unix://{tmp_path}/s" for call in heard.calls)
    numbers_told = [len(str(n)) * 1000 for n in range(30)]
    assert heard.sizes("daemon") == [2, *numbers_told, 2, 1000, 1000]
    assert heard.payloads("client") == [b"hi", b"30", b"me", b"2"]
    assert [code for _, code, _ in heard.ends] == [0, 0, 0, 0]


def test_a_call_without_an_event_loop_is_told(tmp_path: Path) -> None:
    heard = Heard()

    async def main() -> None:
        async with channel_to_peer(tmp_path / "s") as channel:
            with tapped(heard):
                ask = partial(call_once, channel.endpoint, "/t.S/Shout", b"hi", timeout_s=30.0)
                assert await asyncio.to_thread(ask) == b"HI"

    run(main)
    assert heard.order == ["began", "client", "daemon", "ended"]
    assert heard.payloads("daemon") == [b"HI"]


def test_a_connection_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    heard = Heard()

    async def main() -> None:
        channel = Channel(Endpoint(f"unix://{tmp_path}/nobody"))
        with tapped(heard):
            with pytest.raises(LinkError):
                await channel.ask("/t.S/Numbers", b"1")
            with pytest.raises(LinkError):
                await channel.open_bytes("/t.S/Session")
        await channel.close()

    run(main)
    assert [code for _, code, _ in heard.ends] == [Status.UNAVAILABLE] * 2
    assert all("nobody" in text for _, _, text in heard.ends)


def test_what_the_peer_refuses_is_told(tmp_path: Path) -> None:
    heard = Heard()

    async def main() -> None:
        async with channel_to_peer(tmp_path / "s") as channel:
            with tapped(heard), pytest.raises(RpcFailed):
                await channel.unary("/t.S/No", b"please")

    run(main)
    assert heard.ends == [(heard.calls[0].number, Status.PERMISSION_DENIED, "not you")]


def test_a_call_that_we_give_up_is_told_as_cancelled(tmp_path: Path) -> None:
    heard = Heard()

    async def main() -> None:
        async with channel_to_peer(tmp_path / "s") as channel:
            with tapped(heard):
                stream = channel.open_stream("/t.S/Mirror")
                await stream.write(b"me")
                stream.cancel()

    run(main)
    assert heard.ends == [(heard.calls[0].number, Status.CANCELLED, "given up by this side")]


def test_typed_details_of_a_failure_are_told_before_its_end(tmp_path: Path) -> None:
    class Curious(Heard):
        def failed(self, exchange: Exchange, details: bytes) -> None:
            self.order.append(f"details {len(details)}")

    curious, other = Curious(), Heard()

    async def main() -> None:
        async with channel_to_peer(tmp_path / "s") as channel:
            with tapped(curious), tapped(other), pytest.raises(RpcFailed):
                await channel.unary("/t.S/Detailed", b"please")

    run(main)
    assert curious.order == ["began", "client", "details 5", "ended"]
    assert other.order == ["began", "client", "ended"]


def test_the_bytes_of_a_docker_engine_s_session_are_told_as_a_session() -> None:
    class Link:
        """A connection that an engine has made into a session."""

        def __init__(self) -> None:
            self.came: list[bytes | None] = [b"from the engine", None]

        async def read(self) -> bytes | None:
            return self.came.pop(0)

        async def write(self, pieces: list[bytes | memoryview]) -> None:
            pass

        async def close(self) -> None:
            pass

    async def dial(_metadata: Any) -> Link:
        return Link()

    async def never() -> Any:
        raise AssertionError("not this one")

    heard = Heard()

    async def main() -> None:
        endpoint = Endpoint("docker://", dialer=never, session_dialer=dial)
        channel = Channel(endpoint)
        with tapped(heard):
            tunnel = await open_session(channel, [("x-docker-expose-session-uuid", "s1")])
            assert await tunnel.read() == b"from the engine"
            await tunnel.write([b"ab", b"c"])
            assert not tunnel.is_link_full()
            await tunnel.close()
        await channel.close()

    run(main)
    (call,) = heard.calls
    assert (call.path, call.session_id) == ("/moby.buildkit.v1.Control/Session", "s1")
    assert [message[1:] for message in heard.messages] == [
        ("daemon", 15, None),
        ("client", 3, None),
    ]
    assert heard.ends == [(call.number, 0, "")]


# ------------------------------------------------------------------------- what a tap is told


@contextmanager
def listening(*, wants_payloads: bool = True) -> Any:
    heard = Heard(wants_payloads=wants_payloads)
    with tapped(heard):
        yield heard


def test_headers_and_addresses_are_told_without_credentials() -> None:
    headers = [
        ("Authorization", "Bearer hunter2"),
        ("x-api-key", "hunter2"),
        ("cookie", "hunter2"),
        ("dir-name", "context"),
        ("dir-name", "more"),
    ]
    with listening() as heard:
        begin_telling("client", "/t.S/M", headers, endpoint="https://me:hunter2@example.com:8/x")
    (call,) = heard.calls
    assert call.headers == {"dir-name": ("context", "more")}
    assert call.endpoint == "https://me@example.com:8/x"
    assert "hunter2" not in repr(heard)


def test_compressed_messages_are_told_as_they_were_before() -> None:
    with listening() as heard:
        telling = begin_telling("daemon", "/t.S/M", (), endpoint="")
        assert telling is not None
        telling.gzip("client", gzip.compress(b"x" * 5000))
    assert heard.messages[0][1:] == ("client", 5000, b"x" * 5000)


def test_the_bytes_of_a_session_are_told_as_sizes_and_its_id_is_known() -> None:
    with listening() as heard:
        telling = begin_telling(
            "client",
            "/moby.buildkit.v1.Control/Session",
            [("x-docker-expose-session-uuid", "abc")],
            endpoint="",
        )
        assert telling is not None
        telling.message("client", b"all the secrets")
    assert heard.calls[0].session_id == "abc"
    assert heard.messages[0][1:] == ("client", 15, None)


def test_only_the_first_end_counts_and_nothing_comes_after_it() -> None:
    with listening() as heard:
        telling = begin_telling("client", "/t.S/M", (), endpoint="")
        assert telling is not None
        telling.ended()
        telling.ended(Status.CANCELLED, "again")
        telling.message("client", b"late")
    assert heard.order == ["began", "ended"]
