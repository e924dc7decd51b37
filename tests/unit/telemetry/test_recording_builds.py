from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from depotlab import telemetry
from depotlab.errors import TelemetryError, UsageError
from depotlab.progress import BuildEnded, BuildStarted, Fold, LogWritten, Phase, VertexUpdated
from depotlab.telemetry import Answer, Batch, DuckDB, Writer, _connection
from depotlab.telemetry._ended import (
    EndedBuild,
    ended_builds_heard,
    is_anybody_listening,
    tell_ended,
)
from depotlab.telemetry._fromsnapshot import BuildIds, build_row
from tests.support.processes import wait_until

S = 1_000_000_000


def folded(number: int = 1, *, phase: Phase | None = Phase.SUCCEEDED) -> Fold:
    fold = Fold()
    start = 1_790_000_000 * S + number * S
    fold.feed(
        [
            BuildStarted(start, "app", "here"),
            VertexUpdated(f"sha256:{number}", "RUN make", started_ns=start, completed_ns=start + S),
            LogWritten(f"sha256:{number}", start, 1, b"made with hunter22\n"),
        ]
    )
    if phase is not None:
        fold.feed([BuildEnded(start + 2 * S, phase)])
    return fold


class Result:
    """What `add` knows of the result of a build."""

    ref = "r1"
    digest = "sha256:d"
    names = ("app:1", "app:latest")

    def __init__(self) -> None:
        self.snapshot = folded().snapshot(at_ns=0)


def test_every_build_of_the_block_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "builds.duckdb"
    with telemetry.recording("shop", where=path) as t:
        for number in range(5):
            tell_ended(EndedBuild(folded(number), ref=f"r{number}", hide=["hunter22"]))
        tell_ended(EndedBuild(folded(7, phase=Phase.FAILED)))
        assert len(t.builds()) == 6, "what has ended is in the answer at once"
    assert not is_anybody_listening()
    tell_ended(EndedBuild(folded(8), ref="r8"))
    with telemetry.open(path) as later:
        assert {b.status for b in later.builds()} == {"succeeded", "failed"}
        assert {b.project for b in later.builds()} == {"shop"}
        assert {b.deployment for b in later.builds()} == {"app"}
        assert [line.text for line in later.logs("r3")] == ["made with •••"]
    assert len(t.builds()) == 6, "it can be asked after the block"


