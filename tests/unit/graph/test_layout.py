from __future__ import annotations

import cProfile
import pstats
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings

from depotlab._graph import Edge, Graph, Layout, Node, condense, layout
from depotlab._graph.sizes import BADGE_SIZE, LABEL_SIZE, LINE_SIZE
from depotlab._graph.text import width_px
from tests.unit.graph import examples
from tests.unit.graph.strategies import graphs

EXAMPLES = {
    "5": examples.tiny(),
    "15": examples.fifteen(),
    "40": examples.forty(),
    "40 condensed": condense(examples.forty()),
    "150": examples.services(18),
    "150 condensed": condense(examples.services(18)),
    "400 condensed": condense(examples.services(42)),
    "random 150": examples.random_dag(150),
    "random 400 condensed": condense(examples.random_dag(400)),
    "fan out and in": Graph(
        tuple(Node(str(i), f"step {i}") for i in range(80)),
        tuple(Edge("0", str(i)) for i in range(1, 79))
        + tuple(Edge(str(i), "79") for i in range(1, 79)),
    ),
    "one": Graph((Node("a", "a"),)),
    "none": Graph(()),
}
example = pytest.mark.parametrize("graph", EXAMPLES.values(), ids=EXAMPLES)
slow_data = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def points_of(points):
    """The path as a painter draws it: straight down, or a cubic bent in the middle."""
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        for i in range(21):
            t = i / 20
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            yield a * x0 + b * x0 + c * x1 + d * x1, a * y0 + b * middle + c * middle + d * y1


def check(plan: Layout) -> None:
    boxes = [*plan.boxes, *plan.chips]
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= plan.width
        assert box.y + box.height <= plan.height
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = (
                a.x + a.width + 6 <= b.x
                or b.x + b.width + 6 <= a.x
                or a.y + a.height + 6 <= b.y
                or b.y + b.height + 6 <= a.y
            )
            assert apart, f"{a.node.id} and {b.node.id} touch"
    for link in plan.links:
        source, target = plan.boxes[link.source], plan.boxes[link.target]
        assert all(y0 < y1 for (_, y0), (_, y1) in pairwise(link.points))
        x, y = link.points[0]
        assert source.x < x < source.x + source.width
        assert source.y + source.height <= y <= source.y + source.height + 4
        x, y = link.points[-1]
        assert target.x < x < target.x + target.width
        assert y == target.y


def check_paths_avoid_boxes(plan: Layout) -> None:
    for link in plan.links:
        for x, y in points_of(link.points):
            for i, box in enumerate(plan.boxes):
                if i not in (link.source, link.target):
                    inside = box.x < x < box.x + box.width and box.y < y < box.y + box.height
                    assert not inside, f"an edge runs through {box.node.id}"


@example
def test_boxes_do_not_touch_and_edges_lead_down(graph):
    check(layout(graph))


@example
def test_no_edge_runs_through_a_box(graph):
    check_paths_avoid_boxes(layout(graph))


@slow_data
@given(graphs())
def test_any_graph_is_laid_out_without_overlaps(graph):
    plan = layout(graph)
    check(plan)
    check_paths_avoid_boxes(plan)
    assert len(plan.boxes) == len(graph.nodes)
    assert {(link.source, link.target) for link in plan.links} == {
        (index(graph, e.source), index(graph, e.target)) for e in graph.edges
    }


def index(graph: Graph, name: str) -> int:
    return next(i for i, node in enumerate(graph.nodes) if node.id == name)


@slow_data
@given(graphs(max_nodes=12))
def test_text_stays_in_its_box(graph):
    for box in layout(graph).boxes:
        content = box.content
        ends = [dx + width_px(text, LABEL_SIZE) for text, dx, _ in content.label]
        ends += [dx + width_px(text, LINE_SIZE) for text, dx, _ in content.lines]
        assert max(ends) <= box.width - 8
        for pill in content.pills:
            assert 12 * bool(pill.badge.kind) + 10 + width_px(pill.text, BADGE_SIZE) <= pill.width
            assert pill.x + pill.width <= box.width - 8
            assert pill.y + pill.height <= box.height
        baselines = [dy for _, _, dy in (*content.label, *content.lines)]
        assert all(b - a >= 13 for a, b in pairwise(baselines))
        assert baselines[-1] + 3 <= box.height


