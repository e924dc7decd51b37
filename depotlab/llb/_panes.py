"""One graph in three panes: the lines of a Dockerfile, the picture, and Python. Hovering over one shows the others.

The link is a style sheet and nothing else (`:has()` and `:hover`), so a saved notebook and a page without scripts have
it too. Where style sheets are taken out, the three panes are still there to be read.
"""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from depotlab import _graph
from depotlab._values import Value
from depotlab.errors import GraphError
from depotlab.llb._definition import Definition
from depotlab.llb._op import reads_all, walk
from depotlab.llb._picture import graph_of
from depotlab.llb._todockerfile import to_dockerfile
from depotlab.llb._topython import to_python

if TYPE_CHECKING:
    from depotlab.llb._state import State

__all__ = ["Panes", "panes_of"]

Lines = Mapping[str, tuple[int, int]]
"""First and last line of each op, by digest."""

_MAX_BOXES = 60
_MAX_LINES = 400


@dataclass(frozen=True, slots=True, repr=False)
class Panes(Value):
    """A graph as a Dockerfile, a picture and Python, side by side.

    Attributes:
        dockerfile: The Dockerfile that it came from, or that it can be said as; else why it cannot.
        python: A program that makes the graph.
        definition: The graph.
        dockerfile_lines: First and last line of each op, by digest.
        python_lines: The same in the program.
        is_said: The first pane has a Dockerfile, not the reason why there is none.
    """

    dockerfile: str
    python: str
    definition: Definition
    dockerfile_lines: Lines = field(default_factory=dict)
    python_lines: Lines = field(default_factory=dict)
    is_said: bool = True

    def __repr__(self) -> str:
        n = len(self.definition.ops) - 1
        lines = len(self.dockerfile.splitlines()) if self.is_said else "no"
        return f"<Panes of {n} operations: {lines} lines of Dockerfile, {len(self.python.splitlines())} of Python>"

    def __str__(self) -> str:
        return f"{self.dockerfile}\n{self.python}"

    def _repr_html_(self) -> str:
        return self.html

    @property
    def html(self) -> str:
        """The three panes as HTML with a style sheet and no script."""
        numbers = {
            view.digest: n for n, view in enumerate(self.definition.ops, 1) if view.kind != "final"
        }
        # Several views on one page must not light up each other.
        name = f"dlp-{uuid4().hex[:8]}"
        heads = ("Dockerfile", "Graph", "Python")
        panes = (
            _code(self.dockerfile, self.dockerfile_lines, numbers, is_code=self.is_said),
            f'<div class="dlp-scroll">{_picture(self.definition, numbers)}</div>',
            _code(self.python, self.python_lines, numbers),
        )
        body = "".join(
            f'<div class="dlp-pane"><div class="dlp-head">{head}</div>{pane}</div>'
            for head, pane in zip(heads, panes, strict=True)
        )
        return f'<div class="dlp {name}">{_style(name, numbers.values())}{body}</div>'

    def save(self, host_path: str | os.PathLike[str]) -> Path:
        """Write the panes into an HTML file and return its path. Overwritten if it exists."""
        path = Path(host_path)
        path.write_text(f'<!doctype html><meta charset="utf-8">{self.html}', encoding="utf-8")
        return path


def panes_of(state: State) -> Panes:
    """Return a state in three panes; see `State.panes`."""
    definition = state.marshal(local_unique_id="")
    python, starts = to_python(definition, state.image_config())
    python_lines = _until_next(starts, len(python.splitlines()))
    source, lines = _given_dockerfile(state, definition)
    if source:
        return Panes(source, python, definition, lines, python_lines)
    try:
        said = to_dockerfile(state)
    except GraphError as why:
        return Panes(str(why), python, definition, {}, python_lines, is_said=False)
    lines = _until_next(said.lines, len(said.text.splitlines()))
    return Panes(said.text, python, definition, lines, python_lines)


