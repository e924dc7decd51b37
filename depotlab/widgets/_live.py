"""The widgets of one live view: the picture, a Cancel button, and the panes in which steps are read.

Their number does not depend on the build, and a frame sends a message only for what has changed.
Two threads meet here. The painting thread makes and changes widgets. Handlers of the page's events
run on whatever thread the kernel takes messages on, beside it: they only put a wish into a queue, or
ask for the cancellation; the next frame does the rest. When the build is over there are no more
frames: a view of a build that is over (`rest`) has a thread that is woken by a wish (`_afterwards`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from dataclasses import replace
from typing import Any

from depotlab.progress import Snapshot, Step
from depotlab.widgets._afterwards import Afterwards
from depotlab.widgets._details import Details
from depotlab.widgets._frame import to_frame
from depotlab.widgets._hearing import hear
from depotlab.widgets._html import frame_html
from depotlab.widgets._markup import GREY, UI, safe
from depotlab.widgets._output import log_html
from depotlab.widgets._panel import panel_html
from depotlab.widgets._picking import VIEW_CLASS, pick_handlers
from depotlab.widgets._reading import LogPage, LogReader, Wish, choices
from depotlab.widgets._stepgraph import StepGraph
from depotlab.widgets._timeline import timeline_html
from depotlab.widgets._tools import Tools, close_all

__all__ = ["Live"]

_CHOICES_EVERY_NS = 2_000_000_000
"""How often the list of logs may change: an open list must not move under the mouse."""

_GRAPH_EVERY_NS = 1_000_000_000
_TIMELINE_ROWS = 30


class Live:
    """The widgets of one live view.

    Args:
        on_cancel: What the Cancel button does; no button without it.
        details: What knows more of the steps than their progress.
    """

    def __init__(
        self, on_cancel: Callable[[], None] | None, details: Details | None = None
    ) -> None:
        import ipywidgets as w

        self._texts: dict[str, str] = {}
        self._wishes: queue.SimpleQueue[Callable[[Wish], Wish]] = queue.SimpleQueue()
        self._wish = Wish()
        self._details = details
        self._steps = StepGraph(details)
        self._graph_ns = self._options_ns = 0
        self._reader = LogReader()
        self._page = LogPage(())
        self._files: tuple[str, Future[str]] | None = None
        self._has_files_shown = True
        self._is_canceling = False
        self._on_cancel = on_cancel
        self._afterwards: Afterwards | None = None
        self._painting = threading.Lock()
        self._main = w.HTML(layout=w.Layout(flex="0 0 100%", min_width="0", margin="0"))
        top: list[Any] = [self._main]
        self._cancel: Any = None
        if on_cancel is not None:
            self._cancel = w.Button(
                description="Cancel",
                tooltip="Stop this build (or press ■)",
                # Laid over the upper right corner, where the frame keeps room for it.
                layout=w.Layout(width="80px", height="26px", flex="0 0 auto", margin="0 0 0 -80px"),
            )
            self._cancel.on_click(lambda _: self._ask_to_cancel())
            hear(self._cancel, self._ask_to_cancel)
            top.append(self._cancel)
        self._top = w.HBox(top, layout=w.Layout(align_items="flex-start", max_width="960px"))
        self._tools = Tools(self._ask)
        wide = {"max_width": "960px", "min_width": "0", "margin": "4px 0 0"}
        self._picture = w.HTML(
            layout=w.Layout(display="none", overflow="auto", max_height="640px", **wide)
        )
        self._about = w.HTML(layout=w.Layout(**wide))
        self._panel = w.HTML(layout=w.Layout(**wide))
        # A column in reverse keeps its end in sight while it grows, and stays where a reader
        # has scrolled to.
        self._log = w.HTML(
            layout=w.Layout(
                display="none",
                flex_flow="column-reverse",
                align_items="stretch",
                overflow="auto",
                max_height="240px",
                padding="6px 10px",
                border="1px solid #8883",
                **wide,
            )
        )
        self._log.add_class("depotlab-log")
        panes = [self._picture, self._panel, self._about, self._log]
        # As much room at the right as front ends leave beside static HTML: the end does not jump.
        room = w.Layout(padding="2px 20px 2px 0", margin="0")
        self._box = w.VBox([self._top, self._tools.box, *panes], layout=room)
        self._box.add_class(VIEW_CLASS)

    @property
    def is_stale(self) -> bool:
        """Something was asked for that the page does not show yet."""
        waits_for_button = self._is_canceling and not self._cancel.disabled
        has_news = not self._has_files_shown and self._files is not None and self._files[1].done()
        return not self._wishes.empty() or not self._page.is_whole or waits_for_button or has_news

    def view(self) -> dict[str, Any]:
        """Return what front ends find the view by."""
        return {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}

    def paint(self, snapshot: Snapshot, *, max_rows: int, others: str = "") -> None:
        """Show this moment."""
        is_new = self._take_wishes()
        frame = frame_html(snapshot, max_rows=max_rows, picked=self._wish.step, others=others)
        self._set("main", self._main, frame)
        self._paint_panes(snapshot, max_rows=max_rows, is_new=is_new)
        if self._cancel is not None and self._is_canceling and not self._cancel.disabled:
            self._cancel.disabled = True
            self._cancel.description = "Canceling…"

    def rest(
        self,
        snapshot: Snapshot,
        *,
        max_rows: int,
        on_close: Callable[[], None],
        context: Context,
    ) -> None:
        """Show the end of a build with the graph, and answer what the page asks for from now on.

        Args:
            snapshot: The end.
            max_rows: The most steps that have a row.
            on_close: What the button does, which says Close from now on; called on a thread of ours.
            context: Of the cell, for that thread.
        """
        self._cancel.description = "Close"
        self._cancel.tooltip = "Leave only the picture that is saved"
        self._wish = replace(self._wish, has_graph=True)
        self._tools.draw.value = True
        self.paint(snapshot, max_rows=max_rows)

        def answer() -> bool:
            if self._is_canceling:
                on_close()
                return False
            with self._painting:
                self._tools.painter = threading.get_ident()
                try:
                    self.paint(snapshot, max_rows=max_rows)
                finally:
                    self._tools.painter = None
            return self.is_stale

        self._tools.painter = None
        self._afterwards = Afterwards(answer, context)

    def settle(self, html: str) -> None:
        """Leave one static child in the box, then give up everything else, leaves first."""
        import ipywidgets as w

        with self._painting:
            if self._afterwards is not None:
                self._afterwards.stop()
            self._box.children = (w.HTML(html),)
            leaves = (self._picture, self._panel, self._about, self._log)
            close_all((self._top, self._tools.box), leaves)

    # ------------------------------------------------------------------------ the painting thread

    def _take_wishes(self) -> bool:
        """Work off what was asked for since the last frame, and say whether there was anything."""
        is_asked = not self._wishes.empty()
        while not self._wishes.empty():
            self._wish = self._wishes.get()(self._wish)
        if is_asked:
            self._tools.follow_wish(self._wish)
        return is_asked

    def _paint_panes(self, snapshot: Snapshot, *, max_rows: int, is_new: bool) -> None:
        wish = self._wish
        step = next((s for s in snapshot.steps if wish.step and s.digest == wish.step), None)
        self._offer(snapshot, step, max_rows=max_rows, at_once=is_new)
        if snapshot.recent.n_bytes or step is not None:
            if is_new or wish.is_following or not self._page.is_whole:
                self._paint_log(snapshot)
            _show(self._about, "block")
            _show(self._log, "flex" if self._page.lines or step is None else "none")
        if snapshot.steps:
            _show(self._tools.box, "flex")
        self._paint_panel(step)
        self._paint_picture(snapshot, at_once=is_new)

    def _paint_log(self, snapshot: Snapshot) -> None:
        page = self._page = self._reader.page(snapshot, self._wish)
        html = log_html(page.lines, needle=self._wish.needle)
        self._set("log", self._log, html if page.lines else "&nbsp;")
        about = f'<div style="{UI};font-size:12px;color:{GREY}">{safe(page.about)}</div>'
        self._set("about", self._about, about)
        self._tools.show_page(page, self._wish)

    def _paint_panel(self, step: Step | None) -> None:
        """Show what the picked step is, and its files when they were asked for."""
        files = None
        if step is not None and self._wish.has_files and self._details is not None:
            if self._files is None or self._files[0] != step.digest:
                self._files = step.digest, self._details.list_files(step)
                self._has_files_shown = False
                self._files[1].add_done_callback(lambda _: self._wake())
            self._has_files_shown = self._files[1].done()
            files = _answer(self._files[1])
        html = panel_html(step, self._details, files=files) if step is not None else ""
        self._set("panel", self._panel, html)
        _show(self._panel, "block" if html else "none")

    def _paint_picture(self, snapshot: Snapshot, *, at_once: bool) -> None:
        wish = self._wish
        _show(self._picture, "block" if wish.has_graph or wish.has_timeline else "none")
        is_due = at_once or snapshot.at_ns - self._graph_ns >= _GRAPH_EVERY_NS
        if not is_due or not (wish.has_graph or wish.has_timeline):
            return
        self._graph_ns = snapshot.at_ns
        parts = []
        if wish.has_timeline:
            parts.append(timeline_html(snapshot, max_rows=_TIMELINE_ROWS, picked=wish.step))
        if wish.has_graph:
            svg = self._steps.svg(snapshot, picked=wish.step)
            parts.append(
                f"<div{pick_handlers(by_keys=True)}>{svg}</div>"
                if svg
                else "There is no picture of these steps."
            )
        self._set("picture", self._picture, "".join(parts))

    def _offer(
        self, snapshot: Snapshot, step: Step | None, *, max_rows: int, at_once: bool
    ) -> None:
        if not at_once and snapshot.at_ns - self._options_ns < _CHOICES_EVERY_NS:
            return
        self._options_ns = snapshot.at_ns
        rows = to_frame(snapshot, max_rows=max_rows).rows
        has_files = step is not None and self._details is not None and self._details.has_files(step)
        options = choices(snapshot, rows, self._wish.step, has_files=has_files)
        self._tools.offer(options, self._wish.option if has_files else self._wish.step)

    def _set(self, name: str, widget: Any, text: str) -> None:
        if self._texts.get(name) != text:
            self._texts[name] = text
            widget.value = text

    # ------------------------------------------------------------------------------- any thread

    def _ask(self, change: Callable[[Wish], Wish]) -> None:
        self._wishes.put(change)
        self._wake()

    def _wake(self) -> None:
        if self._afterwards is not None:
            self._afterwards.wake()

    def _ask_to_cancel(self) -> None:
        self._is_canceling = True
        if self._on_cancel is not None:
            self._on_cancel()
        self._wake()


def _answer(files: Future[str]) -> str:
    """Return what there is of the files by now, as HTML."""
    if not files.done():
        return "looking…"
    if files.cancelled() or files.exception() is not None:
        return safe(
            f"They cannot be listed: {files.exception() if not files.cancelled() else 'canceled'}"
        )
    return files.result()


def _show(widget: Any, display: str) -> None:
    if widget.layout.display != display:
        widget.layout.display = display
