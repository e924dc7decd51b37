"""Answers what a reader asks of a view after its build: a thread, for as long as there is something to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context

__all__ = ["Afterwards"]


class Afterwards:
    """Runs a piece of work when it is woken, one after another, on a thread that ends when nothing is left.

    Args:
        work: Does a part and says whether there is more.
        context: That it runs in.
    """

    def __init__(self, work: Callable[[], bool], context: Context) -> None:
        self._work = work
        self._context = context
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_asked = False
        self._is_stopped = False

    def wake(self) -> None:
        """There is something to do. Returns at once; from any thread."""
        with self._lock:
            self._is_asked = True
            if self._thread is None and not self._is_stopped:
                self._thread = threading.Thread(
                    target=self._context.copy().run,
                    args=(self._run,),
                    name="depotlab-view",
                    daemon=True,
                )
                self._thread.start()

    def stop(self) -> None:
        """Do nothing more; a part that is being done is finished."""
        with self._lock:
            self._is_stopped = True

    def _run(self) -> None:
        is_more = False
        while self._goes_on(is_more=is_more):
            try:
                is_more = self._work()
            except BaseException:
                with self._lock:
                    self._thread = None  # it is told as threads tell it, and the next wish is heard
                raise

    def _goes_on(self, *, is_more: bool) -> bool:
        with self._lock:
            if self._is_stopped or not (self._is_asked or is_more):
                self._thread = None
                return False
            self._is_asked = False
            return True
