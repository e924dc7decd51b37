"""Sizes, times and bars as text and HTML, the same in all tables of files."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime

__all__ = ["bar", "bytes_text", "cut", "table_html", "time_text"]

_TEXTS = ("name", "what", "path", "largest file")


def bytes_text(n_bytes: int) -> str:
    """Return a size as people say it: `1.2 MB`, in powers of 1000."""
    value, unit = float(abs(n_bytes)), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007 - the last unit is what is wanted
        if value < 999.5:
            break
        value /= 1000
    sign = "-" if n_bytes < 0 else ""
    return (
        f"{sign}{value:.0f} {unit}"
        if unit == "B" or value >= 99.95
        else f"{sign}{value:.1f} {unit}"
    )


def time_text(at: datetime) -> str:
    """Return a moment to the minute, in UTC."""
    return f"{at:%Y-%m-%d %H:%M}"


def cut(text: str, limit: int) -> str:
    """Return text on one line, shortened in the middle: both ends of a path say something."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def bar(part: float, *, width_px: int = 120, color: str = "#4c8bf5") -> str:
    """Return a bar as HTML that is readable on light and on dark.

    Args:
        part: 0 to 1 of the width.
        width_px: Of the whole.
        color: Of the bar.
    """
    filled = round(max(0.0, min(1.0, part)) * width_px)
    if part > 0:
        filled = max(filled, 1)  # what is there can be seen
    return (
        f'<span style="display:inline-block;width:{width_px}px;height:9px;background:#8883;'
        f'border-radius:2px"><span style="display:block;width:{filled}px;height:9px;'
        f'background:{color};border-radius:2px"></span></span>'
    )


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
        heads: Names of the columns.
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
        f'<th style="{style}">{html.escape(head)}</th>'
        for head, style in zip(heads, side, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style}">{cell if head in raw else html.escape(cell)}</td>'
            for head, style, cell in zip(heads, side, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    under = "".join(f"<div>{html.escape(line)}</div>" for line in notes)
    return (
        f"<div><b>{html.escape(headline)}</b>"
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{under}</div>"
    )
