"""Two hundred builds on a real plane, each interrupted at a random moment: all end, and none is a false success.

By a cancelled task, by a client that is closed, by Ctrl-C in a blocking call, by a process that is killed. Then the
plane is asked what it thinks of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from depotlab import aio
from depotlab._depot import Api, Connect
from depotlab._local import find_installed
from depotlab._plane.health import Limits
from depotlab._plane.up import Plane
from depotlab._portal import portal
from tests.conftest import unavailable
from tests.support.interruptedbuilds import MARK, work
from tests.support.planeparts import PlaneThread
from tests.support.processes import sleeping

SEED = 20261121
N_CANCELLED, N_CLOSED, N_TYPED, N_KILLED = 110, 30, 30, 30
N_AT_ONCE = 12


@pytest.fixture
def folder():
    """A folder for a plane; short, because sockets live in it."""
    found = find_installed()
    if found is None or found.runtime is None:
        unavailable("the engine is not installed: run `depotlab engine install`")
    path = Path(tempfile.mkdtemp(prefix="dlf-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def ended(building) -> str:
    """The id of a build that succeeded, or empty."""
    try:
        return (await building).depot.build_id
    except (Exception, asyncio.CancelledError):
        return ""


async def cancelled(of, draw: random.Random, most_s: float) -> list[str]:
    free = asyncio.Semaphore(N_AT_ONCE)
    async with await aio.depot(
        of["DEPOT_PROJECT_ID"], url=of["DEPOT_API_URL"], token=of["DEPOT_TOKEN"]
    ) as client:

        async def one(number: int) -> str:
            async with free:
                name = f"cancelled-{number}"
                building = client.build(work(name, slow=number % 3 > 0), progress="quiet")
                task = asyncio.create_task(building)
                await asyncio.sleep(draw.uniform(0, most_s))
                for _ in range(draw.choice((1, 1, 2, 3))):
                    task.cancel()
                    await asyncio.sleep(draw.uniform(0, 0.01))
                return await ended(task)

        return list(await asyncio.gather(*map(one, range(N_CANCELLED))))


async def closed(of, draw: random.Random, most_s: float) -> list[str]:
    found: list[str] = []
    for group in range(6):
        client = await aio.depot(
            of["DEPOT_PROJECT_ID"], url=of["DEPOT_API_URL"], token=of["DEPOT_TOKEN"]
        )
        names = [f"closed-{group}-{number}" for number in range(N_CLOSED // 6)]
        running = [client.submit(work(n, slow=True), progress="quiet") for n in names]
        await asyncio.sleep(draw.uniform(0, most_s))
        await client.close()
        found += await asyncio.gather(*map(ended, running))
    return found


def program(of, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.interruptedbuilds", *map(str, arguments)]
    environment = {**os.environ, **of}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def typed(of) -> list[str]:
    process = program(of, "interrupt", SEED, N_TYPED)
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0
    return said.split()[1:]


def killed(of, draw: random.Random) -> None:
    for number in range(3):
        process = program(of, "hold", number, N_KILLED // 3)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.uniform(0.05, 1.0))
        process.kill()
        process.communicate()


async def looked_up(of):
    """What the plane says of each build: its status, and whether each step of it has ended well."""
    connect = Connect(of["DEPOT_API_URL"], token=of["DEPOT_TOKEN"])
    api, found = Api(connect), {}
    try:
        async for build in api.builds.list(of["DEPOT_PROJECT_ID"]):
            steps = [s async for s in api.builds.steps(of["DEPOT_PROJECT_ID"], build.id)]
            whole = bool(steps) and all(s.completed_at and not s.error for s in steps)
            found[build.id] = (build.status, whole and any("-" in s.name for s in steps))
    finally:
        connect.close()
    return found


async def some_builds(of) -> float:
    """Build as many at once as are interrupted later; return how long that took, in seconds."""
    client = await aio.depot(
        of["DEPOT_PROJECT_ID"], url=of["DEPOT_API_URL"], token=of["DEPOT_TOKEN"]
    )
    async with client:
        await client.build(work("first-one", slow=False), progress="quiet")  # the machine starts
        began_s = time.monotonic()
        building = (client.build(work(f"first-{n}", slow=True)) for n in range(N_AT_ONCE))
        await asyncio.gather(*building)
        return time.monotonic() - began_s


def n_connections() -> int:
    """How many TCP sockets this process has open, wherever they lead."""
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    ours = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, as that of the folder is
            ours.add(os.readlink(descriptor))
    return sum(f"socket:[{row[9]}]" in ours for row in rows)


async def our_tasks() -> set[str]:
    return {t.get_name() for t in asyncio.all_tasks() if t.get_name().startswith("depotlab")}


def test_two_hundred_interrupted_builds_all_end_and_none_is_a_false_success(folder):
    with PlaneThread(lambda: Plane(folder / "first")) as first:  # what libraries keep is there then
        whole_s = asyncio.run(some_builds(dict(first.plane.environment)))
    n_before = n_connections()
    draw = random.Random(SEED)
    # Longer than a client lets pass between two reports: five seconds, on a busy computer more.
    limits = Limits(first_s=10.0, missed_s=10.0)
    with PlaneThread(lambda: Plane(folder / "p", limits=limits)) as thread:
        of = dict(thread.plane.environment)
        child: list[str] = []
        beside = threading.Thread(target=lambda: child.extend(typed(of)), name="Thread-typed")
        beside.start()
        killed(of, draw)
        known = asyncio.run(cancelled(of, draw, whole_s / 2))
        known += asyncio.run(closed(of, draw, whole_s / 2))
        beside.join()
        known += child

        history, machines = thread.plane.parts.history, thread.plane.parts.machines
        deadline = time.monotonic() + 60
        while thread.do(lambda _: history.running()):
            assert time.monotonic() < deadline, "a build is never given up"
            time.sleep(0.05)
        found = asyncio.run(looked_up(of))
        while any(state.builds for state in thread.do(lambda _: machines.states())):
            assert time.monotonic() < deadline, "a machine is held for ever"
            time.sleep(0.05)

    statuses = Counter(status for status, _ in found.values())
    assert set(statuses) <= {"success", "canceled", "failed"}
    assert len(found) > 150, "most were interrupted after they were registered"
    assert statuses["canceled"] > 60
    done = {build_id for build_id in known if build_id}
    assert {build_id for build_id in done if found[build_id][0] != "success"} == set()
    unfinished = {b for b, (status, whole) in found.items() if status == "success" and not whole}
    assert unfinished == set(), "a success that was not done"
    assert done, "some came through"

    assert sleeping(MARK) == []
    assert portal().run(our_tasks()) == set()

    assert n_connections() <= n_before
