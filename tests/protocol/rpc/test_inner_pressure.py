"""Back-pressure, fairness and floods: what is held stays bounded, and nobody starves."""

import asyncio
import time
from struct import pack

import h2.errors
import h2.settings
import pytest

from depotlab._rpc.call import Status
from depotlab._rpc.frames import frame
from depotlab._rpc.handlers import unary
from depotlab._rpc.health import HEALTH, HEALTH_CHECK
from depotlab._rpc.inner import (
    ALL_STREAMS_BYTES,
    CONTROL_FRAMES,
    HIGH_WATER_BYTES,
    InnerServer,
)
from depotlab._rpc.sending import BATCH_BYTES
from depotlab._rpc.streams import Limits
from tests.support.rpc_peers import H2Client, MemoryLink, message, moment, run, served

KIB, MIB = 1 << 10, 1 << 20
WINDOW = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE


async def upper(call, request):
    return request.upper()


async def settled(value):
    """Wait until a number stops growing, and return it."""
    last = value()
    while True:
        await moment(0.1)
        if value() == last:
            return last
        last = value()


class Progress:
    """A handler that sends without end and counts what it has got rid of."""

    def __init__(self, body_bytes=64 * KIB):
        self.body = bytes(body_bytes)
        self.n_bytes = 0

    async def __call__(self, call):
        while True:
            await call.send(self.body)
            self.n_bytes += len(self.body)


# ----------------------------------------------------------------------- handlers that are slow


def test_a_handler_that_does_not_read_stops_the_peer_and_nobody_else():
    go_on = asyncio.Event()
    received = []

    async def lazy(call):
        await go_on.wait()
        while messages := await call.receive_many():
            received.extend(messages)

    async def main():
        limits = Limits(window_bytes=MIB)
        async with served(
            {"/t.S/Lazy": lazy, "/t.S/Upper": unary(upper), **HEALTH}, limits=limits
        ) as s:
            stream_id = s.client.open("/t.S/Lazy")
            await s.client.flush()
            body = message(bytes(10_000))
            sending = asyncio.create_task(s.client.send(stream_id, body * 500, ends=True))
            window = await settled(lambda: s.client.h2.local_flow_control_window(stream_id))
            assert not sending.done()
            assert window == 0, "the peer may send one window and no more"
            for _ in range(50):
                assert (await s.client.call(HEALTH_CHECK, b"")).messages == [b"\x08\x01"]
                assert (await s.client.call("/t.S/Upper", b"a" * 9999)).status == 0
            go_on.set()
            await sending
            assert (await s.client.answer(stream_id)).status == 0

    run(main)
    assert received == [bytes(10_000)] * 500


def test_handlers_that_do_not_read_are_bounded_all_together():
    async def main():
        limits = Limits(window_bytes=MIB, unread_bytes=2 * MIB)
        async with served({"/t.S/Lazy": lambda call: asyncio.Event().wait()}, limits=limits) as s:
            streams = [s.client.open("/t.S/Lazy") for _ in range(10)]
            await s.client.flush()
            body = message(bytes(10_000)) * 100
            sending = [asyncio.create_task(s.client.send(i, body)) for i in streams]

            def n_accepted():
                return sum(
                    MIB - s.client.h2.streams[i].outbound_flow_control_window for i in streams
                )

            assert 2 * MIB <= await settled(n_accepted) <= 3 * MIB + 16 * KIB
            assert s.client.h2.outbound_flow_control_window == 0, "the whole connection is stopped"
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    run(main)


def test_a_message_larger_than_the_window_arrives():
    async def size(call, request):
        return b"%d" % len(request)

    async def main():
        limits = Limits(window_bytes=100_000, message_bytes=8 * MIB)
        async with served({"/t.S/Size": unary(size)}, limits=limits) as s:
            answer = await s.client.call("/t.S/Size", bytes(8 * MIB))
        assert answer.messages == [b"%d" % (8 * MIB)]

    run(main)


# -------------------------------------------------------------------------- peers that are slow


def test_a_peer_that_gives_no_credit_stops_the_handler():
    progress = Progress()

    async def main():
        async with served({"/t.S/Pour": progress}) as s:
            s.client.gives_credit = False
            s.client.open("/t.S/Pour", ends=True)
            await s.client.flush()
            n_bytes = await settled(lambda: progress.n_bytes)
            assert n_bytes <= 65_535 + HIGH_WATER_BYTES + len(progress.body)
            s.client.credit(1, 10 * MIB)
            await s.client.flush()
            more = await settled(lambda: progress.n_bytes)
            assert 10 * MIB <= more - n_bytes + HIGH_WATER_BYTES <= 12 * MIB

    run(main)


