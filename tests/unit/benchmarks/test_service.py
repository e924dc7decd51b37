"""The figures of the load test of the build service."""

from __future__ import annotations

import pytest

from tests.benchmarks.notebook.rows import BEGIN, END, between
from tests.benchmarks.service.figures import (
    COLD,
    WARM,
    Lost,
    Took,
    figures,
    is_warm,
    most_at_once,
    p95,
    table,
)


def build(project: str, started_s: float, finished_s: float, **other: object) -> dict[str, object]:
    stages = {
        "queued": started_s,
        "context": 0.1,
        "project": 0.0,
        "machine": 0.4,
        "solve": 0.4,
        "drain": 0.0,
        "finish": 0.1,
    }
    return {
        "project": project,
        "state": "succeeded",
        "attempts": 1,
        "stages": stages,
        "started_s": started_s,
        "finished_s": finished_s,
        **other,
    }


RUN = {
    "plan": {"n_builds": 3, "n_projects": 2, "n_machines": 2, "idle_s": 0.5},
    "took_s": 6.0,
    "asked_s": 0.03,
    "alone_s": [0.08, 0.09, 0.2],
    "idle_mb": 80.0,
    "peak_mb": 120.0,
    "builds": [
        build("a", 0.0, 2.0),
        build("a", 2.0, 5.0, attempts=2),
        build("b", 1.0, 4.0, state="failed"),
    ],
}
NOTHING_LOST = Lost(n_steps=12, n_lines=30, steps=0, lines=0)


@pytest.mark.parametrize(
    ("spans", "most"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([("a", 0, 2), ("a", 1, 3)], 1, id="two builds of one project are one machine"),
        pytest.param([("a", 0, 2), ("b", 1, 3), ("c", 2, 4)], 2, id="one begins as another ends"),
        pytest.param([("a", 0, 9), ("b", 1, 2), ("b", 3, 4)], 2, id="the same project comes again"),
    ],
)
def test_projects_that_build_at_once_are_counted(spans, most) -> None:
    assert most_at_once(spans) == most


@pytest.mark.parametrize(
    ("other", "is_ready"),
    [
        pytest.param(("a", 1.0, 1.7), True, id="another build has ended just now"),
        pytest.param(("a", 1.0, 9.0), True, id="another build goes on"),
        pytest.param(("a", 0.1, 1.4), False, id="the machine has ended since"),
        pytest.param(("a", 1.8, 3.0), False, id="another build waits for it too"),
        pytest.param(("b", 1.0, 9.0), False, id="the machine is another project's"),
    ],
)
def test_a_machine_is_warm_when_a_build_of_the_project_has_it_or_just_had_it(
    other, is_ready
) -> None:
    this = build("a", 2.0, 3.0)
    assert is_warm(this, [build(*other), this], idle_s=0.5) is is_ready


def test_what_95_of_100_do_not_exceed() -> None:
    assert p95([float(n) for n in range(1, 101)]) == 95.0
    assert p95([3.0]) == 3.0


def test_a_run_is_summed_up() -> None:
    found = figures(RUN, NOTHING_LOST)
    assert found.states == {"succeeded": 2, "failed": 1}
    assert found.builds_per_s == 0.5
    assert found.n_retries == 1
    assert found.projects_at_once == 2
    assert found.wait_s == (1.0, 1.0, 1.0)
    assert found.first_wait_s == (0.0, 0.5, 1.0)
    assert found.stages["machine"] == Took(3, 0.4, 0.4, pytest.approx(0.4))
    assert (found.stages[COLD].n_builds, found.stages[WARM].n_builds) == (2, 1)
    assert found.stages["queued"].share == 0


def test_the_tables_say_what_was_lost_and_who_waited() -> None:
    lost = Lost(n_steps=12, n_lines=30, steps=1, lines=7)
    text = table(RUN, figures(RUN, lost), {"most": 3, "busy": 2, "starts": 5}, "some computer")
    assert "| steps: told by the daemons, lost or doubled | 12, 1 |" in text
    assert "| lines: told by the daemons, lost or doubled | 30, 7 |" in text
    assert "2 (limit 2)" in text
    assert "median of 3 | 90 ms |" in text
    assert "1 failed, 2 succeeded" in text
    assert "| machine | 3 | 0.400 s | 0.400 s | 40 % |" in text
    page = between(f"before {BEGIN} of last time {END} after", text)
    assert page.startswith("before")
    assert page.endswith("after")
    assert "of last time" not in page
