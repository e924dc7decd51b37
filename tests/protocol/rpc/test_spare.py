"""One connection in waiting: used again while it is good, replaced when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from depotlab._rpc import Endpoint
from depotlab._rpc.spare import Spare
from depotlab._rpc.transport import Transport
from depotlab.errors import ConnectionLost, Unreachable
from tests.support.rpc_peers import moment, run
from tests.support.secure_peers import listening

METHOD = "/t/Session"


class Peer:
    """A server on the `h2` package that sends back what it gets.

    Attributes:
        streams: Numbers of the streams that were opened, one list for each connection.
        reads: Whether it gives credit for what arrives.
        current: The newest connection, and how to send what it has to say.
    """

    def __init__(self) -> None:
        self.streams: list[list[int]] = []
        self.reads = True
        self.current: tuple[h2.connection.H2Connection, asyncio.StreamWriter] | None = None
        self.greeted = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        streams: list[int] = []
        self.streams.append(streams)
        self.current = connection, writer
        writer.write(connection.data_to_send())
        while data := await reader.read(1 << 16):
            for event in connection.receive_data(data):
                self._take(connection, streams, event)
            writer.write(connection.data_to_send())
            self.greeted.set()

    def _take(
        self, connection: h2.connection.H2Connection, streams: list[int], event: h2.events.Event
    ) -> None:
        if isinstance(event, h2.events.RequestReceived):
            streams.append(event.stream_id)
            fields = [(":status", "200"), ("content-type", "application/grpc")]
            connection.send_headers(event.stream_id, fields)
        elif isinstance(event, h2.events.DataReceived) and event.data and self.reads:
            connection.increment_flow_control_window(len(event.data))
            try:
                connection.increment_flow_control_window(len(event.data), event.stream_id)
                connection.send_data(event.stream_id, event.data)
            except (KeyError, h2.exceptions.ProtocolError):
                return  # the half-close arrived in the same burst

    def say(self, what: str, *arguments: Any) -> None:
        """Call a method of the newest connection, such as `ping`, and send what that makes."""
        assert self.current is not None
        connection, writer = self.current
        getattr(connection, what)(*arguments)
        writer.write(connection.data_to_send())

    def hang_up(self) -> None:
        assert self.current is not None
        self.current[1].close()


@asynccontextmanager
async def peer_and_spare(path: Path) -> AsyncIterator[tuple[Peer, Spare]]:
    peer = Peer()
    async with listening(peer.serve, path=path) as address:
        spare = Spare(Endpoint(address))
        try:
            yield peer, spare
        finally:
            await spare.close()


async def talk(spare: Spare, words: Iterable[bytes] = (b"hello",)) -> None:
    """One call that ends well."""
    call = await spare.open(METHOD, [])
    for word in words:
        await call.write([word])
        assert await call.read() == word
    await call.close()
    await call.close()


def test_one_connection_carries_call_after_call(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            for _ in range(5):
                await talk(spare)
            assert peer.streams == [[1, 3, 5, 7, 9]]

    run(main)


def test_it_is_dialled_before_it_is_needed(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            spare.fill()
            spare.fill()
            await peer.greeted.wait()
            await talk(spare)
            assert peer.streams == [[1]]

    run(main)


def test_calls_at_the_same_time_have_connections_of_their_own_and_one_is_kept(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            calls = await asyncio.gather(*(spare.open(METHOD, []) for _ in range(4)))
            for call in calls:
                await call.write([b"x"])
                assert await call.read() == b"x"
            await asyncio.gather(*(call.close() for call in calls))
            await talk(spare)
            assert len(peer.streams) == 4
            assert sorted(map(len, peer.streams)) == [1, 1, 1, 2]

    run(main)


def test_pings_are_answered_while_nobody_calls(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            await talk(spare)
            peer.greeted.clear()
            peer.say("ping", b"12345678")
            await peer.greeted.wait()
            await talk(spare)
            assert peer.streams == [[1, 3]]

    run(main)


@pytest.mark.parametrize("how", ["it hangs up", "it says goaway", "it breaks a rule"])
def test_a_peer_that_leaves_while_nobody_calls_costs_no_call(tmp_path, how):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            await talk(spare)
            if how == "it hangs up":
                peer.hang_up()
            elif how == "it says goaway":
                peer.say("close_connection")
            else:
                peer.current[1].write(b"no HTTP/2 at all, of nobody")
            await moment()
            await talk(spare)
            assert [len(streams) for streams in peer.streams] == [1, 1]

    run(main)


def test_a_call_that_was_cut_in_the_middle_takes_its_connection_with_it(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            peer.reads = False
            call = await spare.open(METHOD, [])
            writing = asyncio.create_task(call.write([bytes(1 << 20)]))
            await moment()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await call.close()
            peer.reads = True
            await talk(spare)
            assert [len(streams) for streams in peer.streams] == [1, 1]

    run(main)


def test_a_call_whose_reader_was_cancelled_leaves_its_connection_good(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            for _ in range(3):
                call = await spare.open(METHOD, [])
                reading = asyncio.create_task(call.read())
                await asyncio.sleep(0.01)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                await call.close()
            await talk(spare, [b"1", b"2"])
            assert peer.streams == [[1, 3, 5, 7]]

    run(main)


def test_what_comes_late_for_a_call_that_is_over_is_not_read_by_the_next(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            call = await spare.open(METHOD, [])
            await call.write([b"one"])
            assert await call.read() == b"one"
            for _ in range(200):
                await call.write([b"never read"])
            await call.close()
            await talk(spare, [b"two"])
            assert peer.streams == [[1, 3]]

    run(main)


def test_closing_ends_what_waits_and_what_is_being_dialled(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            call = await spare.open(METHOD, [])
            spare.fill()
            await spare.close()
            spare.fill()
            await call.write([b"still here"])
            assert await call.read() == b"still here"
            await call.close()
            await asyncio.sleep(0.05)
            assert len(peer.streams) <= 2

    run(main)


class Dialers:
    """A dialer that fails, or takes its time, as told."""

    def __init__(self, address: str) -> None:
        self.real = Endpoint(address)
        self.failures: list[Exception] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.n_dialled = 0

    async def __call__(self) -> Transport:
        from depotlab._rpc.dial import dial

        self.n_dialled += 1
        await self.goes_on.wait()
        if self.failures:
            raise self.failures.pop()
        return await dial(self.real)


@asynccontextmanager
async def dialled(path: Path) -> AsyncIterator[tuple[Dialers, Spare]]:
    peer = Peer()
    async with listening(peer.serve, path=path) as address:
        dialers = Dialers(address)
        spare = Spare(Endpoint("test://x", dialer=dialers))
        try:
            yield dialers, spare
        finally:
            await spare.close()


def test_a_failure_from_before_is_tried_again_when_a_connection_is_needed(tmp_path):
    async def main():
        async with dialled(tmp_path / "s") as (dialers, spare):
            dialers.failures = [Unreachable("then", address="test://x")]
            spare.fill()
            await moment()
            await talk(spare)
            assert dialers.n_dialled == 2

    run(main)


def test_a_failure_while_a_call_waits_is_the_calls_own(tmp_path):
    async def main():
        async with dialled(tmp_path / "s") as (dialers, spare):
            dialers.goes_on.clear()
            dialers.failures = [Unreachable("now", address="test://x")]
            spare.fill()
            opening = asyncio.create_task(spare.open(METHOD, []))
            await moment()
            dialers.goes_on.set()
            with pytest.raises(Unreachable, match="now"):
                await opening
            assert dialers.n_dialled == 1

    run(main)


def test_a_call_that_is_cancelled_while_it_waits_leaves_the_connection_to_the_next(tmp_path):
    async def main():
        async with dialled(tmp_path / "s") as (dialers, spare):
            dialers.goes_on.clear()
            spare.fill()
            opening = asyncio.create_task(spare.open(METHOD, []))
            await asyncio.sleep(0.01)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            dialers.goes_on.set()
            await talk(spare)
            assert dialers.n_dialled == 1

    run(main)


def test_a_connection_that_breaks_in_a_call_is_a_lost_connection_and_the_next_call_works(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (peer, spare):
            call = await spare.open(METHOD, [])
            await call.write([b"x"])
            assert await call.read() == b"x"
            peer.hang_up()
            with pytest.raises(ConnectionLost):
                await call.read()
            with pytest.raises(ConnectionLost):
                await call.write([b"y"])
            await call.close()
            await talk(spare)

    run(main)


def test_an_empty_write_sends_nothing(tmp_path):
    async def main():
        async with peer_and_spare(tmp_path / "s") as (_, spare):
            call = await spare.open(METHOD, [])
            await call.write([])
            await call.write([b"", memoryview(b"")])
            await call.write([b"x"])
            assert await call.read() == b"x"
            await call.close()

    run(main)
