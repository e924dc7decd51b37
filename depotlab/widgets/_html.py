"""Snapshots as HTML: the live frame of a notebook, and what stays in the saved file. Pure.

Made of div, b, table, tr, td, pre and span with inline styles only, since that is what the
sanitisers of notebook front ends leave in place. With the styles removed it still reads: symbols
and words carry the meaning, colours repeat it. Colours are mid-tones and translucent greys, so the
same file reads on light and dark pages. Everything that came from a build is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from depotlab.progress import LogLine, Phase, Snapshot, Step, StepState
from depotlab.widgets._ansi import colored_html
from depotlab.widgets._frame import to_frame
from depotlab.widgets._text import (
    PHASE_SYMBOLS,
    SYMBOLS,
    facts_text,
    headline,
    one_line,
    seconds_text,
    transfer_text,
    where_text,
)

__all__ = ["LABEL_CH", "final_html", "frame_html", "log_html"]

_BLUE, _GREEN, _RED, _TEAL, _GREY, _AMBER = (
    "#1c7ed6",
    "#2f9e44",
    "#e03131",
    "#0c8599",
    "#868e96",
    "#e67700",
)
_COLORS = {
    StepState.WAITING: _GREY,
    StepState.RUNNING: _BLUE,
    StepState.CACHED: _TEAL,
    StepState.RAN: _GREEN,
    StepState.NOT_NEEDED: _GREY,
    StepState.NOT_REACHED: _GREY,
    StepState.CANCELED: _AMBER,
    StepState.FAILED: _RED,
}
_PHASE_COLORS = {
    Phase.RUNNING: _BLUE,
    Phase.SUCCEEDED: _GREEN,
    Phase.FAILED: _RED,
    Phase.CANCELED: _AMBER,
}
# The order in which states fill the bar, from its left end.
_BAR = (StepState.CACHED, StepState.RAN, StepState.FAILED, StepState.CANCELED, StepState.RUNNING)

_UI = "font:13px/1.55 var(--jp-ui-font-family,system-ui,sans-serif)"
_CODE = "font:12px/1.5 var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace)"
_MAX_NAME = 160
_MAX_LINE = 400
LABEL_CH = 15
_TAG = re.compile(r"\[[^\]]{1,60}\] ")


def frame_html(snapshot: Snapshot, *, max_rows: int = 15) -> str:
    """Return the whole live picture but for the log: head, bar, errors, rows, warnings."""
    return _page(
        _head(snapshot, room_px=90),
        _bar(snapshot),
        *(_failure(step, n_lines=10) for step in snapshot.failed[:3]),
        _rows(snapshot, max_rows=max_rows),
        _warnings(snapshot),
    )


def final_html(
    snapshot: Snapshot, *, max_rows: int = 12, max_log_lines: int = 20, headline: str = ""
) -> str:
    """Return what stays in a saved notebook: a few kB, whatever the size of the build.

    `headline` replaces the usual first line; it is escaped like everything else.
    """
    failed = snapshot.failed
    blocks = [_failure(step, n_lines=max_log_lines) for step in failed[:3]]
    if len(failed) > 3:
        blocks.append(_note(f"{len(failed) - 3} more steps failed."))
    if snapshot.error and not failed:
        blocks.append(
            _box(_PHASE_COLORS[snapshot.phase], f"<div>{_words(snapshot.error, 1000)}</div>")
        )
    return _page(
        _head(snapshot, title=headline),
        _bar(snapshot),
        *blocks,
        _rows(snapshot, max_rows=max_rows),
        _warnings(snapshot),
    )


def log_html(lines: Sequence[tuple[str, LogLine]]) -> str:
    """Return log lines, each after the label of its step where that changes."""
    cells = []
    last = ""
    for label, line in lines:
        # Repeating the label on every line would drown the output.
        style = f' style="color:{_GREY}"' if label != last else ""
        shown = _safe(label) if label != last else ""
        last = label
        cells.append(f"<span{style}>{shown}</span><div>{_log_text(line) or '&nbsp;'}</div>")
    # Styles stand on the whole and not on each line: this is sent several times a second.
    return (
        f'<div style="{_CODE};display:grid;grid-template-columns:{LABEL_CH}ch minmax(0,1fr);'
        'white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere">'
        f"{''.join(cells)}</div>"
    )


def _page(*parts: str) -> str:
    return f'<div style="{_UI};max-width:960px">{"".join(parts)}</div>'


def _head(snapshot: Snapshot, *, title: str = "", room_px: int = 0) -> str:
    """Return the two lines above the bar, with room kept at their right for a button."""
    title = one_line(title, 200) or headline(snapshot)
    color = _PHASE_COLORS[snapshot.phase]
    room = f"padding-right:{room_px}px" if room_px else ""
    return (
        f'<div style="{room}"><span style="color:{color}">{PHASE_SYMBOLS[snapshot.phase]}</span> '
        f"<b>{_safe(title)}</b>"
        f'<span style="color:{_GREY}">{_safe(where_text(snapshot))}</span></div>'
        f'<div style="color:{_GREY};font-size:12px;{room}">{_safe(facts_text(snapshot))}</div>'
    )


def _bar(snapshot: Snapshot) -> str:
    counts = snapshot.counts
    total = counts.total
    if snapshot.phase is not Phase.RUNNING:
        total -= counts.not_needed  # nothing is missing where nothing was needed
    pieces = []
    for state in _BAR:
        n = counts.of(state)
        if n and total:
            faded = ";opacity:.45" if state is StepState.RUNNING else ""
            pieces.append(
                f'<div style="width:{100 * n / total:.2f}%;background:{_COLORS[state]}{faded}"></div>'
            )
    return (
        f'<div role="progressbar" aria-label="steps that are over" aria-valuemin="0" '
        f'aria-valuemax="{total}" aria-valuenow="{min(total, counts.over)}" '
        f'style="display:flex;height:5px;margin:5px 0 7px;border-radius:3px;overflow:hidden;'
        f'background:#8883">{"".join(pieces)}</div>'
    )


def _rows(snapshot: Snapshot, *, max_rows: int) -> str:
    frame = to_frame(snapshot, max_rows=max_rows)
    if not frame.rows and not frame.more:
        return ""
    rows = "".join(_row(step, snapshot.at_ns) for step in frame.rows)
    if frame.more:
        rows += (
            f'<tr style="background:none">{_cell("…", _GREY, "width:1.2em")}'
            f"{_cell(_safe(frame.more), _GREY, 'font-size:12px')}{_cell('')}</tr>"
        )
    return (
        '<table style="width:100%;margin:0;border-collapse:collapse;border:none;'
        f'table-layout:auto;font-size:12px">{rows}</table>'
    )


def _row(step: Step, at_ns: int) -> str:
    color = _COLORS[step.state]
    is_quiet = step.state in (StepState.WAITING, StepState.NOT_NEEDED, StepState.NOT_REACHED)
    seconds = seconds_text(step.elapsed_s(at_ns), is_open=step.state is StepState.RUNNING)
    if step.state in (StepState.RAN, StepState.RUNNING):
        end = seconds
    elif step.state in (StepState.FAILED, StepState.CANCELED) and step.intervals:
        end = f"{step.state} · {seconds}"
    else:
        end = str(step.state)
    name = _name(step.name)
    if step.state is StepState.RUNNING:
        # Inside the name's cell, so that other rows keep their room and nothing jumps.
        name = (
            '<div style="display:flex"><div style="flex:1;min-width:0;overflow:hidden;'
            f'text-overflow:ellipsis">{name}</div>{_moved(*transfer_text(step))}</div>'
        )
    return (
        '<tr style="background:none">'
        + _cell(SYMBOLS[step.state], color, "width:1.2em")
        + _cell(
            name,
            _GREY if is_quiet else "",
            f"{_CODE};max-width:0;width:100%;overflow:hidden;text-overflow:ellipsis",
            title=one_line(step.name, 400),
        )
        + _cell(
            _safe(end),
            color if step.state in (StepState.FAILED, StepState.CANCELED) else _GREY,
            "padding-right:0;text-align:right;font-variant-numeric:tabular-nums;min-width:5em",
        )
        + "</tr>"
    )


def _cell(html: str, color: str = "", style: str = "", *, title: str = "") -> str:
    hover = f' title="{escape(title)}"' if title else ""
    paint = f"color:{color};" if color else ""
    return (
        f'<td{hover} style="{paint}padding:1px 8px 1px 0;text-align:left;white-space:nowrap;'
        f'border:none;{style}">{html}</td>'
    )


def _name(name: str) -> str:
    """Return a step's name with its `[stage 2/5]` set back."""
    text = one_line(name, _MAX_NAME)
    tag = _TAG.match(text)
    if tag is None:
        return _safe(text)
    return f'<span style="color:{_GREY}">{_safe(tag[0])}</span>{_safe(text[tag.end() :])}'


