"""From asking for a build to its end: states, tries, cancelling, limits. Builds are made by the test."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from depotlab.errors import BuildCanceled, BuildFailed, ServiceError, StorageError
from depotlab.service import Limits, UploadedContext
from depotlab.service._boundary import Canceled
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


def test_a_build_is_queued_at_once_and_succeeds(tmp_path: Path):
    async def make(asked, secrets, journal):
        journal.stage("context")
        await asyncio.sleep(200)
        journal.stage("solve")
        journal.depot(project_id="p1", build_id="b1")
        journal.lines([line("hello")])
        await asyncio.sleep(300)
        return pushed(asked)

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core, workspace="acme")
            assert (build.state, build.attempts, build.stage) == ("queued", 0, "queued")
            return await ended(core, build.build_id)

    build = run_jumping(run())
    assert build.state == "succeeded"
    assert build.check() is build
    assert build.image == "registry.test/shop:shop-d1"
    assert (build.depot_project_id, build.depot_build_id) == ("p1", "b1")
    assert (build.attempts, build.cached_steps, build.total_steps) == (1, 1, 3)
    assert build.stages["context"] == pytest.approx(200, abs=20)
    assert build.stages["solve"] == pytest.approx(300, abs=20)
    assert build.n_log_lines == 1
    assert isinstance(build.context, UploadedContext)
    assert build.created_at <= build.started_at <= build.finished_at


def test_a_build_that_failed_is_returned_and_says_why_when_it_is_checked(tmp_path: Path):
    async def make(*_):
        return failed("Your Dockerfile has a mistake.")

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            upload = await core.generate_upload_url("shop")
            return await core.build(upload.build_context_path, project="shop", deployment="d")

    build = run_jumping(run())
    assert (build.state, build.attempts) == ("failed", 1)
    with pytest.raises(BuildFailed, match="Your Dockerfile has a mistake") as caught:
        build.check()
    assert caught.value.build_id == build.build_id
    assert caught.value.raw == "raw: Your Dockerfile has a mistake."


def test_what_may_pass_is_tried_again_and_the_log_says_so(tmp_path: Path):
    async def make(asked, secrets, journal):
        journal.lines([line(f"try {journal.attempt}")])
        return pushed(asked) if journal.attempt == 3 else failed("No machine.", transient=True)

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            build = await ended(core, build.build_id)
            return build, [one async for one in core.get_build_logs(build.build_id)]

    build, lines = run_jumping(run())
    assert (build.state, build.attempts) == ("succeeded", 3)
    assert [one.text for one in lines if one.stream] == ["try 1", "try 2", "try 3"]
    said = [one.text for one in lines if not one.stream]
    assert [text.partition(" It is")[0] for text in said] == ["No machine.", "No machine."]
    assert [one.offset for one in lines] == list(range(5))


def test_trying_again_ends(tmp_path: Path):
    async def make(*_):
        return failed("No machine.", transient=True)

    async def run():
        runner = FakeRunner(make)
        async with open_core(tmp_path, runner, limits=Limits(max_attempts=3)) as core:
            build = await order(core)
            return await ended(core, build.build_id), runner

    build, runner = run_jumping(run())
    assert (build.state, build.attempts, len(runner.started)) == ("failed", 3, 3)
    assert build.error.message == "No machine."


def test_a_try_that_takes_too_long_is_stopped_and_its_machine_let_go(tmp_path: Path):
    let_go = []

    async def make(*_):
        try:
            await asyncio.sleep(10**6)
        finally:
            let_go.append(True)

    async def run():
        async with open_core(
            tmp_path, FakeRunner(make), limits=Limits(build_timeout_s=120)
        ) as core:
            build = await order(core)
            return await ended(core, build.build_id)

    build = run_jumping(run())
    assert (build.state, build.error.category) == ("failed", "timeout")
    assert "2 minutes" in build.error.message
    assert let_go


def test_a_mistake_of_ours_fails_the_build_and_tells_the_customer_nothing_else(
    tmp_path: Path, caplog
):
    async def make(*_):
        raise KeyError("http://store/a.tar.gz?X-Amz-Signature=planted")

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            return await ended(core, build.build_id)

    build = run_jumping(run())
    assert (build.state, build.error.category, build.error.raw) == (
        "failed",
        "internal",
        "KeyError",
    )
    assert "planted" not in f"{build!r}{build._repr_html_()}{build.error}{caplog.text}"
    assert "by a mistake of ours" in caplog.text


# ------------------------------------------------------------------------------------ cancelling


async def _for_ever(asked, secrets, journal):
    journal.stage("solve")
    await asyncio.Event().wait()


def test_a_queued_build_is_cancelled_at_once_and_never_runs(tmp_path: Path):
    async def run():
        runner = FakeRunner(_for_ever)
        async with open_core(tmp_path, runner, limits=Limits(max_running=1)) as core:
            first, second = [await order(core, deployment=name) for name in "ab"]
            canceled = await core.cancel_build(second.build_id)
            assert canceled.state == "canceled"
            with pytest.raises(BuildCanceled):
                canceled.check()
            await asyncio.sleep(0)
            return runner.started, first.build_id

    started, first = run_jumping(run())
    assert started == [first]


def test_cancelling_waits_until_the_machine_is_let_go(tmp_path: Path):
    let_go = []

    async def make(asked, secrets, journal):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(3)
            let_go.append(asked.build_id)

    async def run():
        runner = FakeRunner(make)
        async with open_core(tmp_path, runner) as core:
            build = await order(core)
            await until(lambda: runner.started)
            # A second one must not cut off the clean-up of the first.
            both = await asyncio.gather(*[core.cancel_build(build.build_id) for _ in range(2)])
            assert let_go == [build.build_id]
            again = await core.cancel_build(build.build_id)
            return [*both, again]

    builds = run_jumping(run())
    assert [build.state for build in builds] == ["canceled"] * 3
    assert builds[0] == builds[2], "one that has ended stays as it is"


@pytest.mark.parametrize("is_pushed", [True, False])
def test_what_is_cancelled_while_depot_hears_its_end_ends_as_depot_was_told(
    tmp_path: Path, is_pushed: bool
):
    async def make(asked, secrets, journal):
        journal.stage("finish")
        await asyncio.sleep(2)
        return pushed(asked) if is_pushed else failed(transient=True)

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            await asyncio.sleep(1)
            return await core.cancel_build(build.build_id)

    build = run_jumping(run())
    assert (build.state, build.attempts) == ("succeeded" if is_pushed else "canceled", 1)


def test_a_build_that_was_asked_for_in_the_same_moment_can_be_cancelled(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner(_for_ever)) as core:
            build = await order(core)  # its task has not begun yet
            return await core.cancel_build(build.build_id)

    assert run_jumping(run()).state == "canceled"


def test_a_build_that_waits_for_its_next_try_can_be_cancelled(tmp_path: Path):
    async def make(*_):
        return failed(transient=True)

    async def run():
        runner = FakeRunner(make)
        async with open_core(tmp_path, runner) as core:
            build = await order(core)
            while (await core.health()).n_waiting != 1:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            canceled = await core.cancel_build(build.build_id)
            await asyncio.sleep(60)
            return canceled, runner.started

    canceled, started = run_jumping(run())
    assert (canceled.state, canceled.attempts, len(started)) == ("canceled", 1, 1)


def test_stopping_to_wait_for_a_build_cancels_it_unless_it_was_there_before(tmp_path: Path):
    async def run():
        runner = FakeRunner(_for_ever)
        async with open_core(tmp_path, runner) as core:
            upload = await core.generate_upload_url("shop")
            asked = {"project": "shop", "deployment": "d", "idempotency_key": "k"}
            mine = asyncio.create_task(core.build(upload.build_context_path, **asked))
            await until(lambda: runner.started)
            other = asyncio.create_task(core.build(upload.build_context_path, **asked))
            await asyncio.sleep(0.01)
            (build,) = await core.list_builds()
            other.cancel()
            await asyncio.wait([other])
            assert (await core.get_build(build.build_id)).state == "running"
            mine.cancel()
            await asyncio.wait([mine])
            return await ended(core, build.build_id)

    assert run_jumping(run()).state == "canceled"


def test_what_depot_cancels_is_canceled_with_its_words(tmp_path: Path):
    async def make(*_):
        return Canceled("Somebody pressed the button at Depot.")

    async def run():
        async with open_core(tmp_path, FakeRunner(make)) as core:
            build = await order(core)
            return await ended(core, build.build_id)

    build = run_jumping(run())
    assert build.state == "canceled"
    with pytest.raises(BuildCanceled, match="the button at Depot"):
        build.check()


# --------------------------------------------------------------------------- many, and too many


def test_a_thousand_builds_run_within_the_limits_and_none_is_lost(tmp_path: Path):
    limits = Limits(max_running=8, max_machines=4, max_per_project=3)

    async def make(asked, secrets, journal):
        journal.lines([line(f"{asked.build_id}")])
        for _ in range(3):
            await asyncio.sleep(0)
        return pushed(asked)

    async def run():
        runner, writer = FakeRunner(make), FakeWriter()
        async with open_core(tmp_path, runner, limits=limits, writer=writer) as core:
            contexts = {
                f"p{n}": (await core.generate_upload_url(f"p{n}")).build_context_path
                for n in range(20)
            }
            builds = [
                await core.create_build(
                    contexts[f"p{n % 20}"], project=f"p{n % 20}", deployment=f"d{n}"
                )
                for n in range(1000)
            ]
            for build in builds:
                await ended(core, build.build_id)
            health = await core.health()
            found, token = [], ""
            while True:
                page = await core.list_builds(state="succeeded", page_size=300, page_token=token)
                found += page
                token = page.next_page_token
                if not token:
                    break
        return runner, writer, builds, found, health

    runner, writer, builds, found, health = run_jumping(run())
    assert sorted(runner.started) == sorted(build.build_id for build in builds)
    assert [one.build_id for one in found] == [build.build_id for build in reversed(builds)]
    assert (runner.most_running, runner.most_projects) == (8, 4)
    assert runner.most_of_one <= 3
    assert (health.n_queued, health.n_running, health.n_waiting) == (0, 0, 0)
    assert len({row.build_id for row in writer.rows}) == len(writer.rows) == 1000
    assert {(row.status, row.log_lines, row.attempts) for row in writer.rows} == {
        ("succeeded", 1, 1)
    }


def test_the_first_build_of_another_project_does_not_wait_behind_a_hundred(tmp_path: Path):
    async def run():
        runner = FakeRunner()
        limits = Limits(max_running=1, max_machines=1, max_per_project=1)
        async with open_core(tmp_path, runner, limits=limits) as core:
            for n in range(100):
                await order(core, "big", f"d{n}")
            small = await order(core, "small")
            await ended(core, small.build_id)
            return runner.started.index(small.build_id)

    assert run_jumping(run()) <= 2


def test_too_many_that_wait_are_refused(tmp_path: Path):
    async def run():
        limits = Limits(max_running=1, max_queued=3, max_queued_per_project=2)
        async with open_core(tmp_path, FakeRunner(_for_ever), limits=limits) as core:
            for n in range(3):
                await order(core, "a", f"d{n}")  # one runs, two wait
            with pytest.raises(ServiceError, match="the project 'a' has 2 builds") as of_one:
                await order(core, "a")
            await order(core, "b")
            with pytest.raises(ServiceError, match="there are 3 builds") as of_all:
                await order(core, "c")
            return of_one.value.code, of_all.value.code

    assert run_jumping(run()) == ("resource_exhausted", "resource_exhausted")


def test_upload_urls_that_nobody_uses_are_limited(tmp_path: Path):
    async def run():
        limits = Limits(max_uploads_per_project=2, upload_expires_s=60)
        async with open_core(tmp_path, FakeRunner(), limits=limits) as core:
            await core.generate_upload_url("shop")
            await order(core)  # used: does not count
            await core.generate_upload_url("shop")
            with pytest.raises(ServiceError) as caught:
                await core.generate_upload_url("shop")
            await core.generate_upload_url("other")
            await asyncio.sleep(61)
            await core.generate_upload_url("shop")
            return caught.value.code

    assert run_jumping(run()) == "resource_exhausted"


# ----------------------------------------------------------------------------- repeated requests


def test_requests_that_are_sent_twice_at_the_same_moment_make_one_build(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            upload = await core.generate_upload_url("shop")
            asked = {"project": "shop", "deployment": "d", "idempotency_key": "k1"}
            builds = await asyncio.gather(
                *[core.create_build(upload.build_context_path, **asked) for _ in range(20)]
            )
            await ended(core, builds[0].build_id)
            late = await core.create_build(upload.build_context_path, **asked)
            with pytest.raises(ServiceError, match="another build") as caught:
                await core.create_build(upload.build_context_path, **(asked | {"target": "test"}))
            assert caught.value.code == "already_exists"
            # A key is one project's own.
            other = await order(core, "other", "d", idempotency_key="k1")
            return {build.build_id for build in [*builds, late]}, other.build_id

    ours, other = run_jumping(run())
    assert len(ours) == 1
    assert other not in ours


def test_of_secrets_a_repeated_request_agrees_in_the_names(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner(_for_ever)) as core:
            upload = await core.generate_upload_url("shop")
            asked = {"project": "shop", "deployment": "d", "idempotency_key": "k"}
            path = upload.build_context_path
            first = await core.create_build(path, env={"A": "1"}, **asked)
            again = await core.create_build(path, env={"A": "2"}, **asked)
            assert first.build_id == again.build_id
            with pytest.raises(ServiceError, match="another build"):
                await core.create_build(path, env={"B": "1"}, **asked)
            return (tmp_path / "service.sqlite3").read_bytes()

    assert b'"A": "1"' not in run_jumping(run())


def test_the_tag_of_an_image_stays_with_the_project_that_had_it_first(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            await order(core, "shop", "a-b")
            with pytest.raises(ServiceError, match="'shop-a-b' belongs to another project"):
                await order(core, "shop-a", "b")
            await order(core, "shop", "a-b")

    run_jumping(run())


# ------------------------------------------------------------------------------ what is not well


def test_while_the_store_is_down_nothing_starts_and_health_says_so(tmp_path: Path):
    storage = FakeStorage()

    async def run():
        runner = FakeRunner()
        async with open_core(tmp_path, runner, storage=storage) as core:

            async def make(asked, secrets, journal):
                await core.storage.check(asked.context.key, max_bytes=1, max_unpacked_bytes=1)
                return pushed(asked)

            runner.make = make
            uploads = [await core.generate_upload_url("shop") for _ in range(3)]
            storage.is_down = True
            first = await core.create_build(
                uploads[0].build_context_path, project="shop", deployment="a"
            )
            while not (await core.health()).storage:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            with pytest.raises(StorageError):
                await core.generate_upload_url("shop")
            rest = [
                await core.create_build(u.build_context_path, project="shop", deployment="b")
                for u in uploads[1:]
            ]
            await asyncio.sleep(40)
            health = await core.health()
            assert not health.starts_builds
            assert health.takes_builds
            assert "The store is down" in health.why_not
            assert runner.started == [first.build_id]
            storage.is_down = False
            builds = [await ended(core, build.build_id) for build in [first, *rest]]
            assert (await core.health()).starts_builds
            return builds

    builds = run_jumping(run())
    assert [build.state for build in builds] == ["succeeded"] * 3
    assert [build.attempts for build in builds] == [2, 1, 1]


def test_a_store_that_forbids_to_look_for_what_is_not_there_counts_as_up(tmp_path: Path):
    storage = FakeStorage()
    check = storage.check

    async def forbidden(key, **limits):
        facts = await check(key, **limits) if not key.startswith("storage-probe/") else None
        if facts is None and not storage.is_down:
            raise StorageError("The store forbids it.", is_transient=False)
        return facts or await check(key, **limits)

    storage.check = forbidden

    async def run():
        async with open_core(tmp_path, FakeRunner(), storage=storage) as core:
            storage.is_down = True
            with pytest.raises(StorageError):
                await core.generate_upload_url("shop")
            await asyncio.sleep(5)
            assert (await core.health()).storage == "The store is down."
            storage.is_down = False
            await asyncio.sleep(30)
            return await core.health()

    assert run_jumping(run()).storage == ""


def test_a_store_that_fails_by_a_mistake_stops_nothing_for_ever(tmp_path: Path, caplog):
    storage = FakeStorage()

    async def mistaken(key, **limits):
        raise KeyError("ContentLength")

    async def run():
        async with open_core(tmp_path, FakeRunner(), storage=storage) as core:
            storage.is_down, storage.check = True, mistaken
            with pytest.raises(StorageError):
                await core.generate_upload_url("shop")
            storage.is_down = False
            await asyncio.sleep(30)
            return await ended(core, (await order(core)).build_id)

    assert run_jumping(run()).state == "succeeded"
    assert "KeyError" in caplog.text


def test_while_telemetry_has_no_room_nothing_starts(tmp_path: Path):
    async def run():
        runner, writer = FakeRunner(), FakeWriter()
        async with open_core(tmp_path, runner, writer=writer) as core:
            writer.is_full = True
            build = await order(core)
            await asyncio.sleep(5)
            assert runner.started == []
            assert "telemetry" in (await core.health()).why_not
            writer.is_full = False
            return await ended(core, build.build_id)

    assert run_jumping(run()).state == "succeeded"


def test_a_disk_that_takes_nothing_for_a_while_loses_no_build(tmp_path: Path, monkeypatch, caplog):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            end, n_failed = core._state.end, 0

            def fails_twice(*args, **kwargs):
                nonlocal n_failed
                n_failed += 1
                if n_failed <= 2:
                    raise sqlite3.OperationalError("database or disk is full")
                return end(*args, **kwargs)

            monkeypatch.setattr(core._state, "end", fails_twice)
            build = await order(core)
            return await ended(core, build.build_id)

    assert run_jumping(run()).state == "succeeded"
    assert "disk is full" in caplog.text


# --------------------------------------------------------------------------------------- answers


def test_projects_are_those_that_have_builds_or_are_known_at_depot(tmp_path: Path):
    async def run():
        runner, limits = FakeRunner(_for_ever), Limits(max_running=1)
        async with open_core(tmp_path, runner, limits=limits) as core:
            core.database.change(
                "INSERT INTO projects VALUES ('shop', 'acme', 'depot1', 1, 1), ('old', NULL, NULL, 1, 1)"
            )
            for n in range(3):
                build = await order(core, "shop", f"d{n}")
            await order(core, "other")
            await until(lambda: runner.started)
            return list(await core.projects()), build

    (old, other, shop), build = run_jumping(run())
    assert (old.project, old.n_builds, old.last_build_at) == ("old", 0, None)
    assert (other.project, other.depot_project_id, other.n_queued) == ("other", "", 1)
    assert (shop.workspace, shop.depot_project_id) == ("acme", "depot1")
    assert (shop.n_queued, shop.n_running, shop.n_builds) == (2, 1, 3)
    assert shop.last_build_at == build.created_at


def test_lists_are_paged_and_chosen_from(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            for n in range(7):
                build = await order(core, "ab"[n % 2], f"d{n}")
                await ended(core, build.build_id)
            pages, token = [], ""
            while True:
                page = await core.list_builds("a", "succeeded", page_size=2, page_token=token)
                pages.append([build.deployment for build in page])
                token = page.next_page_token
                if not token:
                    break
            none = await core.list_builds("b", state="failed")
            return pages, len(none), len(await core.list_builds(project="b"))

    assert run_jumping(run()) == ([["d6", "d4"], ["d2", "d0"]], 0, 3)


def test_an_archive_is_built_for_the_project_that_it_was_handed_out_to_only(tmp_path: Path):
    async def run():
        async with open_core(tmp_path, FakeRunner()) as core:
            mine = (await core.generate_upload_url("mine")).build_context_path
            for path, project in ((mine, "theirs"), ("mine/1.tar.gz", "mine")):
                with pytest.raises(ServiceError, match="was not handed out") as caught:
                    await core.create_build(path, project=project, deployment="d")
                assert caught.value.code == "not_found"
            for deployment in ("d1", "d2"):  # one archive may be built more than once
                await core.create_build(mine, project="mine", deployment=deployment)
            return len(await core.list_builds())

    assert run_jumping(run()) == 2


def test_an_upload_that_the_store_did_not_allow_is_not_counted(tmp_path: Path):
    storage = FakeStorage()

    async def run():
        limits = Limits(max_uploads_per_project=1)
        async with open_core(tmp_path, FakeRunner(), storage=storage, limits=limits) as core:
            storage.is_down = True
            with pytest.raises(StorageError):
                await core.generate_upload_url("shop")
            storage.is_down = False
            await core.generate_upload_url("shop")

    run_jumping(run())
