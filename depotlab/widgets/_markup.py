"""The small pieces that HTML of views is made of: colours, escaped words, boxes, cells. Pure.

Everything that came from a build is escaped here. Inline styles only, and colours in mid-tones and
translucent greys, so that the same file reads on light and dark pages.
"""

from __future__ import annotations

from depotlab._values import safe_html as safe
from depotlab.progress import Phase, StepState
from depotlab.widgets._text import one_line

__all__ = [
    "AMBER",
    "BLUE",
    "CODE",
    "GREY",
    "PHASE_COLORS",
    "RED",
    "STATE_COLORS",
    "UI",
    "boxed",
    "note",
    "page",
    "safe",
    "words",
]

BLUE, GREEN, RED, TEAL, GREY, AMBER = (
    "#1c7ed6",
    "#2f9e44",
    "#e03131",
    "#0c8599",
    "#868e96",
    "#e67700",
)
STATE_COLORS = {
    StepState.WAITING: GREY,
    StepState.RUNNING: BLUE,
    StepState.CACHED: TEAL,
    StepState.RAN: GREEN,
    StepState.NOT_NEEDED: GREY,
    StepState.NOT_REACHED: GREY,
    StepState.CANCELED: AMBER,
    StepState.FAILED: RED,
}
PHASE_COLORS = {
    Phase.RUNNING: BLUE,
    Phase.SUCCEEDED: GREEN,
    Phase.FAILED: RED,
    Phase.CANCELED: AMBER,
}
UI = "font:13px/1.55 var(--jp-ui-font-family,system-ui,sans-serif)"
CODE = "font:12px/1.5 var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace)"


def page(*parts: str) -> str:
    """Return the parts as one block, as wide as a line of text can be read."""
    return f'<div style="{UI};max-width:960px">{"".join(parts)}</div>'


def boxed(color: str, html: str) -> str:
    """Return a block set apart by a bar of this colour at its left."""
    return (
        f'<div style="margin:6px 0;padding:6px 10px;border-left:3px solid {color};'
        f'background:#8881;font-size:12px">{html}</div>'
    )


def note(text: str) -> str:
    """Return a line of ours in grey."""
    return f'<div style="color:{GREY}">{safe(text)}</div>'


def words(text: str, limit: int) -> str:
    """Return `safe` of the text on one line of at most so many characters."""
    return safe(one_line(text, limit))
