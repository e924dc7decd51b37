"""Three embedded stores for rows of telemetry, each in a process of its own, asked the same questions.

DuckDB is the one that the library has, with its own class. SQLite and chDB get the same rows in the same batches, the
fastest way that their Python packages have; chDB's table is the one that the library makes in a ClickHouse server.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from depotlab.telemetry import Batch, DuckDB, LogRow
from depotlab.telemetry._schema import TABLES
from tests.benchmarks.telemetry.lines import RARE, build_id, log_rows
from tests.benchmarks.telemetry.process import serve

__all__ = ["ASKED_BUILD", "QUESTIONS", "STORES", "Store"]

ASKED_BUILD = 7
"""By its place: the one of which all lines are asked for."""

_TABLE = TABLES[LogRow.table]

QUESTIONS = {
    "lines and duration by step, the longest 20": (
        f"SELECT step_id, count(*) AS n, max(time) - min(time) AS took FROM {_TABLE.name} "
        "GROUP BY step_id ORDER BY took DESC, n DESC, step_id LIMIT 20"
    ),
    "the 500 lines of one build": (
        f"SELECT line, message FROM {_TABLE.name} WHERE build_id = '{build_id(ASKED_BUILD)}' ORDER BY line"
    ),
    "lines that contain a text, by project": (
        f"SELECT project_id, count(*) AS n FROM {_TABLE.name} WHERE {{contains}} "
        "GROUP BY project_id ORDER BY project_id"
    ),
}
"""The same words for all of them, but for how a text is looked for."""


class Store(Protocol):
    """One of them, in a folder of its own.

    Attributes:
        contains: The condition that a message has the rare words in it.
    """

    contains: str

    def write(self, rows: Sequence[LogRow]) -> None:
        """Keep a batch."""

    def finish(self) -> None:
        """Do what it would do sometime by itself: nothing of it is to be counted as a question."""

    def ask(self, sql: str) -> list[list[Any]]:
        """Return the rows of an answer."""

    def size_bytes(self) -> int:
        """Return what its rows take on the disk."""


class _DuckDB:
    contains = f"contains(message, '{RARE}')"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "builds.duckdb"
        self._store = DuckDB(self._path, keep=None)
        self._store.open()
        self._n_batches = 0

    def write(self, rows: Sequence[LogRow]) -> None:
        self._n_batches += 1
        self._store.write(Batch(str(self._n_batches), _TABLE.name, rows))

    def finish(self) -> None:
        # It brings its log into the file when it is closed.
        self._store.close()
        self._store.open()

    def ask(self, sql: str) -> list[list[Any]]:
        return list(map(list, self._store.query(sql).rows))

    def size_bytes(self) -> int:
        return self._path.stat().st_size


class _SQLite:
    contains = f"instr(message, '{RARE}') > 0"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "builds.sqlite3"
        self._file = sqlite3.connect(self._path, isolation_level=None)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute(f"CREATE TABLE {_TABLE.name} ({', '.join(_TABLE.names)})")

    def write(self, rows: Sequence[LogRow]) -> None:
        places = ", ".join("?" * len(_TABLE.names))
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany(
            f"INSERT INTO {_TABLE.name} VALUES ({places})", map(_TABLE.values, rows)
        )
        self._file.execute("COMMIT")

    def finish(self) -> None:
        self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def ask(self, sql: str) -> list[list[Any]]:
        return list(map(list, self._file.execute(sql)))

    def size_bytes(self) -> int:
        return self._path.stat().st_size


class _ChDB:
    contains = f"position(message, '{RARE}') > 0"

    def __init__(self, folder: Path) -> None:
        import chdb

        self._engine = chdb.connect(str(folder / "chdb"))
        columns = ", ".join(
            f"{one.name} {'String' if one.kind == 'text' else 'Int64'}"
            f"{' CODEC(Delta, LZ4)' if one.is_instant else ''}"
            for one in _TABLE.columns
        )
        self._engine.query(
            f"CREATE TABLE {_TABLE.name} ({columns}) ENGINE = MergeTree ORDER BY ({', '.join(_TABLE.order)})"
        )

    def write(self, rows: Sequence[LogRow]) -> None:
        import pandas

        columns = zip(*map(_TABLE.values, rows), strict=True)
        # `Python(frame)` in a statement is the variable of this name.
        frame = pandas.DataFrame(dict(zip(_TABLE.names, map(list, columns), strict=True)))
        assert len(frame) == len(rows)
        self._engine.query(f"INSERT INTO {_TABLE.name} SELECT * FROM Python(frame)")

    def finish(self) -> None:
        self._engine.query(f"OPTIMIZE TABLE {_TABLE.name} FINAL")

    def ask(self, sql: str) -> list[list[Any]]:
        cursor = self._engine.cursor()
        with contextlib.closing(cursor):
            cursor.execute(sql)
            return list(map(list, cursor.fetchall()))

    def size_bytes(self) -> int:
        [[size]] = self.ask(
            f"SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = '{_TABLE.name}'"
        )
        return int(size)


STORES: dict[str, Callable[[Path], Store]] = {"duckdb": _DuckDB, "sqlite": _SQLite, "chdb": _ChDB}
_open: dict[str, Store] = {}


def _fill(name: str, folder: str, n_lines: int) -> dict[str, float]:
    """Write all rows; processor microseconds of each, without making it, and megabytes on the disk."""
    store = STORES[name](Path(folder))
    _open[name] = store
    used_s = 0.0
    for rows in log_rows(n_lines):
        began_s = time.process_time()
        store.write(rows)
        used_s += time.process_time() - began_s
    began_s = time.process_time()
    store.finish()
    used_s += time.process_time() - began_s
    return {"row_us": 1e6 * used_s / n_lines, "size_mb": store.size_bytes() / 1e6}


def _ask(name: str, question: str) -> dict[str, Any]:
    """Ask one question; processor milliseconds of all threads, and the answer."""
    store = _open[name]
    sql = QUESTIONS[question].format(contains=store.contains)
    began_s = time.process_time()
    rows = store.ask(sql)
    return {"ms": 1000 * (time.process_time() - began_s), "rows": rows}


if __name__ == "__main__":
    serve({"fill": _fill, "ask": _ask})
