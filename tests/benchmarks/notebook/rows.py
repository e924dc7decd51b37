"""A figure, what it has to reach, and the table of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Row", "between", "table"]

Unit = Literal["%", "/s", "ratio", "ms", "s", "kB", "steps"]
FIGURES = "figures"
BEGIN, END = f"<!-- {FIGURES}: begin -->", f"<!-- {FIGURES}: end -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        what: In words.
        value: In this unit.
        most: The target, or None for what only tells more about the row above.
        beside: What else is worth saying, such as how many times it was measured.
    """

    what: str
    value: float
    unit: Unit
    most: float | None = None
    beside: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is reached."""
        if self.most is None:
            return ""
        return "reached" if self.value <= self.most else "missed"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    lines = ["| what | measured | at most | |", "|---|---|---|---|"]
    for row in rows:
        most = "" if row.most is None else _said(row.most, row.unit)
        what = f"{row.what} ({row.beside})" if row.beside else row.what
        lines.append(f"| {what} | {_said(row.value, row.unit)} | {most} | {row.verdict} |")
    return "\n".join(lines)


def between(page: str, new: str, *, mark: str = FIGURES) -> str:
    """Return a page with the text between its two marks replaced.

    Args:
        page: With `<!-- MARK: begin -->` and `<!-- MARK: end -->`.
        new: Comes between them.
        mark: A page that more than one benchmark writes to has one for each.

    Raises:
        ValueError: The page does not have both marks, in order.
    """
    first, last = (text.replace(FIGURES, mark) for text in (BEGIN, END))
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page has no place for figures between {first} and {last}")
    return f"{before}{begin}\n{new}\n{end}{after}"


def _said(value: float, unit: Unit) -> str:
    if unit == "ratio":
        return f"{value:.2f}"
    if unit == "/s":
        return f"{value:.1f} a second"
    if unit in ("ms", "steps"):
        return f"{value:.0f} {unit}"
    return f"{value:.1f} {unit}"
