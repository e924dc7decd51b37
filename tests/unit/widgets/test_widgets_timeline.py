"""When each step was worked on: rows, chart, text; and what values that have steps offer of it."""

from __future__ import annotations

import pytest

from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Phase,
    ProgressGroup,
    Snapshot,
    Steps,
    VertexUpdated,
    fold,
)
from depotlab.widgets import StepViews, Timeline
from depotlab.widgets._slow import slow_text, why_slow
from depotlab.widgets._timeline import timeline_html
from tests.support import simulate
from tests.unit.widgets.test_widgets_html import EVIL, Reader

S = 1_000_000_000


def typical(outcome: Phase = Phase.SUCCEEDED, at_s: float = 99) -> Snapshot:
    return simulate.moment(simulate.typical(outcome), at_s)


def row(timeline: Timeline, part: str) -> dict[str, object]:
    return next(r for r in timeline.rows() if part in r["name"])


class Built(StepViews):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def _steps_now(self) -> Snapshot:
        return self._snapshot


def test_rows_say_when_in_seconds_from_the_start_and_what_the_end_waited_for() -> None:
    timeline = Timeline(typical())
    npm = row(timeline, "RUN npm ci")
    assert npm["began_s"] == pytest.approx(3.7)
    assert npm["ended_s"] == pytest.approx(5.6)
    assert npm["worked_s"] == pytest.approx(1.9)
    assert (npm["is_critical"], npm["is_cached"]) == (True, False)
    assert row(timeline, "pip install")["is_critical"] is False
    assert row(timeline, "apt-get")["is_cached"] is True
    assert len(timeline) == 14, "what nobody worked on has no time"
    assert timeline[0].step.number == 1
    assert repr(timeline) == "<Timeline of 14 steps in 9.7 s, 8 on the critical path>"
    assert "\n" not in repr(timeline[0])


def test_a_step_that_was_worked_on_twice_has_two_bars_and_the_gap_does_not_count() -> None:
    snapshot = fold(
        [
            BuildStarted(S),
            VertexUpdated("a", "a", (), 2 * S, 3 * S),
            VertexUpdated("a", "a", (), 6 * S, 8 * S),
            BuildEnded(11 * S, Phase.SUCCEEDED),
        ]
    )
    (only,) = Timeline(snapshot)
    assert only.spans_s == ((1.0, 2.0), (5.0, 7.0))
    assert only.worked_s == 3.0
    assert timeline_html(snapshot, max_rows=9).count("margin-left") == 2


def test_a_step_that_runs_ends_now_and_a_clock_that_is_off_begins_at_nought() -> None:
    snapshot = fold([BuildStarted(5 * S), VertexUpdated("a", "a", started_ns=4 * S)], at_ns=9 * S)
    (only,) = Timeline(snapshot)
    assert (only.began_s, only.ended_s) == (0.0, 4.0)


def test_the_chart_lies_within_the_build_and_reads_without_styles() -> None:
    html = timeline_html(typical(), max_rows=40)
    read = Reader(html)
    assert read.open == []
    assert "◆ [web 2/3] RUN npm ci" in read.words
    assert "1.9 s" in read.words
    assert "cached" in read.words
    marks = [a for _, a in read.tags if a.get("aria-label") == "on the critical path"]
    assert len(marks) == 8
    assert 'title="3.7 s to 5.6 s"' in html


def test_as_text_it_has_a_line_for_each_step() -> None:
    text = str(Timeline(typical()))
    line = next(line for line in text.splitlines()[2:] if "RUN npm ci" in line)
    assert line.startswith("✔ ◆")
    assert "━" in line
    assert line.endswith("1.9 s")
    assert "Waited mostly for [web 1/3] FROM node" in text
    assert any("╵" in line and line.endswith("cached") for line in text.splitlines())


def test_of_many_steps_those_of_the_path_and_the_longest_are_shown() -> None:
    snapshot = simulate.moment(simulate.many(300, n_parallel=10), 99)
    html = timeline_html(snapshot, max_rows=20)
    assert html.count("listitem") == 20
    assert "280 shorter steps" in html


def test_names_are_escaped_and_only_what_listens_can_be_clicked() -> None:
    snapshot = fold([BuildStarted(1), VertexUpdated("a", EVIL, started_ns=1)], at_ns=9)
    assert "<script" not in timeline_html(snapshot, max_rows=9, picked="a")
    assert "data-n" not in timeline_html(snapshot, max_rows=9)
    assert 'data-n="1"' in timeline_html(snapshot, max_rows=9, picked="")


def test_a_build_without_steps_has_an_empty_timeline() -> None:
    timeline = Timeline(fold([BuildStarted(1), BuildEnded(2, Phase.SUCCEEDED)]))
    assert list(timeline) == []
    assert "No step" in timeline._repr_html_()
    assert "No step" in str(timeline)


def test_why_it_was_slow_is_said_of_every_build_and_time_without_a_step_too() -> None:
    assert why_slow(typical()) == slow_text(typical())
    waiting = fold(
        [
            BuildStarted(S),
            VertexUpdated("a", "RUN make", (), 7 * S, 9 * S),
            BuildEnded(9 * S, Phase.SUCCEEDED),
        ]
    )
    assert (
        why_slow(waiting)
        == "Waited mostly for RUN make (2.0 s). In 6.0 s of 8.0 s no step was worked on."
    )
    quick = fold(
        [
            BuildStarted(S),
            VertexUpdated("a", "RUN true", (), S, S + S // 9),
            BuildEnded(S + S // 5, Phase.SUCCEEDED),
        ]
    )
    assert why_slow(quick) == "Nothing stands out: 0.2 s in all, the longest RUN true (0.1 s)."
    assert why_slow(fold([BuildStarted(1)], at_ns=2)) == "No step took any time; 0 s in all."


def test_whatever_has_steps_has_the_same_views() -> None:
    built = Built(typical(Phase.FAILED))
    assert isinstance(built.critical_path, Steps)
    assert built.critical_path[-1].name == "[web 3/3] RUN npm run build"
    assert [r.step for r in built.timeline if r.is_critical] == list(built.critical_path)
    assert built.why_slow().startswith("Waited mostly for")
    picture = built.graph()
    assert "failed" in picture.svg
    assert "npm ci" in picture.svg


def test_groups_that_need_each_other_are_told_instead_of_drawn() -> None:
    from depotlab.errors import GraphError

    a, b = ProgressGroup("g", "one"), ProgressGroup("h", "two")
    circle = fold(
        [
            VertexUpdated("1", "1", (), 1, 2, group=a),
            VertexUpdated("2", "2", ("1",), 1, 2, group=b),
            VertexUpdated("3", "3", ("2",), 1, 2, group=a),
        ]
    )
    with pytest.raises(GraphError, match="cycle"):
        Built(circle).graph()


def test_outside_of_a_notebook_the_view_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    Built(typical()).view()
    assert "Built ghcr.io/me/app:dev in 9.7 s" in capsys.readouterr().out
