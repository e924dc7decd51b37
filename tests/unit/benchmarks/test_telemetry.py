"""The figures of rows, stores and the service's parts: what is asked, their tables, and their places in the docs."""

from __future__ import annotations

import sqlite3

import pytest

from depotlab.telemetry import LogRow
from tests.benchmarks.notebook.rows import BEGIN, END, between
from tests.benchmarks.telemetry.figures import (
    Kept,
    Reading,
    differing,
    parts_table,
    stores_table,
    ways_table,
)
from tests.benchmarks.telemetry.lines import (
    BATCH_ROWS,
    BUILD_LINES,
    RARE,
    build_id,
    log_rows,
)
from tests.benchmarks.telemetry.run import DOCS, PARTS
from tests.benchmarks.telemetry.stores import ASKED_BUILD, QUESTIONS

N_LINES = 100 * BUILD_LINES


def kept(name: str, times: float, *, answer: int = 1, installed_mb: float = 70.0) -> Kept:
    return Kept(
        name,
        installed_mb,
        20.0 * times,
        7.0 * times,
        {"how many": 2.0 * times},
        {"how many": [[answer]]},
    )


@pytest.fixture(scope="module")
def rows() -> list[LogRow]:
    return [row for batch in log_rows(N_LINES) for row in batch]


def test_lines_are_the_same_at_each_run(rows: list[LogRow]) -> None:
    assert rows[:5000] == [row for batch in log_rows(5000) for row in batch]


def test_all_lines_come_in_batches_of_a_writer() -> None:
    sizes = [len(batch) for batch in log_rows(2 * BATCH_ROWS + 700)]
    assert sizes == [BATCH_ROWS, BATCH_ROWS, 700]


def test_each_build_has_its_lines_in_order(rows: list[LogRow]) -> None:
    lines = [row.line for row in rows if row.build_id == build_id(77)]
    assert lines == list(range(BUILD_LINES))


def test_a_text_that_is_looked_for_is_rare_and_there(rows: list[LogRow]) -> None:
    n_found = sum(RARE in row.message for row in rows)
    assert 0 < n_found < N_LINES / 500


def test_the_questions_have_the_answers_of_plain_arithmetic(rows: list[LogRow]) -> None:
    database = sqlite3.connect(":memory:")
    names = ("time", "project_id", "message", "step_id", "build_id", "line")
    database.execute(f"CREATE TABLE {LogRow.table} ({', '.join(names)})")
    database.executemany(
        f"INSERT INTO {LogRow.table} VALUES (?, ?, ?, ?, ?, ?)",
        [[getattr(row, name) for name in names] for row in rows],
    )
    contains = f"instr(message, '{RARE}') > 0"
    longest, one_build, with_text = (
        database.execute(sql.format(contains=contains)).fetchall() for sql in QUESTIONS.values()
    )
    database.close()
    first = longest[0]
    times = [row.time for row in rows if row.step_id == first[0]]
    assert first[1:] == (len(times), max(times) - min(times))
    assert len(longest) == 20
    assert one_build == [(r.line, r.message) for r in rows if r.build_id == build_id(ASKED_BUILD)]
    assert sum(n for _, n in with_text) == sum(RARE in row.message for row in rows)


def test_stores_that_answer_differently_are_told_by_the_question() -> None:
    assert differing([kept("a", 1), kept("b", 2)]) == []
    assert differing([kept("a", 1), kept("b", 2), kept("c", 3, answer=4)]) == ["how many"]


def test_ratios_to_the_first_store_come_first() -> None:
    stores = [
        kept("DuckDB", 1),
        kept("SQLite", 0.5, installed_mb=0),
        kept("chDB", 12, installed_mb=700),
    ]
    assert stores_table(stores, 1_000_000).splitlines() == [
        "| 1 000 000 lines | DuckDB | SQLite | chDB |",
        "|---|---|---|---|",
        "| installed, with what it needs | 70 MB | Python's | 10 × (700 MB) |",
        "| the lines on the disk | 20 MB | 0.5 × (10 MB) | 12 × (240 MB) |",
        "| writing one of them | 7.0 µs | 0.5 × (3.5 µs) | 12 × (84 µs) |",
        "| how many | 2.0 ms | 0.5 × (1.0 ms) | 12 × (24 ms) |",
    ]


def test_the_ways_into_a_store_are_beside_the_first() -> None:
    put = {"row_us": 4.25, "above_mb": 30.6, "size_mb": 192.0}
    text = ways_table({"lists": 6.0, "one by one": 540.0}, put, 1_000_000)
    assert "| lists | 6.0 µs |" in text
    assert "| one by one | 90 × (540 µs) |" in text
    assert "`put` of a row costs 4.2 µs; 1 000 000 rows" in text
    assert "31 MB of memory and 192 MB on the disk" in text


def test_the_parts_of_a_service_are_beside_less_of_the_same() -> None:
    text = parts_table(
        {"few_us": 10.0, "many_us": 11.0},
        (1_000, 10_000),
        {"line_us": 2.96, "size_mb": 35.0, "above_mb": 5.0},
        500_000,
        {"plain": Reading(0.25, 0.2), "gzip": Reading(4.0, 1.0)},
    )
    assert "| whose turn it is, with 10 000 builds queued, over 1 000 | 1.10 × (11 µs) |  |" in text
    assert "| a line of a log of 500 000, which takes 35 MB on the disk | 3.0 µs | 5 MB |" in text
    assert "| a GiB of files in an archive, plain | 0.25 s | 0 MB |" in text
    assert "| a GiB of files in an archive, gzip | 16 × (4.00 s) | 1 MB |" in text


def test_the_docs_have_a_place_for_both_tables() -> None:
    assert between((DOCS / "telemetry.md").read_text(), "new").count(f"{BEGIN}\nnew\n{END}") == 1
    service = (DOCS / "service.md").read_text()
    written = between(service, "new", mark=PARTS)
    assert f"<!-- {PARTS}: begin -->\nnew\n<!-- {PARTS}: end -->" in written
    # What the load test writes stays.
    assert written.partition(END)[0] == service.partition(END)[0]
