"""The list of past builds that this computer keeps, as a table."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from depotlab._values import Tabular, Value, bytes_text, table_html, time_text

__all__ = ["KeptBuild", "KeptBuilds"]

_SHOWN_ROWS = 50


@dataclass(frozen=True, slots=True, repr=False)
class KeptBuild(Value):
    """One past build that is kept.

    Attributes:
        name: What it is compared by: builds of one name belong together.
        builder: Which daemon or project built it.
        ref: Its name there; `bk.inspect(ref)` asks for it.
        kept_at: When it was kept, just after its end.
        size_bytes: What it takes, without the listings of its contexts, which builds share.
    """

    name: str
    builder: str
    ref: str
    kept_at: datetime
    size_bytes: int


class KeptBuilds(Tabular, tuple[KeptBuild, ...]):
    """Past builds that are kept, the newest first. A notebook shows them as a table."""

    __slots__ = ()

    _columns = tuple(field.name for field in fields(KeptBuild))

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each build, for tables of any kind."""
        return [{name: getattr(one, name) for name in self._columns} for one in self]

    def _headline(self) -> str:
        return f"{len(self)} past {'build' if len(self) == 1 else 'builds'}"

    def __repr__(self) -> str:
        return f"<{self._headline()}>"

    def _repr_html_(self) -> str:
        rest = len(self) - _SHOWN_ROWS
        return table_html(
            self._headline(),
            ("kept", "name", "builder", "ref", "size"),
            (
                (time_text(b.kept_at), b.name, b.builder, b.ref, bytes_text(b.size_bytes))
                for b in self[:_SHOWN_ROWS]
            ),
            notes=[f"and {rest} older ones"] if rest > 0 else (),
            right=frozenset({"size"}),
        )
