"""Bars, beside the sizes, times and tables that `_values` has for all rooms."""

from __future__ import annotations

from depotlab._values import bytes_text, cut, table_html, time_text

__all__ = ["bar", "bytes_text", "cut", "table_html", "time_text"]


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
