"""The view in a notebook cell: a few widgets while it runs, static HTML and text afterwards.

What is known about front ends and shaped this file (JupyterLab 4, ipykernel 6.17 to 7.4,
ipywidgets 7.7 and 8.1):

- The number of widgets does not depend on the number of steps, and a frame sends a message only
  for a pane whose text has changed (`_live`).
- The output is shown as a raw MIME bundle with a display id of ours, because ipywidgets 7 drops
  the id. At the end the same display is replaced by static HTML and text, which is what a saved
  file keeps; and because that update is lost on a page that was reloaded meanwhile, the widget's
  box is filled with the same static HTML too.
- A child must never be closed while an open parent refers to it: one such model keeps every
  widget of the kernel from being restored after a reload.
- Nobody watches where the front end cannot answer a prompt (`allow_stdin` is false under nbclient
  and what is built on it): then there is no live part, and no widget state in the saved file.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable
from typing import Any, Literal

from depotlab.progress import Snapshot
from depotlab.widgets._details import Details
from depotlab.widgets._html import final_html, frame_html
from depotlab.widgets._live import Live
from depotlab.widgets._overview import Overview, overview_html
from depotlab.widgets._plain import final_text
from depotlab.widgets._text import headline, one_line

__all__ = ["VIEW_TYPE", "NotebookMode", "NotebookView", "is_in_kernel", "notebook_mode"]

NotebookMode = Literal["widgets", "html", "plain", "static", "off"]
"""`widgets`: live panes. `html`, `plain`: the output is replaced as a whole, no widgets.
`static`: one line at the start and the end state. `off`: nothing."""

VIEW_TYPE = "application/vnd.jupyter.widget-view+json"
_overview = Overview()
_REPLACE_EVERY_NS = 450_000_000  # html and plain replace all of the output: about twice a second


def notebook_mode() -> NotebookMode:
    """Return how to show progress in this kernel. `DEPOTLAB_UI` overrides what is found out."""
    wanted = os.environ.get("DEPOTLAB_UI", "")
    for mode in ("widgets", "html", "plain", "off"):
        if wanted == mode:
            return mode
    if not _is_watched():
        return "static"
    return "widgets" if _has_widgets() else "html"


def _is_watched() -> bool:
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    parent = kernel.get_parent() if kernel is not None else {}
    return (parent or {}).get("content", {}).get("allow_stdin") is not False


def _has_widgets() -> bool:
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True


class NotebookView:
    """Shows a build in the output of a cell.

    All calls come from one thread; it must run in a copy of the context of the cell
    (`contextvars.copy_context`), or ipykernel 7 does not know which cell to answer.

    Args:
        mode: See `NotebookMode`; by default what `notebook_mode` finds.
        on_cancel: Called when the Cancel button is pressed, on whatever thread the kernel
            handles messages on, so it may only set a flag. Without it there is no button.
        details: What knows more of the steps than their progress: ops, lines, files.
        max_rows: The most steps that have a row of their own.
    """

    def __init__(
        self,
        *,
        mode: NotebookMode | None = None,
        on_cancel: Callable[[], None] | None = None,
        details: Details | None = None,
        max_rows: int = 15,
    ) -> None:
        self._mode = mode or notebook_mode()
        self._on_cancel = on_cancel
        self._details = details
        self._max_rows = max_rows
        self._display_id = f"depotlab-{uuid.uuid4().hex}"
        self._live: Live | None = None
        self._replaced_ns = 0
        self._last: dict[str, Any] = {}

    @property
    def is_stale(self) -> bool:
        """A reader asked for something, such as a step's log, that is not shown yet."""
        return self._live is not None and self._live.is_stale

    def open(self, snapshot: Snapshot) -> None:
        """Put the output into the cell."""
        if self._mode == "off":
            return
        bundle: dict[str, Any] = {"text/plain": one_line(headline(snapshot), 200)}
        if self._mode == "widgets":
            self._live = Live(self._on_cancel, self._details)
            self._paint(self._live, snapshot)
            bundle[VIEW_TYPE] = self._live.view()
        elif self._mode != "plain":
            bundle["text/html"] = frame_html(snapshot, max_rows=self._max_rows)
        self._publish(bundle, is_update=False)

    def show(self, snapshot: Snapshot) -> None:
        """Change what differs from the last frame."""
        if self._live is not None:
            self._paint(self._live, snapshot)
        elif self._mode in ("html", "plain"):
            if snapshot.at_ns - self._replaced_ns < _REPLACE_EVERY_NS:
                return
            self._replaced_ns = snapshot.at_ns
            bundle = {"text/plain": final_text(snapshot)}
            if self._mode == "html":
                bundle["text/html"] = frame_html(snapshot, max_rows=self._max_rows)
            self._publish(bundle, is_update=True)

    def close(self, snapshot: Snapshot) -> None:
        """Leave static HTML and text where the live view was."""
        if self._mode == "off":
            return
        html = final_html(snapshot, details=self._details)
        if self._live is not None:
            _overview.forget(self._display_id)
            self._live.settle(html)
            self._live = None
        bundle = {"text/plain": final_text(snapshot)}
        if self._mode != "plain":
            bundle["text/html"] = html
        self._publish(bundle, is_update=True)

    def _paint(self, live: Live, snapshot: Snapshot) -> None:
        others = _overview.tell(self._display_id, snapshot)
        try:
            live.paint(snapshot, max_rows=self._max_rows, others=overview_html(others))
        except BaseException:
            _overview.forget(self._display_id)  # a view that raised is not called again
            raise

    def _publish(self, bundle: dict[str, Any], *, is_update: bool) -> None:
        if bundle == self._last:
            return
        from IPython.display import display

        self._last = bundle
        display(bundle, raw=True, display_id=self._display_id, update=is_update)  # type: ignore[no-untyped-call]


def is_in_kernel() -> bool:
    """Say whether this process is a notebook's kernel. Loads nothing that is not loaded."""
    module = sys.modules.get("IPython.core.getipython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None
