"""Deadlines of builds that report, and of those that stop to."""

from depotlab._plane.health import Health, Limits, Silent

QUIET = Silent((), ())


def health():
    return Health(Limits(first_s=300, missed_s=30, stream_s=95, cancel_s=12))


def test_a_build_has_long_to_report_first_and_a_few_reports_may_be_missed():
    found = health()
    found.watch("b", 0)
    assert found.silent(299) == QUIET
    found.report("b", "amd64", 299)
    assert found.silent(328) == QUIET
    assert found.silent(330) == Silent((), ("b",))
    assert found.silent(1000) == QUIET, "it is told once"


def test_a_build_that_never_reports_ends_too():
    found = health()
    found.watch("b", 0)
    assert found.silent(301).builds == ("b",)


def test_silence_on_one_of_two_machines_lets_go_of_that_one():
    found = health()
    found.report("b", "amd64", 0)
    found.report("b", "arm64", 0)
    found.report("b", "amd64", 20)
    assert found.silent(31) == Silent((("b", "arm64"),), ())
    assert found.silent(51) == Silent((), ("b",))


def test_reports_by_a_stream_come_less_often():
    found = health()
    found.report("b", "amd64", 0, stream=True)
    assert found.silent(94) == QUIET
    assert found.silent(96).builds == ("b",)


def test_a_build_that_let_go_of_its_machine_may_take_its_time():
    found = health()
    found.report("b", "amd64", 0)
    found.leave("b", "amd64", 10)
    found.leave("b", "amd64", 11)
    found.leave("unknown", "amd64", 11)
    assert found.silent(200) == QUIET
    assert found.silent(311).builds == ("b",)


def test_a_build_that_ended_is_not_missed():
    found = health()
    found.report("b", "amd64", 0)
    found.forget("b")
    found.forget("b")
    assert found.silent(1000) == QUIET
