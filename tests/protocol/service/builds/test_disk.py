"""The state folder's disk takes nothing for a while, or its file is damaged: nobody hangs, and no build is stuck."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from depotlab.errors import EngineError, ServiceError
from depotlab.service import Limits
from depotlab.service._access.access import Access
from tests.support.fakerunner import FakeRunner, ended, line, open_core, order, pushed, until
from tests.support.virtualtime import run_jumping


def takes_nothing(core, is_full: bool) -> None:
    core.database._file.execute(f"PRAGMA query_only = {is_full:d}")


async def _for_ever(asked, secrets, journal):
    journal.lines([line("begun")])
    await asyncio.Event().wait()


def test_a_build_that_was_cancelled_while_the_disk_was_full_ends_at_its_turn(tmp_path: Path):
    async def run():
        runner = FakeRunner(_for_ever)
        async with open_core(tmp_path, runner, limits=Limits(max_running=1)) as core:
            first, queued = await order(core, "a"), await order(core, "b")
            await until(lambda: runner.started)
            takes_nothing(core, True)
            with pytest.raises(ServiceError, match="cannot use its database") as caught:
                await core.cancel_build(queued.build_id)
            takes_nothing(core, False)
            assert (await core.health()).n_queued == 1
            await core.cancel_build(first.build_id)
            health = await core.health()
            return caught.value, await ended(core, queued.build_id), health, runner.started

    error, build, health, started = run_jumping(run())
    assert error.code == "unavailable"
    assert build.state == "canceled"
    assert started[1:] == []
    assert health.n_waiting == 0


def test_a_full_disk_keeps_nobody_from_asking_and_what_was_printed_comes_later(tmp_path: Path):
    has_room = asyncio.Event()

    async def make(asked, secrets, journal):
        journal.lines([line("before")])
        await asyncio.sleep(1)
        takes_nothing(opened, True)
        journal.lines([line("meanwhile")])
        await has_room.wait()
        return pushed(asked)

    async def run():
        nonlocal opened
        async with open_core(tmp_path, FakeRunner(make)) as core:
            opened = core
            build = await order(core)
            await asyncio.sleep(5)
            assert (await core.get_build(build.build_id)).state == "running"
            assert len(await core.list_builds()) == 1
            seen = [one.text async for one in core.get_build_logs(build.build_id, follow=False)]
            with pytest.raises(ServiceError, match="cannot use its database"):
                await Access(core.database).create("CI", projects="*")
            with pytest.raises(ServiceError) as caught:
                await order(core, "other")
            takes_nothing(core, False)
            has_room.set()
            assert (await ended(core, build.build_id)).attempts == 1
            after = [one.text async for one in core.get_build_logs(build.build_id)]
            return seen, caught.value.code, after, len(await core.list_builds())

    opened = None
    assert run_jumping(run()) == (["before"], "unavailable", ["before", "meanwhile"], 1)


def test_a_machine_works_once_for_a_log_that_the_disk_does_not_take(tmp_path: Path):
    async def make(asked, secrets, journal):
        journal.lines([line("x" * 60_000)] * 10)
        await asyncio.sleep(1)
        return pushed(asked)

    async def run():
        runner = FakeRunner(make)
        async with open_core(tmp_path, runner) as core:
            (n_pages,) = core.database.row("PRAGMA page_count")
            core.database.row(f"PRAGMA max_page_count = {n_pages + 5}")
            build = await order(core)
            await asyncio.sleep(60)
            n_tries = len(runner.started)
            core.database.row("PRAGMA max_page_count = 100000")
            return n_tries, await ended(core, build.build_id)

    n_tries, build = run_jumping(run())
    assert n_tries == 1
    assert build.state == "succeeded"


def test_closing_on_a_full_disk_holds_nobody_and_the_next_start_goes_on(tmp_path: Path, caplog):
    async def run():
        async with open_core(tmp_path, FakeRunner(_for_ever)) as core:
            builds = [await order(core, "a"), await order(core, "b", env={"TOKEN": "s"})]
            await asyncio.sleep(0.5)
            lines = core.get_build_logs(builds[0].build_id)
            assert (await anext(lines)).text == "begun"
            following = asyncio.ensure_future(anext(lines))
            await asyncio.sleep(0.5)
            takes_nothing(core, True)
        with pytest.raises(ServiceError) as caught:
            await asyncio.wait_for(following, 10)
        assert caught.value.code == "unavailable"
        async with open_core(tmp_path, FakeRunner()) as core:
            return [(await ended(core, build.build_id)).state for build in builds]

    assert run_jumping(run()) == ["succeeded", "failed"]
    assert "cannot be kept" in caplog.text


def test_a_damaged_file_is_named_when_the_service_is_opened(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            await ended(core, (await order(core)).build_id)
        file = tmp_path / "service.sqlite3"
        data = bytearray(file.read_bytes())
        data[4096:] = b"\xa5" * (len(data) - 4096)
        file.write_bytes(data)
        with pytest.raises(EngineError, match="malformed") as caught:
            async with open_core(tmp_path, FakeRunner()):
                pass
        return caught.value

    error = run_jumping(run())
    assert str(tmp_path) in error.message
    assert "damaged" in error.hint
