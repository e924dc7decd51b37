"""The tables as every sink has them: columns, their kinds, what they are ordered by and when a row is old.

Columns are the fields of `_rows.py` in their order, under the same names, in every store; so a query written for one
runs on the others. Instants stay whole milliseconds since 1970, as in the tables of the service that this one follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from operator import attrgetter
from typing import Any, Literal

from depotlab.telemetry._rows import BuildRow, LogRow, Row, StepRow

__all__ = ["KEPT", "TABLES", "Column", "Kind", "Table", "table_of"]

Kind = Literal["text", "number", "flag", "numbers"]

KEPT = timedelta(days=90)
"""How long rows are kept: the three months of the reference's tables."""

_KINDS: Mapping[str, Kind] = {
    "str": "text",
    "int": "number",
    "bool": "flag",
    "dict[str, int]": "numbers",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        kind: `text`, `number` (64 bits), `flag`, or `numbers` by name.
        is_instant: It is milliseconds since 1970, which grow from row to row and so pack well.
        default: Of a number in rows from before there was the column.
    """

    name: str
    kind: Kind
    is_instant: bool
    default: int


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        name: With its version, such as `build_steps_v1`.
        row_type: What its rows are here.
        columns: In order.
        order: Columns that rows are sorted by where a store sorts them.
        ages_by: Instants of which the latest says how old a row is; a row where all are 0 does not age.
    """

    name: str
    row_type: type[BuildRow | StepRow | LogRow]
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    ages_by: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def values(self, row: Row) -> tuple[Any, ...]:
        """Return what a row has in each column."""
        found: tuple[Any, ...] = _GETTERS[self.name](row)
        return found

    def row(self, names: Sequence[str], values: Sequence[Any]) -> Row:
        """Make a row of values by name; a column that is not among them has its default, an unknown one is left out.

        Raises:
            TypeError: A column that has no default is missing.
        """
        known = self.names
        return self.row_type(
            **{name: value for name, value in zip(names, values, strict=True) if name in known}
        )


_INSTANTS = frozenset({"time", "created_at", "started_at", "completed_at"})
_BY_DEPLOYMENT = ("workspace_id", "project_id", "deployment_id")


def _table(
    row_type: type[BuildRow | StepRow | LogRow],
    *,
    order: tuple[str, ...],
    ages_by: tuple[str, ...],
) -> Table:
    columns = tuple(
        Column(
            field.name,
            _KINDS[str(field.type)],
            is_instant=field.name in _INSTANTS,
            default=field.default if type(field.default) is int else 0,
        )
        for field in fields(row_type)
    )
    return Table(row_type.table, row_type, columns, order, ages_by)


TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        _table(BuildRow, order=_BY_DEPLOYMENT, ages_by=("created_at", "completed_at")),
        _table(StepRow, order=_BY_DEPLOYMENT, ages_by=("started_at", "completed_at")),
        _table(LogRow, order=(*_BY_DEPLOYMENT, "step_id"), ages_by=("time",)),
    )
}
"""By name."""

_GETTERS = {table.name: attrgetter(*table.names) for table in TABLES.values()}


def table_of(row: Row) -> Table:
    """Return the table that a row belongs to."""
    return TABLES[row.table]
