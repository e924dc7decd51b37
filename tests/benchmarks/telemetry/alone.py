"""What the parts of the service and of telemetry cost alone, each in a process of its own."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from depotlab.errors import TelemetryError
from depotlab.service import Limits
from depotlab.service._boundary import Line
from depotlab.service._builds.logs import Logs
from depotlab.service._builds.turns import Turns
from depotlab.service._core.tables import open_database
from depotlab.service._storage.archives import check_archive
from depotlab.telemetry import Batch, DuckDB, LogRow, Writer
from depotlab.telemetry._schema import TABLES
from tests.benchmarks.telemetry.lines import BATCH_ROWS, log_rows
from tests.benchmarks.telemetry.process import peak_above_mb, serve

_TABLE = TABLES[LogRow.table]
_N_TURNS = 5_000
_BUILDS_OF_PROJECT = 10
_LINES_AT_ONCE = 100  # about what comes with one event of a step that prints much
_LIMITS = Limits(max_machines=20, max_running=40)


def _turn_us(n_queued: int) -> float:
    """How long a turn takes while so many builds wait: one ends, the next is chosen, another one comes for it."""
    turns = Turns(_LIMITS)
    numbers = itertools.count()
    project_of: dict[str, str] = {}
    running: deque[str] = deque()

    def come(project: str) -> None:
        build_id = f"build {next(numbers)}"
        project_of[build_id] = project
        turns.add(build_id, project)

    def start() -> None:
        while build_id := turns.pick():
            running.append(project_of.pop(build_id))
            come(running[-1])

    for n in range(n_queued):
        come(f"project {n // _BUILDS_OF_PROJECT}")
    start()
    began_s = time.process_time()
    for _ in range(_N_TURNS):
        turns.ended(running.popleft())
        start()
    used_s = time.process_time() - began_s
    assert turns.n_queued == n_queued
    assert running
    return 1e6 * used_s / _N_TURNS


def _turns(few: int, many: int, rounds: int) -> dict[str, float]:
    """Return processor microseconds of a turn with few and with many builds queued, medians of rounds in turns."""
    found: dict[int, list[float]] = {few: [], many: []}
    for _ in range(rounds):
        for n_queued, each_us in found.items():
            each_us.append(_turn_us(n_queued))
    return {
        "few_us": statistics.median(found[few]),
        "many_us": statistics.median(found[many]),
    }


def _log(folder: str, n_lines: int) -> dict[str, float]:
    """Write one build's log; processor microseconds of a line, megabytes on the disk, growth of memory."""
    return asyncio.run(_written(Path(folder), n_lines))


async def _written(folder: Path, n_lines: int) -> dict[str, float]:
    database = open_database(folder / "service.sqlite3")
    database.change(
        "INSERT INTO builds (build_id, project, workspace, deployment, asked, has_secrets, created_ns)"
        " VALUES ('b', 'shop', '', 'd1', '{}', 0, 1)"
    )
    logs = Logs(database, max_bytes=_LIMITS.max_log_bytes_per_build)
    used_s = 0.0
    now = datetime.now(UTC)
    with peak_above_mb() as above_mb:
        for rows in log_rows(n_lines):
            lines = [
                Line(step_id=row.step_id, step="make", at=now, stream=row.stream, text=row.message)
                for row in rows
            ]
            began_s = time.process_time()
            for at in range(0, len(lines), _LINES_AT_ONCE):
                logs.write("b", lines[at : at + _LINES_AT_ONCE])
            used_s += time.process_time() - began_s
            await asyncio.sleep(0)
        began_s = time.process_time()
        logs.finish("b")
        used_s += time.process_time() - began_s
    kept = database.row("SELECT count(*) AS n FROM lines")
    assert kept is not None
    assert kept["n"] == n_lines, "a log that is cut says nothing about its speed"
    database.close()
    size_bytes = (folder / "service.sqlite3").stat().st_size
    return {
        "line_us": 1e6 * used_s / n_lines,
        "size_mb": size_bytes / 1e6,
        "above_mb": above_mb[0],
    }


def _archive(path: str) -> dict[str, Any]:
    """Read an archive as a service does before it asks for a machine."""
    most = Limits()
    with peak_above_mb() as above_mb, Path(path).open("rb") as file:
        began_s = time.process_time()
        found = check_archive(
            file,
            max_bytes=most.max_context_bytes,
            max_unpacked_bytes=most.max_unpacked_bytes,
        )
        used_s = time.process_time() - began_s
    return {"used_s": used_s, "above_mb": above_mb[0], "unpacked_bytes": found.unpacked_bytes}


