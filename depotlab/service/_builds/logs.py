"""The logs of builds: written in batches, read in pieces, followed without polling.

A line has an offset in the log of its build, which is given when the line comes and never given again: a reader that
knows the last one it had can go on from there, now or after a restart. Lines wait in memory until there are a thousand
or a tenth of a second has passed; then one transaction keeps them, and readers are woken. A reader holds nothing here:
each piece is a query from an offset on, so that a slow one costs no memory and there may be any number of them.

A line that is too long is cut at its end, and so is a log. Lines that are left out are counted, take offsets all the
same (telemetry keeps them under these) and are spoken of in a line of the service.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from depotlab._serving import Database
from depotlab._values import bytes_text
from depotlab.errors import ServiceError
from depotlab.service._asking.checks import no_build
from depotlab.service._boundary import Line
from depotlab.service._moments import moment
from depotlab.service._values import LogLine

__all__ = ["Bells", "Logs"]

_LOG = logging.getLogger("depotlab.service")

_MOST_WAITING = 1000
_MOST_WAITING_BYTES = 1 << 20
_WAIT_S = 0.1
_PIECE_LINES = 250
_LONGEST_BYTES = 64 << 10


class Bells:
    """Wakes who waits for news of a build. What is rung for is looked up by who wakes, so that nothing is missed."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def ring(self, build_id: str) -> None:
        """Wake all who wait for this build."""
        if (event := self._events.pop(build_id, None)) is not None:
            event.set()

    def ring_all(self) -> None:
        """Wake everybody."""
        for build_id in list(self._events):
            self.ring(build_id)

    async def wait(self, build_id: str) -> None:
        """Wait until it is rung for this build."""
        await self._events.setdefault(build_id, asyncio.Event()).wait()


@dataclass(slots=True)
class _Open:
    """The end of a log that is being written.

    Attributes:
        number: Of the build in the tables.
        next_line: Offset of the next line.
        n_step_lines: Lines that steps printed.
        n_dropped: Of them, those that are not kept.
        n_bytes: Text that is kept.
        steps: Numbers of steps, by digest and name.
        lines: Rows that wait.
        new_steps: Rows that wait.
        waiting_bytes: Of the texts of rows that wait.
        is_changed: There is something to keep.
        timer: Keeps it when it is due.
    """

    number: int
    next_line: int
    n_step_lines: int
    n_dropped: int
    n_bytes: int
    steps: dict[tuple[str, str], int] = field(default_factory=dict)
    lines: list[tuple[object, ...]] = field(default_factory=list)
    new_steps: list[tuple[object, ...]] = field(default_factory=list)
    waiting_bytes: int = 0
    is_changed: bool = False
    timer: asyncio.TimerHandle | None = None


