"""Snapshots as HTML: the live frame of a notebook, and what stays in the saved file. Pure.

Made of div, b, table, tr, td, pre, span, details and summary with inline styles only, since that is
what the sanitisers of notebook front ends leave in place (forges take details away and leave what is
in it, unfolded). With the styles removed it still reads: symbols and words carry the meaning, colours
repeat it. In a live frame a row can be clicked: a handler of one line hands the click to the list of
logs below, which is a native control and works without it.
"""

from __future__ import annotations

import re
from html import escape

from depotlab.progress import Phase, Snapshot, Step, StepState
from depotlab.widgets._details import Details
from depotlab.widgets._folded import folded_graph, folded_timeline
from depotlab.widgets._frame import to_frame
from depotlab.widgets._markup import (
    AMBER,
    BLUE,
    CODE,
    GREY,
    PHASE_COLORS,
    STATE_COLORS,
    boxed,
    note,
    page,
    safe,
    words,
)
from depotlab.widgets._output import failure_html, output_html
from depotlab.widgets._picking import pick_handlers
from depotlab.widgets._slow import slow_text
from depotlab.widgets._text import (
    PHASE_SYMBOLS,
    SYMBOLS,
    facts_text,
    headline,
    one_line,
    platforms,
    seconds_text,
    transfer_text,
    where_text,
)

__all__ = ["final_html", "frame_html"]

# The order in which states fill the bar, from its left end.
_BAR = (StepState.CACHED, StepState.RAN, StepState.FAILED, StepState.CANCELED, StepState.RUNNING)
_MAX_NAME = 160
_SURE_NAME = 40  # characters that narrow columns have room for
_TAG = re.compile(r"\[[^\]]{1,60}\] ")


def frame_html(
    snapshot: Snapshot, *, max_rows: int = 15, picked: str | None = None, others: str = ""
) -> str:
    """Return the whole live picture but for the log: head, bar, errors, rows, warnings.

    Args:
        snapshot: The moment.
        max_rows: The most steps that have a row.
        picked: Digest of the step whose log is shown, or empty; None where rows cannot be clicked.
        others: What else is being built, one line for each, shown last.
    """
    return page(
        _head(snapshot, room_px=90),
        _bar(snapshot),
        *_failures(snapshot, n_lines=10),
        _rows(snapshot, max_rows=max_rows, picked=picked),
        _warnings(snapshot),
        others,
    )


def final_html(
    snapshot: Snapshot,
    *,
    max_rows: int = 12,
    max_log_lines: int = 20,
    headline: str = "",
    details: Details | None = None,
) -> str:
    """Return what stays in a saved notebook: at most 60 kB, whatever the size of the build.

    Two lines if all went well, the second of which unfolds.

    Args:
        snapshot: The end.
        max_rows: The most steps that have a row.
        max_log_lines: Of what failed.
        headline: Instead of the usual first line; it is escaped like everything else.
        details: What knows more of the steps, for the graph.
    """
    rows = _rows(snapshot, max_rows=max_rows, has_times=True)
    rows += folded_timeline(snapshot)
    graph = folded_graph(snapshot, details)
    if snapshot.phase is Phase.SUCCEEDED and not snapshot.failed:
        slow = slow_text(snapshot)
        folded = (
            f'<details><summary style="cursor:pointer;color:{GREY};font-size:12px">'
            f"{safe(facts_text(snapshot))}</summary>{_bar(snapshot)}"
            f'<div style="font-size:12px">{note(slow) if slow else ""}</div>'
            f"{rows}{_logs(snapshot)}{graph}</details>"
        )
        return page(_title(snapshot, headline), folded, _warnings(snapshot))
    return page(
        _head(snapshot, title=headline),
        _bar(snapshot),
        *_failures(snapshot, n_lines=max_log_lines, has_earlier=True),
        rows,
        _warnings(snapshot),
        graph,
    )


def _title(snapshot: Snapshot, title: str) -> str:
    text = one_line(title, 200) or headline(snapshot)
    color = PHASE_COLORS[snapshot.phase]
    return (
        f'<div><span style="color:{color}">{PHASE_SYMBOLS[snapshot.phase]}</span> '
        f"<b>{safe(text)}</b>"
        f'<span style="color:{GREY}">{safe(where_text(snapshot))}</span></div>'
    )


