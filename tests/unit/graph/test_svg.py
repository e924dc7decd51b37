from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings

from depotlab._graph import (
    KINDS,
    STATES,
    Buttons,
    Edge,
    Graph,
    Node,
    condense,
    layout,
    picture,
    themed,
    to_svg,
)
from depotlab._graph.svg import hover_text, state_of
from depotlab._graph.text import clean
from tests.unit.graph import examples
from tests.unit.graph.examples import HOSTILE
from tests.unit.graph.strategies import graphs

SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {"svg", "g", "rect", "path", "text", "title", "circle"}
ATTRIBUTES = {
    "width", "height", "viewBox", "role", "aria-label", "font-family", "font-size", "font-weight",
    "fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray",
    "stroke-linecap", "stroke-linejoin", "transform", "text-anchor", "x", "y", "r", "rx", "d",
}  # fmt: skip


def parsed(svg: str) -> ET.Element:
    """Parse, and see that there is nothing but shapes and texts with presentation attributes."""
    root = ET.fromstring(svg)
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in ELEMENTS
        assert set(element.attrib) <= ATTRIBUTES
    return root


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def titles(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}title")]


def hostile_graph() -> Graph:
    nodes = tuple(
        Node(str(i), text, "exec", text, (text,), group=text) for i, text in enumerate(HOSTILE)
    )
    return Graph(nodes, tuple(Edge("0", str(i), text) for i, text in enumerate(HOSTILE) if i))


@pytest.mark.parametrize(
    "graph",
    [
        examples.tiny(),
        examples.fifteen(),
        condense(examples.forty()),
        condense(examples.services(30)),
    ],
    ids=["5", "15", "40", "300"],
)
@pytest.mark.parametrize("with_states", [False, True])
def test_pictures_have_shapes_and_presentation_attributes_only(graph, with_states):
    members = [m for node in (*graph.nodes, *graph.shared) for m in (node.members or (node,))]
    words = list(STATES)
    states = {m.id: words[i % len(words)] for i, m in enumerate(members)} if with_states else None
    parsed(to_svg(layout(graph), states))


def test_hostile_labels_are_shown_as_text():
    root = parsed(to_svg(layout(hostile_graph()), {"0": "<b>", "1": 'x" onload="y'}))
    hovers = "\n".join(titles(root))
    assert "</script><script>alert(1)</script>" in hovers
    assert clean(HOSTILE[6]) in hovers
    assert not re.search("[\u202e\u2066\x00-\x08]", hovers)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(max_nodes=15))
def test_any_graph_gives_well_formed_svg(graph):
    parsed(picture(graph, {node.id: node.label for node in graph.nodes[::2]}))


def test_equal_graphs_give_equal_pictures():
    assert picture(examples.services(12)) == picture(examples.services(12))


def test_every_box_can_be_hovered():
    graph = examples.fifteen()
    hovers = titles(parsed(to_svg(layout(graph))))
    for node in graph.nodes:
        assert node.title in hovers


def test_hovering_a_joined_box_lists_its_steps_and_their_states():
    members = tuple(Node(str(i), f"step {i}", "exec") for i in range(30))
    node = Node("all", "run ×30", "exec", members=members)
    lines = hover_text(node, {"1": "failed"}).splitlines()
    assert lines[:3] == ["30 steps:", "1. step 0", "2. step 1 (failed)"]
    assert lines[-1] == "… and 6 more"


def test_a_box_without_a_title_shows_all_of_its_text_on_hover():
    assert hover_text(Node("a", "x " * 100, lines=("second",))) == clean("x " * 100) + "\nsecond"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("", ""),
        ("ran ran", "ran"),
        ("cached cached", "cached"),
        ("cached ran", "ran"),
        ("waiting waiting", "waiting"),
        ("cached waiting", "running"),
        ("ran running waiting", "running"),
        ("ran failed canceled waiting", "failed"),
        ("canceled waiting", "canceled"),
        ("not needed", "not needed"),
    ],
)
def test_a_joined_box_has_the_state_that_matters_most(states, expected):
    words = re.findall("not needed|\\w+", states)
    members = tuple(Node(str(i), "x") for i in range(max(1, len(words))))
    node = Node("all", "x", members=members)
    assert state_of(node, {str(i): word for i, word in enumerate(words)}) == expected
    assert state_of(node, None) == ""