class Logs:
    """The logs of all builds. To be used on one event loop.

    Args:
        database: The service's file.
        max_bytes: Of the text of one log.

    Attributes:
        bells: Rung for a build when there are new lines, and when it has ended.
    """

    def __init__(self, database: Database, *, max_bytes: int) -> None:
        self._db = database
        self._max_bytes = max_bytes
        self._open: dict[str, _Open] = {}
        self._is_disk_bad = False
        self.bells = Bells()

    # -------------------------------------------------------------------------------- writing

    def write(self, build_id: str, lines: Sequence[Line]) -> int:
        """Take lines in order; return the offset of the first.

        Raises:
            sqlite3.Error: Those that waited cannot be kept.
        """
        log = self._opened(build_id)
        first = log.next_line
        was_full = log.n_bytes >= self._max_bytes
        for line in lines:
            self._take(log, line)
            if len(log.lines) >= _MOST_WAITING or log.waiting_bytes >= _MOST_WAITING_BYTES:
                self._keep(build_id, log)
        if log.n_bytes >= self._max_bytes and not was_full:
            limit = bytes_text(self._max_bytes)
            self.say(build_id, f"The log is longer than {limit}; the rest is not kept here.")
        elif log.timer is None and log.is_changed:
            log.timer = asyncio.get_running_loop().call_later(_WAIT_S, self.catch_up, build_id)
        return first

    def say(self, build_id: str, text: str) -> None:
        """Add a line of the service itself, which is kept however long the log is."""
        log = self._opened(build_id)
        self._append(log, "", "", datetime.now(UTC), 0, text)
        self._keep(build_id, log)

    def flush(self, build_id: str) -> None:
        """Keep what waits, and wake the readers.

        Raises:
            sqlite3.Error: It cannot be kept.
        """
        if (log := self._open.get(build_id)) is not None:
            self._keep(build_id, log)

    def catch_up(self, build_id: str) -> None:
        """Keep what waits, if it can be: on a full disk there is what was kept before, and the build hears of it."""
        try:
            self.flush(build_id)
        except sqlite3.Error as error:
            if not self._is_disk_bad:  # once: it is tried ten times a second
                _LOG.error("logs of builds cannot be kept now: %s", error)
            self._is_disk_bad = True

    def close(self, build_id: str) -> None:
        """The build writes no more for now; what waits is kept."""
        self.flush(build_id)
        self._open.pop(build_id, None)

    def finish(self, build_id: str) -> None:
        """The build writes no more: say how much was left out."""
        if self._opened(build_id).n_dropped:
            left_out = self._open[build_id].n_dropped
            self.say(build_id, f"{left_out} more lines of the steps were not kept here.")
        self.close(build_id)

    def skip(self, build_id: str) -> None:
        """Leave out the offsets that an interrupted try may have given to lines which were lost with it."""
        log = self._opened(build_id)
        log.next_line += _MOST_WAITING
        log.is_changed = True

    def _opened(self, build_id: str) -> _Open:
        log = self._open.get(build_id)
        if log is None:
            row = self._db.row("SELECT * FROM builds WHERE build_id = ?", build_id)
            assert row is not None
            log = self._open[build_id] = _Open(
                row["number"],
                row["n_lines"],
                row["n_step_lines"],
                row["n_dropped"],
                row["log_bytes"],
            )
            for step in self._db.rows("SELECT * FROM log_steps WHERE build = ?", log.number):
                log.steps[step["step_id"], step["name"]] = step["step"]
        return log

    def _take(self, log: _Open, line: Line) -> None:
        if line.stream:
            log.n_step_lines += 1
        if line.stream and log.n_bytes >= self._max_bytes:
            log.n_dropped += 1
            log.next_line += 1
            log.is_changed = True
            return
        self._append(log, line.step_id, line.step, line.at, line.stream, line.text)

    def _append(
        self, log: _Open, step_id: str, name: str, when: datetime, stream: int, text: str
    ) -> None:
        step = log.steps.get((step_id, name))
        if step is None:
            step = log.steps[step_id, name] = len(log.steps)
            log.new_steps.append((log.number, step, step_id, _clean(name)))
        text, n_bytes = _fitted(_clean(text))
        log.n_bytes += n_bytes
        log.waiting_bytes += n_bytes
        log.is_changed = True
        log.lines.append((log.number, log.next_line, _ns(when), step, stream, text))
        log.next_line += 1

    def _keep(self, build_id: str, log: _Open) -> None:
        if log.timer is not None:
            log.timer.cancel()
            log.timer = None
        if not log.is_changed:
            return
        with self._db.transaction():
            self._db.change_many("INSERT INTO log_steps VALUES (?, ?, ?, ?)", log.new_steps)
            self._db.change_many("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?)", log.lines)
            self._db.change(
                "UPDATE builds SET n_lines = ?, n_step_lines = ?, n_dropped = ?, log_bytes = ?"
                " WHERE number = ?",
                log.next_line,
                log.n_step_lines,
                log.n_dropped,
                log.n_bytes,
                log.number,
            )
        log.lines, log.new_steps, log.waiting_bytes, log.is_changed = [], [], 0, False
        self._is_disk_bad = False
        self.bells.ring(build_id)

    # -------------------------------------------------------------------------------- reading

    def read(self, build_id: str, offset: int) -> tuple[list[LogLine], bool]:
        """Return lines from an offset on, not all of them, and whether the build has ended.

        Raises:
            ServiceError: `not_found`.
        """
        build = self._db.row("SELECT number, finished_ns FROM builds WHERE build_id = ?", build_id)
        if build is None:
            raise no_build(build_id)
        rows = self._db.rows(
            "SELECT line, at_ns, step_id, name, stream, text FROM lines"
            " JOIN log_steps USING (build, step) WHERE build = ? AND line >= ?"
            " ORDER BY line LIMIT ?",
            build["number"],
            offset,
            _PIECE_LINES,
        )
        return [
            LogLine(line, moment(at_ns), step_id, name, stream, text)
            for line, at_ns, step_id, name, stream, text in rows
        ], build["finished_ns"] is not None

    async def next(
        self, build_id: str, offset: int, *, follow: bool, is_open: Callable[[], bool]
    ) -> list[LogLine]:
        """Return the next lines from an offset on; none when there are no more.

        Args:
            build_id: Of the build.
            offset: Of the first line that is wanted.
            follow: Wait for lines as long as the build has not ended.
            is_open: The service is; one that closes ends the waiting.

        Raises:
            ServiceError: `not_found`; `unavailable` when the service is closed meanwhile.
        """
        self.catch_up(build_id)
        while True:
            lines, has_ended = self.read(build_id, offset)
            if lines or has_ended or not follow:
                return lines
            await self.bells.wait(build_id)
            if not is_open():
                raise ServiceError(
                    f"The build service was closed while the log of {build_id} was followed.",
                    code="unavailable",
                    hint=f"follow it again from offset={offset} when the service is open again",
                )


def _ns(when: datetime) -> int:
    """Exactly, which the float of `timestamp()` is not."""
    since = when - _EPOCH
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _clean(text: str) -> str:
    """Half a pair of surrogates cannot be written."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _fitted(text: str) -> tuple[str, int]:
    """Return a text that a reader can hold many of, and its length in bytes."""
    data = text.encode()
    if len(data) <= _LONGEST_BYTES:
        return text, len(data)
    more = bytes_text(len(data) - _LONGEST_BYTES)
    return f"{data[:_LONGEST_BYTES].decode(errors='ignore')}… ({more} more)", _LONGEST_BYTES
