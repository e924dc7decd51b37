"""What a `Telemetry` holds: something to ask, and a writer when builds are added."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from depotlab.progress import Snapshot
from depotlab.telemetry._fromsnapshot import BuildIds, build_row, log_rows, step_rows
from depotlab.telemetry._queries import Query
from depotlab.telemetry._rows import LogRow
from depotlab.telemetry._sink import Answer, Sink, Source
from depotlab.telemetry._stores import Store
from depotlab.telemetry._writer import Writer

__all__ = ["Connection"]

_log = logging.getLogger(__name__)
_FLUSH_S = 5.0


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

    def ask(self, query: Query) -> Answer:
        """Run one query, behind what was added before it, as far as the store takes that within five seconds."""
        if not self._has_delivered and self._given is None:
            self._has_delivered = True
            self._store.deliver(timeout_s=_FLUSH_S)
        if self._settle is not None:
            self._settle()
        for writer in (self._given, self._own):
            if writer is not None and writer.stats.waiting:
                writer.flush(_FLUSH_S)
        return self.source.query(query.sql, query.parameters)

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
        """Write what was added and let go of the writer; what its store does not take by then waits beside it."""
        self._settle = None
        own, self._own = self._own, None
        if own is None:
            return
        own.close(_FLUSH_S)
        stats = own.stats
        if stats.waiting:
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
