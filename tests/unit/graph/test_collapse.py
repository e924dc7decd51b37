from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depotlab._graph import Edge, Graph, Node, condense
from depotlab._graph.collapse import by_kind
from tests.unit.graph import examples
from tests.unit.graph.strategies import graphs

ALL = {"calm_boxes": 0, "full_boxes": 0, "max_boxes": 0}


def chain(*kinds: str, group: str = "") -> Graph:
    nodes = tuple(Node(str(i), f"step {i}", kind, group=group) for i, kind in enumerate(kinds))
    return Graph(nodes, tuple(Edge(str(i), str(i + 1)) for i in range(len(kinds) - 1)))


def contents(graph: Graph) -> list[list[str]]:
    return [[m.id for m in node.members] or [node.id] for node in graph.nodes]


def check(before: Graph, after: Graph) -> None:
    """Nothing is lost or doubled, and edges are those between different boxes."""
    inside = contents(after)
    everywhere = [name for names in inside for name in names] + [node.id for node in after.shared]
    assert sorted(everywhere) == sorted(node.id for node in before.nodes)
    originals = {node.id: node for node in before.nodes}
    box_of = {
        name: node.id for node, names in zip(after.nodes, inside, strict=True) for name in names
    }
    for node in after.nodes:
        for member in node.members:
            assert (member.label, member.kind) == (
                originals[member.id].label,
                originals[member.id].kind,
            )
    shared = {node.id for node in after.shared}
    expected = {
        (box_of[e.source], box_of[e.target])
        for e in before.edges
        if e.source not in shared and box_of[e.source] != box_of[e.target]
    }
    assert {(e.source, e.target) for e in after.edges} == expected
    badges = {(b.source, node.id) for node in after.nodes for b in node.badges if b.source}
    assert badges == {(e.source, box_of[e.target]) for e in before.edges if e.source in shared}


def test_a_small_graph_stays_as_it_is():
    assert condense(examples.fifteen()) == examples.fifteen()


def test_a_source_of_many_users_becomes_badges_that_say_how_it_is_used():
    after = condense(examples.forty())
    (source,) = after.shared
    assert source.label == "local ."
    (user,) = [node for node in after.nodes if node.label == "copy app app"]
    assert [(b.label, b.kind, b.source) for b in user.badges] == [("/src", "local", source.id)]
    check(examples.forty(), after)


def test_a_source_of_few_users_keeps_its_edges():
    assert condense(examples.tiny()).shared == ()
    assert condense(examples.tiny(), max_uses=1).shared[0].label == "local ."


def test_a_run_of_one_kind_becomes_one_box_that_lists_it():
    after = condense(
        chain("image", "exec", "exec", "exec", "file", "exec"),
        **ALL | {"full_boxes": 9, "max_boxes": 9},
    )
    assert contents(after) == [["0"], ["1", "2", "3"], ["4"], ["5"]]
    box = after.nodes[1]
    assert (box.label, box.kind, box.lines) == ("run ×3", "exec", ("step 1", "… step 3"))


def test_a_run_does_not_reach_over_a_step_that_others_use():
    graph = chain("exec", "exec", "exec", "exec", "exec", "exec")
    graph = Graph((*graph.nodes, Node("x", "x", "file")), (*graph.edges, Edge("2", "x")))
    after = condense(graph, **ALL | {"full_boxes": 9, "max_boxes": 9})
    assert contents(after) == [["0", "1", "2"], ["3", "4", "5"], ["x"]]


def test_runs_of_any_kind_join_next_and_leave_the_source_apart():
    graph = chain("image", "exec", "file", "exec", "file")
    after = condense(graph, **ALL | {"max_boxes": 9})
    assert contents(after) == [["0"], ["1", "2", "3", "4"]]
    assert (after.nodes[1].label, after.nodes[1].kind) == ("steps ×4", "steps")


def test_siblings_that_cannot_be_told_apart_become_one_box():
    runs = [Node(f"r{i}", f"run {i}", "exec") for i in range(200)]
    nodes = (
        Node("a", "base", "image"),
        Node("b", "update", "exec"),
        *runs,
        Node("m", "m", "merge"),
    )
    edges = [Edge("a", "b")]
    edges += [edge for run in runs for edge in (Edge("b", run.id), Edge(run.id, "m"))]
    after = condense(Graph(nodes, tuple(edges)))
    assert [node.label for node in after.nodes] == ["base", "update", "run ×200", "m"]
    check(Graph(nodes, tuple(edges)), after)


def test_beyond_the_limit_there_is_one_box_for_each_group():
    graph = examples.services(42)
    after = condense(graph)
    assert {node.label for node in after.nodes} == {
        node.group for node in graph.nodes if node.group
    }
    assert len(after.nodes) <= 120
    check(graph, after)


def test_groups_that_use_each_other_become_one_box():
    nodes = tuple(Node(f"{g}{i}", f"{g}{i}", "exec", group=g) for i in range(3) for g in "ab")
    edges = tuple(Edge(f"{x}{i}", f"{y}{i + 1}") for i in range(2) for x in "ab" for y in "ab")
    after = condense(Graph(nodes, edges), **ALL | {"max_boxes": 1})
    assert len(after.nodes) == 1
    check(Graph(nodes, edges), after)


def test_a_graph_without_groups_is_joined_around_its_steps_until_it_fits():
    graph = examples.random_dag(1500)
    after = condense(graph)
    assert len(after.nodes) < 400
    check(graph, after)
    tangled = condense(examples.random_dag(300, mean_extra_inputs=0.0), max_boxes=60)
    assert len(tangled.nodes) <= 60


def test_condensing_again_keeps_the_original_nodes():
    once = condense(examples.services(42), max_boxes=300)
    twice = condense(once, max_boxes=60)
    names = [name for names in contents(twice) for name in names] + [n.id for n in twice.shared]
    assert sorted(names) == sorted(n.id for n in examples.services(42).nodes)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.integers(0, 6), st.integers(0, 12), st.integers(0, 12), st.integers(1, 12))
def test_condensing_loses_nothing_and_closes_no_cycle(graph, uses, calm, full, most):
    check(graph, condense(graph, max_uses=uses, calm_boxes=calm, full_boxes=full, max_boxes=most))


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_condensing_is_deterministic(graph):
    assert condense(graph, **ALL) == condense(graph, **ALL)


def test_boxes_by_kind_are_the_last_resort():
    after = by_kind(examples.services(10))
    assert not after.edges
    assert sorted(name for names in contents(after) for name in names) == sorted(
        node.id for node in examples.services(10).nodes
    )
    assert len({node.kind for node in after.nodes}) == len(after.nodes)


def test_a_very_long_chain_is_condensed_in_one_go():
    graph = chain(*["exec", "file"] * 20_000)
    assert len(condense(graph).nodes) <= 2


def test_a_very_wide_merge_is_condensed_without_groups():
    n = 5_000
    nodes = (
        *(Node(f"a{i}", f"a{i}", "image") for i in range(n)),
        *(Node(f"b{i}", f"b{i}", "exec") for i in range(n)),
        Node("m", "m", "merge"),
    )
    edges = (*(Edge(f"a{i}", f"b{i}") for i in range(n)), *(Edge(f"b{i}", "m") for i in range(n)))
    after = condense(Graph(nodes, edges))
    assert len(after.nodes) <= 120
