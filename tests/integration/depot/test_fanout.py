"""`depotlab.build_all`: many builds, some at a time, shown as one."""

from __future__ import annotations

import asyncio
import time

import pytest

import depotlab as dl
from depotlab import aio, llb
from depotlab._plane import lease_plane
from depotlab.errors import BuildsFailed, StepFailed, UsageError
from depotlab.progress import StepState


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory):
    lease = lease_plane(tmp_path_factory.mktemp("plane"))
    yield lease
    lease.close()


@pytest.fixture
def depot(plane):
    with dl.depot(local=plane.state) as client:
        yield client


def text(name: str) -> llb.State:
    return llb.scratch().mkfile("/name", name)


def shell() -> llb.State:
    return llb.scratch().copy(llb.local("/bin", include=["busybox"]), "/busybox", "/bin/sh")


def test_a_hundred_builds_on_depot_are_a_hundred_builds(depot) -> None:
    done = dl.build_all({f"n{n}": text(str(n)) for n in range(100)}, depot, progress="quiet")
    assert list(done) == [f"n{n}" for n in range(100)]
    assert len({result.depot.build_id for result in done.values()}) == 100
    assert [step.name for step in done.snapshot.steps].count("n7") == 1
    assert done.snapshot.counts.total == 100
    again = dl.build_all({f"n{n}": text(str(n)) for n in range(100)}, depot, progress="quiet")
    assert {step.state for step in again.snapshot.steps} <= {StepState.CACHED, StepState.RAN}


def test_no_more_run_at_once_than_asked_for(bk) -> None:
    slow = {f"s{n}": shell().run(f"sleep 1; echo {time.time_ns()} {n}") for n in range(4)}
    began_s = time.monotonic()
    done = dl.build_all(slow, bk, at_once=2, progress="quiet")
    assert time.monotonic() - began_s >= 2
    runs = sorted(
        (step.intervals[0].start_ns, step.intervals[-1].end_ns) for step in done.snapshot.steps
    )
    for index, (began_ns, _) in enumerate(runs):
        assert sum(end > began_ns for _, end in runs[:index]) < 2


def test_the_first_failure_stops_the_others(bk) -> None:
    targets = {
        "bad": shell().run("exit 4"),
        "slow": shell().run(f"sleep 60; echo {time.time_ns()}"),
        "late": text("never begun"),
    }
    began_s = time.monotonic()
    with pytest.raises(BuildsFailed) as caught:
        dl.build_all(targets, bk, at_once=2, progress="quiet")
    assert time.monotonic() - began_s < 60
    assert list(caught.value.errors) == ["bad"]
    assert isinstance(caught.value.errors["bad"], StepFailed)
    assert "1 of 3 builds failed, and 2 were stopped" in str(caught.value)


def test_keep_going_builds_the_others(bk) -> None:
    targets = {"bad": shell().run("exit 4"), "good": text("good")}
    with pytest.raises(BuildsFailed) as caught:
        dl.build_all(targets, bk, at_once=1, keep_going=True, progress="quiet")
    assert list(caught.value.results) == ["good"]
    assert "bad: " in str(caught.value)


def test_arguments_are_those_of_build_for_one_or_for_all(bk) -> None:
    done = dl.build_all(
        {"a": {"target": text("a"), "platform": "linux/arm64"}, "b": text("b")},
        bk,
        no_cache=True,
        progress="quiet",
    )
    assert set(done) == {"a", "b"}
    with pytest.raises(UsageError, match=r"'a'.*not those of build"):
        dl.build_all({"a": {"target": text("a"), "tag": "x"}}, bk)
    with pytest.raises(UsageError, match=r"'a'.*cannot build"):
        dl.build_all({"a": "directory"}, bk)
    with pytest.raises(UsageError, match="at least one"):
        dl.build_all({}, bk)
    with pytest.raises(UsageError, match="at_once=0"):
        dl.build_all({"a": text("a")}, bk, at_once=0)


def test_the_awaitable_face_is_cancelled_with_its_task(engine) -> None:
    async def main() -> float:
        async with await aio.connect(engine.address) as client:
            slow = {"slow": shell().run(f"sleep 60; echo {time.time_ns()}"), "b": text("b")}
            task = asyncio.create_task(aio.build_all(slow, client, progress="quiet"))
            await asyncio.sleep(1.5)
            began_s = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return time.monotonic() - began_s

    assert asyncio.run(main()) < 50