class _Down:
    """A sink that nobody can reach."""

    def open(self) -> None:
        raise TelemetryError("It is down.", is_transient=True)

    def write(self, batch: Batch) -> None:
        raise TelemetryError("It is down.", is_transient=True)

    def close(self) -> None:
        """There is nothing to let go of."""


def _put(folder: str, n_lines: int) -> dict[str, float]:
    """Put rows while the sink is down; processor microseconds of a row for who puts it, growth of memory."""
    used_s = 0.0
    logging.getLogger("depotlab.telemetry").setLevel(logging.CRITICAL)  # it is meant to be down
    writer = Writer(_Down(), spool_dir=Path(folder) / "spool")
    with peak_above_mb() as above_mb:
        for rows in log_rows(n_lines):
            for at in range(0, len(rows), _LINES_AT_ONCE):
                some = rows[at : at + _LINES_AT_ONCE]
                began_s = time.thread_time()
                writer.put(some)
                used_s += time.thread_time() - began_s
    stats = writer.stats
    writer.close(timeout_s=0.1)  # nothing comes of waiting for this sink
    assert (stats.waiting, stats.lost) == (n_lines, 0)
    return {
        "row_us": 1e6 * used_s / n_lines,
        "above_mb": above_mb[0],
        "size_mb": stats.spooled_bytes / 1e6,
    }


def _ways(folder: str, n_rows: int, n_slow_rows: int) -> dict[str, float]:
    """Return processor microseconds of a row by the ways that there are into DuckDB, in batches of the same size."""
    import duckdb

    store = DuckDB(Path(folder) / "builds.duckdb", keep=None)
    store.open()
    numbers = iter(range(n_rows))

    def ours(rows: Sequence[LogRow]) -> None:
        store.write(Batch(str(next(numbers)), _TABLE.name, rows))

    connection = duckdb.connect(str(Path(folder) / "other.duckdb"))
    columns = ", ".join(
        f"{one.name} {'VARCHAR' if one.kind == 'text' else 'BIGINT'}" for one in _TABLE.columns
    )
    connection.execute(f"CREATE TABLE {_TABLE.name} ({columns})")
    host_path = Path(folder) / "rows"

    def appender(rows: Sequence[LogRow]) -> None:
        appended = connection.appender(_TABLE.name)
        appended.append_rows(list(map(_TABLE.values, rows)))
        appended.flush()

    def executemany(rows: Sequence[LogRow]) -> None:
        places = ", ".join("?" * len(_TABLE.names))
        values = list(map(_TABLE.values, rows))
        connection.executemany(f"INSERT INTO {_TABLE.name} VALUES ({places})", values)

    def as_json(rows: Sequence[LogRow]) -> None:
        with host_path.open("w") as file:
            file.writelines(
                json.dumps(dict(zip(_TABLE.names, _TABLE.values(row), strict=True))) + "\n"
                for row in rows
            )
        connection.execute(f"COPY {_TABLE.name} FROM '{host_path}' (FORMAT json)")

    def as_csv(rows: Sequence[LogRow]) -> None:
        with host_path.open("w", newline="") as file:
            csv.writer(file).writerows(map(_TABLE.values, rows))
        connection.execute(f"COPY {_TABLE.name} FROM '{host_path}' (FORMAT csv)")

    ways: list[tuple[str, Callable[[Sequence[LogRow]], None], int]] = [
        ("a list for each column, with the batch's id", ours, n_rows),
        ("its appender", appender, n_rows),
        ("a file of JSON lines", as_json, n_rows),
        ("a file of CSV", as_csv, n_rows),
        ("`executemany`", executemany, n_slow_rows),
    ]
    found = {}
    for name, write, n in ways:
        used_s = 0.0
        for rows in log_rows(n):
            began_s = time.process_time()
            connection.execute("BEGIN TRANSACTION")
            write(rows)
            connection.execute("COMMIT")
            used_s += time.process_time() - began_s
        found[name] = 1e6 * used_s / n
    kept = connection.execute(f"SELECT count(*) FROM {_TABLE.name}").fetchall()
    assert kept == [(3 * n_rows + n_slow_rows,)], kept
    connection.close()
    store.close()
    return found


if __name__ == "__main__":
    assert _LINES_AT_ONCE < BATCH_ROWS
    serve({"turns": _turns, "log": _log, "archive": _archive, "put": _put, "ways": _ways})
