"""The questions of `depotlab.telemetry`, asked of a real ClickHouse engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from depotlab import telemetry
from depotlab.errors import TelemetryError
from depotlab.telemetry import Batch, Telemetry
from tests.support import recordedbuilds
from tests.support.clickhouse_http import clickhouse_engine
from tests.support.recordedbuilds import Made, made


@pytest.fixture(scope="module")
def rows() -> Made:
    return made()


@pytest.fixture(scope="module")
def t(rows: Made) -> Iterator[Telemetry]:
    with clickhouse_engine() as engine:
        login = f"{engine.user}:{engine.password}@"
        address = engine.address.replace("://", f"://{login}")
        with telemetry.open(f"{address}/questions") as asked:
            store = asked._connection.source
            store.open()
            for number, some in enumerate((rows.builds, rows.steps, rows.logs)):
                store.write(Batch(str(number), some[0].table, some))
            assert engine.password not in repr(asked)
            yield asked


def test_answers_are_those_of_plain_arithmetic(t: Telemetry, rows: Made) -> None:
    recordedbuilds.check_answers(t, rows)


def test_wrong_sql_tells_what_the_engine_said_and_what_there_is(t: Telemetry) -> None:
    with pytest.raises(TelemetryError) as caught:
        t.sql("SELECT colour FROM builds_v1")
    assert "colour" in caught.value.message
    assert "build_steps_v1 (step_id, started_at" in caught.value.hint


def test_own_sql_gives_dictionaries(t: Telemetry, rows: Made) -> None:
    found = t.sql("SELECT count() AS n FROM builds_v1 WHERE status = ?", ["failed"])
    assert found.rows() == [{"n": sum(b.status == "failed" for b in rows.builds)}]
