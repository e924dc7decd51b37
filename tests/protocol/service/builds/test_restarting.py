"""What becomes of builds when the service stops, is closed or is killed, and starts again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from depotlab.errors import ServiceError
from depotlab.service import Limits
from depotlab.service._builds.housekeeping import forget_old
from tests.support.fakerunner import (
    FakeRunner,
    FakeStorage,
    FakeWriter,
    ended,
    failed,
    line,
    open_core,
    order,
    pushed,
    until,
)
from tests.support.virtualtime import run_jumping


async def _for_ever(asked, secrets, journal):
    journal.stage("solve")
    journal.lines([line(f"try {journal.attempt}")])
    await asyncio.Event().wait()


def test_closing_leaves_builds_to_the_next_start_but_for_those_with_secrets(tmp_path: Path):
    async def run():
        runner = FakeRunner(_for_ever)
        async with open_core(tmp_path, runner, limits=Limits(max_running=2)) as core:
            runs = await order(core, "a")
            runs_with_secrets = await order(core, "b", env={"TOKEN": "s"})
            queued = await order(core, "c")
            queued_with_secrets = await order(core, "d", env={"TOKEN": "s"})
            await until(lambda: len(runner.started) == 2)
        runner = FakeRunner()
        async with open_core(tmp_path, runner) as core:
            builds = [
                await ended(core, one.build_id)
                for one in (runs, runs_with_secrets, queued, queued_with_secrets)
            ]
            log = [one.text async for one in core.get_build_logs(runs.build_id)]
        return builds, log, runner

    builds, log, runner = run_jumping(run())
    assert [build.state for build in builds] == ["succeeded", "failed", "succeeded", "failed"]
    assert [build.attempts for build in builds] == [2, 1, 1, 0]
    assert {build.error.category for build in builds if build.error} == {"interrupted"}
    assert log == ["try 1", "The service was started anew; it is tried again."]
    assert runner.started == [builds[0].build_id, builds[2].build_id]


def test_a_service_that_is_killed_leaves_nothing_stuck(tmp_path: Path):
    """A process of its own is killed in the middle of four builds; the next service ends all of them."""
    script = Path(__file__).parents[3] / "support" / "killedservice.py"
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        ids = killed.stdout.readline().split()
        os.kill(killed.pid, signal.SIGKILL)

    async def run():
        runner, writer = FakeRunner(), FakeWriter()
        async with open_core(tmp_path, runner, writer=writer) as core:
            builds = [await ended(core, build_id) for build_id in ids]
            lines = [one async for one in core.get_build_logs(ids[0])]
        return builds, lines, writer

    builds, lines, writer = run_jumping(run())
    assert [build.state for build in builds] == ["succeeded", "failed", "succeeded", "failed"]
    assert [build.attempts for build in builds] == [2, 1, 1, 0]
    assert [build.error.category for build in builds[1::2]] == ["interrupted", "interrupted"]
    assert "start it again" in builds[1].error.message
    # Offsets that the killed one may have given are not given again.
    assert [one.text for one in lines] == [
        "try 1",
        "The service was started anew; it is tried again.",
    ]
    assert [one.offset for one in lines] == [0, 1001]
    assert sorted(row.build_id for row in writer.rows) == sorted(ids)


def test_a_build_that_never_lets_the_service_live_is_given_up(tmp_path: Path):
    async def run():
        build = None
        for _ in range(3):
            runner = FakeRunner(_for_ever)
            async with open_core(tmp_path, runner, limits=Limits(max_attempts=3)) as core:
                build = build or await order(core)
                while not runner.started:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.001)
        async with open_core(tmp_path, FakeRunner(), limits=Limits(max_attempts=3)) as core:
            return await core.get_build(build.build_id)

    build = run_jumping(run())
    assert (build.state, build.attempts, build.error.category) == ("failed", 3, "interrupted")


def test_a_clock_that_is_set_back_makes_no_build_end_before_it_began(tmp_path: Path):
    async def run():
        limits = Limits(max_running=1)
        async with open_core(tmp_path, FakeRunner(_for_ever), limits=limits) as core:
            await asyncio.sleep(3600)
            asked = [await order(core), await order(core, deployment="d2")]
            await asyncio.sleep(0.01)
        async with open_core(tmp_path, FakeRunner()) as core:  # its clock is an hour behind
            assert core.database.now_ns() / 1e9 < asked[0].created_at.timestamp() - 3000
            return [await ended(core, build.build_id) for build in asked]

    for build in run_jumping(run()):
        assert build.created_at <= build.started_at <= build.finished_at


def test_draining_lets_builds_end_starts_none_and_leaves_the_rest(tmp_path: Path):
    async def make(asked, secrets, journal):
        await asyncio.sleep(30)
        return pushed(asked)

    async def run():
        runner = FakeRunner(make)
        async with open_core(tmp_path, runner, limits=Limits(max_running=1)) as core:
            first, second = await order(core, "a"), await order(core, "b")
            await until(lambda: runner.started)
            assert await core.drain(timeout_s=1) is False
            with pytest.raises(ServiceError, match="about to stop") as caught:
                await core.create_build("a/1.tar.gz", project="a", deployment="d")
            assert caught.value.code == "unavailable"
            assert (await core.health()).takes_builds is False
            assert await core.drain(timeout_s=60) is True
            states = [(await core.get_build(one.build_id)).state for one in (first, second)]
            assert runner.started == [first.build_id]
        async with open_core(tmp_path, runner) as core:
            return states, (await ended(core, second.build_id)).state

    assert run_jumping(run()) == (["succeeded", "queued"], "succeeded")


def test_a_repeated_request_finds_its_build_after_a_restart_and_while_draining(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            upload = await core.generate_upload_url("shop")
            asked = {"project": "shop", "deployment": "d", "idempotency_key": "k"}
            first = await core.create_build(upload.build_context_path, **asked)
            await ended(core, first.build_id)
        async with open_core(tmp_path, FakeRunner()) as core:
            await core.drain(timeout_s=1)
            again = await core.create_build(upload.build_context_path, **asked)
            return first.build_id, again.build_id

    first, again = run_jumping(run())
    assert first == again


def test_a_build_that_waited_for_its_next_try_is_tried_after_a_restart(tmp_path: Path):
    async def fails(*_):
        return failed(transient=True)

    async def run():
        async with open_core(tmp_path, FakeRunner(fails)) as core:
            build = await order(core)
            while (await core.health()).n_waiting != 1:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        async with open_core(tmp_path, FakeRunner()) as core:
            return await ended(core, build.build_id)

    build = run_jumping(run())
    assert (build.state, build.attempts) == ("succeeded", 2)


def test_what_telemetry_could_not_be_told_is_told_at_the_next_start(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            build = await order(core)
            await ended(core, build.build_id)
        with sqlite3.connect(tmp_path / "service.sqlite3") as file:
            file.execute("UPDATE builds SET is_told = 0")
        file.close()
        writer = FakeWriter()
        async with open_core(tmp_path, FakeRunner(), writer=writer):
            pass
        again = FakeWriter()
        async with open_core(tmp_path, FakeRunner(), writer=again):
            pass
        return build.build_id, [row.build_id for row in writer.rows], again.rows

    build_id, told, again = run_jumping(run())
    assert told == [build_id]
    assert again == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_happens_each_build_ends_once_and_is_told_once(tmp_path: Path, seed: int):
    """Tries that fail, raise, hang and are cancelled, and a service that is closed again and again."""
    chance = random.Random(seed)
    limits = Limits(
        max_running=4, max_machines=3, max_per_project=2, max_attempts=3, build_timeout_s=20
    )

    async def make(asked, secrets, journal):
        journal.stage(chance.choice(("context", "machine", "solve")))
        journal.lines([line(f"{journal.attempt}")] * chance.randrange(3))
        await asyncio.sleep(chance.choice((0, 0.01, 5, 100)))
        match chance.randrange(5):
            case 0:
                return failed(transient=True)
            case 1:
                return failed()
            case 2:
                raise OSError("a mistake")
        return pushed(asked)

    async def run():
        ids: list[str] = []
        rows = []
        for _ in range(4):
            writer = FakeWriter()
            async with open_core(tmp_path, FakeRunner(make), limits=limits, writer=writer) as core:
                for n in range(12):
                    env = {"A": "b"} if chance.random() < 0.2 else None
                    build = await order(core, f"p{chance.randrange(5)}", f"d{n}", env=env)
                    ids.append(build.build_id)
                    if chance.random() < 0.4:
                        await asyncio.sleep(chance.choice((0, 0.01, 3)))
                    if chance.random() < 0.3:
                        await core.cancel_build(chance.choice(ids))
            rows += writer.rows
        writer = FakeWriter()
        async with open_core(tmp_path, FakeRunner(), limits=limits, writer=writer) as core:
            builds = {build_id: await ended(core, build_id) for build_id in ids}
            logs = {}
            for build_id in ids:
                logs[build_id] = [one.offset async for one in core.get_build_logs(build_id)]
            health = await core.health()
        return builds, logs, health, rows + writer.rows

    builds, logs, health, rows = run_jumping(run())
    assert len(builds) == 48
    assert (health.n_queued, health.n_running, health.n_waiting) == (0, 0, 0)
    assert sorted(row.build_id for row in rows) == sorted(builds), "each is told once"
    assert {row.build_id: row.status for row in rows} == {k: b.state for k, b in builds.items()}
    assert all(build.attempts <= limits.max_attempts for build in builds.values())
    assert {build.state for build in builds.values()} == {"succeeded", "failed", "canceled"}
    for offsets in logs.values():
        assert offsets == sorted(set(offsets))


def test_one_service_uses_a_state_folder_at_a_time(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            with pytest.raises(ServiceError, match="Another build service uses") as caught:
                async with open_core(tmp_path, FakeRunner()):
                    pass
            with pytest.raises(ServiceError, match="in use already"):
                await core.open()
            return caught.value

    error = run_jumping(run())
    assert error.code == "failed_precondition"
    assert "state=" in error.hint


def test_the_folder_and_its_files_are_their_owners_only(tmp_path: Path):
    folder = tmp_path / "deep" / "state"

    async def run():
        async with open_core(folder, FakeRunner()) as core:
            await order(core)
            return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}

    modes = run_jumping(run())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {"service.sqlite3", "service.lock"} <= set(modes)
    assert {mode & 0o077 for mode in modes.values()} == {0}


def test_a_store_that_fails_by_a_mistake_is_asked_to_forget_again(tmp_path: Path, caplog):
    storage = FakeStorage()
    delete, n_asked = storage.delete, 0

    async def mistaken_once(key):
        nonlocal n_asked
        n_asked += 1
        if n_asked == 1:
            raise KeyError("DeleteMarker")
        await delete(key)

    async def run():
        async with open_core(tmp_path, FakeRunner(), storage=storage) as core:
            unused = await core.generate_upload_url("shop")
            storage.delete = mistaken_once
            await asyncio.sleep(28 * 3600)
            return unused.build_context_path

    assert run_jumping(run()) in storage.deleted
    assert "KeyError" in caplog.text


def test_what_is_older_than_it_is_kept_goes(tmp_path: Path):
    async def make(asked, secrets, journal):
        journal.lines([line("x")] * 5000)
        return pushed(asked)

    async def run():
        storage = FakeStorage()
        async with open_core(tmp_path, FakeRunner(make), storage=storage) as core:

            async def after(days: float) -> None:
                now_ns = core.database.now_ns() + int(days * 86400e9)
                await forget_old(core._state, core._uploads, storage, now_ns=now_ns, keep_days=3)

            unused = await core.generate_upload_url("shop")
            old = await order(core, idempotency_key="k")
            await ended(core, old.build_id)
            await after(1.001)
            kept_first = list(storage.deleted)
            await after(1.1)  # a quarter of an hour and a day
            unused_gone = list(storage.deleted)
            await asyncio.sleep(7200)
            new = await order(core, deployment="d2")
            await ended(core, new.build_id)
            await after(2.99)
            with pytest.raises(ServiceError) as caught:
                await core.get_build(old.build_id)
            left = await core.list_builds()
            counts = [
                core.database.row(f"SELECT count(*) AS n FROM {table}")["n"]
                for table in ("lines", "log_steps", "uploads", "idempotency")
            ]
        assert caught.value.code == "not_found"
        assert [one.build_id for one in left] == [new.build_id]
        assert counts == [5000, 1, 1, 0]
        assert kept_first == []
        assert unused_gone == [unused.build_context_path]
        assert storage.deleted == [unused.build_context_path, old.context.key]

    run_jumping(run())
