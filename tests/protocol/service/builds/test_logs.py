"""Logs: kept in batches, followed live, resumed from any line, bounded."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import pytest

from depotlab.errors import ServiceError
from depotlab.service import Limits
from tests.support.fakerunner import FakeRunner, ended, line, open_core, order, pushed, until
from tests.support.virtualtime import run_jumping


async def read(logs):
    return [(one.offset, one.text) async for one in logs]


def test_many_readers_that_come_at_any_time_get_every_line_once(tmp_path: Path):
    go_on = asyncio.Event()

    async def make(asked, secrets, journal):
        for n in range(20):
            assert journal.lines([line(f"a{n}"), line(f"b{n}", stream=2)]) == 2 * n
            await asyncio.sleep(0.03)
        go_on.set()
        journal.lines([line("the last")])
        return pushed(asked)

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            early = [
                asyncio.create_task(read(core.get_build_logs(build.build_id))) for _ in range(5)
            ]
            middle = asyncio.create_task(read(core.get_build_logs(build.build_id, offset=31)))
            await go_on.wait()
            late = await read(core.get_build_logs(build.build_id))
            return [await task for task in early], await middle, late

    early, middle, late = run_jumping(run())
    expected = [
        *((n, f"{'ab'[n % 2]}{n // 2}") for n in range(40)),
        (40, "the last"),
    ]
    assert late == expected
    assert early == [expected] * 5
    assert middle == expected[31:]


def test_a_reader_that_is_interrupted_goes_on_where_it_was(tmp_path: Path):
    async def make(asked, secrets, journal):
        for n in range(10):
            journal.lines([line(f"{n}")])
            await asyncio.sleep(0.2)
        return pushed(asked)

    async def run():
        texts, offset = [], 0
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            while len(texts) < 10:
                logs = core.get_build_logs(build.build_id, offset)
                for _ in range(3):
                    if (one := await anext(logs, None)) is not None:
                        texts.append(one.text)
                offset = logs.offset
                await logs.aclose()
            await ended(core, build.build_id)
        return texts

    assert run_jumping(run()) == [str(n) for n in range(10)]


def test_without_following_it_gives_what_there_is(tmp_path: Path):
    async def make(asked, secrets, journal):
        journal.lines([line("so far")])
        await asyncio.Event().wait()

    async def run():
        runner = FakeRunner(make)
        async with open_core(tmp_path, runner) as core:
            build = await order(core)
            await until(lambda: runner.started)
            now = await read(core.get_build_logs(build.build_id, follow=False))
            after = await read(core.get_build_logs(build.build_id, offset=1, follow=False))
            info = await core.get_build(build.build_id)
            await core.cancel_build(build.build_id)
            return now, after, info.n_log_lines

    assert run_jumping(run()) == ([(0, "so far")], [], 1)


def test_a_line_has_its_step_its_stream_and_its_time(tmp_path: Path):
    async def make(asked, secrets, journal):
        journal.lines([line("half \ud800 a pair", stream=2, step="RUN é")])
        return pushed(asked)

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            return [one async for one in core.get_build_logs(build.build_id)]

    (one,) = run_jumping(run())
    assert (one.step_id, one.step, one.stream) == ("sha256:step", "RUN é", 2)
    assert one.at.isoformat() == "2026-01-02T00:00:00+00:00"
    assert str(one) == "half ? a pair"


def test_a_log_that_is_too_long_is_cut_and_counted(tmp_path: Path):
    offsets = []

    async def make(asked, secrets, journal):
        offsets.extend(journal.lines([line("x" * 100)] * 10) for _ in range(5))
        return pushed(asked)

    async def run():
        limits = Limits(max_log_bytes_per_build=1500)
        async with open_core(tmp_path, FakeRunner(make), limits=limits) as core:
            build = await order(core)
            lines = [one async for one in core.get_build_logs(build.build_id)]
            return (
                lines,
                await core.get_build(build.build_id),
                core._state.telemetry_row(build.build_id),
            )

    lines, build, row = run_jumping(run())
    assert [one.offset for one in lines if one.stream] == list(range(15))
    assert [one.text for one in lines if not one.stream] == [
        "The log is longer than 1.5 kB; the rest is not kept here.",
        "35 more lines of the steps were not kept here.",
    ]
    # Lines that are not kept have offsets all the same; a line of the service takes one, too.
    assert offsets == [0, 10, 21, 31, 41]
    assert build.n_log_lines == 52
    assert row.log_lines == 50


def test_a_line_that_is_too_long_is_cut(tmp_path: Path):
    async def make(asked, secrets, journal):
        journal.lines([line("é" * 100_000), line("short")])
        return pushed(asked)

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            return [text for _, text in await read(core.get_build_logs(build.build_id))]

    long, short = run_jumping(run())
    assert long == "é" * (32 << 10) + "… (134 kB more)"
    assert short == "short"


def test_a_log_of_any_length_needs_no_memory(tmp_path: Path):
    n_lines, piece = 30_000, 700

    async def make(asked, secrets, journal):
        some = [line("x" * 20)] * piece
        for n in range(0, n_lines, piece):
            journal.lines(some[: n_lines - n])
            await asyncio.sleep(0)
        return pushed(asked)

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            slow = core.get_build_logs(build.build_id)
            await anext(slow)  # holds nothing while it waits
            tracemalloc.start()
            await ended(core, build.build_id)
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            tail = await read(core.get_build_logs(build.build_id, offset=n_lines - 2))
            return (
                peak_bytes,
                await core.get_build(build.build_id),
                tail,
                (await anext(slow)).offset,
            )

    peak_bytes, build, tail, second = run_jumping(run())
    assert peak_bytes < 2 << 20, "30 000 lines are 6 MB when they are in memory"
    assert build.n_log_lines == n_lines
    assert [offset for offset, _ in tail] == [n_lines - 2, n_lines - 1]
    assert second == 1


def test_what_there_is_no_log_of(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            with pytest.raises(ServiceError, match="no build 'nope'") as caught:
                await anext(core.get_build_logs("nope"))
            with pytest.raises(ServiceError, match="offset cannot be -1") as wrong:
                core.get_build_logs("nope", offset=-1)
            return caught.value.code, wrong.value.code

    assert run_jumping(run()) == ("not_found", "invalid_argument")


def test_closing_the_service_tells_those_who_follow_where_to_go_on(tmp_path: Path):
    async def make(asked, secrets, journal):
        journal.lines([line("one")])
        await asyncio.Event().wait()

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            reading = asyncio.create_task(read(core.get_build_logs(build.build_id)))
            await asyncio.sleep(0.3)
        with pytest.raises(ServiceError, match="was closed") as caught:
            await reading
        return caught.value

    error = run_jumping(run())
    assert error.code == "unavailable"
    assert "offset=1" in error.hint
