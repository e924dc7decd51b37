"""Tables of a few columns, as text for terminals and as HTML for notebooks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from depotlab._values import safe_html

__all__ = ["as_html", "as_text", "ranges", "shortened"]

_CELL = "text-align:left;padding:1px 12px 1px 0;vertical-align:top"


def as_text(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    widths: Sequence[int],
    right: Sequence[int] = (),
) -> list[str]:
    """Return the lines of a table; long cells go on below themselves.

    Args:
        head: The words above the columns; a table of empty words has no head.
        rows: One text per column.
        widths: The most characters per column.
        right: Columns of numbers, flush right.
    """
    table = [list(head)] if any(head) else []
    table += [list(row) for row in rows]
    fits = [
        min(limit, max((len(row[number]) for row in table), default=0))
        for number, limit in enumerate(widths)
    ]
    lines: list[str] = []
    for row in table:
        cells = [_wrapped(text, fits[number]) for number, text in enumerate(row)]
        for level in range(max(map(len, cells))):
            parts = [
                (cell[level] if level < len(cell) else "").rjust(width)
                if number in right
                else (cell[level] if level < len(cell) else "").ljust(width)
                for number, (cell, width) in enumerate(zip(cells, fits, strict=True))
            ]
            lines.append("  ".join(parts).rstrip())
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    return textwrap.wrap(
        text, max(width, 1), break_on_hyphens=False, subsequent_indent="  " if width > 24 else ""
    )


def as_html(head: Sequence[str], rows: Iterable[Sequence[str]], *, code: Sequence[int] = ()) -> str:
    """Return an HTML table that reads well with all styles removed.

    Args:
        head: The words above the columns.
        rows: One text per column; everything is escaped.
        code: Columns in a fixed-width font.
    """
    parts = ['<table style="border-collapse:collapse;text-align:left">']
    parts.append(
        "<tr>" + "".join(f'<th style="{_CELL}">{safe_html(word)}</th>' for word in head) + "</tr>"
    )
    for row in rows:
        cells = "".join(
            f'<td style="{_CELL}{";font-family:monospace" if number in code else ""}">{safe_html(text)}</td>'
            for number, text in enumerate(row)
        )
        parts.append(f"<tr>{cells}</tr>")
    parts.append("</table>")
    return "".join(parts)


def shortened(text: str, limit: int) -> str:
    """Return the text on one line, cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def ranges(numbers: Iterable[int]) -> str:
    """Return ascending numbers with runs drawn together, as `2, 4-7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
