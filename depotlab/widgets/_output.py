"""What steps wrote, as HTML: the log pane of a live view, and the block that says why a step failed. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from depotlab.errors import SourceLocation
from depotlab.progress import LogLine, Step
from depotlab.widgets._ansi import colored_html, plain
from depotlab.widgets._markup import CODE, GREY, RED, boxed, safe, words

__all__ = ["LABEL_CH", "failure_html", "log_html", "output_html", "place_html"]

LABEL_CH = 15
_MAX_LINE = 400
_MAX_NAME = 160
_EARLIER_LINES = 100
_EARLIER_BYTES = 8_000
_MARK = "background:#fab00566;border-radius:2px"


def log_html(lines: Sequence[tuple[str, LogLine]], *, needle: str = "") -> str:
    """Return log lines, each after its label where that changes.

    Long lines go on below, unless the page says otherwise by the properties `--dl-wrap` and `--dl-column`.

    Args:
        lines: A label (the step, or a number) and a line.
        needle: Mark where this stands, in any case of letters; such lines lose their colours.
    """
    cells = []
    last = ""
    has_labels = any(label for label, _ in lines)
    for label, line in lines:
        # Repeating the label on every line would drown the output.
        style = f' style="color:{GREY}"' if label != last else ""
        shown = safe(label) if label != last else ""
        last = label
        text = _marked(plain(line.text), needle) if needle else _log_text(line)
        cells.append(f"<span{style}>{shown}</span>" if has_labels else "")
        cells.append(f"<div>{text or '&nbsp;'}</div>")
    wrap = "white-space:var(--dl-wrap,pre-wrap);word-break:normal;overflow-wrap:anywhere"
    columns = f"{LABEL_CH}ch " if has_labels else ""
    columns += "var(--dl-column,minmax(0,1fr))"
    # Styles stand on the whole and not on each line: this is sent several times a second.
    return (
        f'<div style="{CODE};display:grid;grid-template-columns:{columns};{wrap}">'
        f"{''.join(cells)}</div>"
    )


def failure_html(
    step: Step,
    *,
    n_lines: int,
    locations: Sequence[SourceLocation] = (),
    has_earlier: bool = False,
) -> str:
    """Return the block that says which step failed, why, the user's line, and what it wrote last."""
    places = "".join(place_html(location) for location in locations[:2])
    return boxed(
        RED,
        f'<div><span style="color:{RED}">✖</span> <b>{words(step.name, _MAX_NAME)}</b></div>'
        f"<div>{words(step.error, 600)}</div>{places}"
        f"{output_html(step, n_lines=n_lines, has_earlier=has_earlier)}",
    )


def output_html(step: Step, *, n_lines: int, has_earlier: bool = False) -> str:
    """Return the last lines of a step, and how many came before them.

    With `has_earlier` some of those are there too, folded: what a saved file can afford.
    """
    lines = step.log.lines(limit=n_lines + (_EARLIER_LINES if has_earlier else 0))
    if not lines:
        return ""
    earlier, newest = lines[:-n_lines], lines[-n_lines:]
    kept: list[str] = []
    room = _EARLIER_BYTES
    for line in reversed(earlier):
        text = _log_text(line)
        room -= len(text)
        if room < 0:
            break
        kept.insert(0, text)
    n_before = step.n_log_lines - len(newest)
    left_out = n_before - len(kept)
    gone = f"… {left_out} earlier lines\n" if left_out > 0 else ""
    folded = ""
    if kept:
        folded = (
            f'<details><summary style="cursor:pointer;color:{GREY}">{n_before} earlier lines'
            f"</summary>{_pre(gone + chr(10).join(kept))}</details>"
        )
        gone = ""
    return folded + _pre(gone + "\n".join(_log_text(line) for line in newest))


def place_html(location: SourceLocation, color: str = RED) -> str:
    """Return where the user asked for it, with the line marked in the lines around it."""
    rows = []
    for row in location.excerpt(around=2).splitlines():
        text = escape(row[:200])
        rows.append(f'<b style="color:{color}">{text}</b>' if row.startswith(">") else text)
    where = f'<div style="color:{GREY}">at {words(str(location), 200)}</div>'
    return where + (_pre("\n".join(rows)) if rows else "")


def _pre(html: str) -> str:
    return (
        f'<pre style="{CODE};margin:4px 0 0;padding:0;background:none;white-space:pre-wrap;'
        f'word-break:normal;overflow-wrap:anywhere">{html}</pre>'
    )


def _log_text(line: LogLine) -> str:
    text = line.text
    if len(text) > _MAX_LINE:
        return colored_html(text[:_MAX_LINE]) + "…"
    return colored_html(text)


def _marked(text: str, needle: str) -> str:
    """Return escaped text with each place of the needle marked, and what is far from the first left out."""
    found = re.compile(re.escape(needle), re.IGNORECASE)
    first = found.search(text)
    if first is not None and first.start() > _MAX_LINE // 2:
        text = "…" + text[first.start() - _MAX_LINE // 4 :]
    text = text if len(text) <= _MAX_LINE else text[:_MAX_LINE] + "…"
    out, at = [], 0
    for match in found.finditer(text):
        out += [escape(text[at : match.start()]), f'<b style="{_MARK}">{escape(match[0])}</b>']
        at = match.end()
    return "".join([*out, escape(text[at:])])
