from __future__ import annotations

import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from depotlab import telemetry
from depotlab.errors import TelemetryError, UsageError
from depotlab.progress import BuildEnded, BuildStarted, Fold, Phase, VertexUpdated
from depotlab.telemetry import (
    Batch,
    DuckDB,
    OpenTelemetry,
    Several,
    Sink,
    Source,
    Telemetry,
)
from depotlab.telemetry._ended import EndedBuild, tell_ended
from tests.support.telemetryrows import build_row


class Kept:
    """A sink that can be down, and counts what it was given."""

    def __init__(self, *, is_down: bool = False) -> None:
        self.is_down = is_down
        self.batches: list[str] = []
        self.is_closed = False

    def open(self) -> None:
        if self.is_down:
            raise TelemetryError("down", is_transient=True)

    def write(self, batch: Batch) -> None:
        if self.is_down:
            raise TelemetryError("down", is_transient=True)
        self.batches.append(batch.batch_id)

    def close(self) -> None:
        self.is_closed = True


class Breaks(Kept):
    """A sink with a mistake in it."""

    def write(self, batch: Batch) -> None:
        raise ZeroDivisionError

    def close(self) -> None:
        raise ZeroDivisionError


def batch(batch_id: str) -> Batch:
    return Batch(batch_id, "builds_v1", [build_row()])


def test_all_get_each_batch_once_also_when_one_was_down() -> None:
    one, other = Kept(), Kept(is_down=True)
    both = Several(one, other)
    both.open()
    for _ in range(3):
        with pytest.raises(TelemetryError) as caught:
            both.write(batch("1"))
        assert caught.value.is_transient
    other.is_down = False
    both.write(batch("1"))
    both.write(batch("2"))
    assert one.batches == other.batches == ["1", "2"]


def test_a_sink_that_failed_is_opened_again(tmp_path: Path) -> None:
    store = DuckDB(tmp_path / "b.duckdb", keep=None)
    both = Several(store, Kept())
    both.open()
    store.close()  # as DuckDB itself ends on a fatal error
    with pytest.raises(TelemetryError, match="not open"):
        both.write(batch("1"))
    both.write(batch("1"))
    assert len(Telemetry(both).builds()) == 1
    both.close()


def test_a_sink_with_a_mistake_does_not_keep_rows_from_the_others() -> None:
    breaks, other = Breaks(), Kept()
    both = Several(breaks, other)
    both.open()
    with pytest.raises(ZeroDivisionError):
        both.write(batch("1"))
    assert other.batches == ["1"]
    with pytest.raises(ZeroDivisionError):
        both.close()
    assert other.is_closed


def test_none_that_can_be_opened_is_an_error() -> None:
    with pytest.raises(TelemetryError):
        Several(Kept(is_down=True), Kept(is_down=True)).open()


def test_the_first_that_answers_is_asked(tmp_path: Path) -> None:
    both = Several(Kept(), DuckDB(tmp_path / "b.duckdb", keep=None))
    assert isinstance(both, Sink)
    assert isinstance(both, Source)
    both.open()
    both.write(batch("1"))
    assert [b.build_id for b in Telemetry(both).builds()] == ["b0"]
    both.close()


def test_what_can_be_asked_can_be_exported(tmp_path: Path) -> None:
    both = Several(Kept(), DuckDB(tmp_path / "b.duckdb", keep=None))
    both.open()
    both.write(batch("1"))
    Telemetry(both).export_parquet(tmp_path / "files")
    both.close()
    assert [b.build_id for b in telemetry.open(tmp_path / "files").builds()] == ["b0"]
    with pytest.raises(UsageError, match="can be exported"):
        telemetry.export_parquet(Several(Kept()), tmp_path / "none")


def test_a_recording_writes_rows_and_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPOTLAB_STATE", str(tmp_path / "state"))
    exporter = InMemorySpanExporter()
    both = Several(DuckDB(tmp_path / "b.duckdb"), OpenTelemetry(exporter))
    fold = Fold()
    now_ns = time.time_ns()
    step = VertexUpdated("sha256:1", "RUN make", started_ns=now_ns, completed_ns=now_ns)
    end = BuildEnded(now_ns, Phase.SUCCEEDED)
    fold.feed([BuildStarted(now_ns, "app", "here"), step, end])
    with telemetry.recording("shop", where=both) as t:
        tell_ended(EndedBuild(fold, ref="r1"))
    assert [b.build_id for b in t.builds()] == ["r1"]
    names = {span.name for span in exporter.get_finished_spans()}
    assert names == {"BUILD shop", "stage solve", "RUN make"}


def test_sinks_that_cannot_be_asked_say_so() -> None:
    with pytest.raises(UsageError, match="can be asked"):
        Several(Kept()).query("SELECT 1")
    with pytest.raises(UsageError, match="can be asked"):
        Telemetry(Several(Kept()))


@pytest.mark.parametrize("sinks", [pytest.param((), id="none"), pytest.param((7,), id="a number")])
def test_what_is_no_sink_is_refused(sinks: tuple[Sink, ...]) -> None:
    with pytest.raises(UsageError, match=r"Several\("):
        Several(*sinks)
