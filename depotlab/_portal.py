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

__all__ = ["Job", "Portal", "portal", "wait_awaiting", "wait_blocking"]

T = TypeVar("T")

CANCEL_GRACE_S = 5.0
"""How long an interrupted call may clean up before it is left to finish by itself."""


class Job(Generic[T]):
    """Work on the I/O thread. `done` is set when its clean-up is over, not when it was cancelled.

    (A future of `asyncio.run_coroutine_threadsafe` counts as cancelled the moment it is asked to be,
    so waiting for that one would leave the clean-up to chance.)
    """

    def __init__(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self.done: concurrent.futures.Future[T] = concurrent.futures.Future()
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
            if not job.done.done():
                job.cancel()
                concurrent.futures.wait([job.done], CANCEL_GRACE_S)
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


def wait_blocking(done: concurrent.futures.Future[T], *, timeout_s: float | None = None) -> T:
    """Wait for a job in steps of a tenth of a second, so that it can be interrupted.

    Raises:
        TimeoutError: It is not done after `timeout_s`; the job goes on.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = 0.1 if deadline is None else min(0.1, deadline - time.monotonic())
        try:
            return done.result(timeout=max(left, 0.0))
        except concurrent.futures.TimeoutError:
            if done.done():
                raise  # the work itself timed out
            if deadline is not None and time.monotonic() >= deadline:
                raise


async def wait_awaiting(job: Job[T]) -> T:
    """Await a job from any loop; cancelling the awaiting task cancels the job.

    The wait wakes up five times a second: the stop button of a notebook reaches a sleeping loop only
    when it wakes (ipykernel schedules the cancellation without waking the selector).
    """
    waiting = asyncio.wrap_future(job.done)
    try:
        while not waiting.done():
            await asyncio.wait([waiting], timeout=0.2)
    except asyncio.CancelledError:
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
