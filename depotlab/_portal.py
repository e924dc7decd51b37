"""The I/O thread and its one door.

Every socket lives on one event loop in one daemon thread, so that a busy cell never stops a health
answer (the daemon drops a session after about ten seconds of silence). Both faces of the library go through
here: the blocking one waits for the result, the awaitable one awaits it from any other loop.

A blocking wait wakes up ten times a second. That costs nothing measurable, and on platforms where a
thread in an untimed lock wait cannot be interrupted it is what makes Ctrl-C work.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from depotlab._frames import shorten

__all__ = ["Done", "Job", "Portal", "portal", "wait_awaiting", "wait_blocking"]

T = TypeVar("T")

CANCEL_GRACE_S = 5.0
"""How long an interrupted call may clean up before it is left to finish by itself."""


class Done(concurrent.futures.Future[T]):
    """The end of a job, for which a thread can wait that is interrupted at any moment.

    The parent's own waiting takes a lock by a method in Python. A Ctrl-C that comes between taking it and entering the
    block never gives it back, and the I/O thread, which needs it to tell the end, hangs for ever. Here only the I/O
    thread takes that lock before the end, and waiting is one call of a lock that is written in C.

    Attributes:
        is_over: The result is there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_over = False
        self._still_on = threading.Lock()
        self._still_on.acquire()

    def tell(self) -> None:
        """Wake who waits; to be called once, when the result is there."""
        self.is_over = True
        self._still_on.release()

    def wait(self, timeout_s: float) -> bool:
        """Return whether it is over, after so many seconds at most."""
        if not self.is_over and self._still_on.acquire(timeout=timeout_s):
            self._still_on.release()  # for others who wait
        return self.is_over


class Job(Generic[T]):
    """Work on the I/O thread. `done` is set when its clean-up is over, not when it was cancelled.

    (A future of `asyncio.run_coroutine_threadsafe` counts as cancelled the moment it is asked to be,
    so waiting for that one would leave the clean-up to chance.)
    """

    def __init__(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self.done: Done[T] = Done()
        self._work = work
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        self._unwanted = False
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        """Ask the work to stop, from any thread. Work that has not begun by now never does."""
        self._unwanted = True
        self._loop.call_soon_threadsafe(self._cancel)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._finish)

    async def _run(self) -> T:
        if self._unwanted:  # asked after the task was made, before its first step
            raise asyncio.CancelledError
        return await self._work

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _finish(self, task: asyncio.Task[T]) -> None:
        self._work.close()  # ended already, or never begun
        if task.cancelled():
            self.done.cancel()
            self.done.set_running_or_notify_cancel()
        elif (error := task.exception()) is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(task.result())
        self.done.tell()


class Portal:
    """One event loop on one background thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="depotlab-io", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def submit(self, work: Coroutine[Any, Any, T]) -> Job[T]:
        """Start `work` on the I/O thread and return at once."""
        return Job(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the I/O thread and wait for it, from any other thread.

        Ctrl-C (or a notebook's stop button) cancels the work, waits for its clean-up up to
        `CANCEL_GRACE_S`, and then raises KeyboardInterrupt.
        """
        self.refuse_io_thread(work)
        job = self.submit(work)
        try:
            return wait_blocking(job.done)
        except BaseException:
            if not job.done.is_over:
                job.cancel()
                job.done.wait(CANCEL_GRACE_S)
            raise

    async def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the I/O thread and await it from the running loop.

        Cancelling the awaiting task cancels the work and waits for its clean-up.
        """
        return await wait_awaiting(self.submit(work))

    def refuse_io_thread(self, work: Coroutine[Any, Any, Any]) -> None:
        """Raise when the caller is the I/O thread itself, which would wait for itself for ever."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                "blocking calls are not for the I/O thread; await the verb of depotlab.aio"
            )


def wait_blocking(done: Done[T], *, timeout_s: float | None = None) -> T:
    """Wait for a job in steps of a tenth of a second, so that it can be interrupted.

    Raises:
        TimeoutError: It is not done after `timeout_s`; the job goes on.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        while True:
            left_s = 0.1 if deadline is None else min(0.1, deadline - time.monotonic())
            if done.wait(max(left_s, 0.0)):
                break
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError
    except KeyboardInterrupt as interruption:
        shorten(interruption)
        raise
    return done.result()


async def wait_awaiting(job: Job[T]) -> T:
    """Await a job from any loop; cancelling the awaiting task cancels the job.

    The wait wakes up five times a second: the stop button of a notebook reaches a sleeping loop only
    when it wakes (ipykernel schedules the cancellation without waking the selector).
    """
    waiting = asyncio.wrap_future(job.done)
    try:
        while not waiting.done():
            await asyncio.wait([waiting], timeout=0.2)
    except asyncio.CancelledError as interruption:
        shorten(interruption)
        if not job.done.done():
            job.cancel()
            await asyncio.wait([waiting], timeout=CANCEL_GRACE_S)
        if waiting.done() and not waiting.cancelled():
            waiting.exception()  # seen: the cancellation is what the caller gets
        raise
    return waiting.result()


_lock = threading.Lock()
_portal: Portal | None = None


def portal() -> Portal:
    """Return the portal of this process, started when first needed."""
    global _portal
    with _lock:
        if _portal is None:
            _portal = Portal()
        return _portal


def _forget() -> None:
    """After a fork the thread is gone: the child starts its own when it needs one."""
    global _portal, _lock
    _portal = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