def _head(snapshot: Snapshot, *, title: str = "", room_px: int = 0) -> str:
    """Return the two lines above the bar, with room kept at their right for a button."""
    room = f"padding-right:{room_px}px" if room_px else ""
    return (
        f'<div style="{room}">{_title(snapshot, title)}</div>'
        f'<div style="color:{GREY};font-size:12px;{room}">{safe(facts_text(snapshot))}</div>'
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
                f'<div style="width:{100 * n / total:.2f}%;'
                f'background:{STATE_COLORS[state]}{faded}"></div>'
            )
    return (
        f'<div role="progressbar" aria-label="steps that are over" aria-valuemin="0" '
        f'aria-valuemax="{total}" aria-valuenow="{min(total, counts.over)}" '
        f'style="display:flex;height:5px;margin:5px 0 7px;border-radius:3px;overflow:hidden;'
        f'background:#8883">{"".join(pieces)}</div>'
    )


def _failures(snapshot: Snapshot, *, n_lines: int, has_earlier: bool = False) -> list[str]:
    failed = snapshot.failed
    # The places are of the error that ended the build, so they belong to the step that failed first.
    blocks = [
        failure_html(
            step,
            n_lines=n_lines,
            locations=snapshot.locations if step is failed[0] else (),
            has_earlier=has_earlier,
        )
        for step in failed[:3]
    ]
    if len(failed) > 3:
        blocks.append(note(f"{len(failed) - 3} more steps failed."))
    if snapshot.error and not failed:
        color = PHASE_COLORS[snapshot.phase]
        blocks.append(boxed(color, f"<div>{words(snapshot.error, 1000)}</div>"))
    return blocks


# --------------------------------------------------------------------------------------- the rows


def _rows(
    snapshot: Snapshot, *, max_rows: int, picked: str | None = None, has_times: bool = False
) -> str:
    frame = to_frame(snapshot, max_rows=max_rows)
    if not frame.rows and not frame.more:
        return ""
    rows = ""
    for lane, steps in _lanes(frame.rows):
        rows += _lane_head(lane, snapshot) if lane else ""
        rows += "".join(
            _row(s, snapshot, lane=lane, picked=picked, has_times=has_times) for s in steps
        )
    if frame.more:
        rows += (
            f'<tr style="background:none">{_cell("…", GREY, "width:1.2em")}'
            f"{_cell(safe(frame.more), GREY, 'font-size:12px')}{_cell('')}</tr>"
        )
    # The only handler: of the table, so that a row that is drawn again is not without one.
    handler = pick_handlers() if picked is not None else ""
    return (
        f'<table{handler} aria-label="steps" style="width:100%;margin:0;border-collapse:collapse;'
        f'border:none;table-layout:auto;{CODE}">{rows}</table>'
    )


def _lanes(steps: tuple[Step, ...]) -> list[tuple[str, list[Step]]]:
    """Return the steps by platform where there are several, what belongs to none around them."""
    names = platforms(steps)
    if len(names) < 2:
        return [("", list(steps))]
    first = next(index for index, step in enumerate(steps) if step.platform)
    lanes = [(name, [step for step in steps if step.platform == name]) for name in names]
    shared = [(index, step) for index, step in enumerate(steps) if not step.platform]
    return [
        ("", [step for index, step in shared if index < first]),
        *lanes,
        ("", [step for index, step in shared if index > first]),
    ]


def _lane_head(platform: str, snapshot: Snapshot) -> str:
    own = [step for step in snapshot.steps if step.platform == platform]
    n_over = sum(step.state.is_over for step in own)
    far = f"{n_over} of {len(own)}" if snapshot.phase is Phase.RUNNING else str(len(own))
    head = f"<b>{safe(platform)}</b> · {far} step{'' if len(own) == 1 else 's'}"
    return (
        '<tr style="background:none"><td colspan="4" style="padding:4px 0 1px;text-align:left;'
        f'border:none;color:{GREY}">{head}</td></tr>'
    )


