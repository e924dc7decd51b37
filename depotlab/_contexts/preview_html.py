"""A preview as HTML for notebooks: one element, nothing loaded, a few kB.

Made of plain elements with inline styles, which the sanitisers of notebook front ends leave in place; without the
styles it still reads. Colours are mid-tones and translucent greys, so the same text reads on light and dark
pages. Directories fold by `details`, which needs no script. Everything that came from outside is escaped.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from depotlab._contexts.advice import Finding, shown
from depotlab._contexts.preview_text import headline, ignore_text, rule_of
from depotlab._contexts.rows import Row, bytes_text, count_text, to_rows
from depotlab._contexts.survey import Count
from depotlab._values import safe_html

if TYPE_CHECKING:
    from depotlab._contexts.preview import ContextFile, Preview

__all__ = ["to_html"]

_BLUE, _RED, _GREY, _AMBER = "#1c7ed6", "#e03131", "#868e96", "#e67700"
_UI = "font:13px/1.55 var(--jp-ui-font-family,system-ui,sans-serif)"
_CODE = (
    "font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace);font-size:12px"
)
_MAX_ROWS = 110
_MAX_BIGGEST = 8
_MAX_WARNINGS = 12
# Directories are open as long as this many rows show.
_N_OPEN = 24
# What a browser puts in front of a `summary` is about as wide.
_INDENT = "1.1em"
_LINE = "position:relative;padding-right:140px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
# Smaller shares would be a bar of no pixel.
_LEAST_SHARE = 0.005


def to_html(preview: Preview) -> str:
    """Return the preview as one element."""
    rows = to_rows(preview.tree, lambda path: rule_of(preview, path), n_most=_MAX_ROWS)
    return (
        f'<div style="{_UI};max-width:960px" role="group" aria-label="{escape(headline(preview))}">'
        f"{_head(preview)}{_problems(preview)}{_warnings(preview)}{_biggest(preview)}"
        f"{_tree(rows)}{_notes(preview)}</div>"
    )


def _head(preview: Preview) -> str:
    kept, dropped = preview.kept, preview.dropped
    facts = (
        f"<b>{escape(bytes_text(kept.n_bytes))}</b> in {safe_html(count_text(kept))} would be sent"
    )
    least = "at least " if preview.dropped_is_partial else ""
    rest = ""
    if dropped != Count():
        size = bytes_text(dropped.n_bytes)
        rest = f" · {least}{escape(size)} in {safe_html(count_text(dropped))} left out"
    rest += f" · {safe_html(ignore_text(preview))}"
    return (
        f"<div><b>Context</b> {_code(preview.title)}</div>"
        f'<div>{facts}<span style="color:{_GREY}">{rest}</span></div>{_bar(preview)}'
    )


def _bar(preview: Preview) -> str:
    """How much of everything is sent."""
    total = preview.kept.n_bytes + preview.dropped.n_bytes
    if not preview.dropped.n_bytes:
        return ""
    percent = 100 * preview.kept.n_bytes / total
    return (
        f'<div title="{percent:.1f}% of all bytes are sent" style="height:5px;margin:5px 0;border-radius:3px;'
        f'overflow:hidden;background:#8883"><div style="height:5px;width:{percent:.2f}%;'
        f'background:{_BLUE}"></div></div>'
    )


def _problems(preview: Preview) -> str:
    if not preview.problems:
        return ""
    rows = "".join(
        f'<div><span style="color:{_RED}">✖</span> {safe_html(text)}</div>'
        for text in preview.problems
    )
    return _box(_RED, rows)


def _warnings(preview: Preview) -> str:
    if not preview.warnings:
        return ""
    rows = "".join(_warning(finding) for finding in preview.warnings[:_MAX_WARNINGS])
    n_more = len(preview.warnings) - _MAX_WARNINGS
    if n_more > 0:
        rows += f'<div style="color:{_GREY}">… {n_more} more</div>'
    lines = escape(preview.suggested_rules)
    rows += (
        '<details style="margin-top:4px"><summary style="cursor:pointer">'
        f"All lines, for the end of {_code('.dockerignore')}</summary>"
        f'<pre style="{_CODE};margin:4px 0 0;padding:4px 8px;background:#8881;white-space:pre-wrap">{lines}</pre>'
        "</details>"
    )
    return _box(_AMBER, rows)


def _warning(finding: Finding) -> str:
    color = _RED if finding.kind == "secret" else _AMBER
    return (
        f'<div><span style="color:{color}">▲</span> {_code(finding.places)} '
        f'<span style="color:{_GREY}">{safe_html(finding.why)}, {escape(bytes_text(finding.n_bytes))}'
        f" → add {_code(finding.rule)}</span></div>"
    )


def _biggest(preview: Preview) -> str:
    total = max(1, preview.kept.n_bytes)
    parts = []
    if len(preview.biggest_files) > 1:
        parts.append(_list("Biggest files", preview.biggest_files, "", total))
    if preview.biggest_directories:
        parts.append(_list("Biggest directories", preview.biggest_directories, "/", total))
    if not parts:
        return ""
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:0 32px;margin-top:8px">{"".join(parts)}</div>'
    )


def _list(title: str, found: tuple[ContextFile, ...], end: str, total: int) -> str:
    rows = "".join(
        f'<div style="{_LINE}">{_line(_path(file.path) + end, file.size_bytes, file.size_bytes / total, "")}</div>'
        for file in found[:_MAX_BIGGEST]
    )
    return (
        f'<div style="flex:1;min-width:300px"><div style="color:{_GREY};font-size:12px">{title}</div>'
        f"{rows}</div>"
    )


def _tree(rows: tuple[Row, ...]) -> str:
    if not rows:
        return ""
    room = [_N_OPEN - len(rows)]
    body = "".join(_row(row, room) for row in rows)
    return (
        f'<div style="margin-top:8px"><div style="color:{_GREY};font-size:12px">Tree, the biggest first</div>'
        f"{body}</div>"
    )


def _row(row: Row, room: list[int]) -> str:
    label = safe_html(row.label)
    if not row.is_sent:
        label = f'<span style="color:{_GREY}">✗ <s>{label}</s></span>'
    line = _line(label, row.n_bytes, row.share, row.facts, is_sent=row.is_sent)
    if not row.rows:
        return f'<div style="{_LINE};padding-left:{_INDENT}">{line}</div>'
    is_open = len(row.rows) <= room[0]
    if is_open:
        room[0] -= len(row.rows)
    body = "".join(_row(below, room) for below in row.rows)
    return (
        f"<details{' open' if is_open else ''}>"
        f'<summary style="{_LINE};cursor:pointer">{line}</summary>'
        f'<div style="margin-left:5px;padding-left:9px;border-left:1px solid #8884">{body}</div>'
        "</details>"
    )


def _line(label: str, n_bytes: int, share: float, facts: str, *, is_sent: bool = True) -> str:
    """Return the name and what is said of it; then, in columns at the right edge of a `_LINE`, a bar and the size."""
    said = f' <span style="color:{_GREY};font-size:12px">{safe_html(facts)}</span>' if facts else ""
    bar = ""
    if share >= _LEAST_SHARE:
        bar = (
            '<span style="position:absolute;right:72px;top:8px;width:60px;height:4px;background:#8883">'
            f'<span style="display:block;height:4px;width:{100 * share:.0f}%;background:{_BLUE}"></span></span>'
        )
    paint = "" if is_sent else f";color:{_GREY}"
    size = f'<span style="position:absolute;right:0{paint}">{escape(bytes_text(n_bytes))}</span>'
    return f"{_code(label, is_safe=True)}{said}{bar}{size}"


def _notes(preview: Preview) -> str:
    return "".join(
        f'<div style="color:{_GREY};font-size:12px;margin-top:6px">{safe_html(note)}</div>'
        for note in preview.notes
    )


def _box(color: str, html: str) -> str:
    return f'<div style="margin:6px 0;padding:6px 10px;border-left:3px solid {color};background:#8881">{html}</div>'


def _code(text: str, *, is_safe: bool = False) -> str:
    return f'<span style="{_CODE}">{text if is_safe else safe_html(text)}</span>'


def _path(path: str) -> str:
    return safe_html(shown(path.encode("utf-8", "surrogateescape")))
