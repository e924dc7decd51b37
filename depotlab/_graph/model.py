"""A directed acyclic graph as plain values. Knows nothing of builds, pictures or files.

Edges point from an input to what uses it. The order of a node's edges is the order of its inputs,
and the first of them is taken for its main one: a picture keeps it straight above the node.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from depotlab.errors import GraphError

__all__ = ["Badge", "Edge", "Graph", "Node", "inputs_of", "topological", "users_of"]


@dataclass(frozen=True, slots=True)
class Badge:
    """A small mark inside a box.

    Attributes:
        label: One or two words.
        kind: What colours it, one of `kinds.KINDS`, or empty for a neutral mark.
        source: The id of a node of `Graph.shared` that it stands for, or empty.
    """

    label: str
    kind: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One box.

    Attributes:
        id: Unique in its graph.
        label: The main text; long ones are wrapped or cut in a picture.
        kind: One of `kinds.KINDS`; any other word is drawn in a neutral colour.
        title: What hovering shows, several lines if need be; empty for the label and the lines.
        lines: Further small lines in the box.
        badges: Small marks under the text.
        group: The stage or target it belongs to, or empty.
        members: The original nodes, inputs first, when the box stands for several of them.
    """

    id: str
    label: str
    kind: str = ""
    title: str = ""
    lines: tuple[str, ...] = ()
    badges: tuple[Badge, ...] = ()
    group: str = ""
    members: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """`target` uses `source`, ids of nodes; `label` says how, such as a mount point, or is empty."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Graph:
    """Nodes and edges, checked: ids exist and are unique, and there is no cycle.

    Attributes:
        nodes: In an order that says which to draw first where nothing else decides.
        edges: Several between the same two nodes are allowed.
        shared: Sources that so many nodes use that badges stand for their edges.

    Raises:
        GraphError: An id is unknown or doubled, or the edges close a circle.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    shared: tuple[Node, ...] = ()

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in (*self.nodes, *self.shared):
            if node.id in known:
                raise GraphError(f"Two nodes of the graph have the id {node.id!r}.")
            known.add(node.id)
        boxes = {node.id for node in self.nodes}
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in boxes:
                    raise _unknown(end, boxes, f"The edge {edge.source!r} to {edge.target!r}")
        shared = {node.id for node in self.shared}
        for node in self.nodes:
            for badge in node.badges:
                if badge.source and badge.source not in shared:
                    raise _unknown(badge.source, shared, f"A badge of {node.id!r}")
        topological(self)

    def __repr__(self) -> str:
        shared = f", {len(self.shared)} shared" if self.shared else ""
        return f"Graph({len(self.nodes)} nodes, {len(self.edges)} edges{shared})"


def _unknown(name: str, known: set[str], where: str) -> GraphError:
    near = difflib.get_close_matches(name, sorted(known)[:1000], n=1)
    return GraphError(
        f"{where} names {name!r}, which is no node of the graph.",
        hint=f"did you mean {near[0]!r}?" if near else "",
    )


def inputs_of(graph: Graph) -> list[list[int]]:
    """Return the positions of each node's inputs, in order, each once."""
    index = {node.id: i for i, node in enumerate(graph.nodes)}
    found: list[dict[int, None]] = [{} for _ in graph.nodes]
    for edge in graph.edges:
        found[index[edge.target]][index[edge.source]] = None
    return [list(sources) for sources in found]


def users_of(inputs: list[list[int]]) -> list[list[int]]:
    """Return the positions of the nodes that use each node, ascending."""
    users: list[list[int]] = [[] for _ in inputs]
    for target, sources in enumerate(inputs):
        for source in sources:
            users[source].append(target)
    return users


def topological(graph: Graph) -> list[int]:
    """Return the positions of all nodes with inputs before what uses them.

    Raises:
        GraphError: There is a cycle; the message walks along it.
    """
    inputs = inputs_of(graph)
    users = users_of(inputs)
    missing = [len(sources) for sources in inputs]
    order = [i for i, n in enumerate(missing) if n == 0]
    for node in order:  # grows while it is walked
        for user in users[node]:
            missing[user] -= 1
            if missing[user] == 0:
                order.append(user)
    if len(order) < len(inputs):
        raise _cycle(graph, inputs, missing)
    return order


def _cycle(graph: Graph, inputs: list[list[int]], missing: list[int]) -> GraphError:
    # Each node that is left over has an input that is left over: walking back must come round.
    node = next(i for i, n in enumerate(missing) if n > 0)
    seen: dict[int, int] = {}
    walk: list[int] = []
    while node not in seen:
        seen[node] = len(walk)
        walk.append(node)
        node = next(source for source in inputs[node] if missing[source] > 0)
    circle = [*walk[seen[node] :], node][::-1]
    names = [repr(graph.nodes[i].label or graph.nodes[i].id) for i in circle]
    if len(names) > 8:
        names = [*names[:4], f"… {len(names) - 7} more …", *names[-3:]]
    return GraphError(f"The graph has a cycle: {' → '.join(names)}.")
