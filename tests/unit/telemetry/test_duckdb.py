"""The embedded store: every batch once, readers beside the writer, and clear words about other processes."""

import subprocess
import sys
import threading
import time
from datetime import timedelta

import duckdb
import pytest

from depotlab.errors import MissingExtra, TelemetryError, UsageError
from depotlab.telemetry import Batch, DuckDB, Sink, Source, Writer
from depotlab.telemetry._schema import TABLES
from tests.support.telemetryrows import build_row, log_row, step_row

LOGS = "build_step_logs_v1"
HOLDS = """
import sys
from depotlab.telemetry import DuckDB
store = DuckDB(sys.argv[1])
store.open()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path):
    store = DuckDB(tmp_path / "builds.duckdb", keep=None)
    store.open()
    yield store
    store.close()


def count(store, table=LOGS):
    return store.query(f"SELECT count(*) FROM {table}").rows[0][0]


def test_it_is_a_sink_and_a_source(store):
    assert isinstance(store, Sink)
    assert isinstance(store, Source)


@pytest.mark.parametrize(
    "rows",
    [
        [build_row(0, stages_ms={}), build_row(1), build_row(2, stages_ms={"other": 2**40})],
        [step_row(n, error="é\n\"'") for n in range(3)],
        [log_row(n, message="\0 \x1b[31m 🙂") for n in range(3)],
    ],
    ids=["builds", "steps", "logs"],
)
def test_rows_come_back_as_they_are(store, rows):
    store.write(Batch("1", rows[0].table, rows))
    table = TABLES[rows[0].table]
    found = store.query(f"SELECT * FROM {table.name}")
    assert found.columns == table.names
    assert [table.row(found.columns, values) for values in found.rows] == rows


def test_a_batch_that_comes_again_is_kept_once(store):
    batch = Batch("1", LOGS, [log_row(n) for n in range(5)])
    store.write(batch)
    store.write(batch)
    assert count(store) == 5
    store.close()
    store.open()
    store.write(batch)
    assert count(store) == 5


def test_of_a_batch_that_fails_nothing_is_kept(store):
    with pytest.raises(TelemetryError):
        store.write(Batch("1", LOGS, [log_row(0), log_row(1, time=2**70)]))
    assert count(store) == 0
    store.write(Batch("1", LOGS, [log_row(0)]))
    assert count(store) == 1


def test_a_query_on_a_closed_store_reads_and_lets_go(store, tmp_path):
    store.write(Batch("1", LOGS, [log_row()]))
    store.close()
    assert count(store) == 1
    with duckdb.connect(str(store.path)) as other:  # nobody has it open
        assert other.execute(f"SELECT count(*) FROM {LOGS}").fetchone() == (1,)


def test_a_store_that_is_not_there_yet_is_empty(tmp_path):
    store = DuckDB(tmp_path / "new" / "builds.duckdb")
    assert count(store, "builds_v1") == 0


def test_two_stores_of_one_file_share_it(store):
    other = DuckDB(store.path, keep=None)
    store.write(Batch("1", LOGS, [log_row()]))
    assert count(other) == 1
    other.open()
    store.close()
    other.write(Batch("2", LOGS, [log_row()]))
    assert count(store) == 2
    other.close()


def test_readers_go_on_while_rows_are_written(store):
    seen = []
    stop = threading.Event()

    def read():
        while not stop.is_set():
            seen.append(count(store))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(10):
        store.write(Batch(str(number), LOGS, [log_row(n) for n in range(7)]))
    stop.set()
    reader.join()
    assert seen == sorted(seen)
    assert all(n % 7 == 0 for n in seen), "whole batches only"
    assert count(store) == 70


def test_a_store_that_is_closed_while_it_is_asked_closes_with_the_answer(store):
    with store._reading() as cursor:
        cursor.execute("SELECT * FROM range(3)")
        store.close()
        assert cursor.fetchall() == [(0,), (1,), (2,)]
        assert store._file.connection is not None
    assert store._file.connection is None, "so another process can have it"
    assert count(store) == 0


def test_parameters_stand_in_order(store):
    store.write(Batch("1", LOGS, [log_row(n, message="?") for n in range(3)]))
    found = store.query(f"SELECT line FROM {LOGS} WHERE line > ? AND message = ?", [1, "?"])
    assert found.rows == ((2,),)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        pytest.param("SELECT nothing FROM builds_v1", "nothing", id="no such column"),
        pytest.param("SELEC 1", "syntax", id="no SQL"),
        pytest.param("SELECT 1; SELECT 2", "2 statements", id="two statements"),
        pytest.param("", "0 statements", id="none"),
        pytest.param("DROP TABLE builds_v1", "read-only", id="one that changes something"),
    ],
)
def test_a_wrong_statement_is_said(store, sql, said):
    with pytest.raises(TelemetryError, match=said) as caught:
        store.query(sql)
    assert not caught.value.is_transient
    assert count(store, "builds_v1") == 0


def test_another_process_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "builds.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        for call in (lambda: count(DuckDB(path)), lambda: DuckDB(path).open()):
            with pytest.raises(TelemetryError, match=f"open in process {other.pid}") as caught:
                call()
            assert "export_parquet" in caught.value.hint
            assert caught.value.is_transient
        other.stdin.close()
        assert other.wait() == 0
    assert count(DuckDB(path)) == 0


def test_a_file_that_is_no_database_is_said(tmp_path):
    (tmp_path / "builds.duckdb").write_text("no database" * 1000)
    with pytest.raises(TelemetryError, match="cannot be used"):
        DuckDB(tmp_path / "builds.duckdb").open()


def test_only_its_owner_reads_the_file(store):
    store.write(Batch("1", LOGS, [log_row()]))
    found = list(store.path.parent.iterdir())
    assert len(found) == 2
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}


def test_old_rows_go_and_rows_without_a_time_stay(store):
    now_ms = time.time_ns() // 1_000_000
    day_ms = 86_400_000
    ages = (0, now_ms - 100 * day_ms, now_ms - 80 * day_ms)
    store.write(Batch("1", LOGS, [log_row(n, time=at) for n, at in enumerate(ages)]))
    steps = [step_row(n, started_at=at, completed_at=at) for n, at in enumerate(ages)]
    store.write(Batch("2", "build_steps_v1", steps))
    assert store.expire() == 2
    assert store.query(f"SELECT line FROM {LOGS} ORDER BY line").rows == ((0,), (2,))
    assert store.expire(timedelta(days=1)) == 2


def test_old_rows_go_when_a_store_is_opened(store):
    store.write(Batch("1", LOGS, [log_row(time=1)]))
    other = DuckDB(store.path)
    other.open()
    other.close()
    assert count(store) == 0


def test_a_file_of_an_earlier_version_gets_its_columns(tmp_path):
    path = tmp_path / "builds.duckdb"
    names = TABLES["build_steps_v1"].names
    with duckdb.connect(str(path)) as old:
        old.execute(
            "CREATE TABLE build_steps_v1 (step_id VARCHAR, started_at BIGINT, completed_at BIGINT, "
            "workspace_id VARCHAR, project_id VARCHAR, deployment_id VARCHAR, name VARCHAR, "
            "cached BOOLEAN, error VARCHAR, has_logs BOOLEAN)"
        )
        old.execute(
            "INSERT INTO build_steps_v1 VALUES ('s', 1, 2, 'w', 'p', 'd', 'n', true, '', true)"
        )
    store = DuckDB(path, keep=None)
    store.open()
    store.write(Batch("1", "build_steps_v1", [step_row()]))
    assert store.query(f"SELECT {', '.join(names[-2:])} FROM build_steps_v1 ORDER BY 1").rows == (
        ("", 1),
        ("b0", 1),
    )
    store.close()


@pytest.mark.parametrize("path", ["", ":memory:"], ids=["nothing", "memory"])
def test_rows_are_kept_in_a_file(path):
    with pytest.raises(UsageError, match="is no file"):
        DuckDB(path)


def test_without_duckdb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="needs packages") as caught:
        DuckDB(tmp_path / "builds.duckdb")
    assert caught.value.extra == "telemetry"


WRITES = """
import itertools, sys
from pathlib import Path
from depotlab.telemetry import DuckDB, Writer
from tests.support.telemetryrows import log_row
folder = Path(sys.argv[1])
writer = Writer(DuckDB(folder / "builds.duckdb"), spool_dir=folder / "spool", batch_rows=50)
for n in itertools.count():
    writer.put([log_row(n)])
    print(n, flush=True)
