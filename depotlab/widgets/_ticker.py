"""Shows a build that another thread feeds: at most so many frames a second, and always the last.

The ticker's thread is the only one that calls the view. It draws when something has changed, when a
reader asked the view for something, and once a second while steps run, because their times grow.
A view that raises is turned off: a picture must never break a build. What went wrong is said once, on
the thread that calls `stop`, together with the end of the build as text.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from types import TracebackType
from typing import Protocol, Self, TextIO

from depotlab.progress import Snapshot
from depotlab.widgets._plain import final_text
from depotlab.widgets._view import View

__all__ = ["Source", "Ticker"]

MAX_FRAMES_PER_S = 10.0
_IDLE_S = 1.0


class Source(Protocol):
    """What a ticker looks at; `progress.Fold` is one."""

    @property
    def version(self) -> int:
        """Differs from before when something has changed."""

    def snapshot(self, *, at_ns: int) -> Snapshot:
        """Return the build as it is now."""


class Ticker:
    """Drives one view of one build, from `start` to `stop`. Also a context manager.

    Args:
        source: What to show.
        view: Where to show it.
        frames_per_s: At most 10; the pixels follow an event within this period.
        errors: Where a failure of the view is reported, by default standard error.

    Attributes:
        error: What the view raised, or None.
    """

    def __init__(
        self,
        source: Source,
        view: View,
        *,
        frames_per_s: float = 5.0,
        errors: TextIO | None = None,
    ) -> None:
        self.error: Exception | None = None
        self._source = source
        self._view = view
        self._period_s = 1 / min(frames_per_s, MAX_FRAMES_PER_S)
        self._errors = errors
        self._is_over = threading.Event()
        self._is_stopped = False
        # ipykernel 7 finds the cell that output belongs to in a context variable.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(
            target=run, args=(self._run,), name="depotlab-view", daemon=True
        )

    def start(self) -> Self:
        """Open the view and begin to draw. Returns itself."""
        self._thread.start()
        return self

    def end(self) -> None:
        """Ask for the last frame and return at once, from any thread."""
        self._is_over.set()

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Draw the last frame, close the view and wait for both.

        A view that does not come back within `timeout_s` (a terminal that was stopped) is left
        alone. Safe to call twice.
        """
        if self._is_stopped:
            return
        self._is_stopped = True
        self._is_over.set()
        self._thread.join(timeout_s)
        if self.error is not None:
            what = f"{type(self.error).__name__}: {self.error}"
            snapshot = self._source.snapshot(at_ns=time.time_ns())
            stream = self._errors if self._errors is not None else sys.stderr
            stream.write(
                f"The progress view stopped ({what}); the build did not.\n{final_text(snapshot)}\n"
            )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            self._draw()
        except Exception as error:  # noqa: BLE001 - whatever a view raises, the build goes on
            self.error = error

    def _draw(self) -> None:
        version = self._source.version
        drawn_s = time.monotonic()
        self._view.open(self._snapshot())
        while not self._is_over.wait(self._period_s):
            now_s = time.monotonic()
            # A view that can be asked things (which log to show) has to answer while nothing moves.
            is_asked = getattr(self._view, "is_stale", False)
            if self._source.version != version or is_asked or now_s - drawn_s >= _IDLE_S:
                version = self._source.version
                drawn_s = now_s
                self._view.show(self._snapshot())
        self._view.close(self._snapshot())

    def _snapshot(self) -> Snapshot:
        return self._source.snapshot(at_ns=time.time_ns())
