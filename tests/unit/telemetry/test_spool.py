"""Files of rows that wait: what a process that was killed leaves can be read, to its last whole line."""

import json
import subprocess
import sys

import pytest

from depotlab.telemetry import Writer
from depotlab.telemetry._schema import TABLES
from depotlab.telemetry._spool import Spool, encoded
from tests.support.telemetryrows import JumpingClock, MemorySink, build_row, log_row, step_row

KILLED = """
import os, signal, sys, threading
from pathlib import Path
from depotlab.telemetry import Writer
from tests.support.telemetryrows import build_row, log_row

class Hangs:
    def open(self): pass
    def write(self, batch): threading.Event().wait()
    def close(self): pass

writer = Writer(Hangs(), spool_dir=Path(sys.argv[1]), batch_rows=40)
writer.put([log_row(n) for n in range(100)])
writer.put([build_row()])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def written(spool, rows):
    file = spool.new(TABLES[rows[0].table])
    file.create()
    file.append(encoded(file.table, rows))
    file.seal()
    return file


@pytest.mark.parametrize(
    "row",
    [
        build_row(error="two\nlines", error_category="stages", stages_ms={}),
        step_row(error="é\0\t\"'\\"),
        log_row(message="\x1b[31mred\x1b[0m \u2028 🙂"),
    ],
    ids=["build", "step", "log"],
)
def test_rows_are_read_as_they_were_written(spool, row):
    file = written(spool, [row, row])
    assert file.read() == ([row, row], 0)
    assert file.count() == 2


def test_a_torn_last_line_is_dropped_alone(spool):
    rows = [log_row(n) for n in range(3)]
    file = written(spool, rows)
    whole = file._path.read_bytes()
    last = encoded(file.table, rows[2:])
    for n_missing in range(1, len(last) + 1):
        file._path.write_bytes(whole[:-n_missing])
        assert file.read() == (rows[:2], 0)


def test_a_damaged_line_is_left_out_and_counted(spool):
    rows = [log_row(n) for n in range(3)]
    file = written(spool, rows)
    file._path.write_bytes(file._path.read_bytes().replace(b"line 1", b"lime 1"))
    assert file.read() == ([rows[0], rows[2]], 1)


def test_a_file_that_ends_in_its_first_line_has_no_rows(spool):
    file = written(spool, [log_row()])
    file._path.write_bytes(file._path.read_bytes()[:20])
    assert file.read() == ([], 0)
    assert file.count() == 0


def test_rows_below_a_damaged_first_line_are_counted(spool):
    file = written(spool, [log_row(n) for n in range(3)])
    file._path.write_bytes(b"?" + file._path.read_bytes()[1:])
    assert file.read() == ([], 3)


def test_a_file_of_an_earlier_version_lacks_columns_and_has_others(spool):
    file = written(spool, [log_row(stream=2)])
    head, line = file._path.read_bytes().splitlines()
    columns = json.loads(head[9:])["columns"]
    values = dict(zip(columns, json.loads(line[9:]), strict=True))
    del values["stream"]
    values["of_long_ago"] = 1

    from depotlab.telemetry._spool import _line

    file._path.write_bytes(
        _line({"table": "build_step_logs_v1", "columns": list(values)})
        + _line(list(values.values()))
    )
    assert file.read() == ([log_row(stream=1)], 0)


def test_ids_are_in_order_and_never_again_the_same(tmp_path):
    seen = []
    for now_ns in (5, 3, 9):
        spool = Spool(tmp_path, now_ns=lambda now_ns=now_ns: now_ns)
        assert [file.batch_id for file in spool.left_behind()] == seen
        file = written(spool, [log_row()])
        seen.append(file.batch_id)
        spool.close()
    assert seen == sorted(set(seen))


def test_files_of_unknown_tables_stay(spool, tmp_path):
    (tmp_path / "spool" / "0000000000000000001-aa.build_costs_v9.rows").write_bytes(b"x")
    assert list(spool.left_behind()) == []


def test_a_killed_process_loses_no_row_that_was_put(tmp_path):
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "spool")], check=False)
    assert died.returncode == -9
    sink = MemorySink()
    with Writer(sink, spool_dir=tmp_path / "spool", clock=JumpingClock()) as writer:
        assert writer.flush(30)
        assert writer.stats.written == 101
    logs = [row for row in sink.rows if row.table == "build_step_logs_v1"]
    assert [row.line for row in logs] == list(range(100))
    assert [row.build_id for row in sink.rows if row.table == "builds_v1"] == ["b0"]
