"""Rows of steps: lanes, groups, times, what a click hands on; the user's line; what a build waited for."""

from __future__ import annotations

import re

import pytest

from depotlab.errors import SourceLocation
from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Phase,
    Snapshot,
    StepState,
    TransferUpdated,
    VertexUpdated,
    critical_path,
    fold,
)
from depotlab.widgets import final_html, frame_html
from depotlab.widgets._slow import slow_text
from depotlab.widgets._text import SYMBOLS, facts_text
from tests.support import simulate
from tests.unit.widgets.test_widgets_html import Reader

S = 1_000_000_000


def both(at_s: float = 99) -> Snapshot:
    return simulate.moment(simulate.two_platforms(), at_s)


def words(html: str) -> str:
    return Reader(html).words


def test_each_platform_has_a_lane_and_what_belongs_to_none_stands_around_them() -> None:
    text = words(frame_html(both(3), max_rows=30))
    amd64, arm64 = text.index("linux/amd64 · 2 of 5 steps"), text.index("linux/arm64 · 2 of 5")
    assert amd64 < text.index("RUN pip install") < arm64
    assert "[app 1/3] RUN pip install ." in text
    assert "[linux/amd64 app" not in text
    done = words(final_html(both(), max_rows=30))
    assert done.index("linux/arm64 · 5 steps") < done.rindex("exporting to image")


def test_the_head_names_the_platforms() -> None:
    assert "linux/amd64 · linux/arm64" in facts_text(both(3))
    assert "linux/" not in facts_text(simulate.moment(simulate.typical(), 3))


def test_a_group_is_one_row_that_says_how_many_it_stands_for() -> None:
    assert "copy static files (3 operations)" in words(frame_html(both(), max_rows=30))


def test_rows_can_be_clicked_only_where_something_listens() -> None:
    live = Reader(frame_html(both(3), picked=""))
    numbers = [dict(a)["data-n"] for tag, a in live.tags if tag == "tr" and "data-n" in a]
    assert numbers
    assert all(re.fullmatch(r"[1-9]\d*", number or "") for number in numbers)
    assert sum("onmousedown" in a for _, a in live.tags) == 1
    for html in (frame_html(both(3)), final_html(both())):
        assert "onmousedown" not in html
        assert "data-n" not in html


def test_nothing_of_a_build_gets_into_the_handler() -> None:
    evil = "');alert(1);//\"><script>"
    snapshot = fold([BuildStarted(1, evil), VertexUpdated(evil, evil, started_ns=1)], at_ns=9)
    handlers = [
        a["onmousedown"]
        for _, a in Reader(frame_html(snapshot, picked=evil)).tags
        if "onmousedown" in a
    ]
    plain = frame_html(both(3), picked="")
    assert handlers == [a["onmousedown"] for _, a in Reader(plain).tags if "onmousedown" in a]


def test_every_state_has_a_word_for_those_who_do_not_see_its_colour() -> None:
    shown = Reader(final_html(simulate.moment(simulate.typical(), 99), max_rows=30)).tags
    labels = {a["aria-label"] for _, a in shown if a.get("role") == "img"}
    assert {"cached", "ran", "not needed"} <= labels
    five = (
        StepState.CACHED,
        StepState.RAN,
        StepState.NOT_NEEDED,
        StepState.CANCELED,
        StepState.FAILED,
    )
    assert len({SYMBOLS[state] for state in five}) == 5


def test_the_users_line_is_marked_in_the_block_of_what_failed() -> None:
    text = "FROM busybox\nRUN true\nRUN exit 3\nRUN ls\n"
    place = SourceLocation("Dockerfile", 3, 3, text)
    snapshot = fold(
        [
            VertexUpdated("a", "RUN exit 3", (), 1, 2, error="exit code: 3"),
            VertexUpdated("b", "RUN other", (), 1, 2, error="exit code: 4"),
            BuildEnded(3, Phase.FAILED, "", (place,)),
        ]
    )
    for html in (frame_html(snapshot), final_html(snapshot)):
        assert words(html).count("at Dockerfile, line 3") == 1
        (marked,) = re.findall(r"<b[^>]*>(&gt;[^<]*)</b>", html)
        assert marked.endswith("RUN exit 3")
        assert words(html).index("exit code: 3") < words(html).index("at Dockerfile")


def test_when_all_went_well_two_lines_are_left_and_the_rest_unfolds() -> None:
    html = final_html(simulate.moment(simulate.typical(), 99))
    outside = re.sub(r"<details>.*</details>", "", html, flags=re.DOTALL)
    assert "Built ghcr.io/me/app:dev" in outside
    assert "RUN pip install" not in outside
    assert "RUN pip install" in html
    assert "Output of [deps 2/2] RUN pip install" in words(html)


@pytest.mark.parametrize("outcome", [Phase.FAILED, Phase.CANCELED])
def test_when_it_did_not_nothing_of_the_steps_is_folded(outcome: Phase) -> None:
    html = final_html(simulate.moment(simulate.typical(outcome), 99))
    assert "RUN pip install" in re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)


def test_the_times_of_a_step_lie_within_the_build() -> None:
    html = final_html(both(), max_rows=30)
    bars = re.findall(r"margin-left:(\d+)%;width:(\d+)%", html)
    assert len(bars) >= 10
    assert all(int(left) + int(width) <= 101 for left, width in bars)


def test_the_critical_path_is_what_the_end_waited_for() -> None:
    path = [step.name for step in critical_path(simulate.moment(simulate.typical(), 99))]
    assert path[-1] == "exporting to image"
    assert "[deps 2/2] RUN pip install --no-cache-dir ." not in path
    assert path.index("[web 2/3] RUN npm ci") < path.index("[web 3/3] RUN npm run build")


def test_what_made_a_build_slow_is_one_sentence() -> None:
    assert slow_text(simulate.moment(simulate.typical(), 99)) == (
        "Waited mostly for [web 1/3] FROM node:22-alpine (2.4 s), "
        "[web 2/3] RUN npm ci (1.9 s), [web 3/3] RUN npm run build (1.8 s)."
    )


def test_a_quick_build_and_one_without_steps_have_no_such_sentence() -> None:
    quick = [
        BuildStarted(S),
        VertexUpdated("a", "a", (), S, S + S // 9),
        BuildEnded(S + S // 5, Phase.SUCCEEDED),
    ]
    assert slow_text(fold(quick)) == ""
    assert slow_text(fold([BuildStarted(S), BuildEnded(9 * S, Phase.SUCCEEDED)])) == ""
    assert critical_path(fold([])) == ()


def test_steps_that_name_each_other_do_not_go_round_for_ever() -> None:
    snapshot = fold(
        [VertexUpdated("a", "a", ("b",), 1, 9 * S), VertexUpdated("b", "b", ("a",), 1, 9 * S)]
    )
    assert len(critical_path(snapshot)) >= 1


def test_bytes_that_move_have_a_bar_with_a_value() -> None:
    snapshot = fold(
        [VertexUpdated("a", "a", started_ns=1), TransferUpdated("a", "x", "x", 25, 100, 2, 1)]
    )
    bars = [a for _, a in Reader(frame_html(snapshot)).tags if a.get("aria-label") == "bytes"]
    assert [bar["aria-valuenow"] for bar in bars] == ["25"]
