"""The row of controls under a live view: what a reader does there becomes a wish, on whatever thread it is heard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from depotlab.widgets._hearing import hear
from depotlab.widgets._reading import FILES, LogPage, Wish

__all__ = ["Tools", "close_all"]

# What the page does by itself. The pane stays when its lines are drawn anew, and they take the style from it.
_WRAP = (
    "const p=this.closest('.depotlab-view').querySelector('.depotlab-log').style,on=this.checked;"
    "p.setProperty('--dl-wrap',on?'pre-wrap':'pre');"
    "p.setProperty('--dl-column',on?'minmax(0,1fr)':'max-content')"
)
# Selecting and copying works on pages without a certificate too, where the clipboard API does not.
_COPY = (
    "const p=this.closest('.depotlab-view').querySelector('.depotlab-log'),s=getSelection();"
    "s.selectAllChildren(p);document.execCommand('copy');this.textContent='Copied';"
    "setTimeout(()=>{this.textContent='Copy'},1200)"
)


class Tools:
    """Controls of one view.

    Args:
        asked: Is given what changes the wish; called on any thread but the painting one.

    Attributes:
        painter: The thread that paints now, or None: what it sets is no wish.
        box: The row.
    """

    def __init__(self, asked: Callable[[Callable[[Wish], Wish]], None]) -> None:
        import ipywidgets as w

        self.painter: int | None = threading.get_ident()
        self._asked = asked
        self._options: list[tuple[str, str]] = []

        def button(text: str, tip: str) -> Any:
            layout = w.Layout(width="auto", margin="0 4px 0 0")
            return w.Button(description=text, tooltip=tip, layout=layout, disabled=True)

        def toggle(text: str, tip: str, *, is_on: bool) -> Any:
            layout = w.Layout(width="auto", margin="0 12px 0 0")
            box = w.Checkbox(value=is_on, description=text, indent=False, layout=layout)
            return _explained(box, tip)

        self.list = w.Dropdown(
            description="Log",
            options=[("All output", "")],
            style={"description_width": "initial"},
            layout=w.Layout(flex="1 1 160px", width="auto", min_width="0", margin="0 4px 0 0"),
        )
        self.search = w.Text(
            placeholder="Search",
            layout=w.Layout(flex="0 1 120px", width="120px", min_width="70px", margin="0 4px 0 0"),
        )
        _explained(self.search, "Show only lines that contain this")
        self.older = button("Older", "Show the page before")
        self.newer = button("Newer", "Show the page after")
        self.draw = toggle("Graph", "Draw the steps as a graph, coloured as they go", is_on=False)
        self.times = toggle("Timeline", "Show when each step was worked on", is_on=False)
        self.follow = toggle(
            "Follow", "Show new lines as they come; off, nothing moves", is_on=True
        )
        self._own = w.HTML(
            f'<label title="Break long lines" style="margin-right:12px"><input type="checkbox" '
            f'checked onchange="{_WRAP}"> Wrap</label><button type="button" class="jupyter-button" '
            f'onclick="{_COPY}" title="Copy the lines that are shown" style="cursor:pointer">Copy</button>',
            layout=w.Layout(margin="0"),
        )
        controls = (self.list, self.search, self.older, self.newer)
        toggles = (self.draw, self.times, self.follow)
        for widget in (*controls, *toggles):
            hear(widget)
        self._listen()
        self.box = w.HBox(
            [*controls, *toggles, self._own],
            layout=w.Layout(
                display="none",
                flex_flow="row wrap",
                align_items="center",
                max_width="960px",
                margin="6px 0 0",
            ),
        )

    def _listen(self) -> None:
        self._on(
            self.list,
            lambda wish, value: replace(
                wish,
                step=value.removeprefix(FILES),
                has_files=value.startswith(FILES),
                page=None,
                is_following=True,
            ),
        )
        self._on(
            self.search,
            lambda wish, value: replace(wish, needle=value, page=None, is_following=True),
        )
        self._on(
            self.follow,
            lambda wish, value: replace(
                wish, is_following=value, page=None if value else wish.page
            ),
        )
        self._on(self.draw, lambda wish, value: replace(wish, has_graph=value))
        self._on(self.times, lambda wish, value: replace(wish, has_timeline=value))
        self.n_pages = 0
        self.older.on_click(lambda _: self._asked(lambda w: w.turned("older", self.n_pages)))
        self.newer.on_click(lambda _: self._asked(lambda w: w.turned("newer", self.n_pages)))

    def _on(self, widget: Any, changed: Callable[[Wish, Any], Wish]) -> None:
        def heard(change: dict[str, Any]) -> None:
            value = change["new"] if change["new"] is not None else ""
            if threading.get_ident() != self.painter:
                self._asked(lambda wish: changed(wish, value))

        widget.observe(heard, names="value")

    # ------------------------------------------------------------------------ the painting thread

    def follow_wish(self, wish: Wish) -> None:
        """Show what turning pages means for the other controls."""
        self.follow.value = wish.is_following
        if wish.page is not None:  # it ends a search; else the field is the reader's
            self.search.value = ""

    def show_page(self, page: LogPage, wish: Wish) -> None:
        """Offer the pages that there are."""
        self.n_pages = page.n_pages
        has_older = page.n_pages > 0 and wish.page != 0 and not wish.needle
        has_newer = wish.page is not None
        if self.older.disabled is has_older:
            self.older.disabled = not has_older
        if self.newer.disabled is has_newer:
            self.newer.disabled = not has_newer

    def offer(self, options: list[tuple[str, str]], value: str) -> None:
        """Change the list, if it has changed."""
        if options == self._options and self.list.value == value:
            return
        self._options = options
        with self.list.hold_sync():
            self.list.options = options
            self.list.value = value


def close_all(boxes: Iterable[Any], leaves: Iterable[Any]) -> None:
    """Give up containers with what is in them, and leaves; no open widget may refer to any of them any more."""
    boxes = tuple(boxes)
    inside = [widget for box in boxes for widget in box.children]
    for box in boxes:
        box.children = ()
    for widget in (*inside, *leaves, *boxes):
        layout, style = widget.layout, getattr(widget, "style", None)
        widget.close()
        layout.close()
        if style is not None:
            style.close()


def _explained(widget: Any, tip: str) -> Any:
    """Add what is shown under the mouse; in ipywidgets 7 only buttons have that."""
    if widget.has_trait("tooltip"):
        widget.tooltip = tip
    return widget