def _moved(text: str, fraction: float | None) -> str:
    if not text:
        return ""
    bar = ""
    if fraction is not None:
        bar = (
            '<span style="display:inline-block;vertical-align:middle;width:72px;height:4px;'
            'margin:0 8px;border-radius:2px;background:#8883;overflow:hidden">'
            f'<span style="display:block;height:4px;width:{100 * fraction:.0f}%;'
            f'background:{_BLUE}"></span></span>'
        )
    return f'<div style="flex:none;padding-left:12px;color:{_GREY}">{bar}{_safe(text)}</div>'


def _failure(step: Step, *, n_lines: int) -> str:
    lines = step.log.lines(limit=n_lines)
    left_out = step.n_log_lines - len(lines)
    log = ""
    if lines:
        note = f"… {left_out} earlier lines\n" if left_out > 0 else ""
        text = "\n".join(_log_text(line) for line in lines)
        log = (
            f'<pre style="{_CODE};margin:4px 0 0;padding:0;background:none;white-space:pre-wrap;'
            f'word-break:normal;overflow-wrap:anywhere">{note}{text}</pre>'
        )
    return _box(
        _RED,
        f'<div><span style="color:{_RED}">✖</span> <b>{_words(step.name, _MAX_NAME)}</b></div>'
        f"<div>{_words(step.error, 600)}</div>{log}",
    )


