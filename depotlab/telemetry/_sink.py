"""Where rows go. A sink writes one batch at a time; `Writer` gathers, tries again and keeps what waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from depotlab._values import Value, cut, table_html
from depotlab.telemetry._rows import BuildRow, LogRow, Row, StepRow

__all__ = ["Answer", "Batch", "CopiesParquet", "Sink", "Source"]

_SHOWN_ROWS = 30
_SHOWN_LETTERS = 200


@dataclass(frozen=True, slots=True, repr=False)
class Batch(Value):
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

    def __repr__(self) -> str:
        return f"<Batch {self.batch_id}: {len(self.rows)} rows of {self.table}>"

    def _facts(self) -> Iterable[tuple[str, object]]:
        return [("batch_id", self.batch_id), ("table", self.table), ("rows", len(self.rows))]


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


@dataclass(frozen=True, slots=True, repr=False)
class Answer(Value):
    """What a query found.

    Attributes:
        columns: Names, in order.
        rows: A tuple for each, in the order of the columns; values are plain Python.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def _repr_html_(self) -> str:
        shown = [list(map(_cell, row)) for row in self.rows[:_SHOWN_ROWS]]
        rest = len(self.rows) - len(shown)
        more = [f"and {rest} more"] if rest else []
        return table_html(f"{len(self.rows)} rows", self.columns, shown, notes=more)


def _cell(value: object) -> str:
    return cut(str(value), _SHOWN_LETTERS)


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


@runtime_checkable
class CopiesParquet(Protocol):
    """A source that can write what a query finds to a Parquet file of its own; all of ours can."""

    def copy_parquet(self, sql: str, options: str, host_path: Path) -> None:
        """Write it.

        Raises:
            TelemetryError: It cannot be asked or written.
        """
