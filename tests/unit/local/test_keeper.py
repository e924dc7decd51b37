"""When the engine is ready and when it ends, decided without a clock or a process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._local._supervisor import Act, Keeper


def keeper(now: float = 0.0) -> Keeper:
    return Keeper(["buildkitd", "registry"], now=now, linger_s=2.0, ready_s=60.0, grace_s=5.0)


def up(now: float = 0.0) -> Keeper:
    """A keeper whose children are ready, with one lease."""
    made = keeper(now)
    made.opened(1)
    made.ready("buildkitd")
    made.ready("registry")
    assert made.decide(now) is Act.READY
    return made


def test_it_is_ready_when_all_children_are() -> None:
    made = keeper()
    made.ready("registry")
    assert made.decide(0.1) is Act.WAIT
    made.ready("buildkitd")
    assert made.decide(0.2) is Act.READY
    assert made.decide(0.2) is Act.WAIT


def test_it_ends_a_moment_after_the_last_lease_and_not_before() -> None:
    made = up()
    made.opened(2)
    made.closed(1, now=10.0)
    assert made.decide(100.0) is Act.WAIT
    made.closed(2, now=100.0)
    assert made.decide(101.9) is Act.WAIT
    assert made.due_at() == 102.0
    assert made.decide(102.0) is Act.STOP
    assert (made.reason, made.failed) == ("nobody used it any more", False)


def test_a_lease_within_the_moment_keeps_it() -> None:
    made = up()
    made.closed(1, now=10.0)
    made.opened(2)
    assert made.decide(99.0) is Act.WAIT
    assert made.due_at() == float("inf")


def test_a_connection_that_is_no_lease_does_not_count() -> None:
    made = up()
    made.closed(1, now=10.0)
    made.closed(7, now=11.9)
    assert made.decide(12.0) is Act.STOP


def test_a_held_engine_stays_without_leases_until_it_is_told() -> None:
    made = up()
    made.held = True
    made.closed(1, now=10.0)
    assert made.decide(1e6) is Act.WAIT
    made.ask_stop("it was told to stop")
    assert made.decide(1e6) is Act.STOP


def test_a_client_that_dies_while_it_starts_ends_it() -> None:
    made = keeper()
    made.opened(1)
    made.closed(1, now=0.5)
    assert made.decide(2.5) is Act.STOP


def test_children_that_stay_get_killed_once_and_then_it_leaves() -> None:
    made = up()
    made.ask_stop("it was told to stop")
    assert made.decide(10.0) is Act.STOP
    made.died("registry", "ended with exit code 0")
    assert made.decide(14.9) is Act.WAIT
    assert made.decide(15.0) is Act.KILL
    assert made.decide(99.0) is Act.WAIT
    made.died("buildkitd", "was killed by SIGKILL")
    assert made.decide(99.0) is Act.LEAVE
    assert made.reason == "it was told to stop"


def test_a_child_that_dies_by_itself_ends_everything_and_is_blamed() -> None:
    made = up()
    made.died("buildkitd", "was killed by SIGSEGV")
    assert made.decide(10.0) is Act.STOP
    made.died("registry", "ended with exit code 0")
    assert made.decide(10.1) is Act.LEAVE
    assert (made.reason, made.failed) == ("buildkitd was killed by SIGSEGV", True)


def test_a_failure_waits_for_the_first_lease_so_that_somebody_hears_of_it() -> None:
    made = keeper()
    made.died("registry", "ended with exit code 1")
    assert made.decide(0.1) is Act.WAIT
    made.opened(1)
    assert made.decide(0.2) is Act.STOP


def test_a_failure_that_nobody_asks_for_ends_it_all_the_same() -> None:
    made = keeper()
    made.died("registry", "ended with exit code 1")
    assert made.due_at() == 2.0
    assert made.decide(2.0) is Act.STOP
    assert made.reason == "registry ended with exit code 1"


def test_a_child_that_dies_while_starting_never_counts_as_ready() -> None:
    made = keeper()
    made.opened(1)
    made.ready("buildkitd")
    made.ready("registry")
    made.died("registry", "ended with exit code 1")
    assert made.decide(0.1) is Act.STOP


def test_a_child_that_never_answers_is_named() -> None:
    made = keeper()
    made.opened(1)
    made.ready("registry")
    assert made.decide(59.9) is Act.WAIT
    assert made.due_at() == 60.0
    assert made.decide(60.0) is Act.STOP
    assert made.reason == "buildkitd did not answer within 60 s"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "hold", "stop", "die", "ready", "wait"]),
        st.integers(0, 3),
        st.floats(0, 5),
    ),
    max_size=30,
)


@given(STEPS)
def test_whatever_happens_it_ends_after_a_stop_and_only_once(steps) -> None:
    made, now, said = keeper(), 0.0, []
    for what, number, seconds in steps:
        now += seconds
        name = ["buildkitd", "registry"][number % 2]
        match what:
            case "open":
                made.opened(number)
            case "close":
                made.closed(number, now)
            case "hold":
                made.held = True
            case "stop":
                made.ask_stop("asked")
            case "die":
                made.died(name, "died")
            case "ready":
                made.ready(name)
        while made.phase != "done" and (act := made.decide(now)) is not Act.WAIT:
            said.append(act)
        if made.phase == "done":
            break
        assert made.due_at() > now, "a deadline that has passed would spin"
    if made.phase != "done":
        made.ask_stop("the end")
        for name in ("buildkitd", "registry"):
            made.died(name, "died")
        while made.phase != "done":
            said.append(made.decide(now))
    for act in (Act.READY, Act.STOP, Act.KILL, Act.LEAVE):
        assert said.count(act) <= 1
    assert said[-1] is Act.LEAVE


@pytest.mark.parametrize("phase_up", [True, False])
def test_after_stopping_began_leases_change_nothing(phase_up: bool) -> None:
    made = up() if phase_up else keeper()
    made.ask_stop("asked")
    assert made.decide(1.0) is Act.STOP
    made.opened(5)
    made.held = True
    assert made.decide(5.9) is Act.WAIT
    assert made.decide(6.0) is Act.KILL