def _row(step: Step, snapshot: Snapshot, *, lane: str, picked: str | None, has_times: bool) -> str:
    color = STATE_COLORS[step.state]
    is_quiet = step.state in (StepState.WAITING, StepState.NOT_NEEDED, StepState.NOT_REACHED)
    is_running = step.state is StepState.RUNNING
    seconds = seconds_text(step.elapsed_s(snapshot.at_ns), is_open=is_running)
    if step.state in (StepState.RAN, StepState.RUNNING):
        end = seconds
    elif step.state in (StepState.FAILED, StepState.CANCELED) and step.intervals:
        end = f"{step.state} · {seconds}"
    else:
        end = str(step.state)
    name = _name(step, lane)
    if is_running:
        # Inside the name's cell, so that other rows keep their room and nothing jumps.
        name = (
            '<div style="display:flex"><div style="flex:1;min-width:0;overflow:hidden;'
            f'text-overflow:ellipsis">{name}</div>{_moved(*transfer_text(step))}</div>'
        )
    can_pick = picked is not None and step.number > 0
    back = "#1c7ed61f" if can_pick and picked == step.digest else "none"
    pick = f' data-n="{step.number}"' if can_pick else ""
    hand = ";cursor:pointer" if can_pick else ""
    return (
        f'<tr{pick} style="background:{back}{hand}">'
        + _cell(
            f'<span role="img" aria-label="{step.state}">{SYMBOLS[step.state]}</span>',
            color,
            "width:1.2em",
        )
        + _cell(
            name,
            GREY if is_quiet else "",
            "max-width:0;width:100%;overflow:hidden;text-overflow:ellipsis",
            title=one_line(step.name, 400) if len(step.name) > _SURE_NAME else "",
        )
        + (_cell(_times(step, snapshot)) if has_times else "")
        + _cell(
            safe(end),
            color if step.state in (StepState.FAILED, StepState.CANCELED) else GREY,
            "padding-right:0;text-align:right;min-width:5em",
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


def _name(step: Step, lane: str) -> str:
    """Return a step's name with its `[stage 2/5]` set back, and without the platform of its lane."""
    text = one_line(step.name, _MAX_NAME)
    if lane:
        text = text.replace(f"[{lane} ", "[", 1).removeprefix(f"[{lane}] ")
    tag = _TAG.match(text)
    shown = safe(text[tag.end() :] if tag else text)
    if tag is not None:
        shown = f'<span style="color:{GREY}">{safe(tag[0])}</span>{shown}'
    if len(step.members) > 1:
        shown += f' <span style="color:{GREY}">({len(step.members)} operations)</span>'
    return shown


def _moved(text: str, fraction: float | None) -> str:
    if not text:
        return ""
    bar = ""
    if fraction is not None:
        bar = (
            f'<span role="progressbar" aria-label="bytes" aria-valuenow="{100 * fraction:.0f}" '
            'style="display:inline-block;vertical-align:middle;width:72px;height:4px;'
            'margin:0 8px;border-radius:2px;background:#8883;overflow:hidden">'
            f'<span style="display:block;height:4px;width:{100 * fraction:.0f}%;'
            f'background:{BLUE}"></span></span>'
        )
    return f'<div style="flex:none;padding-left:12px;color:{GREY}">{bar}{safe(text)}</div>'


def _times(step: Step, snapshot: Snapshot) -> str:
    """Return when a step was worked on, as a bar along the time of the whole build."""
    whole_ns = max(1, (snapshot.ended_ns or snapshot.at_ns) - snapshot.started_ns)
    bars = ""
    at = 0.0
    for start_ns, end_ns in step.intervals:
        left = max(at, min(99.0, 100 * (start_ns - snapshot.started_ns) / whole_ns))
        width = max(1.0, 100 * ((end_ns or snapshot.at_ns) - start_ns) / whole_ns)
        width = min(width, 100 - left)
        bars += (
            f'<span style="margin-left:{left - at:.0f}%;width:{width:.0f}%;'
            f'background:{STATE_COLORS[step.state]}"></span>'
        )
        at = left + width
    return (
        '<div style="display:flex;width:90px;height:6px;margin:4px 0;'
        f'background:#8882;overflow:hidden">{bars}</div>'
    )


# ----------------------------------------------------------------------------------- below them

_LOG_STEPS = 5
_LOG_LINES = 5


def _logs(snapshot: Snapshot) -> str:
    """Return the last lines of the steps that took longest, each folded."""
    ran = [step for step in snapshot.of(StepState.RAN) if step.log.n_bytes]
    slow = sorted(ran, key=lambda step: -step.duration_s)[:_LOG_STEPS]
    kept = "".join(
        f'<details><summary style="cursor:pointer;font-size:12px;color:{GREY}">Output of '
        f"{words(step.name, 80)}</summary>{output_html(step, n_lines=_LOG_LINES)}</details>"
        for step in slow
    )
    whole = note("To read all of it, call .view() on the result while the kernel lives.")
    return f'{kept}<div style="font-size:12px">{whole}</div>' if kept else ""


def _warnings(snapshot: Snapshot) -> str:
    if not snapshot.warnings:
        return ""
    rows = "".join(
        f'<div><span style="color:{AMBER}">!</span> {words(warning.short, 240)}</div>'
        for warning in snapshot.warnings[:5]
    )
    if len(snapshot.warnings) > 5:
        rows += note(f"{len(snapshot.warnings) - 5} more warnings")
    return f'<div style="margin-top:6px;font-size:12px">{rows}</div>'
