"""Whose turn it is: within the limits, in order, fair, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab.service import Limits
from depotlab.service._builds.turns import MOST_FAVOURS, Turns


def turns(**limits: int) -> Turns:
    return Turns(Limits(**limits))


def drain(queue: Turns) -> list[str]:
    """Pick one after another, each ended before the next."""
    picked = []
    while (build := queue.pick()) is not None:
        picked.append(build)
        queue.ended(build.partition("-")[0])
    return picked


def test_projects_take_turns_and_builds_of_one_keep_their_order():
    queue = turns()
    for build in ("a-1", "a-2", "a-3", "b-1", "c-1", "b-2"):
        queue.add(build, build[0])
    assert drain(queue) == ["a-1", "b-1", "c-1", "a-2", "b-2", "a-3"]
    assert (queue.n_queued, queue.n_running, queue.projects) == (0, 0, ())


def test_what_is_tried_again_goes_before_the_projects_own_builds_only():
    queue = turns()
    for build in ("a-1", "b-1", "a-2"):
        queue.add(build, build[0])
    assert queue.pick() == "a-1"
    queue.ended("a")
    queue.add("a-1", "a", first=True)
    assert drain(queue) == ["b-1", "a-1", "a-2"]


@pytest.mark.parametrize(
    ("limits", "n_picked"),
    [
        pytest.param({"max_running": 3, "max_machines": 9, "max_per_project": 9}, 3, id="running"),
        pytest.param({"max_running": 9, "max_machines": 2, "max_per_project": 2}, 4, id="machines"),
        pytest.param({"max_running": 9, "max_machines": 9, "max_per_project": 1}, 3, id="of one"),
    ],
)
def test_each_limit_holds(limits: dict[str, int], n_picked: int):
    queue = turns(**limits)
    for n in range(5):
        for project in "abc":
            queue.add(f"{project}-{n}", project)
    picked = []
    while (build := queue.pick()) is not None:
        picked.append(build)
    assert len(picked) == n_picked == queue.n_running
    assert queue.n_queued == 15 - n_picked


def test_a_project_with_a_machine_goes_on_while_another_waits_for_one_but_not_for_long():
    queue = turns(max_machines=1, max_per_project=2)
    for n in range(100):
        queue.add(f"a-{n}", "a")
    assert [queue.pick(), queue.pick()] == ["a-0", "a-1"]
    queue.add("b-0", "b")
    for n in range(MOST_FAVOURS):
        assert queue.pick() is None
        queue.ended("a")
        assert queue.pick() == f"a-{n + 2}", "its machine is warm"
    queue.ended("a")
    assert queue.pick() is None, "it makes room now"
    queue.ended("a")
    assert queue.pick() == "b-0"


def test_what_is_removed_is_not_picked():
    queue = turns()
    for build in ("a-1", "a-2", "b-1"):
        queue.add(build, build[0])
    assert queue.remove("a-1")
    assert not queue.remove("a-1")
    assert queue.remove("b-1")
    assert drain(queue) == ["a-2"]


PROJECTS = "abcdefgh"
EVENT = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(PROJECTS)),
    st.tuples(st.just("end"), st.integers(0, 7)),
    st.tuples(st.just("remove"), st.integers(0, 50)),
    st.just(("pick", 0)),
)


@given(
    st.lists(EVENT, max_size=200),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_whatever_happens_limits_hold_orders_are_kept_and_all_get_their_turn(
    events, max_running, max_machines, max_per_project
):
    queue = turns(
        max_running=max_running, max_machines=max_machines, max_per_project=max_per_project
    )
    waiting: dict[str, list[str]] = {name: [] for name in PROJECTS}
    running: list[str] = []
    n = 0

    def pick() -> str | None:
        build = queue.pick()
        if build is not None:
            assert waiting[build[0]].pop(0) == build, "first come, first served"
            running.append(build)
        counts = Counter(build[0] for build in running)
        assert len(running) <= max_running
        assert len(counts) <= max_machines
        assert all(count <= max_per_project for count in counts.values())
        return build

    for kind, value in events:
        match kind:
            case "add":
                n += 1
                waiting[value].append(f"{value}-{n}")
                queue.add(f"{value}-{n}", value)
            case "end" if running:
                queue.ended(running.pop(value % len(running))[0])
            case "remove":
                flat = [build for builds in waiting.values() for build in builds]
                if flat:
                    gone = flat[value % len(flat)]
                    waiting[gone[0]].remove(gone)
                    assert queue.remove(gone)
            case "pick":
                pick()
        assert queue.n_queued == sum(map(len, waiting.values()))

    while any(waiting.values()):
        if pick() is None:
            assert running, "something runs, or somebody can start"
            queue.ended(running.pop(0)[0])


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 6),
    st.randoms(use_true_random=False),
)
def test_nobody_waits_for_ever_however_busy_the_others_are(
    max_machines, max_per_project, n_others, random
):
    """Others have builds without end; the newcomer starts after as many of theirs as the rule says."""
    queue = turns(max_running=6, max_machines=max_machines, max_per_project=max_per_project)
    others = [f"o{n}" for n in range(n_others)]
    running: list[str] = []
    for name in others:
        for n in range(400):
            queue.add(f"{name}-{n}", name)
    for _ in range(random.randrange(20)):
        if (build := queue.pick()) is not None:
            running.append(build.partition("-")[0])
        elif running:
            queue.ended(running.pop(random.randrange(len(running))))
    queue.add("new-0", "new")
    n_before = 0
    while True:
        build = queue.pick()
        if build == "new-0":
            break
        if build is not None:
            n_before += 1
            running.append(build.partition("-")[0])
        else:
            queue.ended(running.pop(random.randrange(len(running))))
    assert n_before <= (n_others + max_machines) * (MOST_FAVOURS + 1)
