"""Where rows go. A sink writes one batch at a time; `Writer` gathers, tries again and keeps what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from depotlab.telemetry._rows import BuildRow, LogRow, Row, StepRow

__all__ = ["Answer", "Batch", "Sink", "Source"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one table that are written together.

    Attributes:
        batch_id: Unique. A sink that gets a batch twice keeps it once: a write may have happened although its answer
            was lost.
        table: Of all rows, such as `build_steps_v1`.
        rows: At least one.
    """

    batch_id: str
    table: str
    rows: Sequence[BuildRow] | Sequence[StepRow] | Sequence[LogRow] | Sequence[Row]


@runtime_checkable
class Sink(Protocol):
    """Something that keeps rows. Called from one thread of the writer, one call at a time; may block."""

    def open(self) -> None:
        """Connect and make the tables that are missing. Called again after a failed try; idempotent.

        Raises:
            TelemetryError: It cannot be reached now (tried again), or the settings are wrong.
        """

    def write(self, batch: Batch) -> None:
        """Keep all rows of a batch or none; returns when they are kept.

        Raises:
            TelemetryError: They are not kept; the writer tries again with the same batch.
        """

    def close(self) -> None:
        """Let go of everything. Idempotent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query found.

    Attributes:
        columns: Names, in order.
        rows: A tuple for each, in the order of the columns; values are plain Python.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@runtime_checkable
class Source(Protocol):
    """Something that answers SQL about rows: the embedded store, ClickHouse, a folder of Parquet files."""

    dialect: str
    """`duckdb` or `clickhouse`: how functions that differ between the two are to be written."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Run one statement that reads. Parameters stand as `?` in it, in order.

        Raises:
            TelemetryError: The statement is wrong, or the store cannot be reached.
        """
