"""The status that a client sends: in batches, bounded, and never the reason of a failure."""

import asyncio
import struct

import pytest

from depotlab._depot import Connect, DepotBuild, Retry, Stage, StatusMirror
from depotlab._depot.wire import Envelopes, enveloped
from depotlab._proto import control_pb2 as control
from depotlab._proto import depot_cli_pb2 as cli
from tests.support.fakeplane import ended, fault, serving, stream
from tests.support.virtualtime import run_jumping

TAKEN = stream(enveloped(b""), ended())


def status(number):
    return control.StatusResponse(vertexes=[{"digest": str(number)}]).SerializeToString()


def batches(asked):
    """The messages of one request, as the numbers that `status` was given."""
    found = []
    for data in Envelopes(max_bytes=1 << 24).feed(asked.body):
        request = cli.ReportStatusStreamRequest.FromString(data)
        assert request.build_id == "b1"
        found.append([v.digest for s in request.statuses for v in s.vertexes])
    return found


def mirroring(work, *answers, **options):
    async def run():
        async with serving({"ReportStatusStream": list(answers)}) as plane:
            connect = Connect(plane.url, token="caller", retry=Retry(first_s=0.001))
            build = DepotBuild(connect, "build-token-1", build_id="b1")
            mirror = StatusMirror(build, **options)
            try:
                async with mirror:
                    await work(mirror)
            finally:
                connect.close()
            assert not [t for t in asyncio.all_tasks() if "depotlab" in t.get_name()]
            return plane, mirror

    return run_jumping(run())


def test_messages_go_out_once_a_second_over_one_stream():
    async def work(mirror):
        for number in range(6):
            mirror.add(status(number))
            await asyncio.sleep(0.4)

    plane, mirror = mirroring(work, TAKEN)
    (asked,) = plane.asked
    assert asked.path == "/depot.cli.v1.BuildService/ReportStatusStream"
    assert asked.headers["content-type"] == "application/connect+proto"
    assert asked.headers["authorization"] == "Bearer build-token-1"
    sent = batches(asked)
    assert [number for batch in sent for number in batch] == list("012345")
    assert 2 <= len(sent) <= 4
    assert (mirror.n_sent, mirror.n_dropped) == (6, 0)


def test_nothing_to_say_opens_no_stream():
    plane, mirror = mirroring(lambda _: asyncio.sleep(10), TAKEN)
    assert plane.n_connections == 0
    assert mirror.n_sent == 0


def test_what_does_not_fit_is_dropped_and_counted():
    async def work(mirror):
        for number in range(25):
            mirror.add(status(number))

    plane, mirror = mirroring(work, TAKEN, max_queued=10)
    assert batches(plane.asked[0]) == [[str(n) for n in range(10)]]
    assert (mirror.n_sent, mirror.n_dropped) == (10, 15)


def test_after_the_end_nothing_is_taken():
    async def work(mirror):
        mirror.add(status(0))
        await mirror.close()
        mirror.add(status(1))
        await mirror.close()

    plane, mirror = mirroring(work, TAKEN)
    assert batches(plane.asked[0]) == [["0"]]
    assert mirror.n_dropped == 1


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(None, id="no word"),
        pytest.param(stream(ended({"code": "unavailable", "message": "restart"})), id="refused"),
        pytest.param(lambda _: asyncio.sleep(1000), id="no answer"),
    ],
)
def test_a_stream_that_fails_is_replaced_and_loses_nothing_that_was_not_taken(first):
    async def answer(asked):
        made = answers.pop(0)
        return await made(asked) if callable(made) else made

    answers = [first, TAKEN]

    async def work(mirror):
        mirror.add(status(0))
        await asyncio.sleep(5)
        mirror.add(status(1))

    async def run():
        async with serving({"ReportStatusStream": answer}) as plane:
            connect = Connect(plane.url, token="caller")
            build = DepotBuild(connect, "build-token-1", build_id="b1")
            async with StatusMirror(build) as mirror:
                await work(mirror)
            connect.close()
            return plane, mirror

    plane, _ = run_jumping(run())
    everything = [n for asked in plane.asked for batch in batches(asked) for n in batch]
    assert set(everything) == {"0", "1"}


def test_a_plane_that_takes_nothing_costs_five_seconds_at_most_and_fails_nothing():
    async def run():
        async with serving({"ReportStatusStream": lambda _: asyncio.sleep(1000)}) as plane:
            connect = Connect(plane.url, token="caller")
            build = DepotBuild(connect, "build-token-1", build_id="b1")
            mirror = StatusMirror(build)
            mirror.add(status(0))
            loop = asyncio.get_running_loop()
            started = loop.time()
            await mirror.close()
            connect.close()
            return loop.time() - started

    assert run_jumping(run()) < 10


