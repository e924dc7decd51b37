"""A picture of any directed acyclic graph, from values to SVG. Imports nothing of ours but `errors`."""

from depotlab._graph.condense import condense
from depotlab._graph.layout import Layout, layout
from depotlab._graph.model import Badge, Edge, Graph, Node
from depotlab._graph.svg import to_svg

__all__ = ["Badge", "Edge", "Graph", "Layout", "Node", "condense", "layout", "to_svg"]
