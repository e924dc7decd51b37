"""What a `Telemetry` holds: something to ask, and a writer when builds are added."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from depotlab.progress import Snapshot
from depotlab.telemetry._fromsnapshot import BuildIds, build_row, log_rows, step_rows
from depotlab.telemetry._queries import Query
from depotlab.telemetry._rows import LogRow
from depotlab.telemetry._sink import Answer, Sink, Source
from depotlab.telemetry._stores import Store, write_out
from depotlab.telemetry._writer import Writer

__all__ = ["Connection"]

_log = logging.getLogger(__name__)
_FLUSH_S = 5.0
_DOWN_S = 0.5


class Connection:
    """Asks a store, and adds builds to it. From any thread.

    Args:
        store: What is asked.
        writer: What writes there and is somebody else's; None makes one when the first build is added.
    """

    def __init__(self, store: Store, writer: Writer | None = None) -> None:
        self.source: Source = store.source
        self._store = store
        self._given = writer
        self._own: Writer | None = None
        self._settle: Callable[[], None] | None = None
        self._has_delivered = False
        self._deliver_s = _FLUSH_S
        self._delivering = threading.Lock()

    def ask(self, query: Query) -> Answer:
        """Run one query, behind what was added before it, as far as the store takes that within five seconds.

        A store that takes nothing is waited for once, and only while it answers: nobody waits for an error. A long log
        of one's own is waited for as long as it is being written, for a minute at most.
        """
        if self._given is None:
            self._deliver()
        if self._settle is not None:
            self._settle()
        for writer in (self._given, self._own):
            if writer is not None and writer.stats.waiting:
                self._await_rows(writer)
        return self.source.query(query.sql, query.parameters)

    def _deliver(self) -> None:
        """Write what earlier processes left waiting; of several threads one does, and the others wait for it."""
        with self._delivering:
            if not self._has_delivered:
                self._has_delivered = self._store.deliver(
                    timeout_s=self._deliver_s, is_in_use=self._own is not None
                )
                self._deliver_s = _DOWN_S

    def _await_rows(self, writer: Writer) -> None:
        was_down = bool(writer.stats.last_error)
        wait_s = _DOWN_S if was_down else _FLUSH_S
        if write_out(writer, wait_s) if writer is self._own else writer.flush(wait_s, once=True):
            return
        self.source.query("SELECT 1")  # raises now what the question would raise after waiting
        if was_down != bool(writer.stats.last_error):
            writer.flush(_FLUSH_S)

    def writer(self) -> Writer:
        """Return what takes rows.

        Raises:
            UsageError: The store takes none.
            TelemetryError: There is no place for rows that wait.
        """
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = self._store.writer()
        return self._own

    def put(self, snapshot: Snapshot, ids: BuildIds, *, image: str = "", digest: str = "") -> None:
        """Add the rows of a build."""
        writer = self.writer()
        writer.put(step_rows(snapshot, ids))
        n_lines = 0

        def counted() -> Iterator[LogRow]:
            nonlocal n_lines
            for row in log_rows(snapshot, ids):
                n_lines += 1
                yield row

        writer.put(counted())
        writer.put([build_row(snapshot, ids, image=image, digest=digest, log_lines=n_lines)])

    def begin(self, settle: Callable[[], None]) -> None:
        """Get a writer; `settle` is called before every question, to wait for what is on its way to it."""
        self.writer()
        self._settle = settle

    def end(self) -> None:
        """Write what was added and let go of the writer; what its store does not take waits beside it."""
        self._settle = None
        own, self._own = self._own, None
        if own is None:
            return
        is_written = write_out(own, _FLUSH_S, once=False)
        own.close(_FLUSH_S if is_written else _DOWN_S)
        stats = own.stats
        if stats.waiting:
            self._has_delivered = False
            said = stats.last_error
            _log.warning("%d rows wait until %r takes them: %s", stats.waiting, self.source, said)

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was added is written; return whether it is."""
        return all(w.flush(timeout_s) for w in (self._given, self._own) if w is not None)

    def close(self) -> None:
        """Write what was added, and let go of the store, but for a writer of somebody else. Idempotent."""
        self.end()
        if self._given is None and isinstance(self.source, Sink):
            self.source.close()
