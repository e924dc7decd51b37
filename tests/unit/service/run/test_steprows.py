"""From what a daemon tells to lines and rows: in any cut, none lost, none twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from depotlab.progress import LogWritten, VertexUpdated
from depotlab.service._boundary import Order, UploadedContext
from depotlab.service._reasons.masking import Mask
from depotlab.service._run.steprows import NEVER_ENDED, BuildTold, log_rows

MS = 1_000_000
ORDER = Order(
    build_id="b1",
    project="shop",
    deployment="d1",
    workspace="acme",
    context=UploadedContext("shop/1.tar.gz"),
)


def told(*events, attempt: int = 1) -> BuildTold:
    found = BuildTold(ORDER, attempt, Mask())
    found.take(events)
    return found


def vertex(digest="a", name="RUN make", **more) -> VertexUpdated:
    return VertexUpdated(digest, name, **more)


def written(text: str, *, digest="a", at_ns=7 * MS, stream=1) -> LogWritten:
    return LogWritten(digest, at_ns, stream, text.encode())


def test_a_step_is_one_row_with_the_ids_of_its_build() -> None:
    (row,) = told(
        vertex(started_ns=2 * MS), vertex(started_ns=2 * MS, completed_ns=9 * MS), attempt=3
    ).steps()
    assert (row.step_id, row.name, row.started_at, row.completed_at) == ("a", "RUN make", 2, 9)
    assert (row.workspace_id, row.project_id, row.deployment_id) == ("acme", "shop", "d1")
    assert (row.build_id, row.attempt, row.cached, row.error) == ("b1", 3, False, "")


def test_a_step_that_is_worked_on_twice_is_one_row_from_its_first_start_to_its_last_end() -> None:
    found = told(
        vertex(started_ns=1 * MS, completed_ns=2 * MS),
        vertex(started_ns=5 * MS, completed_ns=8 * MS, is_cached=True),
    )
    (row,) = found.steps()
    assert (row.started_at, row.completed_at, row.cached) == (1, 8, True)
    assert (found.total_steps, found.cached_steps) == (1, 1)


def test_a_step_that_another_one_cancelled_has_not_failed_by_itself() -> None:
    ends = {"started_ns": 1, "completed_ns": 2}
    found = told(
        vertex("a", "fetch", **ends, error="invalid response status 404"),
        vertex("b", "unpack", **ends, error="copy: context canceled"),
        vertex("c", "other", **ends),
    )
    assert [found.has_failed(name) for name in ("fetch", "unpack", "other", "none")] == [
        True,
        False,
        False,
        False,
    ]


def test_logs_that_come_after_the_end_of_their_step_count() -> None:
    found = told(vertex(started_ns=1, completed_ns=2), written("late\n"))
    assert [row.has_logs for row in found.steps()] == [True]


def test_logs_before_the_first_word_of_their_step_count() -> None:
    found = BuildTold(ORDER, 1, Mask())
    (line,) = found.take([written("early\n")])
    found.take([vertex(started_ns=1, completed_ns=2)])
    assert (line.step_id, line.step, line.text) == ("a", "", "early")
    assert [row.has_logs for row in found.steps()] == [True]


def test_a_step_whose_end_was_never_told_says_so() -> None:
    (row,) = told(vertex(started_ns=3 * MS)).steps()
    assert (row.completed_at, row.error) == (0, NEVER_ENDED)


def test_an_end_without_a_start_is_a_step_of_no_time() -> None:
    (row,) = told(vertex(completed_ns=4 * MS, is_cached=True)).steps()
    assert (row.started_at, row.completed_at, row.cached) == (4, 4, True)


def test_steps_that_nobody_worked_on_and_those_of_our_own_are_no_rows() -> None:
    found = told(
        vertex("never", started_ns=None),
        vertex("depot:launch", started_ns=1, completed_ns=2, is_local=True),
    )
    assert found.steps() == []
    assert found.total_steps == 0


def test_the_error_is_that_of_the_interval_that_ended_last() -> None:
    found = told(
        vertex(started_ns=1, completed_ns=2, error="exit code: 1"),
        vertex(started_ns=3, completed_ns=4),
    )
    assert [row.error for row in found.steps()] == [""]


def test_rows_of_lines_have_the_offsets_of_the_builds_log() -> None:
    found = BuildTold(ORDER, 1, Mask())
    lines = found.take(
        [vertex(started_ns=1), written("one\ntwo\nthr", at_ns=1_700_000_000_123 * MS)]
    )
    rows = log_rows(ORDER, lines, 40)
    assert [(row.line, row.message, row.step_id, row.stream) for row in rows] == [
        (40, "one", "a", 1),
        (41, "two", "a", 1),
    ]
    assert {row.time for row in rows} == {1_700_000_000_123}
    assert [line.text for line in found.rest()] == ["thr"]
    assert found.rest() == []


def test_names_errors_and_lines_are_masked() -> None:
    mask = Mask(["hunter2-hunter2"])
    found = BuildTold(ORDER, 1, mask)
    lines = found.take(
        [
            vertex(name="RUN echo hunter2-hunter2", started_ns=1),
            written("it is hunter2-hunter2\n"),
            vertex(started_ns=1, completed_ns=2, error="hunter2-hunter2 failed"),
        ]
    )
    assert "hunter2" not in f"{lines}{found.steps()}"


@given(
    st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n")), max_size=8),
    st.data(),
)
def test_lines_do_not_depend_on_how_the_output_was_cut(
    texts: list[str], data: st.DataObject
) -> None:
    whole = "".join(f"{text}\n" for text in texts).encode()
    found, lines, at = BuildTold(ORDER, 1, Mask()), [], 0
    while at < len(whole):
        size = data.draw(st.integers(1, len(whole) - at))
        lines += found.take([LogWritten("a", 1, 1, whole[at : at + size])])
        at += size
    assert [line.text for line in lines + found.rest()] == texts
