"""One SQLite file: how it is opened, its tables, and one transaction at a time.

Everything runs on one event loop. A write takes some ten microseconds, because the log is
written ahead and not forced to disk: after a power cut the newest builds may be missing, never half
there. Source: sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from depotlab.errors import EngineError

__all__ = ["Database"]


class Database:
    """An open file. Call `close` at the end.

    Args:
        path: Created, for its owner only, when it is missing.
        schema: Statements that make the tables of a new file.
        version: Of the schema; a file with a higher one is refused.
        whose: Begins the errors' texts, such as "The plane's".
        now_ns: The clock.

    Raises:
        EngineError: The file cannot be opened, or a newer version of this library wrote it.
    """

    def __init__(
        self,
        path: Path,
        *,
        schema: str,
        version: int,
        whose: str,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._now_ns = now_ns
        self._last_ns = 0
        try:
            # The files beside it, -wal and -shm, get the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with contextlib.ExitStack() as stack:
                self._file = sqlite3.connect(path, isolation_level=None)
                stack.callback(self._file.close)
                self._prepare(path, schema, version, whose)
                stack.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise EngineError(
                f"{whose} database {path} cannot be used: {error}.",
                hint="choose another state folder, or move this file away",
            ) from error

    def _prepare(self, path: Path, schema: str, newest: int, whose: str) -> None:
        self._file.row_factory = sqlite3.Row
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        version: int = self._file.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._file.executescript(f"BEGIN; {schema} PRAGMA user_version = {newest}; COMMIT;")
        if version > newest:
            raise EngineError(
                f"{whose} database {path} was written by a newer version of depotlab.",
                hint="update depotlab, or choose another state folder",
            )

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def now_ns(self) -> int:
        """Return the time, later than at every call before, so that it can order and page rows."""
        self._last_ns = max(self._now_ns(), self._last_ns + 1)
        return self._last_ns

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Return what a query finds."""
        return self._file.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """Return the first row that a query finds, if any."""
        found: sqlite3.Row | None = self._file.execute(sql, values).fetchone()
        return found

    def change(self, sql: str, *values: object) -> int:
        """Run one statement; return how many rows it changed."""
        return self._file.execute(sql, values).rowcount

    def change_many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        """Run one statement for each row of values."""
        if rows:
            self._file.executemany(sql, rows)

    def used_bytes(self) -> int:
        """Return how much of the file is in use."""
        row = self.row(
            "SELECT page_size * (page_count - freelist_count) AS n"
            " FROM pragma_page_size, pragma_page_count, pragma_freelist_count"
        )
        assert row is not None
        return int(row["n"])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the body happens, or nothing of it. The body does not wait for anything."""
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            # On a full disk SQLite may have done so itself. Source: sqlite.org/lang_transaction.html
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")
