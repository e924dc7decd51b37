"""A directory to click through in a notebook: each is read when it is opened.

The tree is the list of one select box, whatever the number of files; rows of widgets would cost nine kilobytes of a
saved notebook each. Beside it is what the row that was clicked is: the first bytes of a file. What a saved notebook
keeps is static HTML, as of when it was shown.
"""

from __future__ import annotations

import codecs
import html
from collections.abc import Collection
from typing import Any

from depotlab._inside.look import Look, look_at
from depotlab._portal import portal
from depotlab._verbs import AnyBuilder
from depotlab.buildkit import FileInfo, FileTree, bytes_text, cut, tree
from depotlab.errors import DepotlabError

__all__ = ["Browser", "Rows"]

_VIEW = "application/vnd.jupyter.widget-view+json"
_SHOWN_BYTES = 4096
_SHOWN_ROWS = 2000


class Rows:
    """The rows of a tree in which directories open and close. Knows no widgets.

    Args:
        top: The tree as far as it was read.
    """

    def __init__(self, top: FileTree) -> None:
        self.top = top
        self._children: dict[str, tuple[FileInfo, ...]] = {}
        self._open: set[str] = {top.info.path}
        self.add(top)

    def add(self, node: FileTree) -> None:
        """Take in a directory that was read."""
        if node.children is not None:
            self._children[node.info.path] = tuple(child.info for child in node.children)

    def is_known(self, path: str) -> bool:
        """Whether the directory was read."""
        return path in self._children

    def toggle(self, path: str) -> None:
        """Open a directory, or close it."""
        self._open ^= {path}

    def listed(self) -> list[tuple[str, FileInfo]]:
        """Return the rows that are seen, as text, with what they stand for."""
        found: list[tuple[str, FileInfo]] = []
        waiting = [(info, 0) for info in reversed(self._children.get(self.top.info.path, ()))]
        while waiting and len(found) < _SHOWN_ROWS:
            info, depth = waiting.pop()
            found.append((self._text(info, depth), info))
            if info.is_dir and info.path in self._open:
                inside = self._children.get(info.path, ())
                waiting += [(child, depth + 1) for child in reversed(inside)]
        return found

    def _text(self, info: FileInfo, depth: int) -> str:
        # No-break spaces: a select box folds others.
        indent = "\u00a0" * (4 * depth)
        if info.is_dir:
            return f"{indent}{'▾' if info.path in self._open else '▸'} {cut(info.name, 60)}/"
        beside = f" → {cut(info.link_target, 40)}" if info.kind == "symlink" else ""
        size = f" · {bytes_text(info.size_bytes)}" if info.is_file else ""
        return f"{indent}\u00a0\u00a0 {cut(info.name, 60)}{beside}{size}"


class Browser:
    """A directory of a target, to be clicked through in a notebook; its text is that of a tree.

    Args:
        builder: Where the target is.
        look: The target.
        top: The directory, read already.
    """

    def __init__(self, builder: AnyBuilder, look: Look, top: FileTree) -> None:
        self._builder = builder
        self._look = look
        self._rows = Rows(top)
        self._top = top

    def __repr__(self) -> str:
        return f"<Browser of {self._top.info.path}, {len(self._rows.listed())} rows>"

    def __str__(self) -> str:
        return str(self._top)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        bundle: dict[str, Any] = {
            "text/plain": str(self._top),
            "text/html": self._top._repr_html_(),
        }
        try:
            import ipywidgets  # noqa: F401
        except ImportError:
            return bundle  # the static form is one to look at as well
        bundle[_VIEW] = {
            "version_major": 2,
            "version_minor": 0,
            "model_id": self.widget().model_id,
        }
        return bundle

    def widget(self) -> Any:
        """Return a new ipywidgets box that shows the directory."""
        import ipywidgets as w

        head = w.HTML(f"<b>{html.escape(self._top.info.path)}</b>")
        box = w.Select(options=[], rows=16, layout=w.Layout(width="420px", height="320px"))
        pane = w.HTML(layout=w.Layout(flex="1 1 auto", min_width="0", margin="0 0 0 12px"))
        both = w.HBox([box, pane], layout=w.Layout(max_width="960px"))
        state = {"painting": False}

        def paint() -> None:
            # Nothing stays selected, so that a click on the same row is heard again.
            state["painting"] = True
            box.options = [(text, info.path) for text, info in self._rows.listed()]
            box.index = None
            state["painting"] = False

        def clicked(change: dict[str, Any]) -> None:
            path = change["new"]
            if state["painting"] or path is None:
                return
            info = next((info for _, info in self._rows.listed() if info.path == path), None)
            if info is None:
                return
            try:
                pane.value = self._opened(info)
            except DepotlabError as error:
                pane.value = f"<pre>{html.escape(str(error))}</pre>"
            paint()

        paint()
        box.observe(clicked, names="value")
        return w.VBox([head, both], layout=w.Layout(padding="2px 20px 2px 0"))

    def _opened(self, info: FileInfo) -> str:
        """Do what a click on a row means, and return what stands beside the tree then."""
        said = html.escape(f"{info.mode_text}  {info.uid}:{info.gid}  {info.path}")
        head = f'<div style="font-family:monospace;font-size:12px">{said}</div>'
        if info.is_dir:
            if not self._rows.is_known(info.path):
                self._rows.add(self._read_directory(info.path))
            self._rows.toggle(info.path)
            return head
        if not info.is_file:
            return head
        data = portal().run(
            look_at(
                self._builder,
                self._look,
                lambda opened: opened.files.read(info.path, length=_SHOWN_BYTES),
            )
        )
        return head + _preview(data, info.size_bytes)

    def _read_directory(self, path: str) -> FileTree:
        return portal().run(
            look_at(self._builder, self._look, lambda opened: tree(opened.files, path, depth=1))
        )


def _preview(data: bytes, size_bytes: int) -> str:
    """Return the beginning of a file as HTML: text as text, all else as bytes."""
    try:
        # Of a part the last letter may be cut in two.
        text = codecs.getincrementaldecoder("utf-8")().decode(data, len(data) == size_bytes)
        is_text = "\0" not in text
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        rows = [data[at : at + 16] for at in range(0, min(len(data), 256), 16)]
        text = "\n".join(
            f"{16 * n:06x}  {row.hex(' '):<47}  "
            + "".join(chr(b) if 32 <= b < 127 else "." for b in row)
            for n, row in enumerate(rows)
        )
    more = f"\n… {bytes_text(size_bytes)} in all" if size_bytes > len(data) or not is_text else ""
    return (
        '<pre style="max-height:280px;overflow:auto;font-size:12px;line-height:1.35;margin:6px 0 0">'
        f"{html.escape(text + more)}</pre>"
    )
