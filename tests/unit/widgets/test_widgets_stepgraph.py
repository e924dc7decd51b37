"""The graph of a build that runs."""

from __future__ import annotations

from xml.etree import ElementTree

from depotlab.progress import ProgressGroup, Snapshot, VertexUpdated, fold
from depotlab.widgets import _stepgraph as module
from depotlab.widgets._stepgraph import StepGraph
from tests.support import simulate
from tests.unit.widgets.test_widgets_html import EVIL


def words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_steps_are_drawn_with_their_states_and_the_internal_ones_left_out() -> None:
    svg = StepGraph().svg(simulate.moment(simulate.typical(), 3))
    assert "npm ci" in words(svg)
    assert "running" in words(svg)
    assert "cached" in words(svg)
    assert "load build definition" not in words(svg)


def test_places_are_looked_for_again_only_when_there_are_other_steps() -> None:
    graph, script = StepGraph(), simulate.typical()
    first = graph.svg(simulate.moment(script, 2))
    plan = graph._plan
    second = graph.svg(simulate.moment(script, 4))
    assert graph._plan is plan
    assert first != second
    graph.svg(simulate.moment(script, 9))  # the export has come
    assert graph._plan is not plan


def test_kinds_come_from_the_words_of_frontends() -> None:
    kinds = {
        "[base 1/3] FROM python:3.12-slim": "image",
        "[web 2/3] RUN npm ci": "exec",
        "[app 1/2] COPY --from=web /dist ./static": "file",
        "exporting to image": "",
        "https://github.com/moby/buildkit.git#v0.32.2": "git",
    }
    for name, kind in kinds.items():
        (step,) = fold([VertexUpdated("a", name)]).steps
        assert module._node(step, None).kind == kind


def test_a_base_image_is_called_by_what_tells_it_from_others() -> None:
    pinned = "@sha256:" + "71df" * 16
    names = {
        f"[base 1/3] FROM docker.io/library/busybox:latest{pinned}": "FROM busybox:latest",
        f"docker-image://docker.io/me/app:1{pinned}": "me/app:1",
        "[base 1/3] FROM ghcr.io/me/app:1": "FROM ghcr.io/me/app:1",
    }
    for name, label in names.items():
        (step,) = fold([VertexUpdated("a", name)]).steps
        assert module._node(step, None).label == label
        assert module._node(step, None).title == name


def test_a_thousand_steps_are_drawn_as_a_few_boxes() -> None:
    svg = StepGraph().svg(simulate.moment(simulate.many(1_000, n_parallel=100), 5))
    assert len(svg) < 150_000


def test_groups_that_need_each_other_and_nothing_at_all_have_no_picture() -> None:
    a, b = ProgressGroup("g", "one"), ProgressGroup("h", "two")
    circle: Snapshot = fold(
        [
            VertexUpdated("1", "1", (), 1, 2, group=a),
            VertexUpdated("2", "2", ("1",), 1, 2, group=b),
            VertexUpdated("3", "3", ("2",), 1, 2, group=a),
        ]
    )
    assert StepGraph().svg(circle) == ""
    assert StepGraph().svg(fold([])) == ""


def test_names_are_escaped() -> None:
    svg = StepGraph().svg(fold([VertexUpdated("a", EVIL, started_ns=1)], at_ns=9))
    assert "<script" not in svg
