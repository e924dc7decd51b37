import asyncio
import concurrent.futures
import threading

import pytest

from depotlab._portal import Done, portal, wait_awaiting, wait_blocking


async def answer(value, delay_s=0.0):
    await asyncio.sleep(delay_s)
    return value


async def where():
    return threading.current_thread().name


def test_work_runs_on_the_io_thread():
    assert portal().run(where()) == "depotlab-io"


def test_the_result_and_the_error_come_back():
    assert portal().run(answer(7)) == 7

    async def fail():
        raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        portal().run(fail())


def test_a_timeout_of_the_work_itself_is_raised_and_not_waited_on():
    async def slow():
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        portal().run(slow())


def test_it_works_inside_a_running_loop():
    async def cell():
        return portal().run(answer("nested"))

    assert asyncio.run(cell()) == "nested"


def test_blocking_on_the_io_thread_is_refused_at_once():
    async def recursive():
        with pytest.raises(RuntimeError, match="I/O thread"):
            portal().run(answer(1))
        return True

    assert portal().run(recursive())


def test_an_interrupt_waits_for_the_clean_up(monkeypatch):
    cleaned = []
    begun = threading.Event()

    async def work():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            cleaned.append("done")

    calls = 0
    real = Done.wait

    def interrupted(self, timeout_s):
        nonlocal calls
        calls += 1
        if calls == 2:
            assert begun.wait(60)
            raise KeyboardInterrupt
        return real(self, timeout_s)

    monkeypatch.setattr(Done, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        portal().run(work())
    assert cleaned == ["done"]


def test_waiting_never_holds_the_lock_by_which_the_end_is_told():
    """An interrupt that comes just after it was taken would never give it back, and the I/O thread would hang."""

    class Watched(threading.Condition):
        def __enter__(self):
            if threading.current_thread() is threading.main_thread():
                taken.append(job.done.is_over)
            return super().__enter__()

    async def work():
        await may_end.wait()
        return "result"

    async def end():
        may_end.set()

    taken, may_end = [], asyncio.Event()
    job = portal().submit(work())
    job.done._condition = Watched()
    with pytest.raises(TimeoutError):
        wait_blocking(job.done, timeout_s=0.15)
    portal().submit(end())
    assert wait_blocking(job.done) == "result"
    assert taken == [True], "only when it was over, and nobody needs it any more"


def test_cancelling_the_awaiting_task_cancels_the_work_and_waits_for_its_clean_up():
    cleaned = []
    begun = threading.Event()

    async def work():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            cleaned.append("done")

    async def cell():
        task = asyncio.create_task(portal().wait_for(work()))
        assert await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cell())
    assert cleaned == ["done"]


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_work_cancelled_before_it_starts_never_runs(ahead):
    ran = []

    async def work():
        ran.append(1)

    block = threading.Event()
    for _ in range(ahead):  # the work's task is made before, or behind, what holds the thread up
        portal().submit(_blocked(block))
    job = portal().submit(work())
    job.cancel()
    block.set()
    concurrent.futures.wait([job.done], 60)
    assert job.done.cancelled()
    assert not ran


async def _blocked(event):
    event.wait(60)


def test_a_cancelled_job_ends_its_awaiter():
    async def cell():
        job = portal().submit(answer(1, 60))
        await asyncio.sleep(0.05)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait_awaiting(job)

    asyncio.run(cell())