def test_a_peer_that_does_not_read_stops_the_handler():
    progress = Progress()

    async def main():
        link = MemoryLink()
        serving = asyncio.create_task(InnerServer({"/t.S/Pour": progress}).serve(link))
        client = H2Client(link, settings={WINDOW: 1 << 30})
        client.open("/t.S/Pour", ends=True)
        client.h2.increment_flow_control_window(1 << 30)
        await client.flush()
        await link.to_server.put(frame(8, 0, 0, pack(">L", 1 << 30)))
        n_bytes = await settled(lambda: progress.n_bytes)
        assert n_bytes <= HIGH_WATER_BYTES + 4 * BATCH_BYTES
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    run(main)


def test_producers_are_bounded_all_together_and_each_gets_a_frame():
    handlers = [Progress(8 * KIB) for _ in range(200)]

    async def main():
        table = {f"/t.S/Pour{number}": handler for number, handler in enumerate(handlers)}
        async with served(table) as s:
            s.client.gives_credit = False
            for number in range(200):
                s.client.open(f"/t.S/Pour{number}", ends=True)
            await s.client.flush()
            n_bytes = await settled(lambda: sum(h.n_bytes for h in handlers))
            assert n_bytes <= 65_535 + ALL_STREAMS_BYTES + 200 * 32 * KIB
            assert min(h.n_bytes for h in handlers) >= 8 * KIB

    run(main)


@pytest.mark.parametrize("window_bytes", [1, 7, 1000])
def test_small_windows_of_the_peer_only_make_it_slow(window_bytes):
    async def main():
        body = bytes(range(256)) * (window_bytes + 1)
        async with served({"/t.S/Upper": unary(upper)}, settings={WINDOW: window_bytes}) as s:
            answer = await s.client.call("/t.S/Upper", body)
        assert answer.messages == [body.upper()]

    run(main)


# ---------------------------------------------------------------------------------- fairness


def test_a_health_answer_overtakes_bulk_data():
    async def main():
        names = [f"/t.S/Pour{number}" for number in range(20)]
        async with served({**dict.fromkeys(names, Progress()), **HEALTH}) as s:
            for name in names:
                s.client.open(name, ends=True)
            await s.client.flush()
            while s.link.n_bytes_written < 8 * MIB:
                await s.client.changed()
            for _ in range(20):
                before = s.link.n_bytes_written
                answer = await s.client.call(HEALTH_CHECK, b"", metadata=[("grpc-timeout", "15S")])
                assert answer.messages == [b"\x08\x01"]
                # What was in flight already, and the batch that it shares.
                assert s.link.n_bytes_written - before <= 5 * BATCH_BYTES

    run(main)


def test_streams_that_send_at_once_get_equal_shares():
    handlers = {f"/t.S/Pour{number}": Progress() for number in range(5)}

    async def main():
        async with served(handlers) as s:
            streams = [s.client.open(name, ends=True) for name in handlers]
            await s.client.flush()
            while s.link.n_bytes_written < 20 * MIB:
                await s.client.changed()
            sizes = [len(s.client.answers[i].body) for i in streams]
        assert min(sizes) > 0.7 * max(sizes)

    run(main)


def test_a_handler_that_never_waits_for_the_peer_lets_others_run():
    async def busy(call):
        while True:
            call.queue(b"x" * 60)
            await call.drain()

    async def main():
        async with served({"/t.S/Busy": busy, "/t.S/Upper": unary(upper)}) as s:
            s.client.open("/t.S/Busy", ends=True)
            await s.client.flush()
            for _ in range(10):
                assert (await s.client.call("/t.S/Upper", b"a")).messages == [b"A"]

    run(main)


def test_small_messages_are_gathered_into_few_writes():
    async def many(call):
        for _ in range(50_000):
            await call.send(b"x" * 60)

    async def main():
        async with served({"/t.S/Many": many}, settings={WINDOW: 16 * MIB}) as s:
            s.client.h2.increment_flow_control_window(16 * MIB)
            answer = await s.client.call("/t.S/Many")
            assert answer.messages == [b"x" * 60] * 50_000
            assert s.link.n_writes < 100

    run(main)


