"""Timeline and graph at the end of a build, each folded: what a saved file can afford. Pure."""

from __future__ import annotations

import base64
import re

from depotlab._graph import condense, layout, to_svg
from depotlab.errors import GraphError
from depotlab.progress import Snapshot
from depotlab.widgets._details import Details
from depotlab.widgets._markup import GREY, note
from depotlab.widgets._stepgraph import step_graph, step_states
from depotlab.widgets._timeline import timeline_html

__all__ = ["MAX_PICTURE_BYTES", "folded_graph", "folded_timeline"]

MAX_PICTURE_BYTES = 24_000
"""Of the graph in a saved file, as it stands there."""

_TIMELINE_ROWS = 24
_MAX_STEPS = 400  # more are no picture for a file, and take seconds to place
_TITLE = re.compile(r"<title>.*?</title>", re.DOTALL)


def folded_timeline(snapshot: Snapshot) -> str:
    """Return the timeline, folded; nothing of a build that did nothing."""
    if not any(step.intervals for step in snapshot.steps):
        return ""
    return _folded("Timeline", timeline_html(snapshot, max_rows=_TIMELINE_ROWS))


def folded_graph(snapshot: Snapshot, details: Details | None = None) -> str:
    """Return the graph, folded; nothing of a build that is not one.

    It is an image, which front ends show that take drawings out of HTML. Where even images are taken out, what is
    left of it is a line of code; so it belongs to the end of whatever it stands in.

    Args:
        snapshot: The end.
        details: What knows more of the steps.
    """
    graph = _image(snapshot, details)
    return _folded("Graph", graph) if graph else ""


def _image(snapshot: Snapshot, details: Details | None) -> str:
    if len(snapshot.steps) > _MAX_STEPS:
        return _too_large(len(snapshot.steps))
    try:
        graph = step_graph(snapshot, details)
    except GraphError:
        return note("Steps are shown in groups that need each other, which cannot be drawn.")
    if len(graph.nodes) < 2:
        return ""
    for n_boxes in (50, 25):
        boxes = condense(graph, calm_boxes=30, full_boxes=n_boxes, max_boxes=n_boxes)
        if len(boxes.nodes) > n_boxes:
            continue
        # An image shows no texts on hovering, and those of a graph hold more than a file should.
        svg = _TITLE.sub("", to_svg(layout(boxes), step_states(snapshot)))
        data = base64.b64encode(svg.encode()).decode()
        if len(data) <= MAX_PICTURE_BYTES:
            return (
                f'<img src="data:image/svg+xml;base64,{data}" alt="Graph of {len(graph.nodes)} steps, '
                'coloured by what became of them" style="max-width:100%;height:auto"/>'
            )
    return _too_large(len(graph.nodes))


def _too_large(n_steps: int) -> str:
    return note(
        f"{n_steps} steps make a graph that is too large for a saved file: result.graph() draws it."
    )


def _folded(title: str, html: str) -> str:
    return (
        f'<details><summary style="cursor:pointer;font-size:12px;color:{GREY}">{title}</summary>'
        f'<div style="margin:4px 0">{html}</div></details>'
    )
