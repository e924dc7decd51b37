"""Rows as Parquet files: what is kept of builds for pandas, polars, Spark and whoever else reads them.

    FOLDER/builds_v1.parquet                                   one file for each table
    FOLDER/builds_v1/project_id=shop/data_0.parquet            or one folder, in parts by project

DuckDB writes and reads them, so both need the extra `telemetry`. Columns are those of the tables, in their order.
Instants are whole milliseconds since 1970 in UTC, as everywhere: `pandas.to_datetime(frame.time, unit="ms", utc=True)`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from depotlab._values import Value
from depotlab.errors import UsageError
from depotlab.telemetry._arguments import Since, since_ms_of
from depotlab.telemetry._duckdb import DuckDB
from depotlab.telemetry._duckengine import (
    DUCKDB_TYPES,
    answered,
    check_duckdb,
    copied,
    duckdb_error,
    duckdb_module,
)
from depotlab.telemetry._schema import TABLES, Table
from depotlab.telemetry._sink import Answer, CopiesParquet, Source

__all__ = ["Parquet", "export_parquet"]

_PARTITION = "project_id"


class Parquet(Value):
    """A folder of Parquet files as a source: what `export_parquet` wrote. Needs the extra `telemetry`.

    Files are looked at anew by each query. A table of which there is no file is empty.

    Args:
        folder: Where the files are.

    Raises:
        MissingExtra: DuckDB is not installed.
        UsageError: There is no such folder.
    """

    dialect = "duckdb"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        check_duckdb("telemetry.Parquet()")
        self.folder = Path(folder).expanduser().absolute()
        if not self.folder.is_dir():
            raise UsageError(
                f"folder={str(folder)!r} is no folder.",
                hint="give the folder that telemetry.export_parquet(...) wrote",
            )

    def __repr__(self) -> str:
        return f"Parquet({str(self.folder)!r})"

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Run one statement that reads. Parameters stand as `?` in it, in order.

        Raises:
            TelemetryError: The statement is wrong, or a file cannot be read.
        """
        with self._reading() as cursor:
            return answered(cursor, sql, parameters)

    def copy_parquet(self, sql: str, options: str, host_path: Path) -> None:
        """Write what a query finds as Parquet, as `DuckDB.copy_parquet` does.

        Args:
            sql: The query.
            options: Of DuckDB's `COPY`.
            host_path: A file, or a folder when it is written in parts.

        Raises:
            TelemetryError: It cannot be asked or written.
        """
        with self._reading() as cursor:
            copied(cursor, sql, options, host_path)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Any]:
        with duckdb_error(self.folder), contextlib.closing(duckdb_module().connect()) as cursor:
            for table in TABLES.values():
                cursor.execute(f"CREATE VIEW {table.name} AS {self._rows_of(table)}")
            yield cursor

    def _rows_of(self, table: Table) -> str:
        columns = ", ".join(table.names)
        empty = ", ".join(f"NULL::{DUCKDB_TYPES[one.kind]} AS {one.name}" for one in table.columns)
        found = sorted((self.folder / table.name).rglob("*.parquet"))
        whole = self.folder / f"{table.name}.parquet"
        if not found and whole.is_file():
            found = [whole]
        if not found:
            return f"SELECT {empty} WHERE false"
        # One by one: in a pattern the signs of the folder's own name would count.
        files = ", ".join(map(_literal, found))
        # By name, and with an empty relation of ours above: files of an earlier version lack what came since.
        return (
            f"SELECT {columns} FROM (SELECT {empty} WHERE false UNION ALL BY NAME "  # noqa: S608 - names of ours
            f"SELECT * FROM read_parquet([{files}], union_by_name = true, hive_types_autocast = false))"
        )


def export_parquet(
    source: Source | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    since: Since = None,
    by_project: bool = False,
) -> tuple[Path, ...]:
    """Write all rows as Parquet files, and return what was written: a file for each table, or a folder.

    Blocks. Files of an earlier export into the folder are replaced, each when its new one is whole. pandas, polars and
    Spark read them as they are; `telemetry.Parquet(folder)` and `telemetry.open(folder)` ask them.

    Args:
        source: A `DuckDB`, `ClickHouse` or `Parquet`, a `Several` with one of them, or the path of a DuckDB file.
        folder: Made if missing.
        since: Only rows that are not older: an instant with a time zone, or how long ago.
        by_project: A folder for each table with parts by project, so that who asks for one reads only that.

    Raises:
        MissingExtra: DuckDB is not installed.
        UsageError: The source is none of these, or `since` has no time zone.
        TelemetryError: The source cannot be asked, or the folder not be written.

    Example:
        >>> import tempfile, pathlib
        >>> from depotlab import telemetry
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> files = telemetry.export_parquet(telemetry.DuckDB(folder / "builds.duckdb"), folder / "files")
        >>> [file.name for file in files]
        ['builds_v1.parquet', 'build_steps_v1.parquet', 'build_step_logs_v1.parquet']
    """
    check_duckdb("telemetry.export_parquet()")
    if isinstance(source, str | os.PathLike):
        source = DuckDB(source)
    if not isinstance(source, CopiesParquet):
        raise UsageError(
            f"source={source!r} is nothing to export from.",
            hint="give a DuckDB, ClickHouse or Parquet, or the path of a DuckDB file",
        )
    since_ms = since_ms_of(since)
    target = Path(folder).expanduser().absolute()
    with duckdb_error(target):
        target.mkdir(parents=True, exist_ok=True)
        return tuple(
            _export(source, table, target, since_ms=since_ms, by_project=by_project)
            for table in TABLES.values()
        )


def _export(
    source: CopiesParquet, table: Table, folder: Path, *, since_ms: int | None, by_project: bool
) -> Path:
    sql = f"SELECT {', '.join(table.names)} FROM {table.name}"  # noqa: S608 - names of ours
    if since_ms is not None:
        sql += f" WHERE greatest({', '.join(table.ages_by)}) >= {since_ms}"
    new = folder / f".{table.name}.new"
    _remove(new)
    try:
        source.copy_parquet(sql, f", PARTITION_BY ({_PARTITION})" if by_project else "", new)
        whole = folder / (table.name if by_project else f"{table.name}.parquet")
        # Of the other kind there may be one as well, which would be read instead or beside it.
        _remove(folder / table.name)
        _remove(folder / f"{table.name}.parquet")
        if by_project:
            new.mkdir(exist_ok=True)  # DuckDB makes none where there is no row
        new.rename(whole)
    except BaseException:
        _remove(new)
        raise
    return whole


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
