"""What lists of the API are to a user: sequences of values that a notebook shows as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from depotlab._depot.tables import Table, table
from depotlab._values import Tabular, data_frame

__all__ = ["Listed", "Listing", "counted"]

ItemT = TypeVar("ItemT")
_SHOWN_ROWS = 30


class Listed(Tabular, Generic[ItemT]):
    """How a list shows itself. For a class that is a sequence."""

    def _items(self) -> tuple[ItemT, ...]:
        """What is here now."""
        raise NotImplementedError

    def _headline(self) -> str:
        raise NotImplementedError

    def table(self, *columns: str) -> Table:
        """Return the values as a table of texts, a row for each; with all columns when none is named.

        Raises:
            UsageError: There is no such column.
        """
        return table(self._items(), columns=columns)

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each value, for tables of any kind; secrets are not in it."""
        items = self._items()
        columns = table(items).columns
        return [{name: getattr(item, name) for name in columns} for item in items]

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each value; secrets are no column of it.

        Raises:
            UsageError: pandas is not installed.
        """
        return data_frame(self.rows(), table(self._items()).columns)

    def __repr__(self) -> str:
        return f"<{self._headline()}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return self.table().without_empty().html(headline=self._headline(), most_rows=_SHOWN_ROWS)


class Listing(Listed[ItemT], tuple[ItemT, ...]):
    """A whole list, as a tuple. A notebook shows it as a table.

    Args:
        items: The values, of one kind.
        noun: What they are, in the plural.

    Attributes:
        noun: As given.
    """

    noun: str

    def __new__(cls, items: Iterable[ItemT] = (), noun: str = "items") -> Listing[ItemT]:
        made = super().__new__(cls, items)
        made.noun = noun
        return made

    def __getnewargs__(self) -> tuple[tuple[ItemT, ...], str]:
        return tuple(self), self.noun

    def _items(self) -> tuple[ItemT, ...]:
        return tuple(self)

    def _headline(self) -> str:
        return counted(len(self), self.noun)


def counted(number: int, noun: str) -> str:
    """Return a number and what is counted, such as `1 project`."""
    if number == 1:
        noun = noun.removesuffix("s") if not noun.endswith("policies") else noun[:-3] + "y"
    return f"{number} {noun}"
