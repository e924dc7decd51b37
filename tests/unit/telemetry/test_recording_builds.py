from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from depotlab import telemetry
from depotlab.errors import TelemetryError, UsageError
from depotlab.progress import BuildEnded, BuildStarted, Fold, LogWritten, Phase, VertexUpdated
from depotlab.telemetry import Answer, Batch, Writer, _connection
from depotlab.telemetry._ended import (
    EndedBuild,
    ended_builds_heard,
    is_anybody_listening,
    tell_ended,
)
from depotlab.telemetry._fromsnapshot import BuildIds, build_row

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


def test_what_an_earlier_process_left_waiting_is_found(tmp_path: Path) -> None:
    path = tmp_path / "b.duckdb"
    snapshot = folded().snapshot(at_ns=0)
    ids = BuildIds(build_id="left", project_id="shop")
    for number in (0, 3):
        spool = tmp_path / "b.duckdb.waiting" / str(number)
        with Writer(Refuses(), spool_dir=spool) as writer:
            writer.put([build_row(snapshot, replace(ids, build_id=f"left {number}"))])
            writer.close(timeout_s=0)
    with telemetry.open(path) as t:
        assert {b.build_id for b in t.builds()} == {"left 0", "left 3"}


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
