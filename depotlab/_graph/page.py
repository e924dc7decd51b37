"""The picture as HTML for notebooks: searchable and clickable where scripts run, complete where not.

The picture is an `img` with a data URI, which survives in notebooks that are not trusted, and the list
of steps is plain text; a script (`interactive.js`) makes the same image and list live. It takes the
colours of the page's theme; the image has a card of its own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib import resources

from depotlab._graph.arrange import Layout
from depotlab._graph.kinds import kind_look
from depotlab._graph.model import Graph, Node
from depotlab._graph.picture import fitting
from depotlab._graph.svg import drawn_links
from depotlab._graph.text import clean

__all__ = ["to_html"]

_MAX_LABEL = 160
_MAX_TITLE = 400


def to_html(
    graph: Graph, states: Mapping[str, str] | None = None, *, max_bytes: int = 500_000
) -> str:
    """Return the picture with a search field and a list of all steps, as one HTML element.

    Typing dims what does not match; clicking a box dims what it neither needs nor is needed by and
    lists what is in it; the list follows both.

    Args:
        graph: As it is, not condensed.
        states: For ids of its nodes one of the words in `STATES`, or None.
        max_bytes: About how large the text may get. The list is cut first, with a note.
    """
    plan, svg = fitting(graph, states, max_bytes // 2)
    encoded = base64.b64encode(svg.encode()).decode()
    script, style = _asset("interactive.js"), _asset("interactive.css")
    links = " ".join(f"{link.source}-{link.target}" for link in drawn_links(plan))
    words = f"{plan.n_nodes} step{'' if plan.n_nodes == 1 else 's'}"
    room = max_bytes - len(encoded) - len(script) - len(style) - len(links) - 1000
    return (
        f'<div class="dl-graph" data-links="{links}" data-css="{escape(style)}" '
        f'data-chips="{"1" if plan.chips else ""}" '
        'style="font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif)">'
        f'<div style="overflow:auto"><img src="data:image/svg+xml;base64,{encoded}" '
        f'alt="Build graph: {words}" style="max-width:100%;height:auto"></div>'
        f'<details style="margin:6px 0"><summary style="cursor:pointer">List of {words}</summary>'
        f"{_rows(plan, states, room)}</details><script>{script}</script></div>"
    )


def _rows(plan: Layout, states: Mapping[str, str] | None, room: int) -> str:
    rows: list[str] = []
    left = room
    nodes = [
        (i, node)
        for i, box in enumerate((*plan.boxes, *plan.chips))
        for node in (box.node.members or (box.node,))
    ]
    for count, (box, node) in enumerate(nodes):
        row = _row(box, node, (states or {}).get(node.id, ""))
        left -= len(row)
        if left < 0:
            rows.append(f"<div>… and {len(nodes) - count} more steps</div>")
            break
        rows.append(row)
    return "".join(rows)


def _row(box: int, node: Node, state: str) -> str:
    look = kind_look(node.kind)
    title = clean(node.title[:_MAX_TITLE], lines=True)
    hover = f' title="{escape(title)}"' if title else ""
    label = clean(node.label[: 2 * _MAX_LABEL])
    if len(label) > _MAX_LABEL:
        label = label[:_MAX_LABEL] + "…"
    more = "".join(f" <i>{escape(clean(word))}</i>" for word in (node.group, state) if word)
    return (
        f'<div data-b="{box}"><b style="color:{look.color}">{escape(look.word)}</b> '
        f"<span{hover}>{escape(label)}</span>{more}</div>"
    )


@cache
def _asset(name: str) -> str:
    """Return a file of this folder without comments and indentation."""
    text = (resources.files("depotlab._graph") / name).read_text(encoding="utf-8")
    lines = (re.sub(r"^//.*", "", line.strip()) for line in text.splitlines())
    return "\n".join(filter(None, lines))
