"""What builds did: rows of builds, steps and logs, where they are kept, and tables and plots of them.

    store = telemetry.DuckDB("builds.duckdb")          a file that needs no server
    store = telemetry.ClickHouse("https://ch.example.com:8443", user="builds", password=...)
    store = telemetry.Parquet("builds")                a folder of files, to read
    telemetry.export_parquet(store, "builds")          and to write them
    with telemetry.recording("shop") as t: ...         one's own builds, into a file of this computer
    t = telemetry.open(); t.slowest_steps()            what is kept, as tables, plots and SQL

A `Writer` brings rows to a sink, tries again when it is down, and keeps what waits; `depotlab.service` has one of its
own, and so has a recording. Nothing heavy is imported before it is used.

May import `progress`, `_local`, `_values` and `errors`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depotlab.telemetry._clickhouse import ClickHouse
    from depotlab.telemetry._duckdb import DuckDB
    from depotlab.telemetry._ended import EndedBuild as EndedBuild  # for `_verbs`
    from depotlab.telemetry._ended import is_anybody_listening as is_anybody_listening
    from depotlab.telemetry._ended import tell_ended as tell_ended
    from depotlab.telemetry._otel import OpenTelemetry
    from depotlab.telemetry._parquet import Parquet, export_parquet
    from depotlab.telemetry._reader import Telemetry, open  # noqa: A004 - read as `telemetry.open`
    from depotlab.telemetry._recording import recording
    from depotlab.telemetry._rows import BuildRow, LogRow, Row, StepRow
    from depotlab.telemetry._several import Several
    from depotlab.telemetry._sink import Answer, Batch, Sink, Source
    from depotlab.telemetry._writer import Writer, WriterStats

__all__ = [
    "Answer",
    "Batch",
    "BuildRow",
    "ClickHouse",
    "DuckDB",
    "LogRow",
    "OpenTelemetry",
    "Parquet",
    "Row",
    "Several",
    "Sink",
    "Source",
    "StepRow",
    "Telemetry",
    "Writer",
    "WriterStats",
    "export_parquet",
    "open",
    "recording",
]

_HOMES = {
    "Answer": "_sink",
    "Batch": "_sink",
    "BuildRow": "_rows",
    "ClickHouse": "_clickhouse",
    "DuckDB": "_duckdb",
    "EndedBuild": "_ended",
    "LogRow": "_rows",
    "OpenTelemetry": "_otel",
    "Parquet": "_parquet",
    "Row": "_rows",
    "Several": "_several",
    "Sink": "_sink",
    "Source": "_sink",
    "StepRow": "_rows",
    "Telemetry": "_reader",
    "Writer": "_writer",
    "WriterStats": "_writer",
    "export_parquet": "_parquet",
    "is_anybody_listening": "_ended",
    "open": "_reader",
    "recording": "_recording",
    "tell_ended": "_ended",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
