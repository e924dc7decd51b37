"""Two hundred builds, each interrupted at a random moment of its life: all are finished once, none as a success."""

import asyncio
import gc
import os
import random
import threading
from base64 import b64encode
from collections import Counter

from depotlab._depot import BuildOptions, Connect, Machine, Retry, StatusMirror, register
from depotlab._depot.wire import enveloped
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._rpc import Endpoint
from tests.support.depotmachine import Authority, active, pending
from tests.support.fakeplane import ended, fault, message, serving, stream

N_BUILDS = 200
N_AT_ONCE = 40
SEED = 20261121


class Interrupted(Exception):
    """What a user's own code might raise."""


def plane_of(random_, authority):
    """Answers that come after a while, some of them faults."""
    created = []
    accepted = []

    async def late(most_s=0.02):
        await asyncio.sleep(random_.uniform(0, most_s))

    async def create(_):
        await late()
        number = len(created)
        build_id = f"b{number:09}"
        created.append(build_id)
        credential = {
            "host": "reg.test",
            "token": b64encode(f"x-token:secret-of-{build_id}".encode()).decode(),
        }
        return message(
            cli.CreateBuildResponse(
                build_id=build_id,
                build_token=f"token-of-{build_id}",
                additional_credentials=[credential],
            )
        )

    async def connection(asked):
        await late()
        draw = random_.random()
        if draw < 0.05:
            return fault(500, "internal", "no machine")
        if draw < 0.1:
            return None
        if draw < 0.5:
            return message(pending(10))
        return message(active("tcp://127.0.0.1:1", authority))

    async def health(_):
        await late()
        if random_.random() < 0.1:
            return None
        return message(cli.ReportBuildHealthResponse())

    async def finish(asked):
        await late()
        if random_.random() < 0.2:
            return None
        accepted.append(asked.parsed(cli.FinishBuildRequest).build_id)
        return message(cli.FinishBuildResponse())

    async def status(_):
        await late()
        return stream(enveloped(b""), ended())

    answers = {
        "CreateBuild": create,
        "GetBuildKitConnection": connection,
        "ReportBuildHealth": health,
        "FinishBuild": finish,
        "ReportStatusStream": status,
    }
    return answers, created, accepted


def test_interrupted_builds_are_finished_once_and_never_as_a_success():
    random_ = random.Random(SEED)
    authority = Authority()
    answers, created, accepted = plane_of(random_, authority)

    async def probe(_: Endpoint) -> None:
        await asyncio.sleep(random_.uniform(0, 0.02))

    async def build(connect, fails_at_s):
        async with (
            await register(connect, BuildOptions(save=True)) as registered,
            StatusMirror(registered) as mirror,
        ):
            registered.report = mirror.stage
            async with Machine(registered, probe=probe) as machine:
                await machine.guard(asyncio.sleep(fails_at_s))
                raise Interrupted

    async def one(connect, free):
        async with free:
            task = asyncio.create_task(build(connect, random_.uniform(0, 0.05)))
            await asyncio.sleep(random_.uniform(0, 0.15))
            for _ in range(random_.choice((0, 1, 1, 2, 5))):
                task.cancel()
                await asyncio.sleep(random_.uniform(0, 0.005))
            (result,) = await asyncio.gather(task, return_exceptions=True)
            return type(result).__name__

    async def run():
        async with serving(answers) as plane:
            connect = Connect(plane.url, token="caller", retry=Retry(first_s=0.001, most_s=0.01))
            before = asyncio.all_tasks()
            free = asyncio.Semaphore(N_AT_ONCE)
            results = await asyncio.gather(*(one(connect, free) for _ in range(N_BUILDS)))
            connect.close()
            ours = {t for t in asyncio.all_tasks() - before if "depotlab" in t.get_name()}
            await plane.until(lambda: plane.n_open == 0)
            left = ours
            if (
                others := asyncio.all_tasks() - before
            ):  # those of the plane's side end in the next turns
                left |= (await asyncio.wait(others, timeout=20))[1]
            return plane, Counter(results), left

    n_files = len(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())
    plane, results, left = asyncio.run(run())
    gc.collect()

    told = {}
    for asked in plane.named("FinishBuild"):
        finished = asked.parsed(cli.FinishBuildRequest)
        told.setdefault(finished.build_id, set()).add(finished.WhichOneof("result"))
        assert asked.headers["authorization"] == f"Bearer token-of-{finished.build_id}"
    assert sorted(accepted) == sorted(created), "each build that was registered is finished, once"
    assert len(created) > N_BUILDS / 2
    outcomes = Counter(kind for (kind,) in told.values())  # one build, one outcome
    assert set(outcomes) == {"canceled", "error"}
    assert min(outcomes.values()) > 20, "both ways of ending were tried"
    assert results["CancelledError"] > 20
    assert results["Interrupted"] > 20
    assert not left
    assert {t for t in threading.enumerate() if t not in threads} == set()
    assert len(os.listdir("/proc/self/fd")) <= n_files
