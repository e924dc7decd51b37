"""The view in a notebook cell: a few widgets while it runs, static HTML and text afterwards.

What is known about front ends and shaped this file (JupyterLab 4, ipykernel 6.17 to 7.4,
ipywidgets 7.7 and 8.1):

- The number of widgets does not depend on the number of steps, and a frame sends a message only
  for a pane whose text has changed: two panes, so two messages at most.
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

from depotlab.progress import LogLine, Snapshot
from depotlab.widgets._html import LABEL_CH, final_html, frame_html, log_html
from depotlab.widgets._plain import final_text
from depotlab.widgets._text import headline, label_text, one_line

__all__ = ["NotebookMode", "NotebookView", "notebook_mode"]

NotebookMode = Literal["widgets", "html", "plain", "static", "off"]
"""`widgets`: live panes. `html`, `plain`: the output is replaced as a whole, no widgets.
`static`: one line at the start and the end state. `off`: nothing."""

_VIEW = "application/vnd.jupyter.widget-view+json"
_LOG_LINES = 200
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
        max_rows: The most steps that have a row of their own.
    """

    def __init__(
        self,
        *,
        mode: NotebookMode | None = None,
        on_cancel: Callable[[], None] | None = None,
        max_rows: int = 15,
    ) -> None:
        self._mode = mode or notebook_mode()
        self._on_cancel = on_cancel
        self._max_rows = max_rows
        self._display_id = f"depotlab-{uuid.uuid4().hex}"
        self._panes: _Panes | None = None
        self._replaced_ns = 0
        self._last: dict[str, Any] = {}

    def open(self, snapshot: Snapshot) -> None:
        """Put the output into the cell."""
        if self._mode == "off":
            return
        bundle: dict[str, Any] = {"text/plain": one_line(headline(snapshot), 200)}
        if self._mode == "widgets":
            self._panes = _Panes(self._on_cancel)
            self._panes.paint(snapshot, max_rows=self._max_rows)
            bundle[_VIEW] = self._panes.view()
        elif self._mode != "plain":
            bundle["text/html"] = frame_html(snapshot, max_rows=self._max_rows)
        self._publish(bundle, is_update=False)

    def show(self, snapshot: Snapshot) -> None:
        """Change what differs from the last frame."""
        if self._panes is not None:
            self._panes.paint(snapshot, max_rows=self._max_rows)
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
        html = final_html(snapshot)
        if self._panes is not None:
            self._panes.settle(html)
            self._panes = None
        bundle = {"text/plain": final_text(snapshot)}
        if self._mode != "plain":
            bundle["text/html"] = html
        self._publish(bundle, is_update=True)

    def _publish(self, bundle: dict[str, Any], *, is_update: bool) -> None:
        if bundle == self._last:
            return
        from IPython.display import display

        self._last = bundle
        display(bundle, raw=True, display_id=self._display_id, update=is_update)  # type: ignore[no-untyped-call]


class _Panes:
    """The widgets of one live view. Touched by one thread, but for the flag of the button."""

    def __init__(self, on_cancel: Callable[[], None] | None) -> None:
        import ipywidgets as w

        self._texts: dict[str, str] = {}
        self._is_canceling = False
        self._on_cancel = on_cancel
        self._main = w.HTML(layout=w.Layout(flex="0 0 100%", min_width="0", margin="0"))
        top: list[Any] = [self._main]
        self._button: Any = None
        if on_cancel is not None:
            self._button = w.Button(
                description="Cancel",
                tooltip="Stop this build (or press ■)",
                # Laid over the upper right corner, where the frame keeps room for it.
                layout=w.Layout(width="80px", height="26px", flex="0 0 auto", margin="0 0 0 -80px"),
            )
            self._button.on_click(self._clicked)
            top.append(self._button)
        self._top = w.HBox(top, layout=w.Layout(align_items="flex-start", max_width="960px"))
        self._log = w.HTML(layout=w.Layout(margin="0", min_width="0"))
        # A column in reverse keeps its end in sight while it grows, and stays where a reader
        # has scrolled to.
        self._log_box = w.Box(
            [self._log],
            layout=w.Layout(
                display="none",
                flex_flow="column-reverse",
                overflow="auto",
                max_height="220px",
                max_width="960px",
                margin="8px 0 0",
                padding="6px 10px",
                border="1px solid #8883",
            ),
        )
        # As much room at the right as front ends leave beside static HTML: the end does not jump.
        room = w.Layout(padding="2px 20px 2px 0", margin="0")
        self._box = w.VBox([self._top, self._log_box], layout=room)

    def view(self) -> dict[str, Any]:
        return {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}

    def paint(self, snapshot: Snapshot, *, max_rows: int) -> None:
        self._set("main", self._main, frame_html(snapshot, max_rows=max_rows))
        if snapshot.recent.n_bytes:
            self._set("log", self._log, log_html(recent_lines(snapshot, limit=_LOG_LINES)))
            if self._log_box.layout.display == "none":
                self._log_box.layout.display = "flex"
        if self._button is not None and self._is_canceling and not self._button.disabled:
            self._button.disabled = True
            self._button.description = "Canceling…"

    def settle(self, html: str) -> None:
        """Leave one static child in the box, then give up everything else, leaves first."""
        import ipywidgets as w

        self._box.children = (w.HTML(html),)
        self._top.children = ()
        self._log_box.children = ()
        for widget in (self._main, self._button, self._log, self._top, self._log_box):
            if widget is None:
                continue
            layout, style = widget.layout, getattr(widget, "style", None)
            widget.close()
            layout.close()
            if style is not None:
                style.close()

    def _set(self, name: str, widget: Any, text: str) -> None:
        if self._texts.get(name) != text:
            self._texts[name] = text
            widget.value = text

    def _clicked(self, _button: object) -> None:
        # Runs beside the painting thread: a flag here, the widget is changed by the next frame.
        self._is_canceling = True
        if self._on_cancel is not None:
            self._on_cancel()


def recent_lines(snapshot: Snapshot, *, limit: int) -> list[tuple[str, LogLine]]:
    """Return the newest lines of all steps, each with a label of its step."""
    lines = snapshot.recent.lines_by_vertex(limit)
    wanted = {vertex for vertex, _ in lines}
    labels = {
        member: label_text(step, LABEL_CH - 1)
        for step in snapshot.steps
        for member in step.members
        if member in wanted
    }
    return [(labels.get(vertex, ""), line) for vertex, line in lines]


def is_in_kernel() -> bool:
    """Say whether this process is a notebook's kernel. Loads nothing that is not loaded."""
    module = sys.modules.get("IPython.core.getipython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None
