"""Builds that run side by side, seen from one place: the newest live view lists the others.

Each view is fed by a thread of its own, so that one cell's picture does not wait for another's;
here they leave their newest snapshots for each other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from depotlab.progress import Phase, Snapshot
from depotlab.widgets._markup import BLUE, GREY, PHASE_COLORS, safe, words
from depotlab.widgets._text import PHASE_SYMBOLS, counts_text, seconds_text, steps_text

__all__ = ["Overview", "overview_html"]

_MAX_ROWS = 8


class Overview:
    """The newest snapshot of every view that is open. Used by the threads of all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshots: dict[str, Snapshot] = {}

    def tell(self, view: str, snapshot: Snapshot) -> tuple[Snapshot, ...]:
        """Leave the newest snapshot of a view; return those of the others if its build began last."""
        with self._lock:
            self._snapshots[view] = snapshot
            # Not the order of the calls: threads that open views side by side overtake each other.
            *others, newest = sorted(self._snapshots.items(), key=_began)
            return tuple(other for _, other in others) if newest[0] == view else ()

    def forget(self, view: str) -> None:
        """The view is closed."""
        with self._lock:
            self._snapshots.pop(view, None)


def _began(item: tuple[str, Snapshot]) -> tuple[bool, int, str]:
    view, snapshot = item
    has_begun = snapshot.started_ns > 0
    return not has_begun, snapshot.started_ns, view


def overview_html(snapshots: Iterable[Snapshot]) -> str:
    """Return a line for each of these builds, or nothing if there are none."""
    running = [s for s in snapshots if s.started_ns and s.phase is Phase.RUNNING]
    if not running:
        return ""
    rows = "".join(_row(snapshot) for snapshot in running[:_MAX_ROWS])
    if len(running) > _MAX_ROWS:
        rows += f'<div style="color:{GREY}">… {len(running) - _MAX_ROWS} more</div>'
    n = len(running)
    head = f"{n} other build{'' if n == 1 else 's'} running"
    return f'<div style="margin-top:8px;font-size:12px"><b>{head}</b>{rows}</div>'


def _row(snapshot: Snapshot) -> str:
    counts = snapshot.counts
    share = 100 * counts.over / counts.total if counts.total else 0
    return (
        f'<div><span style="color:{PHASE_COLORS[snapshot.phase]}">'
        f"{PHASE_SYMBOLS[snapshot.phase]}</span> {words(snapshot.target or 'image', 60)}"
        f'<span role="progressbar" aria-label="steps that are over" aria-valuenow="{share:.0f}" '
        'style="display:inline-block;vertical-align:middle;width:72px;height:4px;margin:0 8px;'
        'border-radius:2px;background:#8883;overflow:hidden"><span style="display:block;'
        f'height:4px;width:{share:.0f}%;background:{BLUE}"></span></span>'
        f'<span style="color:{GREY}">{seconds_text(snapshot.duration_s, is_open=True)} · '
        f"{safe(steps_text(snapshot))} · {safe(counts_text(snapshot))}</span></div>"
    )
