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
)

__all__ = ["final_html", "frame_html", "log_html"]

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
_BAR = (StepState.FAILED, StepState.CANCELED, StepState.CACHED, StepState.RAN, StepState.RUNNING)

_UI = "font:13px/1.55 var(--jp-ui-font-family,system-ui,sans-serif)"
_CODE = "font:12px/1.5 var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace)"
_MAX_NAME = 160
_MAX_LINE = 400
_TAG = re.compile(r"\[[^\]]{1,60}\] ")


def frame_html(snapshot: Snapshot, *, max_rows: int = 15) -> str:
    """Return the whole live picture but for the log: head, bar, errors, rows, warnings."""
    return _page(
        _head(snapshot),
        _bar(snapshot),
        *(_failure(step, n_lines=10) for step in snapshot.failed[:3]),
        _rows(snapshot, max_rows=max_rows),
        _warnings(snapshot),
    )


def final_html(snapshot: Snapshot, *, max_rows: int = 12, max_log_lines: int = 20) -> str:
    """Return what stays in a saved notebook: a few kB, whatever the size of the build."""
    failed = snapshot.failed
    blocks = [_failure(step, n_lines=max_log_lines) for step in failed[:3]]
    if len(failed) > 3:
        blocks.append(_note(f"{len(failed) - 3} more steps failed."))
    if snapshot.error and not any(step.error in snapshot.error for step in failed):
        blocks.append(_box(_RED, f"<div>{_words(snapshot.error, 1000)}</div>"))
    return _page(
        _head(snapshot),
        _bar(snapshot),
        *blocks,
        _rows(snapshot, max_rows=max_rows),
        _warnings(snapshot),
    )


def log_html(lines: Sequence[tuple[int, LogLine]]) -> str:
    """Return log lines, each after the number of its step, as one `pre`."""
    rows = []
    last = 0
    for number, line in lines:
        # The number stands where the step changes; repeating it would drown the output.
        label = f"#{number}" if number != last else ""
        last = number
        rows.append(f'<span style="color:{_GREY}">{label:<5}</span>{_log_text(line)}')
    return f'<pre style="{_CODE};margin:0;padding:0;background:none">' + "\n".join(rows) + "</pre>"


def _page(*parts: str) -> str:
    return f'<div style="{_UI};max-width:960px">{"".join(parts)}</div>'


def _head(snapshot: Snapshot) -> str:
    color = _PHASE_COLORS[snapshot.phase]
    return (
        f'<div><span style="color:{color}">{PHASE_SYMBOLS[snapshot.phase]}</span> '
        f"<b>{escape(headline(snapshot))}</b></div>"
        f'<div style="color:{_GREY};font-size:12px">{escape(facts_text(snapshot))}</div>'
    )


def _bar(snapshot: Snapshot) -> str:
    counts = snapshot.counts
    total = counts.total
    if snapshot.phase is not Phase.RUNNING:
        total -= counts.not_needed  # nothing is missing where nothing was needed
    pieces = []
    for state in _BAR:
        n = counts[list(StepState).index(state)]
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
            f"{_cell(escape(frame.more), _GREY, 'font-size:12px')}{_cell('')}</tr>"
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
    moved, fraction = transfer_text(step) if step.state is StepState.RUNNING else ("", None)
    return (
        '<tr style="background:none">'
        + _cell(SYMBOLS[step.state], color, "width:1.2em")
        + _cell(
            _name(step.name),
            _GREY if is_quiet else "",
            f"{_CODE};max-width:0;width:100%;overflow:hidden;text-overflow:ellipsis",
            title=one_line(step.name, 400),
        )
        + _cell(
            _moved(moved, fraction) + escape(end),
            color if step.state in (StepState.FAILED, StepState.CANCELED) else _GREY,
            "text-align:right;font-variant-numeric:tabular-nums",
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
        return escape(text)
    return f'<span style="color:{_GREY}">{escape(tag[0])}</span>{escape(text[tag.end() :])}'


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
    return f"{bar}{escape(text)} · "


def _failure(step: Step, *, n_lines: int) -> str:
    lines = step.log.lines(limit=n_lines)
    left_out = step.n_log_lines - len(lines)
    log = ""
    if lines:
        note = f"… {left_out} earlier lines\n" if left_out > 0 else ""
        text = "\n".join(_log_text(line) for line in lines)
        log = (
            f'<pre style="{_CODE};margin:4px 0 0;padding:0;background:none;white-space:pre-wrap;'
            f'overflow-wrap:anywhere">{note}{text}</pre>'
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
    return f'<div style="color:{_GREY}">{escape(text)}</div>'


def _words(text: str, limit: int) -> str:
    return escape(one_line(text, limit))


def _log_text(line: LogLine) -> str:
    text = line.text
    if len(text) > _MAX_LINE:
        return colored_html(text[:_MAX_LINE]) + "…"
    return colored_html(text)
