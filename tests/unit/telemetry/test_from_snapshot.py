from __future__ import annotations

from dataclasses import astuple

import pytest

from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Event,
    Fold,
    LogWritten,
    Phase,
    Snapshot,
    VertexUpdated,
)
from depotlab.service._run import steprows
from depotlab.telemetry._fromsnapshot import (
    BuildIds,
    build_row,
    cleaned,
    id_of,
    log_rows,
    step_rows,
)
from depotlab.telemetry._rows import NEVER_ENDED, is_cut_off

S = 1_000_000_000
IDS = BuildIds(
    build_id="b1", project_id="shop", workspace_id="w", deployment_id="d", hide=("hunter22",)
)


def snapshot(*events: Event, phase: Phase = Phase.SUCCEEDED, error: str = "") -> Snapshot:
    fold = Fold()
    fold.feed([BuildStarted(10 * S, "app", "here"), *events, BuildEnded(20 * S, phase, error)])
    return fold.snapshot(at_ns=21 * S)


def ran(digest: str, start_s: float, end_s: float | None, **more: object) -> VertexUpdated:
    return VertexUpdated(
        digest,
        str(more.pop("name", f"RUN {digest}")),
        started_ns=round(start_s * S),
        completed_ns=None if end_s is None else round(end_s * S),
        **more,
    )


def test_a_step_has_its_first_start_and_its_last_end() -> None:
    (row,) = step_rows(snapshot(ran("a", 11, 12), ran("a", 13, 15)), IDS)
    assert (row.started_at, row.completed_at) == (11_000, 15_000)
    assert (row.build_id, row.project_id, row.workspace_id, row.deployment_id) == (
        "b1",
        "shop",
        "w",
        "d",
    )
    assert (row.cached, row.error, row.has_logs, row.attempt) == (False, "", False, 1)


def test_steps_that_never_began_have_no_row() -> None:
    found = snapshot(ran("a", 11, 12), VertexUpdated("b", "RUN b", inputs=("a",)))
    assert [row.step_id for row in step_rows(found, IDS)] == ["a"]


@pytest.mark.parametrize(
    ("event", "cached", "error"),
    [
        pytest.param(ran("a", 11, 11, is_cached=True), True, "", id="cached"),
        pytest.param(ran("a", 11, 12, error="exit code: 2"), False, "exit code: 2", id="failed"),
        pytest.param(
            ran("a", 11, 12, error="rpc: context canceled"),
            False,
            "rpc: context canceled",
            id="cancelled by the daemon",
        ),
        pytest.param(ran("a", 11, None), False, NEVER_ENDED, id="cut off by the end"),
    ],
)
def test_what_became_of_a_step_is_in_its_row(
    event: VertexUpdated, cached: bool, error: str
) -> None:
    (row,) = step_rows(snapshot(event, phase=Phase.FAILED), IDS)
    assert (row.cached, row.error) == (cached, error)
    assert row.completed_at >= row.started_at


def test_output_that_comes_after_the_end_of_its_step_counts() -> None:
    late = LogWritten("a", 12 * S, 1, b"late\n")
    (row,) = step_rows(snapshot(ran("a", 11, 12), late), IDS)
    assert row.has_logs


def test_lines_of_all_steps_are_numbered_in_order_of_time() -> None:
    found = snapshot(
        ran("a", 11, 15),
        ran("b", 11, 15),
        LogWritten("a", 11 * S, 1, b"one\ntw"),
        LogWritten("b", 12 * S, 2, b"other\n"),
        LogWritten("a", 13 * S, 1, b"o\nunfinished"),
    )
    rows = list(log_rows(found, IDS))
    assert [(r.line, r.time, r.step_id, r.stream, r.message) for r in rows] == [
        (0, 11_000, "a", 1, "one"),
        (1, 12_000, "b", 2, "other"),
        (2, 13_000, "a", 1, "two"),
        (3, 13_000, "a", 1, "unfinished"),
    ]
    assert {r.build_id for r in rows} == {"b1"}


