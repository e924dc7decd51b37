from __future__ import annotations

import pickle
from itertools import pairwise

import pytest

from depotlab._graph import Badge, Edge, Graph, Node
from depotlab.errors import GraphError


def nodes(*names: str) -> tuple[Node, ...]:
    return tuple(Node(name, f"step {name}") for name in names)


def test_an_edge_to_an_unknown_node_names_it_and_the_nearest_one():
    with pytest.raises(GraphError, match="'buidl', which is no node") as caught:
        Graph(nodes("build", "test"), (Edge("buidl", "test"),))
    assert "did you mean 'build'?" in caught.value.hint


def test_two_nodes_with_one_id_are_refused():
    with pytest.raises(GraphError, match="Two nodes of the graph have the id 'a'"):
        Graph(nodes("a", "b", "a"))


def test_a_badge_stands_for_a_shared_source_that_exists():
    node = Node("a", "a", badges=(Badge("src", source="gone"),))
    with pytest.raises(GraphError, match="A badge of 'a' names 'gone'"):
        Graph((node,))
    assert Graph((node,), shared=nodes("gone")).shared[0].id == "gone"


def test_a_badge_without_a_source_needs_nothing():
    assert len(Graph((Node("a", "a", badges=(Badge("linux/arm64"),)),)).nodes) == 1


@pytest.mark.parametrize("names", ["a", "ab", "abcd"])
def test_a_cycle_is_shown_as_a_walk(names):
    edges = tuple(Edge(x, y) for x, y in zip(names, names[1:] + names[:1], strict=True))
    with pytest.raises(GraphError) as caught:
        Graph(nodes("start", *names), (*edges, Edge("start", "a")))
    walk = str(caught.value).removeprefix("The graph has a cycle: ").rstrip(".").split(" → ")
    assert walk[0] == walk[-1]
    assert sorted(walk[:-1]) == [f"'step {name}'" for name in names]
    assert all((x[-2], y[-2]) in {(e.source, e.target) for e in edges} for x, y in pairwise(walk))


def test_a_cycle_of_any_length_fits_on_a_line():
    names = [str(i) for i in range(20_000)]
    edges = tuple(Edge(x, y) for x, y in zip(names, names[1:] + names[:1], strict=True))
    with pytest.raises(GraphError) as caught:
        Graph(nodes(*names), edges)
    assert len(str(caught.value)) < 400


def test_equal_graphs_are_equal_values_that_can_be_pickled():
    one = Graph(nodes("a", "b"), (Edge("a", "b"),))
    assert one == Graph(nodes("a", "b"), (Edge("a", "b"),))
    assert hash(one) == hash(Graph(nodes("a", "b"), (Edge("a", "b"),)))
    assert pickle.loads(pickle.dumps(one)) == one


def test_the_repr_of_a_graph_is_short():
    assert repr(Graph(nodes("a", "b"), (Edge("a", "b"),))) == "Graph(2 nodes, 1 edges)"
