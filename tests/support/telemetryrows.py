"""Rows for tests, and a sink that can be down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from depotlab.errors import TelemetryError
from depotlab.telemetry import Batch, BuildRow, LogRow, Row, StepRow

NOW_MS = time.time_ns() // 1_000_000
"""About now: stores let old rows go."""


def build_row(number: int = 0, **changes: object) -> BuildRow:
    given = {
        "build_id": f"b{number}",
        "workspace_id": "w",
        "project_id": "shop",
        "deployment_id": "d1",
        "status": "succeeded",
        "created_at": NOW_MS + number,
        "started_at": NOW_MS + 100 + number,
        "completed_at": NOW_MS + 5000 + number,
        "stages_ms": {"queued": 100, "solve": 4000 + number},
    }
    return BuildRow(**{**given, **changes})


def step_row(number: int = 0, **changes: object) -> StepRow:
    given = {
        "step_id": f"sha256:{number}",
        "started_at": NOW_MS + number,
        "completed_at": NOW_MS + 1000 + number,
        "workspace_id": "w",
        "project_id": "shop",
        "deployment_id": "d1",
        "name": f"[{number}] RUN make",
        "cached": bool(number % 2),
        "build_id": "b0",
    }
    return StepRow(**{**given, **changes})


def log_row(number: int = 0, **changes: object) -> LogRow:
    given = {
        "time": NOW_MS + number,
        "workspace_id": "w",
        "project_id": "shop",
        "deployment_id": "d1",
        "message": f"line {number}",
        "step_id": "sha256:0",
        "build_id": "b0",
        "line": number,
    }
    return LogRow(**{**given, **changes})


class JumpingClock:
    """Waiting takes no time, but the clock goes on; not before `run`, so that a test can prepare what happens."""

    def __init__(self, *, is_running: bool = True) -> None:
        self.now = 0.0
        self.is_running = is_running
        self.longest_wait_s = 0.0

    def now_s(self) -> float:
        return self.now

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        if seconds is None:
            condition.wait()
        elif not self.is_running:
            condition.wait(0.005)
        else:
            self.longest_wait_s = max(self.longest_wait_s, seconds)
            self.now += seconds
            condition.wait(0)  # others have their turn


class MemorySink:
    """A sink that keeps a batch once, as a real one does.

    Attributes:
        is_down: Asked at every try.
        n_answers_to_lose: So many batches are kept, and fail all the same.
        tries: Ids of batches, in the order in which they came.
    """

    def __init__(self, is_down: Callable[[], bool] = lambda: False) -> None:
        self.is_down = is_down
        self.n_answers_to_lose = 0
        self.tries: list[str] = []
        self.batches: dict[str, list[Row]] = {}
        self.n_opened = 0
        self.n_closed = 0

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.batches.values() for row in rows]

    def open(self) -> None:
        self.n_opened += 1

    def write(self, batch: Batch) -> None:
        self.tries.append(batch.batch_id)
        if self.is_down():
            raise TelemetryError("The store is down.", is_transient=True)
        self.batches.setdefault(batch.batch_id, list(batch.rows))
        if self.n_answers_to_lose:
            self.n_answers_to_lose -= 1
            raise TelemetryError("The answer was lost.", is_transient=True)

    def close(self) -> None:
        self.n_closed += 1
