"""Builds that run side by side are listed in one place."""

from __future__ import annotations

from depotlab.progress import BuildEnded, BuildStarted, Phase, Snapshot, VertexUpdated, fold
from depotlab.widgets import frame_html
from depotlab.widgets._overview import Overview, overview_html
from tests.unit.widgets.test_widgets_html import EVIL, NESTED, Reader

S = 1_000_000_000


def build(target: str, *, ended: bool = False, began_s: int = 1) -> Snapshot:
    events = [
        BuildStarted(began_s * S, target),
        VertexUpdated("a", "a", (), S, 2 * S),
        VertexUpdated("b", "b", started_ns=S),
    ]
    if ended:
        events.append(BuildEnded(9 * S, Phase.SUCCEEDED))
    return fold(events, at_ns=13 * S)


def test_the_view_of_the_build_that_began_last_lists_the_others() -> None:
    overview = Overview()
    api, web = build("api"), build("web", began_s=2)
    assert overview.tell("1", api) == ()
    assert overview.tell("2", web) == (api,)
    assert overview.tell("1", api) == ()
    overview.forget("2")
    overview.forget("2")
    assert overview.tell("1", api) == ()
    assert overview.tell("0", web) == (api,)


def test_a_build_that_has_not_begun_counts_as_the_newest_and_is_not_listed() -> None:
    overview = Overview()
    api, coming = build("api"), fold([])
    assert overview.tell("2", coming) == ()
    assert overview.tell("1", api) == ()
    assert overview.tell("2", coming) == (api,)
    assert overview_html([coming]) == ""


def test_the_others_are_said_with_how_far_they_are() -> None:
    words = Reader(overview_html([build("api"), build("done", ended=True)])).words
    assert words == "1 other build running● api12 s · 1 of 2 steps · 1 running · 1 ran"


def test_nothing_is_said_when_there_are_no_others() -> None:
    assert overview_html([]) == ""
    assert overview_html([build("done", ended=True)]) == ""


def test_many_others_are_not_all_listed() -> None:
    assert "… 12 more" in Reader(overview_html([build(str(k)) for k in range(20)])).words


def test_names_of_other_builds_are_escaped() -> None:
    read = Reader(frame_html(build("mine"), others=overview_html([build(EVIL)])))
    assert {tag for tag, _ in read.tags} <= NESTED
    assert "<script>alert(1)</script>" in read.words