def _given_dockerfile(state: State, definition: Definition) -> tuple[str, Lines]:
    """Return the Dockerfile that the graph was made from, and where each op is in it."""
    source = ""
    lines: dict[str, tuple[int, int]] = {}
    seen: set[object] = set()
    by_data = dict(zip(definition.data, definition.digests, strict=True))
    roots = [] if state._op is None else [state._op]
    for op in walk(roots, seen.__contains__, reads_all):
        seen.add(op)
        data = getattr(op, "data", None)
        digest = by_data.get(data) if isinstance(data, bytes) else None
        for place in op.constraints.locations if digest else ():
            if place.source.language == "Dockerfile" and place.ranges and digest is not None:
                source = source or place.source.data.decode("utf-8", "replace")
                first = place.ranges[0]
                last = place.ranges[-1]
                lines[digest] = (first.start_line, last.end_line or first.start_line)
    return source, lines


def _until_next(starts: Mapping[str, int], n_lines: int) -> Lines:
    """Return for each op the lines from its first to the one before the next op's."""
    ordered = sorted(set(starts.values()))
    after = {a: b - 1 for a, b in zip(ordered, [*ordered[1:], n_lines + 1], strict=True)}
    return {digest: (first, max(first, after[first])) for digest, first in starts.items()}


def _code(text: str, lines: Lines, numbers: Mapping[str, int], *, is_code: bool = True) -> str:
    marks: dict[int, list[int]] = {}
    for digest, (first, last) in lines.items():
        for line in range(first, last + 1) if digest in numbers else ():
            marks.setdefault(line, []).append(numbers[digest])
    rows = []
    shown = text.splitlines()[:_MAX_LINES]
    for number, words in enumerate(shown, 1):
        names = "".join(f" o{mark}" for mark in marks.get(number, ()))
        count = f'<span class="dlp-n">{number if is_code else ""}</span>'
        rows.append(f'<div class="dlp-l{names}">{count}{escape(words) or " "}</div>')
    if len(text.splitlines()) > len(shown):
        rows.append('<div class="dlp-l">…</div>')
    return f'<pre class="dlp-scroll">{"".join(rows)}</pre>'


def _picture(definition: Definition, numbers: Mapping[str, int]) -> str:
    """Return the picture with the numbers of the ops as classes of its boxes."""
    graph = _graph.condense(
        graph_of(definition), calm_boxes=_MAX_BOXES, full_boxes=_MAX_BOXES, max_boxes=_MAX_BOXES
    )
    plan = _graph.layout(graph)
    pieces = _graph.to_svg(plan).split("<g><title>")
    boxes: Sequence[_graph.Box] = [*plan.boxes, *plan.chips]
    out = [pieces[0]]
    for box, piece in zip(boxes, pieces[1:], strict=True):
        ids = [member.id for member in box.node.members] or [box.node.id]
        names = " ".join(f"o{numbers[one]}" for one in ids if one in numbers)
        out.append(f'<g class="{names}"><title>{piece}' if names else f"<g><title>{piece}")
    return "".join(out)


def _style(name: str, numbers: Iterable[int]) -> str:
    light = "".join(
        f".{name}:has(.o{n}:hover) div.o{n}{{background:rgba(255,170,0,.28)}}"
        f".{name}:has(.o{n}:hover) g.o{n}>rect{{stroke-width:3;fill-opacity:.35}}"
        for n in numbers
    )
    base = (
        ".dlp{display:flex;gap:12px;align-items:stretch;font-size:13px;flex-wrap:wrap}"
        ".dlp-pane{flex:1 1 260px;min-width:0;display:flex;flex-direction:column;"
        "border:1px solid rgba(128,128,128,.35);border-radius:8px;overflow:hidden}"
        ".dlp-head{font-weight:600;padding:4px 10px;border-bottom:1px solid rgba(128,128,128,.35)}"
        ".dlp-scroll{overflow:auto;max-height:70vh;margin:0;padding:6px 0}"
        "div.dlp-scroll{padding:6px}.dlp pre{font:12px/1.5 ui-monospace,Menlo,Consolas,monospace}"
        ".dlp-l{white-space:pre-wrap;overflow-wrap:anywhere;padding:0 10px 0 3.4em;text-indent:-3.4em}"
        ".dlp-n{display:inline-block;width:2.6em;margin-right:.8em;text-align:right;opacity:.45;"
        "text-indent:0;user-select:none}.dlp svg{max-width:100%;height:auto}"
    )
    return f"<style>{base}{light}</style>"