def test_an_error_in_the_block_does_not_lose_builds(tmp_path: Path) -> None:
    def fails() -> None:
        with telemetry.recording("shop", where=tmp_path / "b.duckdb"):
            tell_ended(EndedBuild(folded(), ref="r1"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with telemetry.open(tmp_path / "b.duckdb") as t:
        assert [b.build_id for b in t.builds()] == ["r1"]


def test_of_two_recordings_into_one_store_the_inner_one_keeps_a_build(tmp_path: Path) -> None:
    path = tmp_path / "b.duckdb"
    with telemetry.recording("one", where=path) as t:
        tell_ended(EndedBuild(folded(1), ref="r1"))
        with (
            telemetry.recording("two", where=path),
            telemetry.recording("other", where=tmp_path / "other.duckdb") as elsewhere,
        ):
            tell_ended(EndedBuild(folded(2), ref="r2"))
        tell_ended(EndedBuild(folded(3), ref="r3"))
    found = sorted((b.project, b.build_id) for b in t.builds())
    assert found == [("one", "r1"), ("one", "r3"), ("two", "r2")]
    assert [b.build_id for b in elsewhere.builds()] == ["r2"]


def test_a_store_and_its_path_are_one_place(tmp_path: Path) -> None:
    path = tmp_path / "b.duckdb"
    with (
        telemetry.recording("one", where=path),
        telemetry.recording("two", where=DuckDB(path)) as t,
    ):
        tell_ended(EndedBuild(folded(), ref="r1"))
    assert [b.project for b in t.builds()] == ["two"]
    assert (tmp_path / "b.duckdb.waiting" / "1").is_dir(), "rows of both wait beside the file"


def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def fails(_: EndedBuild) -> None:
        raise RuntimeError("no")

    with ended_builds_heard(fails), ended_builds_heard(lambda build: heard.append(build.ref)):
        tell_ended(EndedBuild(folded(), ref="r1"))
    assert heard == ["r1"]
    assert "has failed" in caplog.text


def test_a_result_is_added_once(tmp_path: Path) -> None:
    with telemetry.open(tmp_path / "b.duckdb") as t:
        assert t.add(Result(), project="shop", deployment="7") == "r1"
        assert t.add(Result(), project="shop", deployment="7") == "r1"
        (build,) = t.builds()
        assert (build.image, build.digest) == ("app:1, app:latest", "sha256:d")
        assert (build.deployment, build.n_log_lines) == ("7", 1)
        assert [s.name for s in t.steps(Result())] == ["RUN make"]


class Submitted:
    """What `add` knows of a build that was submitted."""

    def __init__(self, result: Result) -> None:
        self.snapshot = result.snapshot
        self.result = lambda: result


def test_a_build_that_was_submitted_is_its_result(tmp_path: Path) -> None:
    with telemetry.open(tmp_path / "b.duckdb") as t:
        assert t.add(Submitted(Result()), project="shop") == "r1"
        assert t.add(Result(), project="shop") == "r1"
        (build,) = t.builds()
        assert build.digest == "sha256:d"


def test_a_result_is_known_by_its_snapshot(tmp_path: Path) -> None:
    with telemetry.open(tmp_path / "b.duckdb") as t:
        build_id = t.add(Result().snapshot, project="shop")
        assert t.add(Result(), project="shop") == build_id
        assert len(t.builds()) == 1


def test_a_snapshot_is_added_also_of_a_build_that_failed(tmp_path: Path) -> None:
    failed = folded(phase=Phase.FAILED).snapshot(at_ns=0)
    with telemetry.open(tmp_path / "b.duckdb") as t:
        build_id = t.add(failed, project="shop")
        assert [(b.build_id, b.status) for b in t.builds()] == [(build_id, "failed")]


@pytest.mark.parametrize(
    ("build", "project", "words"),
    [
        pytest.param(7, "shop", "was given a int", id="a number"),
        pytest.param(folded(phase=None).snapshot(at_ns=0), "shop", "still runs", id="it runs"),
        pytest.param(folded().snapshot(at_ns=0), "", "project=''", id="no project"),
    ],
)
def test_what_cannot_be_added_is_refused(
    tmp_path: Path, build: object, project: str, words: str
) -> None:
    with telemetry.open(tmp_path / "b.duckdb") as t, pytest.raises(UsageError) as caught:
        t.add(build, project=project)
    assert words in caught.value.message


def leave_rows(path: Path, *numbers: int) -> None:
    """Leave a build waiting beside a store in each of the folders with these numbers."""
    snapshot = folded().snapshot(at_ns=0)
    ids = BuildIds(build_id="left", project_id="shop")
    for number in numbers:
        spool = path.with_name(f"{path.name}.waiting") / str(number)
        with Writer(Refuses(), spool_dir=spool) as writer:
            writer.put([build_row(snapshot, replace(ids, build_id=f"left {number}"))])
            writer.close(timeout_s=0)


def test_what_an_earlier_process_left_waiting_is_found(tmp_path: Path) -> None:
    leave_rows(tmp_path / "b.duckdb", 0, 3)
    with telemetry.open(tmp_path / "b.duckdb") as t:
        assert {b.build_id for b in t.builds()} == {"left 0", "left 3"}


def test_what_was_left_waiting_is_written_beside_a_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_rows(tmp_path / "b.duckdb", 3)
    caplog.clear()
    with telemetry.recording("shop", where=tmp_path / "b.duckdb") as t:
        assert [b.build_id for b in t.builds()] == ["left 3"]
        tell_ended(EndedBuild(folded(), ref="r1"))
        assert {b.build_id for b in t.builds()} == {"left 3", "r1"}
    assert "not written" not in caplog.text, "its store was open all the time"


def test_what_was_left_waiting_is_asked_for_until_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "b.duckdb"
    with telemetry.open(path) as t:
        leave_rows(path, 0, 1)
        with holding(path):
            for _ in range(2):
                with pytest.raises(TelemetryError, match="is open in process"):
                    t.builds()
        assert {b.build_id for b in t.builds()} == {"left 0", "left 1"}


HOLDS = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Have another process hold a store."""
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        yield
        assert other.stdin is not None
        other.stdin.close()
        assert other.wait() == 0


@pytest.fixture
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How writers are waited for: `once`, until a try fails, or `long`, which takes no time here."""
    monkeypatch.setenv("DEPOTLAB_STATE", str(tmp_path))
    monkeypatch.setattr(_connection, "_FLUSH_S", 0.0)
    seen: list[str] = []
    flush = Writer.flush

    def counted(writer: Writer, timeout_s: float = 30.0, *, once: bool = False) -> bool:
        seen.append("once" if once else "long")
        return flush(writer, 3600, once=True) if once else False

    monkeypatch.setattr(Writer, "flush", counted)
    return seen


def test_nobody_waits_for_a_store_that_cannot_be_asked(waits: list[str]) -> None:
    store = Answers()
    with telemetry.open(store) as t:
        assert len(t.builds()) == 0
        store.is_down = True
        t._connection.put(folded().snapshot(at_ns=0), BuildIds(build_id="b", project_id="p"))
        for _ in range(3):
            with pytest.raises(TelemetryError, match="down"):
                t.builds()
        assert waits == ["once"] * 3


def test_a_store_that_answers_is_waited_for_once(waits: list[str]) -> None:
    with telemetry.open(Answers()) as t:
        t._connection.put(folded().snapshot(at_ns=0), BuildIds(build_id="b", project_id="p"))
        assert [len(t.builds()) for _ in range(3)] == [0, 0, 0]
        assert waits[-2:] == ["once"] * 2
        assert waits.count("long") <= 1


def test_rows_that_have_to_wait_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DEPOTLAB_STATE", str(tmp_path))
    monkeypatch.setattr(_connection, "_FLUSH_S", 0.0)
    with telemetry.recording("shop", where=Refuses()):
        tell_ended(EndedBuild(folded(), ref="r1"))
    assert "3 rows wait until" in caplog.text
    assert list(tmp_path.glob("telemetry/waiting/*/0/*.rows"))


class Refuses:
    """A store that is down."""

    dialect = "duckdb"

    def query(self, sql: str, parameters: Sequence[object] = ()) -> Answer:
        raise TelemetryError("down", is_transient=True)

    def open(self) -> None:
        raise TelemetryError("down", is_transient=True)

    def write(self, _: Batch) -> None:
        raise TelemetryError("down", is_transient=True)

    def close(self) -> None:
        pass


def test_a_long_log_is_waited_for_as_long_as_it_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPOTLAB_STATE", str(tmp_path))
    store = Slow()
    flush = Writer.flush

    def flush_one(writer: Writer, timeout_s: float = 30.0, *, once: bool = False) -> bool:
        n_written = writer.stats.written
        flush(writer, 0)
        store.allowed.release()
        wait_until(lambda: writer.stats.written > n_written, what="a batch is written")
        return not writer.stats.waiting

    monkeypatch.setattr(Writer, "flush", flush_one)
    with telemetry.open(store) as t:
        t._connection.put(folded().snapshot(at_ns=0), BuildIds(build_id="b", project_id="p"))
        t.builds()
        asked = t._connection.writer().stats
        t._connection.put(folded().snapshot(at_ns=0), BuildIds(build_id="c", project_id="p"))
    assert (asked.written, asked.waiting) == (3, 0), "three tables, so three batches"
    assert not list(tmp_path.rglob("*.rows")), "so it is at the end of a block"


def test_what_was_not_written_at_the_end_of_a_block_is_in_later_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_FLUSH_S", 0.05)
    path = tmp_path / "b.duckdb"
    with telemetry.open(path) as t:
        assert len(t.builds()) == 0
        with holding(path):
            t._connection.put(folded().snapshot(at_ns=0), BuildIds(build_id="b", project_id="p"))
            writer = t._connection.writer()
            wait_until(lambda: writer.stats.last_error, what="the store is found taken")
            t._connection.end()
        monkeypatch.undo()
        assert [b.build_id for b in t.builds()] == ["b"]


class Answers(Refuses):
    """A store that takes nothing, and can be asked until it is down."""

    is_down = False

    def query(self, sql: str, parameters: Sequence[object] = ()) -> Answer:
        if self.is_down:
            return super().query(sql, parameters)
        return Answer((), ())


class Slow(Answers):
    """A store that takes a batch when it is allowed to."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)

    def open(self) -> None:
        pass

    def write(self, _: Batch) -> None:
        self.allowed.acquire()


def test_a_recording_needs_a_project() -> None:
    with pytest.raises(UsageError, match="project=''"):
        telemetry.recording("")


def test_a_folder_of_parquet_files_takes_no_builds(tmp_path: Path) -> None:
    with telemetry.open(tmp_path) as t, pytest.raises(UsageError, match="takes no builds"):
        t.add(Result(), project="shop")


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("ftp://user:hunter22@host/x", id="a scheme of something else"),
        pytest.param("http://user:pass/hunter22@host/x", id="a password with a slash"),
        pytest.param("http://user:pass[hunter22@host/x", id="a password with a bracket"),
        pytest.param("user:hunter22@host/x", id="no scheme"),
        pytest.param("", id="nothing"),
        pytest.param("builds.txt", id="a file that is none and not there"),
        pytest.param(7, id="a number"),
    ],
)
def test_what_is_no_store_is_refused(where: object) -> None:
    with pytest.raises(UsageError) as caught:
        telemetry.open(where)
    assert "no store of builds" in caught.value.message
    assert "hunter22" not in str(caught.value)


def test_the_own_store_is_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPOTLAB_STATE", str(tmp_path))
    monkeypatch.delenv("DEPOTLAB_TELEMETRY", raising=False)
    with telemetry.open() as t:
        assert len(t.builds()) == 0
    assert (tmp_path / "telemetry" / "builds.duckdb").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("DEPOTLAB_TELEMETRY", str(tmp_path / "other.duckdb"))
    assert "other.duckdb" in repr(telemetry.open())
    monkeypatch.setenv("DEPOTLAB_TELEMETRY", "other.txt")
    with pytest.raises(UsageError, match="DEPOTLAB_TELEMETRY"):
        telemetry.open()
