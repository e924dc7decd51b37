from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings

from depotlab._graph import Edge, Graph, Node, picture, to_html
from depotlab._graph.page import _asset
from tests.unit.graph import examples
from tests.unit.graph.examples import HOSTILE
from tests.unit.graph.strategies import graphs

VOID = {"img"}


class Page(HTMLParser):
    """Collects what a browser would see: elements, texts, and whether all that opens closes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1], []).append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def svg_of(page: Page) -> str:
    (image,) = page.named("img")
    source = image["src"] or ""
    return base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()


def rows_of(page: Page) -> list[str]:
    """What the list says: labels, groups and states."""
    return [*page.texts.get("span", ()), *page.texts.get("i", ())]


def test_without_scripts_the_static_picture_and_the_list_are_there():
    page = Page(to_html(examples.fifteen()))
    assert svg_of(page) == picture(examples.fifteen())
    cells = rows_of(page)
    assert all(node.label in cells for node in examples.fifteen().nodes)
    assert page.texts["summary"] == ["List of 15 steps"]


def test_a_condensed_picture_lists_all_steps_with_their_boxes():
    graph = examples.services(42)
    page = Page(to_html(graph))
    boxes = [attrs["data-b"] for attrs in page.named("div") if "data-b" in attrs]
    assert len(boxes) == len(graph.nodes)
    assert len(set(boxes)) < 60


def test_links_are_those_of_the_picture_in_the_order_of_its_paths():
    page = Page(to_html(examples.tiny()))
    pairs = (page.elements[0][1]["data-links"] or "").split()
    paths = ET.fromstring(svg_of(page))[1]
    assert len(paths) == len(pairs) == 5
    assert set(pairs) == {"0-2", "1-2", "2-3", "3-4", "1-4"}


def test_hostile_labels_add_no_elements():
    nodes = tuple(Node(str(i), t, t, t, group=t) for i, t in enumerate(HOSTILE))
    page = Page(
        to_html(Graph(nodes, tuple(Edge("0", str(i), t) for i, t in enumerate(HOSTILE) if i)))
    )
    assert {name for name, _ in page.elements} == {
        "div", "img", "details", "summary", "b", "span", "i", "script",
    }  # fmt: skip
    assert len(page.named("script")) == 1
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(max_nodes=12))
def test_any_graph_gives_balanced_html(graph):
    page = Page(to_html(graph, {node.id: "ran" for node in graph.nodes}))
    ET.fromstring(svg_of(page))


def test_script_and_style_are_small_and_reach_for_nothing():
    script, style = _asset("interactive.js"), _asset("interactive.css")
    assert len(script) + len(style) < 10_000
    assert not re.search(r"https?:|import\b(?!Node)|fetch|eval|innerHTML|</", script + style)
    assert "//" not in script


@pytest.mark.parametrize("n", [15, 300, 5000])
def test_the_page_stays_within_its_limit(n):
    html = to_html(examples.random_dag(n), max_bytes=250_000)
    assert len(html.encode()) <= 250_000
    if n == 5000:
        assert re.search(r"… and \d+ more steps", html)


def test_states_are_in_the_picture_and_in_the_list():
    page = Page(to_html(examples.tiny(), {"n0": "cached", "n3": "failed"}))
    assert {"cached", "failed"} <= set(rows_of(page))
    assert "1 failed" in svg_of(page)
