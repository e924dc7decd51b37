"""Sizes and moments as people say them, and texts that fit."""

from __future__ import annotations

from datetime import datetime
from html import escape

__all__ = ["bytes_text", "cut", "is_unicode", "safe_html", "time_text"]


def bytes_text(n_bytes: int) -> str:
    """Return a size as people say it: `1.2 MB`, in powers of 1000."""
    value, unit = float(abs(n_bytes)), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    sign = "-" if n_bytes < 0 else ""
    return (
        f"{sign}{value:.0f} {unit}"
        if unit == "B" or value >= 99.95
        else f"{sign}{value:.1f} {unit}"
    )


def time_text(at: datetime) -> str:
    """Return a moment to the minute, in UTC."""
    return f"{at:%Y-%m-%d %H:%M}"


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8, which surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def safe_html(text: str) -> str:
    r"""Return text escaped for the inside of an element, such that no front end takes it for a formula.

    JupyterLab and nbconvert typeset what stands between dollar signs, `\(` or `\[` in HTML
    output, and shell commands are full of those. Formulas cannot span elements, so a delimiter
    in an element of its own is left alone; `pre` and `code` are never typeset. Not for attributes.
    """
    return escape(text).replace("\\", "<span>\\</span>").replace("$", "<span>$</span>")


def cut(text: str, limit: int) -> str:
    """Return text on one line, shortened in the middle: both ends of a path say something."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"
