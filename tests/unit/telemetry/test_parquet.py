"""Parquet files: everybody's readers find the same rows, whole or by project."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest

from depotlab import telemetry
from depotlab.errors import UsageError
from depotlab.telemetry import Batch, DuckDB, Parquet, export_parquet
from depotlab.telemetry._schema import TABLES
from tests.support.telemetryrows import build_row, step_row

BUILDS = [
    build_row(0),
    build_row(1, project_id="7"),
    build_row(2, project_id="a/b c", stages_ms={}),
]


@pytest.fixture
def store(tmp_path):
    store = DuckDB(tmp_path / "builds.duckdb", keep=None)
    store.open()
    store.write(Batch("1", "builds_v1", BUILDS))
    store.write(Batch("2", "build_steps_v1", [step_row(n) for n in range(4)]))
    yield store
    store.close()


def rows_of(source, table):
    found = source.query(
        f"SELECT * FROM {table} ORDER BY build_id, step_id"
        if "step" in table
        else f"SELECT * FROM {table} ORDER BY build_id"
    )
    assert found.columns == TABLES[table].names
    return [TABLES[table].row(found.columns, values) for values in found.rows]


@pytest.mark.parametrize("by_project", [False, True], ids=["one file", "by project"])
def test_what_was_exported_is_asked_as_the_store_is(store, tmp_path, by_project):
    written = export_parquet(store, tmp_path / "files", by_project=by_project)
    assert [path.exists() for path in written] == [True, True, True]
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == sorted(
        path.name for path in written
    )
    files = Parquet(tmp_path / "files")
    assert rows_of(files, "builds_v1") == BUILDS
    assert rows_of(files, "build_steps_v1") == [step_row(n) for n in range(4)]
    assert rows_of(files, "build_step_logs_v1") == []


def test_others_read_it(store, tmp_path):
    export_parquet(store, tmp_path / "files")
    schema = pq.read_schema(tmp_path / "files" / "build_steps_v1.parquet")
    assert [(one.name, str(one.type)) for one in schema][:2] == [
        ("step_id", "string"),
        ("started_at", "int64"),
    ]
    frame = pd.read_parquet(tmp_path / "files" / "build_steps_v1.parquet")
    assert list(frame.columns) == list(TABLES["build_steps_v1"].names)
    assert frame.cached.tolist() == [False, True, False, True]
    started_at = pd.to_datetime(frame.started_at, unit="ms", utc=True)[0]
    assert started_at == pd.Timestamp(step_row().started_at, unit="ms", tz="UTC")


def test_others_read_it_by_project(store, tmp_path):
    export_parquet(store, tmp_path / "files", by_project=True)
    frame = pd.read_parquet(tmp_path / "files" / "builds_v1")
    assert sorted(frame.project_id.astype(str)) == ["7", "a/b c", "shop"]


def test_only_rows_since_then(store, tmp_path):
    since = datetime.fromtimestamp((BUILDS[1].completed_at) / 1000, tz=UTC)
    export_parquet(store, tmp_path / "files", since=since)
    assert rows_of(Parquet(tmp_path / "files"), "builds_v1") == BUILDS[1:]


def test_since_may_be_how_long_ago(store, tmp_path):
    telemetry.Telemetry(store).export_parquet(tmp_path, since=timedelta(hours=1))
    assert rows_of(Parquet(tmp_path), "builds_v1") == BUILDS
    export_parquet(store, tmp_path, since=timedelta(days=-1))
    assert rows_of(Parquet(tmp_path), "builds_v1") == []


def test_a_folder_may_have_the_name_of_a_pattern(store, tmp_path):
    export_parquet(store, tmp_path / "it's [1]*?", by_project=True)
    assert rows_of(Parquet(tmp_path / "it's [1]*?"), "builds_v1") == BUILDS


def test_an_export_replaces_the_one_before_of_either_kind(store, tmp_path):
    for by_project in (True, False, True):
        export_parquet(store, tmp_path / "files", by_project=by_project)
        assert len(list((tmp_path / "files").iterdir())) == 3
        assert rows_of(Parquet(tmp_path / "files"), "builds_v1") == BUILDS


def test_files_can_be_exported_again(store, tmp_path):
    export_parquet(store, tmp_path / "one", by_project=True)
    export_parquet(Parquet(tmp_path / "one"), tmp_path / "two")
    assert rows_of(Parquet(tmp_path / "two"), "builds_v1") == BUILDS


def test_files_of_an_earlier_version_lack_columns(tmp_path):
    frame = pd.DataFrame({"build_id": ["b1"], "status": ["failed"]})
    frame.to_parquet(tmp_path / "builds_v1.parquet")
    found = Parquet(tmp_path).query("SELECT status, image FROM builds_v1")
    assert found.rows == (("failed", None),)


def test_the_path_of_a_store_is_enough(store, tmp_path):
    export_parquet(str(store.path), tmp_path / "it's files")
    assert rows_of(Parquet(tmp_path / "it's files"), "builds_v1") == BUILDS


def test_who_asks_may_export_too(store, tmp_path):
    with telemetry.open(store) as asked:
        asked.export_parquet(tmp_path / "files", by_project=True)
    assert rows_of(Parquet(tmp_path / "files"), "builds_v1") == BUILDS


@pytest.mark.parametrize(
    ("call", "said"),
    [
        pytest.param(lambda at: Parquet(at / "missing"), "is no folder", id="no folder"),
        pytest.param(lambda at: export_parquet(object(), at), "nothing to export", id="no source"),
        pytest.param(
            lambda at: export_parquet(at / "b.duckdb", at, since=datetime(2026, 1, 1)),
            "time zone",
            id="no time zone",
        ),
    ],
)
def test_wrong_arguments_are_said(tmp_path, call, said):
    with pytest.raises(UsageError, match=said):
        call(tmp_path)
