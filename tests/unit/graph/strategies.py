"""Random graphs for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from depotlab._graph import Badge, Edge, Graph, Node
from tests.unit.graph.examples import HOSTILE

KIND_WORDS = ("exec", "file", "merge", "image", "local", "git", "unheard of", "")


@st.composite
def graphs(draw: st.DrawFn, *, max_nodes: int = 40) -> Graph:
    """Any directed acyclic graph; its nodes are not listed in the order of its edges."""
    n = draw(st.integers(0, max_nodes))
    texts = st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE))
    nodes = [
        Node(
            f"n{i}",
            draw(texts),
            draw(st.sampled_from(KIND_WORDS)),
            group=draw(st.sampled_from(("", "", "a", "b"))),
            lines=tuple(draw(st.lists(texts, max_size=2))),
            badges=tuple(Badge(text) for text in draw(st.lists(texts, max_size=2))),
        )
        for i in range(n)
    ]
    edges = []
    if n > 1:
        pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from(("", "/x")))
        for a, b, label in draw(st.lists(pairs, max_size=3 * n)):
            if a != b:
                edges.append(Edge(f"n{min(a, b)}", f"n{max(a, b)}", label))
    return Graph(tuple(draw(st.permutations(nodes))), tuple(edges))
