"""Tables: as HTML for pages, light and dark, and as a `pandas.DataFrame` for those who have pandas."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, overload

from depotlab._values.facts import Value
from depotlab._values.texts import safe_html
from depotlab.errors import UsageError

__all__ = ["Rows", "Tabular", "data_frame", "table_html"]

ItemT = TypeVar("ItemT")

_TEXTS = ("name", "what", "path", "largest file", "description", "value")


class Tabular(Value):
    """Something that is a table of rows, all with the same columns.

    Column names say what the values are: `_at` moments in UTC, `_bytes` and `n_` whole numbers, `_s` seconds.
    """

    __slots__ = ()

    _columns: ClassVar[tuple[str, ...]] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each row, for tables of any kind."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each.

        Columns that end in `_at` are moments in UTC, those in `_s` are seconds, and those in `_bytes` or with `n_`
        at their front are whole numbers; what nobody knows is missing (`NaT`, `NaN` or `<NA>`).

        Raises:
            UsageError: pandas is not installed.
        """
        return data_frame(self.rows(), self._columns)


class Rows(Tabular, Sequence[ItemT], Generic[ItemT]):
    """Values in order, a row of the table for each.

    Args:
        items: The values.
    """

    def __init__(self, items: Iterable[ItemT]) -> None:
        self._items = tuple(items)

    @overload
    def __getitem__(self, index: int) -> ItemT: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ItemT]: ...
    def __getitem__(self, index: int | slice) -> ItemT | Sequence[ItemT]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[ItemT]:
        return iter(self._items)


def data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    """Return rows as a `pandas.DataFrame`, with types that the columns' names tell, also when there are no rows.

    Args:
        rows: A value for each column.
        columns: Their names, in order.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise UsageError(
            "to_pandas() needs pandas, which is not installed.",
            hint="run: pip install pandas; or use .rows(), a list of dictionaries",
        ) from None
    data = {}
    for name in columns:
        values = [row[name] for row in rows]
        if name.endswith("_at"):
            data[name] = pandas.Series(pandas.to_datetime(values, utc=True))
        else:
            data[name] = pandas.Series(values, dtype=_kind(name, values))
    return pandas.DataFrame(data, columns=list(columns))


def _kind(name: str, values: Sequence[object]) -> str | None:
    """The type of a column; None leaves it to pandas."""
    if name.endswith("_bytes") or name.startswith("n_"):
        return "Int64" if None in values else "int64"
    return "float64" if name.endswith("_s") else None if values else "object"


def table_html(
    headline: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    notes: Iterable[str] = (),
    raw: frozenset[str] = frozenset(),
    right: frozenset[str] = frozenset(),
) -> str:
    """Return a table with a line above and lines below it.

    Args:
        headline: Plain text.
        heads: Names of the columns; if all are empty there is no head.
        rows: Cells as plain text.
        notes: Lines under the table.
        raw: Columns whose cells are HTML already.
        right: Columns that are aligned at the right, such as sizes.
    """
    # Only texts may be broken: a size in two lines reads as two.
    side = [
        f"text-align:{'right' if head in right else 'left'}"
        + ("" if head in _TEXTS else ";white-space:nowrap")
        for head in heads
    ]
    top = "".join(
        f'<th style="{style}">{safe_html(head)}</th>'
        for head, style in zip(heads, side, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style}">{cell if head in raw else safe_html(cell)}</td>'
            for head, style, cell in zip(heads, side, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>" if body else ""
    above = f"<b>{safe_html(headline)}</b>" if headline else ""
    under = "".join(f"<div>{safe_html(line)}</div>" for line in notes)
    return f"<div>{above}{table}{under}</div>"
