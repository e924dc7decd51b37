"""The embedded store: one DuckDB file, no server.

DuckDB lets one process write a file, or several read it; within a process any number of threads read while one
writes, each from a state of its own. So all stores of one file in this process share a connection while one of them
is open for writing, and otherwise a query opens the file for reading and lets go of it again.
Source: duckdb.org, "Concurrency".

A batch and its id are written in one transaction, so a batch that comes again is known, also after a crash in between.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from depotlab._values import Value
from depotlab.errors import TelemetryError, UsageError
from depotlab.telemetry._duckengine import (
    DUCKDB_TYPES,
    answered,
    check_duckdb,
    copied,
    duckdb_error,
    duckdb_module,
)
from depotlab.telemetry._rows import Row
from depotlab.telemetry._schema import KEPT, TABLES, Column, Table
from depotlab.telemetry._sink import Answer, Batch

__all__ = ["DuckDB"]

# A map goes in as JSON: of dictionaries DuckDB would make structures, all with the same fields.
_GIVEN = {**DUCKDB_TYPES, "numbers": "VARCHAR"}
_DEFAULTS = {"text": "''", "flag": "false", "numbers": "MAP {}"}
_BATCHES = "CREATE TABLE IF NOT EXISTS batches_v1 (batch_id VARCHAR PRIMARY KEY, written_at BIGINT)"
_EXPIRE_EVERY_S = 86_400.0


class _File:
    """A file that stores of this process share: its connection for writing, how many have opened it, and who uses it.

    DuckDB does not close a connection while a statement runs on one of its cursors, so the last cursor closes it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connection: Any = None
        self.n_open = 0
        self._n_cursors = 0

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        """Give a cursor of the connection for writing, which is open, and the lock held; the lock is not needed on."""
        cursor = self.connection.cursor()
        self._n_cursors += 1
        try:
            yield cursor
        finally:
            cursor.close()
            with self.lock:
                self._n_cursors -= 1
                self.close_unused()

    def close_unused(self) -> None:
        """Close the connection when nobody has opened the file, and nobody asks."""
        with self.lock:
            if self.n_open == 0 and self._n_cursors == 0:
                self.drop()

    def drop(self) -> None:
        """Have no connection any more. One that is broken may have to be left to itself."""
        with self.lock:
            connection, self.connection = self.connection, None
            if connection is not None:
                with contextlib.suppress(duckdb_module().Error):
                    connection.close()


_files: WeakValueDictionary[Path, _File] = WeakValueDictionary()
_files_lock = threading.Lock()


@atexit.register
def _close_all() -> None:
    """Close what nobody has closed: DuckDB 2 ends a process with a page of complaints about it otherwise."""
    for file in list(_files.values()):
        file.drop()


