"""What a step is, beside its log: its op, the user's line, its files. HTML of the live view."""

from __future__ import annotations

from depotlab.errors import SourceLocation
from depotlab.progress import Step, StepState
from depotlab.widgets._details import Details
from depotlab.widgets._markup import BLUE, CODE, GREY, RED, STATE_COLORS, boxed, safe, words
from depotlab.widgets._output import place_html
from depotlab.widgets._picking import FILES_OF, pick_handlers

__all__ = ["panel_html"]

_MAX_LINES = 14
_MAX_LINE = 400


def panel_html(step: Step, details: Details | None, *, files: str | None = None) -> str:
    """Return the panel of a step; empty when nothing is known that its row does not say.

    Args:
        step: The one that was picked.
        details: What knows more of it.
        files: HTML of its files, when they were asked for.
    """
    place = details.place(step) if details is not None else None
    parts = [f"<div><b>{words(step.name, 300)}</b></div>", _op(step, details, place)]
    if place is not None:
        parts.append(place_html(place, RED if step.state is StepState.FAILED else BLUE))
    parts.append(_files(step, details, files))
    if not any(parts[1:]):
        return ""
    return boxed(STATE_COLORS[step.state], "".join(parts))


def _op(step: Step, details: Details | None, place: SourceLocation | None) -> str:
    """Return the op as it was sent, one field a line; its place is told on its own."""
    node = details.node(step) if details is not None else None
    if node is None:
        return ""
    told = {step.name, f"{place.filename}, line {place.line}" if place is not None else ""}
    lines = [line[:_MAX_LINE] for line in node.title.splitlines() if line not in told]
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = [f"… {len(lines) - _MAX_LINES} more"]
    return _pre("\n".join(lines))


def _files(step: Step, details: Details | None, files: str | None) -> str:
    """Return the files when they are there, else how to see them."""
    if files is not None:
        return (
            f'<div style="margin-top:4px;color:{GREY}">Files in / after this step</div>'
            f'<div style="{CODE};max-height:200px;overflow:auto">{files}</div>'
        )
    code = details.code(step) if details is not None else ""
    if details is None or not code:
        return ""
    typed = f'<span style="{CODE}">{safe(code[:_MAX_LINE])}</span>'
    if not details.has_files(step):
        return f'<div style="margin-top:4px;color:{GREY}">Its files: {typed}</div>'
    button = (
        f'<span{pick_handlers()}><button type="button" class="jupyter-button" '
        f'data-n="{step.number}" data-w="{FILES_OF}" style="cursor:pointer">Files</button></span>'
    )
    return f'<div style="margin-top:4px;color:{GREY}">{button} or {typed}</div>'


def _pre(text: str) -> str:
    return (
        f'<pre style="{CODE};margin:4px 0 0;padding:0;background:none;white-space:pre-wrap;'
        f'overflow-wrap:anywhere">{safe(text)}</pre>'
    )
