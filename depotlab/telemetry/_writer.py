"""Gathers rows into batches and sees to it that a sink takes each of them once.

    put() ──> batch of its table, in memory and in the spool ──> full, or flush_s old ──> sink.write ──> forgotten
                                                                    └── fails: again after 1, 2, 4 … 30 s

`put` never waits for the sink: what the sink has not taken is in the spool, so memory stays bounded however long it is
down, and a process that is killed finds the rows again when it comes back. Batches are written one at a time, in the
order in which they were gathered, and under the same id at every try. A batch that a sink refuses for good stands
before all others: what cannot be written is a fault in the settings, and is kept until somebody mends them.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from depotlab._values import Value
from depotlab.errors import DepotlabError, TelemetryError, UsageError
from depotlab.telemetry._backlog import Backlog, Waiting
from depotlab.telemetry._rows import BuildRow, LogRow, Row, StepRow
from depotlab.telemetry._sink import Batch, Sink
from depotlab.telemetry._spool import Spool

__all__ = ["Clock", "Writer", "WriterStats"]

_log = logging.getLogger(__name__)

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 30.0
_ROWS_AT_ONCE = 500
"""Of a long `put`, between which others have their turn."""


class Clock(Protocol):
    """What the writer knows of time; tests have another one."""

    def now_s(self) -> float:
        """Return seconds that only grow."""

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait until the condition, which is held, is notified, but no longer than so many seconds."""


