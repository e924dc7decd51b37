"""The widgets of one live view: the picture, a Cancel button, and the pane in which logs are read.

Their number does not depend on the build, and a frame sends a message only for what has changed.
Two threads meet here. The painting thread makes and changes widgets. Handlers of the page's events
run on whatever thread the kernel takes messages on, beside it: they only put a wish into a queue, or
ask for the cancellation; the next frame does the rest.

A cell that waits for its build keeps the kernel from its messages. From ipykernel 7 on there is a
thread that receives them all the same: JupyterLab has its own subshell for widgets, and ipykernel
7.4 asks the widget's comm where a message belongs, which is where we hear it (ipykernel
`kernelbase.py`, `shell_channel_thread_main`). Before that only the stop button reaches a busy cell.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from depotlab.progress import Snapshot
from depotlab.widgets._frame import to_frame
from depotlab.widgets._html import VIEW_CLASS, frame_html
from depotlab.widgets._markup import GREY, UI, safe
from depotlab.widgets._output import log_html
from depotlab.widgets._reading import LogPage, LogReader, Wish, choices
from depotlab.widgets._stepgraph import StepGraph

__all__ = ["Live", "hears_while_busy"]

_CHOICES_EVERY_NS = 2_000_000_000
"""How often the list of logs may change: an open list must not move under the mouse."""

_GRAPH_EVERY_NS = 1_000_000_000

# Selecting and copying works on pages without a certificate too, where the clipboard API does not.
_COPY = (
    "const p=this.closest('.depotlab-view').querySelector('.depotlab-log'),s=getSelection();"
    "s.selectAllChildren(p);document.execCommand('copy');this.textContent='Copied';"
    "setTimeout(()=>{this.textContent='Copy'},1200)"
)


def hears_while_busy() -> bool:
    """Say whether a button can be heard while a cell of this kernel waits."""
    module = sys.modules.get("IPython.core.getipython")
    shell = module.get_ipython() if module is not None else None
    return getattr(getattr(shell, "kernel", None), "shell_channel_thread", None) is not None


class Live:
    """The widgets of one live view.

    Args:
        on_cancel: What the Cancel button does; no button without it.
    """

    def __init__(self, on_cancel: Callable[[], None] | None) -> None:
        import ipywidgets as w

        self._painter = threading.get_ident()
        self._texts: dict[str, str] = {}
        self._wishes: queue.SimpleQueue[Callable[[Wish], Wish]] = queue.SimpleQueue()
        self._wish = Wish()
        self._is_wrapped = True
        self._is_drawn = False
        self._steps = StepGraph()
        self._graph_ns = 0
        self._reader = LogReader()
        self._page = LogPage(())
        self._options: list[tuple[str, str]] = []
        self._options_ns = 0
        self._is_canceling = False
        self._on_cancel = on_cancel
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
            _hear(self._cancel, self._ask_to_cancel)
            top.append(self._cancel)
        self._top = w.HBox(top, layout=w.Layout(align_items="flex-start", max_width="960px"))
        self._tools = self._make_tools()
        self._graph = w.HTML(
            layout=w.Layout(
                display="none",
                overflow="auto",
                max_height="420px",
                max_width="960px",
                margin="4px 0",
            )
        )
        self._log = w.HTML(layout=w.Layout(margin="0", min_width="0"))
        self._log.add_class("depotlab-log")
        # A column in reverse keeps its end in sight while it grows, and stays where a reader
        # has scrolled to.
        self._log_box = w.Box(
            [self._log],
            layout=w.Layout(
                display="none",
                flex_flow="column-reverse",
                overflow="auto",
                max_height="240px",
                max_width="960px",
                margin="4px 0 0",
                padding="6px 10px",
                border="1px solid #8883",
            ),
        )
        # As much room at the right as front ends leave beside static HTML: the end does not jump.
        room = w.Layout(padding="2px 20px 2px 0", margin="0")
        self._box = w.VBox([self._top, self._tools, self._graph, self._log_box], layout=room)
        self._box.add_class(VIEW_CLASS)

    def _make_tools(self) -> Any:
        import ipywidgets as w

        def button(text: str, tip: str) -> Any:
            layout = w.Layout(width="auto", margin="0 4px 0 0")
            return w.Button(description=text, tooltip=tip, layout=layout, disabled=True)

        def toggle(text: str, tip: str, *, is_on: bool = True) -> Any:
            layout = w.Layout(width="auto", margin="0 12px 0 0")
            box = w.Checkbox(value=is_on, description=text, indent=False, layout=layout)
            return _explained(box, tip)

        self._list = w.Dropdown(
            description="Log",
            options=[("All output", "")],
            style={"description_width": "initial"},
            layout=w.Layout(flex="1 1 160px", width="auto", min_width="0", margin="0 4px 0 0"),
        )
        self._search = w.Text(
            placeholder="Search",
            layout=w.Layout(flex="0 1 120px", width="120px", min_width="70px", margin="0 4px 0 0"),
        )
        _explained(self._search, "Show only lines that contain this")
        self._older = button("Older", "Show the page before")
        self._newer = button("Newer", "Show the page after")
        self._wrap = toggle("Wrap", "Break long lines")
        self._follow = toggle("Follow", "Show new lines as they come; off, nothing moves")
        self._draw = toggle("Graph", "Draw the steps as a graph, coloured as they go", is_on=False)
        self._copy = w.HTML(
            f'<button type="button" class="jupyter-button" onclick="{_COPY}" '
            'title="Copy the lines that are shown" style="cursor:pointer">Copy</button>',
            layout=w.Layout(margin="0"),
        )
        self._about = w.HTML(layout=w.Layout(flex="1 1 240px", margin="0", min_width="0"))
        self._list.observe(self._on_list, names="value")
        self._search.observe(self._on_search, names="value")
        self._follow.observe(self._on_follow, names="value")
        self._wrap.observe(self._on_wrap, names="value")
        self._draw.observe(self._on_draw, names="value")
        self._older.on_click(lambda _: self._wishes.put(self._turned_older))
        self._newer.on_click(lambda _: self._wishes.put(self._turned_newer))
        pressed = (self._older, self._newer, self._wrap, self._follow, self._draw)
        for widget in (self._list, self._search, *pressed):
            _hear(widget)
        return w.HBox(
            [
                *(self._list, self._search, self._older, self._newer),
                *(self._about, self._draw, self._wrap, self._follow, self._copy),
            ],
            layout=w.Layout(
                display="none",
                flex_flow="row wrap",
                align_items="center",
                max_width="960px",
                margin="6px 0 0",
            ),
        )

    @property
    def is_stale(self) -> bool:
        """Something was asked for that the page does not show yet."""
        waits_for_button = self._is_canceling and not self._cancel.disabled
        return not self._wishes.empty() or not self._page.is_whole or waits_for_button

    def view(self) -> dict[str, Any]:
        """Return what front ends find the view by."""
        return {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}

    def paint(self, snapshot: Snapshot, *, max_rows: int, others: str = "") -> None:
        """Show this moment."""
        is_new = self._take_wishes()
        picked = self._wish.step
        frame = frame_html(snapshot, max_rows=max_rows, picked=picked, others=others)
        self._set("main", self._main, frame)
        if snapshot.recent.n_bytes or picked:
            if is_new or self._wish.is_following or not self._page.is_whole:
                self._paint_log(snapshot)
            self._offer(snapshot, max_rows=max_rows, at_once=is_new)
            if self._log_box.layout.display == "none":
                self._log_box.layout.display = "flex"
        if snapshot.steps and self._tools.layout.display == "none":
            self._tools.layout.display = "flex"
        self._paint_graph(snapshot, at_once=is_new)
        if self._cancel is not None and self._is_canceling and not self._cancel.disabled:
            self._cancel.disabled = True
            self._cancel.description = "Canceling…"

    def settle(self, html: str) -> None:
        """Leave one static child in the box, then give up everything else, leaves first."""
        import ipywidgets as w

        self._box.children = (w.HTML(html),)
        containers = (self._top, self._tools, self._log_box)
        leaves = [widget for container in containers for widget in container.children]
        leaves.append(self._graph)
        for container in containers:
            container.children = ()
        for widget in (*leaves, *containers):
            layout, style = widget.layout, getattr(widget, "style", None)
            widget.close()
            layout.close()
            if style is not None:
                style.close()

    # ------------------------------------------------------------------------ the painting thread

    def _take_wishes(self) -> bool:
        """Work off what was asked for since the last frame, and say whether there was anything."""
        is_asked = not self._wishes.empty()
        while not self._wishes.empty():
            self._wish = self._wishes.get()(self._wish)
        if is_asked:
            self._follow.value = self._wish.is_following
            if (
                self._wish.page is not None
            ):  # turning pages ends a search; else the field is the reader's
                self._search.value = ""
        return is_asked

    def _paint_log(self, snapshot: Snapshot) -> None:
        page = self._page = self._reader.page(snapshot, self._wish)
        html = log_html(page.lines, is_wrapped=self._is_wrapped, needle=self._wish.needle)
        self._set("log", self._log, html if page.lines else "&nbsp;")
        about = f'<div style="{UI};font-size:12px;color:{GREY}">{safe(page.about)}</div>'
        self._set("about", self._about, about)
        has_older = page.n_pages > 0 and self._wish.page != 0 and not self._wish.needle
        has_newer = self._wish.page is not None
        if self._older.disabled is has_older:
            self._older.disabled = not has_older
        if self._newer.disabled is has_newer:
            self._newer.disabled = not has_newer

    def _paint_graph(self, snapshot: Snapshot, *, at_once: bool) -> None:
        is_shown = self._graph.layout.display != "none"
        if is_shown is not self._is_drawn:
            self._graph.layout.display = "block" if self._is_drawn else "none"
        is_due = at_once or snapshot.at_ns - self._graph_ns >= _GRAPH_EVERY_NS
        if self._is_drawn and is_due:
            self._graph_ns = snapshot.at_ns
            none = "There is no picture of these steps."
            self._set("graph", self._graph, self._steps.svg(snapshot) or none)

    def _offer(self, snapshot: Snapshot, *, max_rows: int, at_once: bool) -> None:
        if not at_once and snapshot.at_ns - self._options_ns < _CHOICES_EVERY_NS:
            return
        self._options_ns = snapshot.at_ns
        rows = to_frame(snapshot, max_rows=max_rows).rows
        options = choices(snapshot, rows, self._wish.step)
        if options == self._options:
            return
        self._options = options
        with self._list.hold_sync():
            self._list.options = options
            self._list.value = self._wish.step

    def _set(self, name: str, widget: Any, text: str) -> None:
        if self._texts.get(name) != text:
            self._texts[name] = text
            widget.value = text

    def _turned_older(self, wish: Wish) -> Wish:
        return wish.turned("older", self._page.n_pages)

    def _turned_newer(self, wish: Wish) -> Wish:
        return wish.turned("newer", self._page.n_pages)

    # ------------------------------------------------------------------------------- any thread

    def _is_painting(self) -> bool:
        """The painting thread sets values too; only what the page sets is a wish."""
        return threading.get_ident() == self._painter

    def _on_list(self, change: dict[str, Any]) -> None:
        step = change["new"] or ""
        if not self._is_painting():
            self._wishes.put(lambda wish: Wish(step=step, needle=wish.needle))

    def _on_search(self, change: dict[str, Any]) -> None:
        needle = str(change["new"])
        if not self._is_painting():
            self._wishes.put(
                lambda wish: replace(wish, needle=needle, page=None, is_following=True)
            )

    def _on_follow(self, change: dict[str, Any]) -> None:
        is_on = bool(change["new"])
        if not self._is_painting():
            self._wishes.put(
                lambda wish: replace(wish, is_following=is_on, page=None if is_on else wish.page)
            )

    def _on_wrap(self, change: dict[str, Any]) -> None:
        if not self._is_painting():
            self._is_wrapped = bool(change["new"])
            self._wishes.put(lambda wish: wish)

    def _on_draw(self, change: dict[str, Any]) -> None:
        if not self._is_painting():
            self._is_drawn = bool(change["new"])
            self._wishes.put(lambda wish: wish)

    def _ask_to_cancel(self) -> None:
        self._is_canceling = True
        if self._on_cancel is not None:
            self._on_cancel()


def _explained(widget: Any, tip: str) -> Any:
    """Add what is shown under the mouse; in ipywidgets 7 only buttons have that."""
    if widget.has_trait("tooltip"):
        widget.tooltip = tip
    return widget


def _hear(widget: Any, on_click: Callable[[], None] | None = None) -> None:
    """Let a widget's messages be heard while the cell that made it waits, where the kernel can.

    ipykernel 7.4 sends what the page says to whichever shell the comm last spoke from, and that is
    the busy one. This gives back the choice to the page, and hears a click in passing, because
    front ends without subshells leave it to the busy shell.
    """
    if not hasattr(widget.comm, "_reply_subshell_for"):
        return

    def route(data: Any, asked: Any) -> Any:
        content = data.get("content") if isinstance(data, dict) else None
        if on_click is not None and isinstance(content, dict) and content.get("event") == "click":
            on_click()
        return asked

    widget.comm._reply_subshell_for = route  # noqa: SLF001 - the only way to be asked
