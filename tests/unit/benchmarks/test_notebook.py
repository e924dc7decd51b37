"""The figures of the notebook view: their table, and the place in the docs that they are written to."""

from __future__ import annotations

import pytest

from tests.benchmarks.notebook.kernels import Said
from tests.benchmarks.notebook.rows import BEGIN, END, Row, between, table
from tests.benchmarks.notebook.run import PAGE


def test_a_row_says_what_was_measured_and_whether_that_is_enough() -> None:
    rows = [
        Row("messages", 10.26, "/s", 12),
        Row("delay", 240.4, "ms", 200, "of 60"),
        Row("frames", 16.7, "ms"),
        Row("over no view", 1.234, "ratio", 1.2),
    ]
    assert table(rows).splitlines()[2:] == [
        "| messages | 10.3 a second | 12.0 a second | reached |",
        "| delay (of 60) | 240 ms | 200 ms | missed |",
        "| frames | 17 ms |  |  |",
        "| over no view | 1.23 | 1.20 | missed |",
    ]


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert between(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}\n{BEGIN}"])
def test_a_page_without_a_place_for_figures_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="no place for figures"):
        between(page, "new")


def test_the_docs_have_a_place_for_figures() -> None:
    text = PAGE.read_text()
    assert text.count(BEGIN) == text.count(END) == 1


def test_messages_at_the_edges_are_not_counted() -> None:
    said = Said("", (0.0, 0.1, 0.2, *(1.0 + n / 10 for n in range(80)), 9.9, 10.0))
    assert said.per_s(edge_s=1.0) == pytest.approx(80 / 8)