def test_a_log_that_went_to_a_file_is_whole() -> None:
    text = b"".join(
        b"line %06d of a long log, wide enough to fill a few megabytes\n" % n for n in range(60_000)
    )
    chunks = [
        LogWritten("a", 11 * S + n, 1, text[n : n + 30_011]) for n in range(0, len(text), 30_011)
    ]
    found = snapshot(ran("a", 11, 15), *chunks)
    rows = list(log_rows(found, IDS))
    assert [r.message for r in rows] == text.decode().splitlines()
    assert [r.line for r in rows] == list(range(60_000))


def test_a_build_counts_its_steps_and_says_why_it_failed() -> None:
    found = snapshot(
        ran("a", 11, 11, is_cached=True),
        ran("b", 12, 13, error="exit code: 2"),
        LogWritten("b", 12 * S, 1, b"x\ny\n"),
        phase=Phase.FAILED,
    )
    row = build_row(found, IDS, image="app:1", digest="sha256:1")
    assert (row.status, row.error) == ("failed", "exit code: 2")
    assert (row.cached_steps, row.total_steps, row.log_lines) == (1, 2, 2)
    assert (row.created_at, row.started_at, row.completed_at) == (10_000, 10_000, 20_000)
    assert (row.image, row.digest) == ("app:1", "sha256:1")
    assert row.stages_ms == {"solve": 10_000}


def test_waiting_for_a_machine_of_depot_is_a_stage_and_no_step() -> None:
    found = snapshot(
        ran("depot:launch amd64 machine", 11, 13, name="[depot] launch amd64 machine"),
        ran("depot:connect to amd64 machine", 13, 14, name="[depot] connect to amd64 machine"),
        ran("a", 15, 19),
    )
    assert [row.step_id for row in step_rows(found, IDS)] == ["a"]
    assert build_row(found, IDS).stages_ms == {"machine": 4000, "solve": 6000}


def test_secrets_are_in_no_row() -> None:
    found = snapshot(
        ran("a", 11, 12, name="RUN login hunter22", error="hunter22 was refused"),
        LogWritten("a", 11 * S, 1, b"with hunter22\n"),
        phase=Phase.FAILED,
        error="no: hunter22",
    )
    rows = [*step_rows(found, IDS), *log_rows(found, IDS), build_row(found, IDS)]
    texts = [value for row in rows for value in astuple(row) if isinstance(value, str)]
    assert not [text for text in texts if "hunter22" in text]
    assert sum("•••" in text for text in texts) == 4
    assert "hunter22" not in repr(IDS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a b", "a b", id="nothing to hide"),
        pytest.param("https://u:p@h/x", "https://•••@h/x", id="a login in an address"),
        pytest.param(
            "GET http://h/k?a=1&X-Amz-Signature=abc&b=2 failed",
            "GET http://h/k?a=1&X-Amz-Signature=•••&b=2 failed",
            id="a signature",
        ),
        pytest.param('"http://h/?sig=ab%2F"', '"http://h/?sig=•••"', id="in quotes"),
        pytest.param("is it 4 or 5", "is it 4 or 5", id="a short secret hides nothing"),
        pytest.param("first key\n", "••• key\n", id="each line of a secret"),
        pytest.param("key-of-all", "•••", id="one that begins as another does"),
        pytest.param("a padded one", "a ••• one", id="without the spaces around it"),
    ],
)
def test_addresses_and_secrets_are_cleaned(text: str, shown: str) -> None:
    hide = ["4", "first\nsecond", "key-of", "key-of-all", " padded \n"]
    assert cleaned(text, BuildIds(build_id="", project_id="", hide=hide).hide) == shown


def test_a_build_without_a_name_is_known_again() -> None:
    one, other = snapshot(ran("a", 11, 12)), snapshot(ran("b", 11, 12), phase=Phase.FAILED)
    assert id_of(one) == id_of(one) != ""
    assert id_of(one, ref="r") == "r"
    assert len(id_of(other)) == 25


@pytest.mark.parametrize(
    ("error", "cut_off"),
    [
        pytest.param("rpc error: context canceled", True, id="cancelled"),
        pytest.param(steprows.NEVER_ENDED, True, id="the service's own words"),
        pytest.param("exit code: 1", False, id="failed by itself"),
        pytest.param("", False, id="no error"),
    ],
)
def test_steps_that_were_cut_off_are_told_from_those_that_failed(error: str, cut_off: bool) -> None:
    assert is_cut_off(error) is cut_off