# ------------------------------------------------------------------------------ many and floods


def test_thousands_of_calls_one_after_the_other_and_at_once():
    async def main():
        async with served({"/t.S/Upper": unary(upper), **HEALTH}) as s:
            for number in range(1000):
                body = b"call %d" % number
                assert (await s.client.call("/t.S/Upper", body)).messages == [body.upper()]
            for _ in range(5):
                answers = await asyncio.gather(
                    *(s.client.call("/t.S/Upper", b"%d" % n) for n in range(400))
                )
                assert [a.messages for a in answers] == [[b"%d" % n] for n in range(400)]

    run(main)


def test_a_flood_of_resets_starts_no_pile_of_tasks():
    begun = []

    async def stubborn(call):
        begun.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)

    async def main():
        limits = Limits(n_streams=50)
        async with served({"/t.S/Stubborn": stubborn, **HEALTH}, limits=limits) as s:
            most = 0
            for _ in range(20):
                for _ in range(40):
                    stream_id = s.client.open("/t.S/Stubborn")
                    await s.client.flush()
                    s.client.h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
                await s.client.flush()
                most = max(most, len(asyncio.all_tasks()))
            assert most < 50 + 10
            assert begun, "the flood is slow enough that some handlers begin"
            assert (await s.client.call(HEALTH_CHECK, b"")).status == 0

    run(main)


def test_calls_beyond_the_handlers_that_still_clean_up_are_refused():
    cleaning = asyncio.Event()
    began = asyncio.Semaphore(0)
    ended = asyncio.Semaphore(0)

    async def stubborn(call):
        began.release()
        try:
            await asyncio.Event().wait()
        finally:
            await cleaning.wait()
            ended.release()

    async def main():
        handlers = {"/t.S/Stubborn": stubborn, "/t.S/Upper": unary(upper)}
        async with served(handlers, limits=Limits(n_streams=5)) as s:
            for _ in range(5):
                stream_id = s.client.open("/t.S/Stubborn")
                await s.client.flush()
                await began.acquire()
                s.client.h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
                await s.client.flush()
            answer = await s.client.call("/t.S/Upper", b"a")
            assert answer.reset == h2.errors.ErrorCodes.REFUSED_STREAM
            cleaning.set()
            for _ in range(5):
                await ended.acquire()
            assert (await s.client.call("/t.S/Upper", b"a")).status == Status.OK

    run(main)


def test_pings_are_answered_at_once_and_in_order():
    async def main():
        async with served({"/t.S/Pour": Progress()}) as s:
            s.client.open("/t.S/Pour", ends=True)
            await s.client.flush()
            while s.link.n_bytes_written < 4 * MIB:
                await s.client.changed()
            for number in range(100):
                s.client.h2.ping(b"%08d" % number)
                await s.client.flush()
            while len(s.client.pings) < 100:
                await s.client.changed()
        assert s.client.pings == [b"%08d" % number for number in range(100)]

    run(main)


def test_a_peer_that_pings_and_does_not_read_is_not_read_either():
    async def main():
        link = MemoryLink()
        serving = asyncio.create_task(InnerServer({}).serve(link))
        client = H2Client(link)
        await client.flush()
        n_accepted = 0
        pings = frame(6, 0, 0, bytes(8)) * 100

        async def flood():
            nonlocal n_accepted
            while True:
                await link.to_server.put(pings)
                n_accepted += 100

        flooding = asyncio.create_task(flood())
        assert await settled(lambda: n_accepted) <= 6 * CONTROL_FRAMES
        for task in (flooding, serving):
            task.cancel()
        await asyncio.gather(flooding, serving, return_exceptions=True)

    run(main)


def test_a_stream_that_always_has_bytes_at_hand_does_not_hold_the_loop():
    class Eager:
        """Returns pings without ever waiting."""

        n_reads = 0

        async def read(self):
            self.n_reads += 1
            return H2Client(MemoryLink()).h2.data_to_send() if self.n_reads == 1 else b""

        async def write(self, pieces):
            pass

    async def main():
        serving = asyncio.create_task(InnerServer({}).serve(Eager()))
        started_s = time.monotonic()
        await asyncio.sleep(0.01)
        assert time.monotonic() - started_s < 5
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    run(main)
