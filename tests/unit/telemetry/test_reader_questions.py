from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from depotlab import telemetry
from depotlab.errors import TelemetryError, UsageError
from depotlab.telemetry import Batch, BuildRow, DuckDB, Telemetry
from tests.support import recordedbuilds
from tests.support.recordedbuilds import Made, made


def filled(path: Path, rows: Made) -> DuckDB:
    store = DuckDB(path, keep=None)
    store.open()
    for number, some in enumerate((rows.builds, rows.steps, rows.logs)):
        store.write(Batch(str(number), some[0].table, some))
    return store


@pytest.fixture(scope="module")
def rows() -> Made:
    return made()


@pytest.fixture(scope="module")
def t(tmp_path_factory: pytest.TempPathFactory, rows: Made) -> Iterator[Telemetry]:
    store = filled(tmp_path_factory.mktemp("telemetry") / "builds.duckdb", rows)
    with Telemetry(store) as asked:
        yield asked


@pytest.fixture
def nothing(tmp_path: Path) -> Iterator[Telemetry]:
    with telemetry.open(tmp_path / "builds.duckdb") as asked:
        yield asked


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(getattr(recordedbuilds, name), id=name.removeprefix("check_"))
        for name in (
            "check_builds",
            "check_slowest_steps",
            "check_cache_hit_rate",
            "check_trend",
            "check_flaky_steps",
            "check_stages",
            "check_one_build",
        )
    ],
)
def test_answers_are_those_of_plain_arithmetic(t: Telemetry, rows: Made, check) -> None:
    check(t, rows)


def test_parquet_files_answer_as_the_store_that_they_are_of(
    t: Telemetry, rows: Made, tmp_path: Path
) -> None:
    telemetry.export_parquet(t._connection.source, tmp_path)
    with telemetry.open(tmp_path) as files:
        recordedbuilds.check_answers(files, rows)


def test_a_store_without_builds_answers_with_nothing(nothing: Telemetry) -> None:
    for found in (
        nothing.builds(),
        nothing.slowest_steps(),
        nothing.cache_hit_rate(),
        nothing.trend(),
        nothing.flaky_steps(),
        nothing.stages(),
        nothing.logs(contains="x"),
    ):
        assert len(found) == 0
        assert "no " in repr(found)
        assert "no " in found._repr_html_()
        assert found.to_pandas().empty


def test_rows_of_an_answer_can_be_asked_about(t: Telemetry) -> None:
    build = t.builds(limit=1)[0]
    assert t.steps(build).rows() == t.steps(build.build_id).rows()


def test_tables_are_tables(t: Telemetry) -> None:
    found = t.slowest_steps(2)
    assert repr(found) == "<SlowSteps 2 slow steps>"
    page = found._repr_html_()
    assert "<table>" in page
    assert "RUN pip install" in page
    frame = found.to_pandas()
    assert list(frame.columns)[:3] == ["name", "n_ran", "median_s"]
    assert str(frame["n_ran"].dtype) == "int64"
    assert str(t.builds().to_pandas()["created_at"].dtype).endswith("UTC]")


