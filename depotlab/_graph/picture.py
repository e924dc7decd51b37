"""A picture of a graph of any size that stays within a size in bytes."""

from __future__ import annotations

from collections.abc import Mapping

from depotlab._graph.arrange import Layout, layout
from depotlab._graph.collapse import by_kind, condense
from depotlab._graph.model import Graph
from depotlab._graph.svg import to_svg

__all__ = ["MAX_SVG_BYTES", "fitting", "picture"]

MAX_SVG_BYTES = 300_000
"""Larger pictures make notebooks slow to open and forges refuse them."""


def picture(
    graph: Graph, states: Mapping[str, str] | None = None, *, max_bytes: int = MAX_SVG_BYTES
) -> str:
    """Return an SVG picture of the graph, condensed as far as reading and size ask for.

    Args:
        graph: As it is, not condensed.
        states: For ids of its nodes one of the words in `STATES`; None paints by kind alone.
        max_bytes: Of the UTF-8 text. A graph that cannot be drawn becomes one box for each kind.
    """
    return fitting(graph, states, max_bytes)[1]


def fitting(graph: Graph, states: Mapping[str, str] | None, max_bytes: int) -> tuple[Layout, str]:
    """Return the richest layout and picture that keep within the size."""
    condensed = graph
    for max_boxes in (120, 60, 25):
        condensed = condense(
            condensed,
            calm_boxes=min(40, max_boxes),
            full_boxes=min(80, max_boxes),
            max_boxes=max_boxes,
        )
        if len(condensed.nodes) > 2 * max_boxes:
            break  # nothing in it can be joined any further
        plan = layout(condensed)
        svg = to_svg(plan, states)
        if len(svg.encode()) <= max_bytes:
            return plan, svg
    plan = layout(by_kind(graph))
    return plan, to_svg(plan, states, note="too tangled to draw: boxes by kind, without edges")
