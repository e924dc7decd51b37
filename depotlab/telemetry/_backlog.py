"""Rows that a sink has not taken yet: batches that are gathered, and batches that wait.

Every row is in the spool, which outlives the process, and in memory as long as there is room: then it need not be read
again. When the disk is full, memory is all there is. No thread, no lock, no clock: the writer has those.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Sequence

from depotlab.telemetry._rows import Row
from depotlab.telemetry._schema import Table, table_of
from depotlab.telemetry._spool import Spool, SpoolFile, encoded

__all__ = ["Backlog", "Waiting"]

_log = logging.getLogger(__name__)

_BATCH_BYTES = 8 << 20
_MEMORY_BYTES = 64 << 20
"""Long lines are few rows and much memory: a batch, and what is kept in memory, also end at so many bytes."""


class Waiting:
    """A batch, from its first row until the sink has taken it.

    Attributes:
        file: Of the spool; it has the batch's id, also when the disk did not take it.
        since_s: When it was begun, on the writer's clock.
        number: Its place among all batches that nothing is added to any more, from 1; 0 before.
        n_rows: In it.
        size_bytes: Of the rows as lines.
        rows: Them, or None when they are only in the file.
        is_on_disk: The file has them all.
    """

    def __init__(self, file: SpoolFile, *, since_s: float) -> None:
        self.file = file
        self.since_s = since_s
        self.number = 0
        self.n_rows = self.size_bytes = 0
        self.rows: list[Row] | None = []
        self.is_on_disk = False

    @property
    def n_in_memory(self) -> int:
        """Rows that memory has of it."""
        return 0 if self.rows is None else len(self.rows)

    @property
    def in_memory_bytes(self) -> int:
        """What these take, about."""
        return 0 if self.rows is None else self.size_bytes

    def read(self) -> tuple[list[Row], int]:
        """Return its rows, and how many are damaged and left out.

        Raises:
            OSError: The disk does not give them.
        """
        if self.rows is not None:
            return self.rows, 0
        try:
            return self.file.read()
        except FileNotFoundError:  # somebody has emptied the folder; nothing brings them back
            return [], self.n_rows


class Backlog:
    """All batches of one spool.

    Attributes:
        n_written: Rows that the sink has taken.
        n_waiting: Rows that it has not.
        n_in_memory: Of these, the ones in memory.
        n_lost: Rows that nothing could keep.
        spooled_bytes: What the spool takes on the disk.
        is_disk_bad: The disk did not take the last rows, and some of those that wait are in memory only.
        n_sealed: Batches that nothing is added to any more, ever.
    """

    def __init__(self, spool: Spool, *, batch_rows: int, max_memory_rows: int) -> None:
        self._spool = spool
        self._batch_rows = batch_rows
        self._max_memory_rows = max_memory_rows
        self._open: dict[str, Waiting] = {}
        self._sealed: deque[Waiting] = deque()
        self.n_written = self.n_waiting = self.n_in_memory = self.n_lost = 0
        self.spooled_bytes = 0
        self._in_memory_bytes = 0
        self.is_disk_bad = False
        self.n_sealed = 0

    def take_over(self, *, now_s: float) -> None:
        """Begin with what earlier processes left behind.

        Raises:
            OSError: The disk does not give it.
        """
        for file in self._spool.left_behind():
            found = Waiting(file, since_s=now_s)
            found.rows = None
            found.is_on_disk = True
            found.n_rows = file.count()
            self.n_waiting += found.n_rows
            self.spooled_bytes += file.size_bytes
            self._seal(found)

    @property
    def first(self) -> Waiting | None:
        """What is to be written next."""
        return self._sealed[0] if self._sealed else None

    @property
    def oldest_s(self) -> float | None:
        """When the oldest batch was begun that is still gathered."""
        return min((batch.since_s for batch in self._open.values()), default=None)

    def add(self, rows: Sequence[Row], *, now_s: float) -> None:
        """Take rows, in order."""
        for table, group in itertools.groupby(rows, key=table_of):
            rest = list(group)
            while rest:
                batch = self._open.get(table.name) or self._begin(table, now_s=now_s)
                room = self._batch_rows - batch.n_rows
                if self._extend(batch, table, rest[:room]):
                    rest = rest[room:]
                    if batch.n_rows < self._batch_rows and batch.size_bytes < _BATCH_BYTES:
                        continue
                # It is full, or the disk takes no more of it.
                self._seal(self._open.pop(table.name))

    def seal(self, *, begun_until_s: float | None = None) -> None:
        """Add nothing more to batches that were begun by then, or to any."""
        for batch in sorted(self._open.values(), key=lambda batch: batch.since_s):
            if begun_until_s is None or batch.since_s <= begun_until_s:
                self._seal(self._open.pop(batch.file.table.name))

    def written(self, n_rows: int, *, n_damaged: int) -> Waiting:
        """The sink has taken the first batch; return it."""
        batch = self._sealed.popleft()
        self.n_written += n_rows
        self.n_waiting -= batch.n_rows
        self._forget(batch)
        self.spooled_bytes -= batch.file.size_bytes
        self._lose(n_damaged, "their lines in the spool are damaged or gone")
        try:
            batch.file.remove()
        except OSError as error:
            # Should the next writer give it to the sink again, that knows its id.
            _log.warning("a batch of telemetry that is written stays in the spool: %s", error)
        waiting = itertools.chain(self._sealed, self._open.values())
        if self.is_disk_bad and all(one.is_on_disk for one in waiting):
            # Whoever waits for it puts nothing, and so would never learn that there is room again.
            self.is_disk_bad = False
        return batch

    def leave(self) -> None:
        """Get what is only in memory onto the disk, if that has room by now, and let others use the spool."""
        self.seal()
        for batch in self._sealed:
            if not batch.is_on_disk:
                self._rescue(batch)
        self._spool.close()

    def _begin(self, table: Table, *, now_s: float) -> Waiting:
        batch = Waiting(self._spool.new(table), since_s=now_s)
        try:
            batch.file.create()
        except OSError as error:
            self._disk_failed(error)
        else:
            batch.is_on_disk = True
            self.spooled_bytes += batch.file.size_bytes
        self._open[table.name] = batch
        return batch

    def _extend(self, batch: Waiting, table: Table, rows: Sequence[Row]) -> bool:
        """Add rows to a batch; False when they need another one, because the disk takes no more of this."""
        lines, rows = _lines(table, rows)
        if batch.is_on_disk:
            try:
                batch.file.append(lines)
            except OSError as error:
                self._disk_failed(error)
                if batch.n_rows:
                    return False
                # Nothing is in it yet: it goes on in memory, under the same id.
                self.spooled_bytes -= batch.file.size_bytes
                batch.file.remove()
                batch.is_on_disk = False
            else:
                self.is_disk_bad = False
                self.spooled_bytes += len(lines)
        has_room = self._in_memory_bytes < _MEMORY_BYTES
        n_free = self._max_memory_rows - self.n_in_memory if has_room else 0
        if batch.is_on_disk and (batch.rows is None or len(rows) > n_free):
            self._forget(batch)
        else:
            assert batch.rows is not None
            self._lose(len(rows) - n_free, "the sink is down, the disk full and the memory used up")
            rows = rows[:n_free]
            batch.rows += rows
            self.n_in_memory += len(rows)
            self._in_memory_bytes += len(lines) if rows else 0
        batch.size_bytes += len(lines) if rows else 0
        batch.n_rows += len(rows)
        self.n_waiting += len(rows)
        return True

    def _forget(self, batch: Waiting) -> None:
        """Keep it on the disk only."""
        self.n_in_memory -= batch.n_in_memory
        self._in_memory_bytes -= batch.in_memory_bytes
        batch.rows = None

    def _seal(self, batch: Waiting) -> None:
        batch.file.seal()
        self.n_sealed += 1
        batch.number = self.n_sealed
        self._sealed.append(batch)

    def _rescue(self, batch: Waiting) -> None:
        rows = batch.rows or []
        try:
            batch.file.create()
            batch.file.append(encoded(batch.file.table, rows))
        except OSError:
            batch.file.remove()
            self._lose(len(rows), "the sink is down and the disk full")
            self.n_waiting -= len(rows)
        else:
            batch.is_on_disk = True
            self.spooled_bytes += batch.file.size_bytes
        batch.file.seal()

    def _disk_failed(self, error: OSError) -> None:
        if not self.is_disk_bad:
            _log.error("the spool of telemetry takes no rows, they stay in memory: %s", error)
        self.is_disk_bad = True

    def _lose(self, n_rows: int, why: str) -> None:
        if n_rows > 0:
            _log.error("%d rows of telemetry are lost: %s", n_rows, why)
            self.n_lost += n_rows


def _lines(table: Table, rows: Sequence[Row]) -> tuple[bytes, Sequence[Row]]:
    """Return rows as lines of a spool file, and as they are written: what is no text for any store is replaced."""
    try:
        return encoded(table, rows), rows
    except UnicodeEncodeError:
        clean = [_clean(table, row) for row in rows]
        return encoded(table, clean), clean


def _clean(table: Table, row: Row) -> Row:
    values = [_text(value) if isinstance(value, str) else value for value in table.values(row)]
    return table.row(table.names, values)


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()