@slow_data
@given(graphs(max_nodes=15))
def test_text_above_a_box_stays_beside_its_edges(graph):
    plan = layout(graph)
    for i, box in enumerate(plan.boxes):
        ports = [link.points[-1][0] for link in plan.links if link.target == i]
        for tag in box.tags:
            width = width_px(tag.text, 9.5)
            left = tag.x - width if tag.at_end else tag.x
            assert not any(left < port < left + width for port in ports)
            assert box.x - 8 <= left
            assert left + width <= box.x + box.width + 8
            assert tag.y + 2 <= box.y - 6.5, "the mark of a state would cover it"


@example
def test_equal_graphs_give_equal_layouts(graph):
    again = Graph(tuple(graph.nodes), tuple(graph.edges), tuple(graph.shared))
    assert layout(graph) == layout(again)


@pytest.mark.parametrize("name", ["15", "40 condensed", "150 condensed", "400 condensed"])
def test_a_picture_is_about_as_wide_as_a_page(name):
    assert layout(EXAMPLES[name]).width <= 1100


def test_a_narrow_page_gives_a_narrow_picture():
    plan = layout(examples.fifteen(), max_width_px=560)
    check(plan)
    assert plan.width <= 600


def crossings(plan: Layout) -> int:
    """Pairs of edges whose straightened pieces cross between two heights that both have."""
    pieces = [
        (a, b, k)
        for k, link in enumerate(plan.links)
        for a, b in pairwise(link.points)
        if a[0] != b[0]
    ]
    count = 0
    for i, ((ax, ay), (bx, by), k) in enumerate(pieces):
        for (cx, cy), (dx, dy), m in pieces[i + 1 :]:
            if k != m and ay == cy and by == dy and (ax - cx) * (bx - dx) < 0:
                count += 1
    return count


@pytest.mark.parametrize(("name", "most"), [("5", 0), ("15", 0), ("40 condensed", 2)])
def test_pictures_of_usual_builds_hardly_cross(name, most):
    assert crossings(layout(EXAMPLES[name])) <= most


def test_the_main_inputs_of_a_chain_stand_in_one_line():
    plan = layout(examples.fifteen())
    column = {box.node.label: box.x + box.width // 2 for box in plan.boxes}
    builder = ["golang:1.25", "copy go.mod go.sum .", "go mod download", "copy . ."]
    final = ["debian:12-slim", "copy /out/server /bin/", "copy /web/dist /srv/www"]
    assert len({column[label] for label in builder}) == 1
    assert len({column[label] for label in final}) == 1


def test_a_source_stands_next_to_its_user_and_not_at_the_top():
    names = [f"s{i}" for i in range(12)]
    graph = Graph(
        (*(Node(name, name, "exec") for name in names), Node("late", "late", "local")),
        (*(Edge(a, b) for a, b in pairwise(names)), Edge("late", "s11")),
    )
    boxes = {box.node.id: box for box in layout(graph).boxes}
    assert boxes["late"].y == boxes["s10"].y


def test_parts_that_do_not_hang_together_are_set_side_by_side():
    graph = Graph(
        tuple(Node(f"{p}{i}", f"step {i}") for p in "abc" for i in range(3)),
        tuple(Edge(f"{p}{i}", f"{p}{i + 1}") for p in "abc" for i in range(2)),
    )
    plan = layout(graph)
    assert len({box.y for box in plan.boxes}) == 3
    assert len({box.x for box in plan.boxes}) == 3


def test_edges_between_the_same_two_nodes_are_one_line_with_both_labels():
    graph = Graph(
        (Node("a", "a"), Node("b", "b")),
        (Edge("a", "b"), Edge("a", "b", "/x"), Edge("a", "b", "/y")),
    )
    (link,) = layout(graph).links
    assert link.label == "/x, /y"
    assert link.is_main


def calls(graph: Graph) -> int:
    profile = cProfile.Profile()
    profile.runcall(layout, graph)
    return pstats.Stats(profile).total_calls  # type: ignore[attr-defined]


def test_the_work_grows_little_faster_than_the_graph():
    small, large = examples.services(45), examples.services(190)
    assert len(small.nodes) > 350
    assert len(large.nodes) > 1400
    factor = len(large.nodes) / len(small.nodes)
    assert calls(large) <= 2.5 * factor * calls(small)


def test_a_chain_of_ten_thousand_needs_no_recursion():
    n = 10_000
    graph = Graph(
        tuple(Node(str(i), "x") for i in range(n)),
        tuple(Edge(str(i), str(i + 1)) for i in range(n - 1)),
    )
    plan = layout(graph)
    assert len({box.x for box in plan.boxes}) == 1
