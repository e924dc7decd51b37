"""DuckDB as an engine: what the embedded store and Parquet files are asked with, and what it raises in our words."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from depotlab.errors import MissingExtra, TelemetryError
from depotlab.telemetry._sink import Answer

__all__ = [
    "DUCKDB_TYPES",
    "answered",
    "check_duckdb",
    "copied",
    "duckdb_error",
    "duckdb_module",
]

DUCKDB_TYPES = {
    "text": "VARCHAR",
    "number": "BIGINT",
    "flag": "BOOLEAN",
    "numbers": "MAP(VARCHAR, BIGINT)",
}
_MOST_SAID = 1000


def check_duckdb(feature: str) -> None:
    """Look whether the package is there, without importing it.

    Raises:
        MissingExtra: It is not installed.
    """
    if importlib.util.find_spec("duckdb") is None:
        raise MissingExtra(feature, extra="telemetry")


def duckdb_module() -> Any:
    """Return the package, after `check_duckdb`."""
    return importlib.import_module("duckdb")


def answered(cursor: Any, sql: str, parameters: Sequence[Any]) -> Answer:
    """Run one statement.

    Raises:
        TelemetryError: There is none, or more than one.
    """
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        raise TelemetryError(
            f"query(sql=…) has {len(statements)} statements.", hint="give one statement"
        )
    cursor.execute(statements[0], list(parameters))
    columns = tuple(str(one[0]) for one in cursor.description or ())
    return Answer(columns, tuple(cursor.fetchall()))


def copied(cursor: Any, sql: str, options: str, host_path: Path) -> None:
    """Write what a query finds as Parquet; compressed with zstd, which all readers know."""
    path = str(host_path).replace("'", "''")
    cursor.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet, COMPRESSION zstd{options})")


@contextlib.contextmanager
def duckdb_error(host_path: Path) -> Iterator[None]:
    """Turn what DuckDB and the disk raise into ours."""
    duckdb = duckdb_module()
    try:
        yield
    except OSError as error:
        raise TelemetryError(
            f"{host_path} cannot be used: {error.strerror or error}.",
            is_transient=True,
            hint="check the path and the room on its disk",
        ) from error
    except duckdb.Error as error:
        if "lock on file" in str(error) or "used by another process" in str(error):
            raise _taken(host_path, str(error)) from error
        # A commit that the disk does not take is no error of input and output in DuckDB's classes.
        if isinstance(error, duckdb.IOException) or "Could not write" in str(error):
            raise TelemetryError(
                f"{host_path} cannot be used: {_said(error)}",
                is_transient=True,
                hint="check the path and the room on its disk",
            ) from error
        broken = (duckdb.FatalException, duckdb.InternalException, duckdb.OutOfMemoryException)
        raise TelemetryError(
            f"DuckDB refuses: {_said(error)}", is_transient=isinstance(error, broken)
        ) from error


def _taken(host_path: Path, said: str) -> TelemetryError:
    pid = re.search(r"PID (\d+)", said)
    who = f"process {pid[1]}" if pid else "another process"
    return TelemetryError(
        f"{host_path} is open in {who}, and DuckDB lets one process write a file or several read it.",
        is_transient=True,
        hint="ask the process that writes it (`service.telemetry`), or have it `.export_parquet(folder)` and ask"
        " those files; where several processes write, use ClickHouse",
    )


def _said(error: Exception) -> str:
    text = str(error).strip()
    return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}…"
