"""A picture of any directed acyclic graph, from values to SVG. Imports nothing of ours but `errors`.

`condense` makes a graph small enough, `layout` finds the places, `to_svg` paints them with the states
of the moment; `picture` and `to_html` do all three.
"""

from depotlab._graph.arrange import Box, Layout, Link, layout
from depotlab._graph.collapse import condense
from depotlab._graph.exports import to_dot, to_json, to_mermaid
from depotlab._graph.kinds import KINDS, STATES
from depotlab._graph.model import Badge, Edge, Graph, Node
from depotlab._graph.page import to_html
from depotlab._graph.picture import picture
from depotlab._graph.svg import CARD, FAINT, FRAME, INK, LINE, MUTED, Buttons, themed, to_svg
from depotlab._graph.text import FONT, clean, fit, width_px

__all__ = [
    "CARD",
    "FAINT",
    "FONT",
    "FRAME",
    "INK",
    "KINDS",
    "LINE",
    "MUTED",
    "STATES",
    "Badge",
    "Box",
    "Buttons",
    "Edge",
    "Graph",
    "Layout",
    "Link",
    "Node",
    "clean",
    "condense",
    "fit",
    "layout",
    "picture",
    "themed",
    "to_dot",
    "to_html",
    "to_json",
    "to_mermaid",
    "to_svg",
    "width_px",
]