class _Clock:
    def now_s(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(seconds)


@dataclass(frozen=True, slots=True, repr=False)
class WriterStats(Value):
    """What a writer has done, and what waits.

    Attributes:
        written: Rows that the sink has taken since the writer was made.
        waiting: Rows that it has not taken yet, in memory or in the spool.
        in_memory: Of these, the rows that are in memory, most of them also in the spool.
        spooled_bytes: What the spool takes on the disk.
        retries: Tries that failed.
        lost: Rows that nothing could keep: the sink was down, the disk full and the memory used up; or a line of
            the spool was damaged.
        last_error: What the last failed try came to, or empty once a later one succeeded.
    """

    written: int = 0
    waiting: int = 0
    in_memory: int = 0
    spooled_bytes: int = 0
    retries: int = 0
    lost: int = 0
    last_error: str = ""


class Writer(Value):
    """Rows on their way to a sink. Call `close` at the end, or use it in a `with`.

    One thread of its own calls the sink. What an earlier writer left in the folder is written first.

    Args:
        sink: Where rows go.
        spool_dir: Folder of this writer alone for rows that wait; made, for its owner only, when it is missing.
        batch_rows: Most rows that are written together.
        flush_s: Longest time that a row waits for others to be written with.
        max_memory_rows: Most rows that are kept in memory. Above it they are read from the spool when their turn
            comes.
        max_spool_bytes: How large the spool may be before `is_full`. It still takes rows, so that what runs ends.
        clock: For tests.

    Raises:
        UsageError: A number is not above 0.
        TelemetryError: The folder cannot be used, or another process writes there.

    Example:
        >>> import tempfile, pathlib
        >>> from depotlab.telemetry import DuckDB, LogRow, Writer
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> store = DuckDB(folder / "builds.duckdb")
        >>> with Writer(store, spool_dir=folder / "spool") as writer:
        ...     writer.put([LogRow(time=1, workspace_id="", project_id="shop", deployment_id="1",
        ...                        message="hello", step_id="sha256:1")])
        >>> store.query("SELECT message FROM build_step_logs_v1").rows
        (('hello',),)
    """

    def __init__(
        self,
        sink: Sink,
        *,
        spool_dir: Path,
        batch_rows: int = 2000,
        flush_s: float = 1.0,
        max_memory_rows: int = 50_000,
        max_spool_bytes: int = 1 << 30,
        clock: Clock | None = None,
    ) -> None:
        for name, value in (
            ("batch_rows", batch_rows),
            ("flush_s", flush_s),
            ("max_memory_rows", max_memory_rows),
            ("max_spool_bytes", max_spool_bytes),
        ):
            if not value > 0:
                raise UsageError(f"{name}={value!r} is not above 0.", hint=f"give {name} a number")
        self._sink = sink
        self._flush_s = flush_s
        self._max_spool_bytes = max_spool_bytes
        self._clock = clock or _Clock()
        self._changed = threading.Condition()
        self._n_delivered = 0
        self._n_retries = 0
        self._last_error = ""
        self._hurry = False
        self._is_closing = False
        self._stop = False
        self._is_ready = False
        spool = Spool(Path(spool_dir))
        self._backlog = Backlog(spool, batch_rows=batch_rows, max_memory_rows=max_memory_rows)
        try:
            self._backlog.take_over(now_s=self._clock.now_s())
        except OSError as error:
            spool.close()
            raise TelemetryError(
                f"The folder {spool_dir} for rows that wait cannot be read: {error}.",
                hint="give another folder, or mend this one",
            ) from error
        self._thread = threading.Thread(target=self._run, name="depotlab-telemetry", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------- the caller

    def put(self, rows: Iterable[Row]) -> None:
        """Take rows. Never waits for the sink, and does not fail because it is down. From any thread.

        When it returns, the rows outlive this process, unless the disk of the spool is full.

        Raises:
            UsageError: Something among them is no row, or the writer is closed.
        """
        rest = iter(rows)
        while some := list(itertools.islice(rest, _ROWS_AT_ONCE)):
            for row in some:
                if not isinstance(row, BuildRow | StepRow | LogRow):
                    raise UsageError(
                        f"put(rows=…) was given a {type(row).__name__}.",
                        hint="give rows of depotlab.telemetry: BuildRow, StepRow or LogRow",
                    )
            with self._changed:
                if self._is_closing:
                    raise UsageError(
                        "put() was called on a writer that is closed.", hint="make another Writer"
                    )
                self._backlog.add(some, now_s=self._clock.now_s())
                self._changed.notify_all()

    def flush(self, timeout_s: float = 30.0, *, once: bool = False) -> bool:
        """Write all that was put so far, without waiting for more; try a sink that is down at once.

        Args:
            timeout_s: How long to wait.
            once: Wait no longer when a try fails.

        Returns:
            Whether the sink has taken it all by then.
        """
        with self._changed:
            self._backlog.seal()
            target = self._backlog.n_sealed
            self._hurry = True
            n_retries = self._n_retries
            self._changed.notify_all()

            def is_over() -> bool:
                is_refused = once and self._n_retries > n_retries
                return self._n_delivered >= target or is_refused or not self._thread.is_alive()

            self._changed.wait_for(is_over, timeout_s)
            return self._n_delivered >= target

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what there is for at most so long, then end; what is left is in the spool for the next writer.

        Idempotent. A call of the sink that hangs is left to itself; it ends with the process.
        """
        with self._changed:
            self._is_closing = True
            self._backlog.seal()
            self._hurry = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        # It has no more to do than to let go of the sink, unless the sink hangs.
        self._thread.join(min(timeout_s, 5.0))

    @property
    def is_full(self) -> bool:
        """The spool has reached its limit, or its disk takes nothing: nothing new should be begun."""
        with self._changed:
            backlog = self._backlog
            return backlog.is_disk_bad or backlog.spooled_bytes >= self._max_spool_bytes

    @property
    def stats(self) -> WriterStats:
        """What was done, and what waits."""
        with self._changed:
            return WriterStats(
                written=self._backlog.n_written,
                waiting=self._backlog.n_waiting,
                in_memory=self._backlog.n_in_memory,
                spooled_bytes=self._backlog.spooled_bytes,
                retries=self._n_retries,
                lost=self._backlog.n_lost,
                last_error=self._last_error,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _facts(self) -> Iterable[tuple[str, object]]:
        stats = self.stats
        return [("sink", self._sink), *((name, getattr(stats, name)) for name in stats.__slots__)]

    def __repr__(self) -> str:
        stats = self.stats
        state = "closed" if self._is_closing else "full" if self.is_full else "open"
        return (
            f"<Writer to {self._sink!r}, {state}: {stats.written} rows written,"
            f" {stats.waiting} waiting>"
        )

    # ------------------------------------------------------------------------- the own thread

    def _run(self) -> None:
        try:
            self._make_ready()
            while (batch := self._next()) is not None:
                if not self._deliver(batch):
                    break
        finally:
            self._leave()

    def _make_ready(self) -> None:
        """Connect before there is anything to write: wrong settings show early, and readers find their tables."""
        try:
            self._sink.open()
            self._is_ready = True
        except Exception as error:  # noqa: BLE001 - a sink is anybody's code; it is told in the statistics
            self._failed(error)

    def _next(self) -> Waiting | None:
        """Wait for the next batch to write; None when the writer ends."""
        with self._changed:
            while not self._stop:
                if self._backlog.first is not None:
                    return self._backlog.first
                oldest_s = self._backlog.oldest_s
                if oldest_s is None:
                    if self._is_closing:
                        return None
                    self._hurry = False
                    self._clock.wait(self._changed, None)
                    continue
                left_s = oldest_s + self._flush_s - self._clock.now_s()
                if left_s > 0:
                    self._clock.wait(self._changed, left_s)
                else:
                    self._backlog.seal(begun_until_s=oldest_s)
            return None

    def _deliver(self, batch: Waiting) -> bool:
        """Write a batch, however many tries it takes; False when the writer ends before."""
        n_failed = 0
        while not self._attempt(batch):
            n_failed += 1
            if not self._pause(n_failed):
                return False
        return True

    def _attempt(self, batch: Waiting) -> bool:
        try:
            rows, n_damaged = batch.read()
            if not self._is_ready:
                self._sink.open()
                self._is_ready = True
            if rows:
                self._sink.write(Batch(batch.file.batch_id, batch.file.table.name, rows))
        except Exception as error:  # noqa: BLE001 - a sink is anybody's code; it is told in the statistics
            self._failed(error)
            return False
        with self._changed:
            self._n_delivered = self._backlog.written(len(rows), n_damaged=n_damaged).number
            if self._last_error:
                _log.warning("telemetry is written again")
                self._last_error = ""
            self._changed.notify_all()
        return True

    def _failed(self, error: Exception) -> None:
        self._is_ready = False
        # Words of foreign exceptions may have an address with its login in them.
        said = error.message if isinstance(error, DepotlabError) else type(error).__name__
        with self._changed:
            if not self._last_error:
                _log.warning("telemetry is not written, and kept for later: %s", said)
            self._n_retries += 1
            self._last_error = said
            self._changed.notify_all()

    def _pause(self, n_failed: int) -> bool:
        """Wait before the next try; False when the writer ends."""
        longest_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(n_failed - 1, 10))
        # Not all at once, where several writers wait for one server.
        wait_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        with self._changed:
            until_s = self._clock.now_s() + wait_s
            while not (self._stop or self._hurry):
                left_s = until_s - self._clock.now_s()
                if left_s <= 0:
                    break
                self._clock.wait(self._changed, left_s)
            self._hurry = False
            return not self._stop

    def _leave(self) -> None:
        with self._changed:
            self._is_closing = True
            self._backlog.leave()
        try:
            self._sink.close()
        except Exception as error:  # noqa: BLE001 - a sink is anybody's code; all rows are safe by now
            _log.warning("a sink of telemetry did not close: %s", type(error).__name__)