class DuckDB(Value):
    """A file of rows, as sink and as source. Needs the extra `telemetry`.

    Nothing is opened before it is used. Queries may be asked at any time from any thread, also while rows are written.

    Args:
        path: Made with its tables when it is missing; for its owner only, since logs are in it.
        keep: How long rows are kept; older ones go when the store is opened and once a day. None keeps all.

    Raises:
        MissingExtra: DuckDB is not installed.
        UsageError: The path is empty, or DuckDB's word for memory.

    Example:
        >>> import tempfile, pathlib
        >>> from depotlab.telemetry import DuckDB
        >>> store = DuckDB(pathlib.Path(tempfile.mkdtemp()) / "builds.duckdb")
        >>> store.query("SELECT count(*) AS n FROM build_steps_v1 WHERE cached = ?", [True])
        Answer(columns=('n',), rows=((0,),))
    """

    dialect = "duckdb"

    def __init__(self, path: str | os.PathLike[str], *, keep: timedelta | None = KEPT) -> None:
        check_duckdb("telemetry.DuckDB()")
        if os.fspath(path) in {"", ":memory:"}:
            raise UsageError(
                f"path={os.fspath(path)!r} is no file, and rows are kept in one.",
                hint="give a path, such as a file in tempfile.mkdtemp()",
            )
        self.path = Path(path).expanduser().absolute()
        self._keep = keep
        self._is_open = False
        self._expired_s: float | None = None
        with _files_lock:
            self._file = _files.setdefault(self.path.resolve(), _File())

    def __repr__(self) -> str:
        return f"DuckDB({str(self.path)!r})"

    # --------------------------------------------------------------------------------- the sink

    def open(self) -> None:
        """Open the file for writing and make the tables that are missing. Idempotent.

        Raises:
            TelemetryError: The file cannot be opened, or another process has it open.
        """
        with self._file.lock:
            if self._is_open and self._file.connection is not None:
                return
            if self._file.connection is None:
                self._file.connection = self._prepared()
            if not self._is_open:
                self._is_open = True
                self._file.n_open += 1
        self._expire_daily()

    def close(self) -> None:
        """Let go of the file. Idempotent; a query afterwards opens it for reading."""
        with self._file.lock:
            if not self._is_open:
                return
            self._is_open = False
            self._file.n_open -= 1
            self._file.close_unused()

    def write(self, batch: Batch) -> None:
        """Keep a batch; one that is kept already is left as it is.

        Raises:
            TelemetryError: It is not kept, such as when the disk is full.
        """
        table = TABLES[batch.table]
        with self._writing() as cursor:
            known = cursor.execute(
                "SELECT 1 FROM batches_v1 WHERE batch_id = ?", [batch.batch_id]
            ).fetchone()
            if known is None:
                cursor.execute("INSERT INTO batches_v1 VALUES (?, ?)", [batch.batch_id, _now_ms()])
                cursor.execute(_insertion(table), _lists(table, batch.rows))
        self._expire_daily()

    def expire(self, older_than: timedelta = KEPT) -> int:
        """Remove rows that are older, and return how many those were. The file keeps its size; the room is used again.

        Raises:
            TelemetryError: The file cannot be written.
        """
        before_ms = _now_ms() - round(older_than.total_seconds() * 1000)
        n_removed = 0
        with self._opened(), self._writing() as cursor:
            for table in TABLES.values():
                age = f"greatest({', '.join(table.ages_by)})"
                n_removed += cursor.execute(
                    f"DELETE FROM {table.name} WHERE {age} > 0 AND {age} < ?",  # noqa: S608 - names of ours
                    [before_ms],
                ).fetchone()[0]
            cursor.execute("DELETE FROM batches_v1 WHERE written_at < ?", [before_ms])
        return n_removed

    # ------------------------------------------------------------------------------- the source

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Run one statement that reads. Parameters stand as `?` in it, in order.

        Raises:
            TelemetryError: The statement is wrong or would change something, or another process writes the file.
        """
        with self._reading() as cursor:
            return answered(cursor, sql, parameters)

    def copy_parquet(self, sql: str, options: str, host_path: Path) -> None:
        """Write what a query finds as Parquet, without taking it through Python.

        Args:
            sql: The query.
            options: Of DuckDB's `COPY`.
            host_path: A file, or a folder when it is written in parts.

        Raises:
            TelemetryError: It cannot be asked or written.
        """
        with self._reading() as cursor:
            copied(cursor, sql, options, host_path)

    def _expire_daily(self) -> None:
        now_s = time.monotonic()
        if self._keep is None or (
            self._expired_s is not None and now_s - self._expired_s < _EXPIRE_EVERY_S
        ):
            return
        self._expired_s = now_s
        self.expire(self._keep)

    # ------------------------------------------------------------------------------ connections

    def _prepared(self) -> Any:
        """Return a connection for writing to a file that has all tables."""
        with contextlib.ExitStack() as stack, duckdb_error(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = duckdb_module().connect(str(self.path))
            stack.callback(connection.close)
            self._hide()
            connection.execute(_BATCHES)
            for table in TABLES.values():
                connection.execute(_creation(table))
                for column in table.columns:
                    # A file of an earlier version lacks what came since.
                    connection.execute(
                        f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {_column(column)}"
                    )
            self._hide()
            stack.pop_all()
        return connection

    def _hide(self) -> None:
        """Let nobody else read the file: DuckDB makes it and its log as the umask says."""
        for path in (self.path, self.path.with_name(f"{self.path.name}.wal")):
            with contextlib.suppress(FileNotFoundError):
                path.chmod(0o600)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        was_open = self._is_open
        self.open()
        try:
            yield
        finally:
            if not was_open:
                self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        """All of the body happens, or nothing of it."""
        with contextlib.ExitStack() as stack, duckdb_error(self.path):
            with self._file.lock:
                if self._file.connection is None:
                    raise TelemetryError(
                        f"{self!r} is not open for writing.", hint="call open() before write()"
                    )
                cursor = stack.enter_context(self._file.cursor())
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException as error:
                self._undo(cursor, error)
                raise
        self._hide()

    def _undo(self, cursor: Any, error: BaseException) -> None:
        duckdb = duckdb_module()
        with contextlib.suppress(duckdb.Error):  # a commit that failed has no transaction any more
            cursor.execute("ROLLBACK")
        if isinstance(error, duckdb.FatalException | duckdb.InternalException):
            # DuckDB takes nothing more on it; the next try opens the file anew and reads its log.
            self._file.drop()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Any]:
        with duckdb_error(self.path), contextlib.ExitStack() as stack:
            with self._file.lock:
                if self._file.connection is not None:
                    cursor = stack.enter_context(self._file.cursor())
                else:
                    # Kept to the end: in one process DuckDB has a file open for reading or for writing, not both.
                    stack.enter_context(self._file.lock)
                    if not self.path.exists():
                        self._prepared().close()
                    cursor = duckdb_module().connect(str(self.path), read_only=True)
                    stack.callback(cursor.close)
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            yield cursor


# --------------------------------------------------------------------------------------- statements


def _column(column: Column) -> str:
    default = _DEFAULTS.get(column.kind, column.default)
    return f"{column.name} {DUCKDB_TYPES[column.kind]} DEFAULT {default}"


def _creation(table: Table) -> str:
    return f"CREATE TABLE IF NOT EXISTS {table.name} ({', '.join(map(_column, table.columns))})"


def _insertion(table: Table) -> str:
    """Take a list for each column: the fastest way in that DuckDB 1.2 has too, with neither pandas nor pyarrow."""
    lists = ", ".join(f"unnest(?::{_GIVEN[one.kind]}[]) AS {one.name}" for one in table.columns)
    taken = ", ".join(
        f"{one.name}::JSON::{DUCKDB_TYPES[one.kind]}" if one.kind == "numbers" else one.name
        for one in table.columns
    )
    names = ", ".join(table.names)
    return f"INSERT INTO {table.name} ({names}) SELECT {taken} FROM (SELECT {lists})"  # noqa: S608 - names of ours


def _lists(table: Table, rows: Iterable[Row]) -> list[list[Any]]:
    columns = zip(*map(table.values, rows), strict=True)
    return [
        [json.dumps(value) for value in values] if column.kind == "numbers" else list(values)
        for column, values in zip(table.columns, columns, strict=True)
    ]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