"""


def test_a_process_that_is_killed_while_it_writes_loses_and_doubles_nothing(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE
    ) as other:
        path = tmp_path / "builds.duckdb"
        while not path.exists() or not (tmp_path / "spool").exists():
            assert other.stdout.readline()
        for _ in range(700):
            last = int(other.stdout.readline())
        other.kill()
        last = int(([last, *other.stdout.read().splitlines()])[-1])
    store = DuckDB(path)
    with Writer(store, spool_dir=tmp_path / "spool") as writer:
        assert writer.flush(30)
        assert writer.stats.lost == 0
    found = [row[0] for row in store.query(f"SELECT line FROM {LOGS} ORDER BY line").rows]
    assert found in (list(range(last + 1)), list(range(last + 2))), (
        "the last may not have been told"
    )


FULL = """
import random, resource, sys
from pathlib import Path
from depotlab.telemetry import DuckDB, Writer
from tests.support.telemetryrows import log_row
folder, room_bytes = Path(sys.argv[1]), int(sys.argv[2])
store = DuckDB(folder / "builds.duckdb")
store.open()
store._file.connection.execute("SET checkpoint_threshold = '1MB'")
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
with Writer(store, spool_dir=folder / "spool", batch_rows=100) as writer:
    writer.put(log_row(n, message=random.randbytes(700).hex()) for n in range(2000))
    while "cannot be used" not in writer.stats.last_error:
        assert not writer.flush(0.5)
    assert writer.stats.retries
    written = writer.stats.written
    kept = store.query("SELECT count(*) FROM build_step_logs_v1").rows[0][0]
    # It tries on meanwhile, and one batch may be kept although the answer was an error.
    assert written <= kept <= writer.stats.written + 100, (written, kept, writer.stats)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert writer.flush(30)
    assert writer.stats.lost == 0
found = store.query("SELECT count(*), count(DISTINCT line) FROM build_step_logs_v1").rows
assert found == ((2000, 2000),), found
"""


@pytest.mark.parametrize("room_bytes", [500_000, 1_600_000], ids=["the log", "the file"])
def test_a_full_disk_costs_no_row_once_there_is_room_again(tmp_path, room_bytes):
    subprocess.run([sys.executable, "-c", FULL, str(tmp_path), str(room_bytes)], check=True)