def test_names_of_steps_are_escaped(nothing: Telemetry, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    row = BuildRow(
        build_id="b",
        workspace_id="",
        project_id=evil,
        deployment_id="",
        status="failed",
        created_at=1,
        started_at=2,
        completed_at=3,
    )
    store = DuckDB(tmp_path / "builds.duckdb", keep=None)
    store.open()
    store.write(Batch("1", row.table, [row]))
    store.close()
    assert evil in [b.project for b in nothing.builds()]
    assert evil not in nothing.builds()._repr_html_()


def test_a_long_log_says_where_to_go_on(t: Telemetry, rows: Made) -> None:
    build = next(b for b in rows.builds if b.log_lines > 6)
    found = t.logs(build.build_id, limit=5)
    assert len(found) == 5
    assert found.note == "There are more lines: give offset=5."
    assert "offset=5" in found._repr_html_()
    assert str(found) == found.text == "\n".join(line.text for line in found)


def test_since_may_be_how_long_ago(nothing: Telemetry, tmp_path: Path) -> None:
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    old, new = (
        BuildRow(
            build_id=name,
            workspace_id="",
            project_id="p",
            deployment_id="",
            status="succeeded",
            created_at=at,
            started_at=at,
            completed_at=at,
        )
        for name, at in (("old", now_ms - 7_200_000), ("new", now_ms - 60_000))
    )
    with DuckDBOpened(tmp_path / "builds.duckdb") as store:
        store.write(Batch("1", old.table, [old, new]))
    assert [b.build_id for b in nothing.builds(since=timedelta(hours=1))] == ["new"]


class DuckDBOpened:
    def __init__(self, path: Path) -> None:
        self.store = DuckDB(path, keep=None)

    def __enter__(self) -> DuckDB:
        self.store.open()
        return self.store

    def __exit__(self, *_: object) -> None:
        self.store.close()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        pytest.param(lambda t: t.builds(limit=0), "builds(limit=0)", id="no rows at all"),
        pytest.param(lambda t: t.builds(limit=True), "limit=True", id="a flag as a number"),
        pytest.param(lambda t: t.slowest_steps(10**9), "n=1000000000", id="rows without end"),
        pytest.param(lambda t: t.builds(status="green"), "'green'", id="an unknown status"),
        pytest.param(lambda t: t.trend("week"), "by='week'", id="an unknown group"),
        pytest.param(
            lambda t: t.builds(since=datetime(2026, 1, 1)), "time zone", id="no time zone"
        ),
        pytest.param(lambda t: t.steps(7), "no build id", id="a number as a build"),
        pytest.param(lambda t: t.steps("nope"), "'nope'", id="steps of an unknown build"),
        pytest.param(lambda t: t.logs("nope"), "'nope'", id="lines of an unknown build"),
        pytest.param(
            lambda t: t.logs("nope", offset=-1), "offset=-1", id="a line before the first"
        ),
        pytest.param(lambda t: t.logs(offset=5), "of one build", id="an offset in all builds"),
        pytest.param(lambda t: t.sql("SELECT ?", "shop"), "a str", id="a text for a list"),
    ],
)
def test_a_wrong_question_names_its_argument(t: Telemetry, ask, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(t)
    assert words in caught.value.message
    assert caught.value.hint


def test_own_sql_gives_dictionaries(t: Telemetry, rows: Made) -> None:
    found = t.sql(
        "SELECT status, count(*) AS n FROM builds_v1 WHERE project_id = ? GROUP BY status ORDER BY n DESC",
        ["shop-1"],
    )
    assert found.columns == ("status", "n")
    assert sum(row["n"] for row in found) == sum(b.project_id == "shop-1" for b in rows.builds)
    assert list(found.to_pandas().columns) == ["status", "n"]
    assert "<table>" in found._repr_html_()
    assert repr(found).startswith("<SqlRows ")


def test_columns_of_one_name_are_told_apart(t: Telemetry, rows: Made) -> None:
    build, step = (
        rows.builds[0],
        next(s for s in rows.steps if s.build_id == rows.builds[0].build_id),
    )
    (found,) = t.sql(
        "SELECT b.started_at, s.started_at, 7 AS started_at_1 FROM builds_v1 AS b JOIN build_steps_v1 AS s "
        "USING (build_id) WHERE build_id = ? AND step_id = ?",
        [build.build_id, step.step_id],
    )
    assert found == {
        "started_at": build.started_at,
        "started_at_2": step.started_at,
        "started_at_1": 7,
    }


def test_wrong_sql_tells_what_the_engine_said_and_what_there_is(t: Telemetry) -> None:
    with pytest.raises(TelemetryError) as caught:
        t.sql("SELECT colour FROM builds_v1")
    assert "colour" in caught.value.message
    assert "build_steps_v1 (step_id, started_at" in caught.value.hint


def test_sql_that_would_change_something_is_refused(t: Telemetry, rows: Made) -> None:
    with pytest.raises(TelemetryError):
        t.sql("DELETE FROM builds_v1")
    assert len(t.builds(limit=1000)) == len(rows.builds)


def test_tables_and_columns_are_listed(t: Telemetry) -> None:
    listed = {(row["table"], row["column"]) for row in t.tables}
    assert ("build_step_logs_v1", "message") in listed


def test_a_summary_counts_rows(t: Telemetry, rows: Made) -> None:
    assert f">{len(rows.steps)}<" in t._repr_html_()
    assert "builds.duckdb" in repr(t)