def _warnings(snapshot: Snapshot) -> str:
    if not snapshot.warnings:
        return ""
    rows = "".join(
        f'<div><span style="color:{_AMBER}">!</span> {_words(warning.short, 240)}</div>'
        for warning in snapshot.warnings[:5]
    )
    if len(snapshot.warnings) > 5:
        rows += _note(f"{len(snapshot.warnings) - 5} more warnings")
    return f'<div style="margin-top:6px;font-size:12px">{rows}</div>'


def _box(color: str, html: str) -> str:
    return (
        f'<div style="margin:6px 0;padding:6px 10px;border-left:3px solid {color};'
        f'background:#8881;font-size:12px">{html}</div>'
    )


def _note(text: str) -> str:
    return f'<div style="color:{_GREY}">{_safe(text)}</div>'


def _safe(text: str) -> str:
    r"""Return escaped text that no front end takes for a formula.

    JupyterLab and nbconvert typeset what stands between dollar signs, `\(` or `\[` in HTML
    output, and shell commands are full of those. Formulas cannot span elements, so a delimiter
    in an element of its own is left alone; `pre` is never typeset.
    """
    return escape(text).replace("\\", "<span>\\</span>").replace("$", "<span>$</span>")


def _words(text: str, limit: int) -> str:
    return _safe(one_line(text, limit))


def _log_text(line: LogLine) -> str:
    text = line.text
    if len(text) > _MAX_LINE:
        return colored_html(text[:_MAX_LINE]) + "…"
    return colored_html(text)
