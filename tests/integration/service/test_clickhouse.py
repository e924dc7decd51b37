"""A real ClickHouse engine, spoken to by the official client over a socket."""

import threading

import pytest

from depotlab.errors import TelemetryError
from depotlab.telemetry import Batch, ClickHouse, Parquet, Writer, export_parquet
from depotlab.telemetry._schema import TABLES
from tests.support.clickhouse_http import PASSWORD, clickhouse_engine
from tests.support.processes import wait_until
from tests.support.telemetryrows import NOW_MS, build_row, log_row, step_row

LOGS = "build_step_logs_v1"


@pytest.fixture(scope="module")
def engine():
    with clickhouse_engine() as engine:
        yield engine


@pytest.fixture
def store(engine, request):
    name = "t_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
    store = ClickHouse(engine.address, user=engine.user, password=engine.password, database=name)
    yield store
    store.close()


def lines(store):
    return [row[0] for row in store.query(f"SELECT line FROM {LOGS} ORDER BY line").rows]


def test_tables_are_as_in_the_reference(store):
    store.open()
    store.open()
    for table in TABLES.values():
        made = store.query(
            "SELECT create_table_query FROM system.tables WHERE name = ?", [table.name]
        )
        assert "non_replicated_deduplication_window = 10000" in made.rows[0][0]
        found = store.query(
            "SELECT name, type, compression_codec FROM system.columns"
            " WHERE database = ? AND table = ? ORDER BY position",
            [store.database, table.name],
        ).rows
        assert tuple(name for name, _, _ in found) == table.names
        assert {(kind, codec) for name, kind, codec in found if name in {"time", "started_at"}} == {
            ("Int64", "CODEC(Delta(8), LZ4)")
        }


@pytest.mark.parametrize(
    "rows",
    [
        [build_row(0, stages_ms={}), build_row(1)],
        [step_row(n, error="é\n\t\"'\\") for n in range(3)],
        [log_row(n, message="\0 \x1b[31m 🙂 %s {x:String} ?") for n in range(3)],
    ],
    ids=["builds", "steps", "logs"],
)
def test_rows_come_back_as_they_are(store, rows):
    store.open()
    store.write(Batch("1", rows[0].table, rows))
    table = TABLES[rows[0].table]
    order = "build_id" if table.name == "builds_v1" else table.ages_by[0]
    found = store.query(f"SELECT * FROM {table.name} ORDER BY {order}")
    assert [table.row(found.columns, values) for values in found.rows] == rows


def test_a_batch_that_comes_again_is_kept_once(store):
    store.open()
    rows = [log_row(n) for n in range(5)]
    store.write(Batch("1", LOGS, rows))
    store.write(Batch("1", LOGS, rows))
    store.write(Batch("2", LOGS, [log_row(5)]))
    assert lines(store) == list(range(6))
    store.write(Batch("3", LOGS, [log_row(5)]))
    assert lines(store) == [*range(6), 5], "the id counts, not what is in it"


def test_batches_of_every_small_size_are_kept(store):
    store.open()
    numbers = iter(range(1000))
    for n_rows in (1, 9, 10, 11, 12, 13, 32):  # as bytes, line ends and spaces
        rows = [log_row(n) for _, n in zip(range(n_rows), numbers, strict=False)]
        store.write(Batch(str(n_rows), LOGS, rows))
    assert len(lines(store)) == 88


def test_old_rows_go_and_rows_without_a_time_stay(store):
    store.open()
    ages = (0, NOW_MS, NOW_MS - 100 * 86_400_000)
    store.write(Batch("1", LOGS, [log_row(n, time=at) for n, at in enumerate(ages)]))
    steps = [step_row(n, started_at=0, completed_at=at) for n, at in enumerate(ages)]
    store.write(Batch("2", "build_steps_v1", steps))
    with store._asking() as client:
        for table in (LOGS, "build_steps_v1"):
            client.command(f"OPTIMIZE TABLE {store.database}.{table} FINAL")
    assert lines(store) == [0, 1]
    assert store.query("SELECT step_id FROM build_steps_v1 ORDER BY step_id").rows == (
        ("sha256:0",),
        ("sha256:1",),
    )