def test_closing_can_be_cancelled_and_leaves_nothing():
    async def run():
        async with serving({"ReportStatusStream": lambda _: asyncio.sleep(1000)}) as plane:
            connect = Connect(plane.url, token="caller")
            build = DepotBuild(connect, "build-token-1", build_id="b1")
            mirror = StatusMirror(build)
            mirror.add(status(0))
            closing = asyncio.create_task(mirror.close())
            await plane.until(lambda: plane.asked)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            connect.close()
            assert not [t for t in asyncio.all_tasks() if "depotlab" in t.get_name()]

    asyncio.run(run())


def test_a_large_batch_is_sent_in_several():
    async def work(mirror):
        log = control.StatusResponse(logs=[{"vertex": "v", "msg": bytes(400_000)}])
        for _ in range(5):
            mirror.add(log.SerializeToString())

    plane, mirror = mirroring(work, TAKEN)
    body = plane.asked[0].body
    sizes = []
    while body:
        (n_bytes,) = struct.unpack_from(">I", body, 1)
        sizes.append(n_bytes)
        body = body[5 + n_bytes :]
    assert len(sizes) == 3
    assert max(sizes) < 1 << 20
    assert mirror.n_sent == 5


def test_stages_become_the_steps_that_the_official_client_shows():
    async def work(mirror):
        for number, name in enumerate(("registered", "waiting for machine", "connecting", "ready")):
            mirror.stage(Stage(name, "arm64" if number else "", at_ns=10**9 * number))

    plane, _ = mirroring(work, TAKEN)
    vertexes = {}
    for data in Envelopes(max_bytes=1 << 20).feed(plane.asked[0].body):
        for message in cli.ReportStatusStreamRequest.FromString(data).statuses:
            vertexes.update({v.name: v for v in message.vertexes})
    assert [(n, v.started.seconds, v.completed.seconds) for n, v in vertexes.items()] == [
        ("[depot] launching arm64 machine", 1, 2),
        ("[depot] connecting to arm64 machine", 2, 3),
    ]
    assert len({v.digest for v in vertexes.values()}) == 2


def test_a_machine_that_could_not_be_had_is_a_step_that_failed():
    async def work(mirror):
        mirror.stage(Stage("waiting for machine", "amd64", at_ns=1))
        mirror.stage(Stage("retry", "amd64", "the daemon is gone", at_ns=2))
        mirror.stage(Stage("waiting for machine", "amd64", at_ns=3))
        mirror.stage(Stage("released", "amd64", at_ns=4))

    plane, _ = mirroring(work, TAKEN)
    (data,) = Envelopes(max_bytes=1 << 20).feed(plane.asked[0].body)
    told = cli.ReportStatusStreamRequest.FromString(data).statuses
    ended = [v.error for message in told for v in message.vertexes if v.HasField("completed")]
    assert ended == ["the daemon is gone", "there was no machine"]


def test_what_is_flushed_goes_at_once_and_leaves_nothing_for_the_end(monkeypatch):
    monkeypatch.setattr("depotlab._depot.status.BATCH_S", 3600.0)

    async def run():
        async with serving({"ReportStatusStream": TAKEN}) as plane:
            connect = Connect(plane.url, token="caller")
            build = DepotBuild(connect, "build-token-1", build_id="b1")
            async with StatusMirror(build) as mirror:
                mirror.add(status(0))
                mirror.flush()
                await plane.until(lambda: plane.asked)
                mirror.add(status(1))  # what comes later has a stream of its own
            connect.close()
            return plane, mirror

    plane, mirror = asyncio.run(run())
    assert [batches(asked) for asked in plane.asked] == [[["0"]], [["1"]]]
    assert (mirror.n_sent, mirror.n_dropped) == (2, 0)


@pytest.mark.parametrize(
    ("answer", "unwanted"),
    [
        (fault(404, "unimplemented", "no such method"), True),
        (fault(403, "permission_denied", "no"), False),
    ],
)
def test_a_server_that_refuses_is_told_nothing_more(answer, unwanted):
    async def work(mirror):
        mirror.add(status(0))
        mirror.flush()
        await asyncio.sleep(3)
        mirror.add(status(1))

    plane, mirror = mirroring(work, answer)
    assert len(plane.asked) == 1
    assert mirror.unwanted is unwanted
    assert (mirror.n_sent, mirror.n_dropped) == (0, 2)


def test_closing_takes_no_longer_than_was_chosen():
    async def run():
        async with serving({"ReportStatusStream": lambda _: asyncio.sleep(1000)}) as plane:
            connect = Connect(plane.url, token="caller")
            build = DepotBuild(connect, "build-token-1", build_id="b1")
            loop = asyncio.get_running_loop()
            mirror = StatusMirror(build, close_s=100)
            mirror.add(status(0))
            began = loop.time()
            await mirror.close()
            connect.close()
            return mirror, loop.time() - began

    mirror, took_s = run_jumping(run())
    assert 99 < took_s < 120
    assert (mirror.n_sent, mirror.n_dropped) == (0, 1)
