"""What the end of a build waited for."""

from __future__ import annotations

from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Event,
    Phase,
    Snapshot,
    VertexUpdated,
    critical_path,
    fold,
    idle_s,
)
from tests.support import simulate

S = 1_000_000_000


def step(
    name: str, *inputs: str, began_s: float, ended_s: float | None, cached: bool = False
) -> VertexUpdated:
    end_ns = None if ended_s is None else round(ended_s * S)
    return VertexUpdated(name, name, inputs, round(began_s * S), end_ns, cached)


def built(*events: Event, end_s: float = 10) -> Snapshot:
    return fold(
        [BuildStarted(1), *events, BuildEnded(round(end_s * S), Phase.SUCCEEDED)],
        at_ns=round(end_s * S),
    )


def names(snapshot: Snapshot) -> list[str]:
    return [each.name for each in critical_path(snapshot)]


def test_of_two_inputs_the_one_that_ended_last_was_waited_for() -> None:
    snapshot = built(
        step("fast", began_s=0, ended_s=2),
        step("slow", began_s=0, ended_s=5),
        step("join", "fast", "slow", began_s=5, ended_s=6),
    )
    assert names(snapshot) == ["slow", "join"]


def test_a_step_that_took_longest_beside_the_path_is_not_on_it() -> None:
    snapshot = built(
        step("a", began_s=0, ended_s=4),
        step("b", "a", began_s=4, ended_s=9),
        step("long", began_s=0, ended_s=8),
    )
    assert names(snapshot) == ["a", "b"]


def test_inputs_that_were_cached_are_looked_through() -> None:
    snapshot = built(
        step("context", began_s=0, ended_s=3),
        step("copy", "context", began_s=3, ended_s=3, cached=True),
        step("run", "copy", began_s=3, ended_s=7),
    )
    assert names(snapshot) == ["context", "run"]


def test_an_export_waited_for_whatever_ended_last_before_it() -> None:
    snapshot = built(
        step("one", began_s=0, ended_s=2),
        step("two", began_s=0, ended_s=6),
        step("exporting", began_s=6.01, ended_s=8),
    )
    assert names(snapshot) == ["two", "exporting"]


def test_a_source_waited_for_the_frontend_and_not_for_another_branch() -> None:
    snapshot = built(
        step("load definition", began_s=0, ended_s=1),
        step("other", began_s=1, ended_s=3),
        step("other run", "other", began_s=3, ended_s=4),
        step("from", began_s=4.01, ended_s=6),
        step("run", "from", began_s=6, ended_s=9),
    )
    assert names(snapshot) == ["load definition", "from", "run"]


def test_of_a_build_that_runs_it_is_the_path_so_far() -> None:
    snapshot = fold(
        [
            BuildStarted(1),
            step("from", began_s=0, ended_s=2),
            step("run", "from", began_s=2, ended_s=None),
        ],
        at_ns=5 * S,
    )
    assert names(snapshot) == ["from", "run"]


def test_steps_that_name_each_other_and_no_steps_at_all_have_an_end() -> None:
    circle = fold(
        [VertexUpdated("a", "a", ("b",), 1, 9 * S), VertexUpdated("b", "b", ("a",), 1, 9 * S)]
    )
    assert len(critical_path(circle)) == 1
    assert critical_path(fold([])) == ()


def test_idle_time_is_what_no_step_covers() -> None:
    snapshot = built(
        step("a", began_s=1, ended_s=4),
        step("b", began_s=2, ended_s=3),
        step("c", "a", began_s=6, ended_s=9),
    )
    assert round(idle_s(snapshot), 6) == 4.0  # 0 to 1, 4 to 6, 9 to 10


def test_a_step_that_runs_leaves_nothing_idle_after_it() -> None:
    snapshot = fold([BuildStarted(1), step("a", began_s=1, ended_s=None)], at_ns=9 * S)
    assert round(idle_s(snapshot), 6) == 1.0


def test_the_path_of_a_typical_build_ends_with_the_export() -> None:
    found = names(simulate.moment(simulate.typical(), 99))
    assert found[-1] == "exporting to image"
    assert "[deps 2/2] RUN pip install --no-cache-dir ." not in found