def test_threads_ask_while_rows_are_written(store):
    store.open()
    seen = [[], []]
    stop = threading.Event()

    def ask(counts):
        while not stop.is_set():
            counts.append(store.query(f"SELECT count() FROM {LOGS}").rows[0][0])

    threads = [threading.Thread(target=ask, args=(counts,)) for counts in seen]
    for thread in threads:
        thread.start()
    for number in range(5):
        store.write(Batch(str(number), LOGS, [log_row(n) for n in range(7)]))
    stop.set()
    for thread in threads:
        thread.join()
    assert all(counts == sorted(counts) and not any(n % 7 for n in counts) for counts in seen)
    assert len(lines(store)) == 35


def test_tables_without_our_columns_get_them(store, engine):
    other = ClickHouse(engine.address, user=engine.user, password=engine.password)
    with other._asking() as client:
        client.command(f"CREATE DATABASE {store.database}")
        client.command(
            f"CREATE TABLE {store.database}.{LOGS} (time Int64, workspace_id String, project_id String,"
            " deployment_id String, message String, step_id String) ENGINE = MergeTree ORDER BY time"
        )
        client.command(f"INSERT INTO {store.database}.{LOGS} VALUES (1, '', '', '', 'old', '')")
    store.open()
    store.write(Batch("1", LOGS, [log_row(7, stream=2)]))
    assert store.query(f"SELECT message, stream, line FROM {LOGS} ORDER BY time").rows == (
        ("old", 1, 0),
        ("line 7", 2, 7),
    )
    other.close()


def test_parameters_stand_in_order(store):
    store.open()
    store.write(Batch("1", LOGS, [log_row(n, message="it's \\ ?\n") for n in range(3)]))
    found = store.query(
        f"SELECT line FROM {LOGS} WHERE line IN ? AND message = ? AND time > ? ORDER BY line",
        [[1, 2, 9], "it's \\ ?\n", 0],
    )
    assert found.columns == ("line",)
    assert found.rows == ((1,), (2,))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        pytest.param("SELECT nothing FROM builds_v1", "nothing", id="no such column"),
        pytest.param("SELEC 1", "[Ss]yntax", id="no SQL"),
        pytest.param("SELECT * FROM builds_v9", "builds_v9", id="no such table"),
        pytest.param("DROP TABLE builds_v1", "(?i)readonly", id="one that changes something"),
    ],
)
def test_a_wrong_statement_is_said(store, sql, said):
    store.open()
    with pytest.raises(TelemetryError, match=said) as caught:
        store.query(sql)
    assert not caught.value.is_transient
    assert "version" not in caught.value.message
    assert store.query("SELECT count() FROM builds_v1").rows == ((0,),)


def test_a_wrong_password_is_said_and_not_shown(engine):
    store = ClickHouse(engine.address, user=engine.user, password="no-such-password")
    with pytest.raises(TelemetryError, match="Authentication failed") as caught:
        store.open()
    assert caught.value.hint == "check user= and password="
    assert "no-such-password" not in f"{caught.value!s}{caught.value!r}{store!r}"
    assert PASSWORD not in str(caught.value)


def test_rows_are_exported_as_parquet(store, tmp_path):
    store.open()
    store.write(Batch("1", "builds_v1", [build_row(n, project_id=f"p{n % 2}") for n in range(4)]))
    export_parquet(store, tmp_path, by_project=True)
    found = Parquet(tmp_path).query("SELECT * FROM builds_v1 ORDER BY build_id")
    table = TABLES["builds_v1"]
    assert [table.row(found.columns, values) for values in found.rows] == [
        build_row(n, project_id=f"p{n % 2}") for n in range(4)
    ]


def test_an_engine_that_is_killed_and_comes_back_has_every_row_once(store, engine, tmp_path):
    rows = [log_row(n) for n in range(3000)]
    with Writer(store, spool_dir=tmp_path / "spool", batch_rows=100, flush_s=0.05) as writer:
        writer.put(rows[:500])
        wait_until(lambda: writer.stats.written >= 100, what="the first batches are written")
        engine.kill()
        writer.put(rows[500:])
        assert not writer.flush(0.2)
        assert writer.stats.waiting + writer.stats.written == 3000
        assert "cannot be reached" in writer.stats.last_error
        assert PASSWORD not in repr(writer.stats)
        engine.start()
        assert writer.flush(30)
        assert writer.stats.lost == 0
    assert lines(store) == list(range(3000))