def test_states_differ_in_shape_and_not_only_in_colour():
    quiet = {
        look.mark for state, look in STATES.items() if state not in ("not reached", "not needed")
    }
    assert len(quiet) == len(STATES) - 2
    assert STATES["not reached"].dash != STATES["not needed"].dash
    assert len({look.icon for look in KINDS.values()}) == len(KINDS)


def test_states_change_the_paint_and_not_the_places():
    graph = examples.fifteen()
    plan = layout(graph)
    plain = parsed(to_svg(plan))
    states = {node.id: "ran" for node in graph.nodes}
    painted = parsed(to_svg(plan, states))

    def places(root: ET.Element) -> list[tuple[str | None, ...]]:
        return [
            tuple(r.get(k) for k in ("x", "y", "width", "height")) for r in root.iter(f"{SVG}rect")
        ][1:]

    assert places(plain) == places(painted)
    assert to_svg(plan) != to_svg(plan, states)


def test_the_legend_says_what_is_in_the_picture():
    words = texts(
        parsed(picture(examples.services(42), {"n0": "cached", "n1": "ran", "n2": "ran"}))
    )
    assert {"1 cached", "2 ran", "341 steps in 55 boxes", "local files", "several steps"} <= set(
        words
    )
    assert "git" not in texts(parsed(picture(examples.fifteen())))


@pytest.mark.parametrize("n", [40, 400, 3000])
def test_pictures_stay_small_whatever_the_size_of_the_graph(n):
    svg = picture(examples.random_dag(n))
    parsed(svg)
    assert len(svg.encode()) <= 300_000


def test_a_smaller_limit_condenses_more():
    graph = examples.services(42)
    small = picture(graph, max_bytes=60_000)
    assert len(small.encode()) <= 60_000 < len(picture(graph).encode())
    assert re.search("341 steps in [0-9]+ boxes", small)


def test_what_cannot_be_drawn_becomes_boxes_by_kind():
    sources = [Node(f"s{i}", f"source {i}", "image") for i in range(400)]
    users = [Node(f"u{i}", f"user {i}", "exec") for i in range(400)]
    edges = [Edge(f"s{(7 * i + 31 * k) % 400}", f"u{i}") for i in range(400) for k in range(3)]
    svg = picture(Graph((*sources, *users), tuple(edges)))
    words = texts(parsed(svg))
    assert {"image ×400", "run ×400"} <= set(words)
    assert "too tangled to draw: boxes by kind, without edges" in words


def test_boxes_that_can_be_pressed_hand_on_their_number_and_are_named_for_screen_readers() -> None:
    graph = Graph((Node("a", "one"), Node("b", "two")), (Edge("a", "b"),))
    states = {"a": "ran", "b": "waiting"}
    svg = to_svg(layout(graph), states, buttons=Buttons({"a": 7}, pressed="a"))
    assert svg.count('role="button"') == 1
    assert 'data-n="7" aria-label="one\nran" aria-pressed="true"' in svg
    assert 'role="img" tabindex="0" aria-label="two\nwaiting"' in svg, "what waits is read, only"
    assert "tabindex" not in to_svg(layout(graph), states)


def test_a_box_of_several_hands_on_the_step_that_its_state_comes_from() -> None:
    members = (Node("a", "one"), Node("b", "two"), Node("c", "three"))
    graph = Graph((Node("all", "three steps", members=members),))
    states = {"a": "ran", "b": "failed", "c": "ran"}
    numbers = {"a": 1, "b": 2, "c": 3}
    assert 'data-n="2"' in to_svg(layout(graph), states, buttons=Buttons(numbers))
    assert 'data-n="3"' in to_svg(layout(graph), states, buttons=Buttons(numbers, pressed="c"))


def test_a_picture_can_take_the_colours_of_its_page() -> None:
    graph = Graph((Node("a", "one"),))
    svg = themed(to_svg(layout(graph)))
    assert 'fill="var(--jp-layout-color0,#ffffff)"' in svg
    assert 'fill="#ffffff"' not in svg
    ET.fromstring(svg)
