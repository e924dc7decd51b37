"""An event loop whose clock jumps over waiting, so that a test of minutes takes no time, with real sockets.

When nothing has happened for a moment of real time and somebody waits for a timer, the clock is put forward to it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

__all__ = ["run_jumping"]

# Real time in which an answer over loopback comes, also on a busy machine.
_QUIET_S = 0.05


class _Selector:
    def __init__(self, clock: _Loop) -> None:
        self._real = selectors.DefaultSelector()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= _QUIET_S:
            return self._real.select(timeout)
        events = self._real.select(_QUIET_S)
        if not events:
            self._clock.ahead_s += timeout - _QUIET_S
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


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
