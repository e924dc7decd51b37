"""Values as plain tables of texts, for who shows them. Secrets are no column of any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from depotlab._depot.values import CachePolicy
from depotlab._values import Value, safe_html
from depotlab.errors import UsageError

__all__ = ["Table", "table"]


@dataclass(frozen=True, slots=True)
class Table(Value):
    """Rows of texts.

    Attributes:
        columns: Their names.
        rows: Each as long as `columns`.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        return f"<table of {len(self.rows)} rows: {', '.join(self.columns)}>"

    def without_empty(self) -> Table:
        """Return it without the columns that are empty in every row."""
        at = [n for n in range(len(self.columns)) if any(row[n] for row in self.rows)]
        columns = tuple(self.columns[n] for n in at)
        return Table(columns, tuple(tuple(row[n] for n in at) for row in self.rows))

    def html(self, *, headline: str = "", most_rows: int | None = None) -> str:
        """Return it as HTML, for light and dark pages.

        Args:
            headline: Above it.
            most_rows: More are only counted; None shows all.
        """
        heads = "".join(
            f'<th style="text-align:left">{safe_html(name.replace("_", " "))}</th>'
            for name in self.columns
        )
        cells = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left">{safe_html(c)}</td>' for c in row)
            + "</tr>"
            for row in self.rows[:most_rows]
        )
        rest = len(self.rows) - len(self.rows[:most_rows])
        above = f"<b>{safe_html(headline)}</b>" if headline else ""
        under = f"<div>and {rest} more</div>" if rest else ""
        body = f"<table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table>"
        return f"<div>{above}{body if self.rows else ''}{under}</div>"

    def _repr_html_(self) -> str:
        return self.html()

    def __str__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        )
        return "\n".join(line.rstrip() for line in padded)


def table(items: Iterable[Any], *, columns: tuple[str, ...] = ()) -> Table:
    """Return values of one of our kinds as a table: a column for each attribute, a row for each value.

    What holds several values, or a secret, is left out. Moments are in UTC.

    Args:
        items: Such as what `await api.projects.list()` gives.
        columns: Only these attributes, in this order; empty is all.

    Raises:
        UsageError: They are no values of ours, or have no such attribute.

    Example:
        >>> table([CachePolicy(50, 14)]).rows
        (('50', '14'),)
    """
    rows = list(items)
    if not all(is_dataclass(row) and type(row) is type(rows[0]) for row in rows):
        raise UsageError(
            "table(items) takes values of one kind, such as projects.",
            hint="for example table(await api.projects.list())",
        )
    shown = [f.name for f in fields(rows[0]) if f.repr] if rows else list(columns)
    if unknown := [name for name in columns if name not in shown]:
        raise UsageError(
            f"columns={columns!r}: there is no {unknown[0]!r}.", hint=f"use {', '.join(shown)}"
        )
    names = columns or tuple(
        name for name in shown if not any(isinstance(getattr(r, name), tuple) for r in rows)
    )
    return Table(names, tuple(tuple(_cell(getattr(r, name)) for name in names) for r in rows))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, CachePolicy):
        return f"{value.keep_gb} GB, {value.keep_days} days"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return " ".join(str(value).split())
