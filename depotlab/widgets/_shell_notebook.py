"""A shell in a notebook cell: a real terminal (xterm.js in an anywidget), or a line to type into.

The cell does not wait for it: the terminal lives on while other cells run. What is shown is replaced by plain HTML and
text when the shell has ended, which is what a saved notebook keeps. A page that is loaded again says hello and is told
the newest output once more.
"""

from __future__ import annotations

import functools
import json
import threading
import uuid
from pathlib import Path
from typing import Any

from depotlab.widgets._inorder import InOrder
from depotlab.widgets._notebook import notebook_mode
from depotlab.widgets._shell import Keys, Recent, transcript_html, transcript_text

__all__ = ["NotebookShell"]

_ASSETS = Path(__file__).parent / "_xterm"
_VIEW = "application/vnd.jupyter.widget-view+json"

UNSEEN_BYTES = 512 << 10
"""What may be on the way to a page that has not said that it drew it."""

UNSEEN_S = 5.0
"""How long to wait for a page. One that is closed, or a kernel that is busy, never says anything."""


class NotebookShell:
    """Shows a shell in the output of a cell.

    Args:
        title: What the bar over it says.
        keys: What is typed goes there.
        height_px: Of the terminal; the page can change it.
    """

    def __init__(self, title: str, keys: Keys, *, height_px: int = 320) -> None:
        self._title = title
        self._keys = keys
        self._height_px = height_px
        self._display_id = f"depotlab-{uuid.uuid4().hex}"
        self._recent = Recent()
        self._pane: _Terminal | _Lines | None = None

    def open(self) -> None:
        """Put it into the cell."""
        bundle: dict[str, Any] = {"text/plain": self._title}
        if notebook_mode() == "widgets":
            pane = _terminal_class()
            self._pane = (
                _Terminal(self._title, self._keys, self._recent, self._height_px)
                if pane is not None
                else _Lines(self._title, self._keys)
            )
            bundle[_VIEW] = self._pane.view()
        self._publish(bundle, is_update=False)

    def write(self, data: bytes) -> None:
        """Show what the shell wrote; waits while the page has much to draw."""
        self._recent.add(data)
        if self._pane is not None:
            self._pane.write(data)

    def close(self, ending: str) -> None:
        """Leave a transcript in place of the terminal."""
        if self._pane is not None:
            self._pane.close(ending, transcript_html(self._title, bytes(self._recent.data), ending))
            self._pane = None
        data = bytes(self._recent.data)
        bundle = {
            "text/plain": transcript_text(self._title, data, ending),
            "text/html": transcript_html(self._title, data, ending),
        }
        self._publish(bundle, is_update=True)

    def _publish(self, bundle: dict[str, Any], *, is_update: bool) -> None:
        from IPython.display import display

        display(bundle, raw=True, display_id=self._display_id, update=is_update)  # type: ignore[no-untyped-call]


@functools.cache
def _terminal_class() -> Any:
    """Return the widget's class, or None where anywidget is not installed."""
    try:
        import anywidget
        import traitlets
    except ImportError:
        return None
    sources = {"XTERM": "xterm.mjs", "FIT": "addon-fit.mjs"}
    texts = {name: (_ASSETS / file).read_text("utf-8") for name, file in sources.items()}
    constants = "".join(f"const {name} = {json.dumps(text)};\n" for name, text in texts.items())
    members = {
        "_esm": constants + (_ASSETS / "shell.js").read_text("utf-8"),
        "_css": (_ASSETS / "xterm.css").read_text("utf-8")
        + (_ASSETS / "shell.css").read_text("utf-8"),
        "title": traitlets.Unicode("").tag(sync=True),
        "height_px": traitlets.Int(320).tag(sync=True),
    }
    return type("ShellWidget", (anywidget.AnyWidget,), members)


class _Terminal:
    """A terminal in a page. `_heard` runs on whatever thread the kernel handles messages on."""

    def __init__(self, title: str, keys: Keys, recent: Recent, height_px: int) -> None:
        import ipywidgets as w

        self._keys = keys
        self._typed = InOrder(keys.typed)
        self._recent = recent
        self._drawn = threading.Condition()
        self._unseen_bytes = 0
        self._is_there = False
        self._is_closed = False
        self._widget = _terminal_class()(title=title, height_px=height_px)
        self._widget.on_msg(self._heard)
        self._box = w.VBox([self._widget], layout=w.Layout(padding="2px 20px 2px 0", margin="0"))

    def view(self) -> dict[str, Any]:
        return {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}

    def write(self, data: bytes) -> None:
        with self._drawn:
            if not self._is_there:
                return  # the page asks for everything when it comes
            self._drawn.wait_for(
                lambda: self._unseen_bytes < UNSEEN_BYTES or self._is_closed, UNSEEN_S
            )
            self._unseen_bytes += len(data)
            self._widget.send({"type": "out"}, [data])

    def close(self, ending: str, html: str) -> None:
        import ipywidgets as w

        with self._drawn:
            self._is_closed = True
            self._drawn.notify_all()
        self._widget.send({"type": "end", "text": ending})
        self._box.children = (w.HTML(html),)
        layout = self._widget.layout
        self._widget.close()
        layout.close()

    def _heard(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        kind = message.get("type")
        if kind == "in":
            data = str(message["data"]).encode()
            self._typed.take(str(message["page"]), int(message["number"]), data)
            return
        if kind == "ack":
            with self._drawn:
                self._unseen_bytes -= int(message["bytes"])
                self._drawn.notify_all()
            return
        self._keys.resized(int(message["rows"]), int(message["cols"]))
        if kind == "hello":
            with self._drawn:
                self._widget.send({"type": "reset"})
                self._widget.send({"type": "out"}, [bytes(self._recent.data)])
                self._unseen_bytes = len(self._recent.data)
                self._is_there = True


class _Lines:
    """A line to type into and what the shell wrote, for front ends without anywidget."""

    def __init__(self, title: str, keys: Keys) -> None:
        import ipywidgets as w

        self._title = title
        self._keys = keys
        self._recent = Recent(64 << 10)
        self._output = w.HTML(layout=w.Layout(margin="0", max_width="960px"))
        self._line = w.Text(
            placeholder="type a command, press Enter",
            continuous_update=False,
            layout=w.Layout(width="640px"),
        )
        self._line.observe(self._entered, names="value")
        self._stop = w.Button(
            description="Ctrl-C", tooltip="Interrupt the command", layout=w.Layout(width="80px")
        )
        self._stop.on_click(lambda _: keys.typed(b"\x03"))
        self._row = w.HBox([self._line, self._stop])
        self._box = w.VBox([self._output, self._row])
        self._keys.resized(24, 100)

    def view(self) -> dict[str, Any]:
        return {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}

    def write(self, data: bytes) -> None:
        self._recent.add(data)
        self._output.value = transcript_html(self._title, bytes(self._recent.data), "")

    def close(self, ending: str, html: str) -> None:
        import ipywidgets as w

        self._box.children = (w.HTML(html),)
        self._row.children = ()
        for widget in (self._output, self._line, self._stop, self._row):
            layout, style = widget.layout, getattr(widget, "style", None)
            widget.close()
            layout.close()
            if style is not None:
                style.close()

    def _entered(self, change: dict[str, Any]) -> None:
        text = str(change["new"])
        if text:
            self._keys.typed(text.encode() + b"\n")
            self._line.value = ""
