"""An event loop whose clock jumps over waiting, so that a test of minutes takes no time, with real sockets.

When nothing has happened for a moment of real time, no other thread has anything to do and somebody waits for a timer,
the clock is put forward to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

__all__ = ["run_jumping"]

# Real time in which an answer over loopback comes.
_QUIET_S = 0.02


class _Selector:
    def __init__(self, clock: _Loop) -> None:
        self._real = selectors.DefaultSelector()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= _QUIET_S:
            return self._real.select(timeout)
        events = self._real.select(_QUIET_S)
        if events or _others_work():
            return events
        events = self._real.select(0)  # what they did before they came to rest
        if not events:
            self._clock.ahead_s += timeout - _QUIET_S
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _others_work() -> bool:
    """Return whether another thread of this process runs, waits for a processor or for a disk.

    On a busy machine it may do so for longer than any moment. Linux tells (proc_pid_stat(5)), other systems do not.
    """
    for task in Path("/proc/self/task").glob("[0-9]*"):
        if task.name != str(threading.get_native_id()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                if (task / "stat").read_text().rpartition(")")[2].split()[0] in "RD":
                    return True
    return False


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.ahead_s = 0.0
        super().__init__(_Selector(self))  # type: ignore[arg-type]

    def time(self) -> float:
        return super().time() + self.ahead_s


def run_jumping(work: Coroutine[Any, Any, Any]) -> Any:
    """Run work to its end, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)
