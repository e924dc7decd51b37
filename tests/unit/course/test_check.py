"""What a check says, whatever it is given: it never takes anything away, and says more than pass or fail."""

from __future__ import annotations

import doctest
import re

import pytest

from depotlab import course, llb
from depotlab.course import _check
from depotlab.course._exercise import LESSONS, Exercise, exercise, find, right, wrong
from depotlab.errors import UsageError


def all_exercises() -> list[Exercise]:
    found = []
    for lesson in LESSONS:
        for number in range(1, 10):
            try:
                found.append(find(f"{lesson}.{number}"))
            except UsageError:
                break
    return found


def test_a_right_answer_is_told_why():
    feedback = course.check("01.2", 5)
    assert feedback
    assert feedback.standing == "right"
    assert "scratch" in feedback.text
    assert feedback.nudge == ""


def test_a_wrong_answer_is_told_what_is_different_where_to_look_and_the_way_out():
    feedback = course.check("01.2", 6)
    assert not feedback
    assert feedback.standing == "not yet"
    assert str(feedback).splitlines() == [
        "✎ 01.2: not yet. One too many.",
        f"  Nudge: {feedback.nudge}",
        "  `course.solution('01.2')` shows one way.",
    ]


def test_a_gap_is_an_invitation_and_no_mistake(monkeypatch):
    monkeypatch.delenv("DEPOTLAB_COURSE_STRICT", raising=False)
    feedback = course.check("01.1", ...)
    assert feedback.standing == "open"
    assert str(feedback).startswith("○ 01.1: your turn. Replace the `...` by a state")


def test_an_answer_of_another_kind_is_told_both_kinds():
    assert course.check("01.1", "busybox").text == "This is a text; what is asked for is a state."
    assert course.check("01.3", ["a"]).text == "This is a list; what is asked for is a set."


@pytest.mark.parametrize("answer", [..., 6, "five"])
def test_in_tests_everything_but_a_right_answer_raises(monkeypatch, answer):
    monkeypatch.setenv("DEPOTLAB_COURSE_STRICT", "1")
    with pytest.raises(AssertionError, match=r"01\.2"):
        course.check("01.2", answer)
    assert course.check("01.2", 5)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("1.2", "title above"),
        (5, "title above"),
        ("01.9", r"01\.1, 01\.2, 01\.3"),
        ("13.1", "'01' to '12'"),
        ("00.1", "'01' to '12'"),
    ],
)
def test_an_exercise_that_is_not_there_is_named(name, hint):
    for call in (lambda: course.check(name, 1), lambda: course.solution(name)):
        with pytest.raises(UsageError, match=hint):
            call()


def test_a_check_with_values_missing_says_how_many_it_wants():
    with pytest.raises(UsageError, match="was given 2 values and wants 1"):
        course.check("01.2", 5, 6)


def test_feedback_shows_itself_as_text_and_as_markup_that_reads_without_styles():
    bundle = course.check("01.3", {"<b>"})._repr_mimebundle_()
    assert bundle["text/plain"].startswith("✎ 01.3: not yet. `<b>` is none of the four.")
    plain = re.sub(r"<[^>]*>", "", bundle["text/html"])
    assert plain.startswith("✎ 01.3: not yet. &lt;b&gt; is none of the four.A nudge")
    assert "<code>&lt;b&gt;</code>" in bundle["text/html"]
    assert "<details>" in bundle["text/html"]
    assert "<details>" not in course.check("01.2", 5)._repr_mimebundle_()["text/html"]
    assert repr(course.check("01.2", 5)) == "<Feedback 01.2: right>"


def test_a_solution_is_source_with_its_reason():
    solution = course.solution("01.2")
    assert solution.source == "n_ops = 5"
    assert str(solution).startswith("n_ops = 5\n\n# An image, a run")
    assert "<pre>n_ops = 5</pre>" in solution._repr_mimebundle_()["text/html"]
    assert repr(solution) == "<Solution 01.2>"


@pytest.mark.parametrize("one", all_exercises(), ids=lambda one: one.name)
def test_every_solution_is_code_with_a_reason_and_leaves_no_gap(one):
    compile(one.solution, one.name, "exec")
    assert "..." not in one.solution
    assert one.because.endswith((".", ". "))


def test_each_lesson_has_two_to_four_exercises():
    counted = dict.fromkeys(LESSONS, 0)
    for one in all_exercises():
        counted[one.name[:2]] += 1
    assert all(2 <= number <= 4 for number in counted.values()), counted


def test_a_rule_may_take_several_answers():
    @exercise("99.1", wants=(int, llb.State), solution="x = 1", because="So.")
    def both(number: int, state: llb.State):
        return right("Yes.") if number else wrong("No.", nudge="Look.")

    assert both.wants == (int, llb.State)
    assert both.rule(1, llb.scratch()).right
    assert not both.rule(0, llb.scratch()).right


def test_the_example_of_a_check_is_what_it_says():
    done = doctest.testmod(_check)
    assert done.attempted
    assert not done.failed


def reads_nothing(code):
    return {}[code]


@pytest.mark.parametrize(
    ("function", "told"),
    [
        pytest.param(reads_nothing, "`reads_nothing` raises `KeyError: 'print(1)'`.", id="inside"),
        pytest.param(
            lambda: llb.scratch(),
            "`<lambda>` raises `TypeError: <lambda>() takes 0 positional arguments but 1 was given`.",
            id="called in another way than it can be",
        ),
        pytest.param(
            lambda code: llb.scratch().mkdir(7),
            "raises `GraphError: ",
            id="with an error of ours that it provoked",
        ),
    ],
)
def test_what_a_readers_function_raises_is_told_to_the_reader(function, told):
    feedback = course.check("05.1", function)
    assert feedback.standing == "not yet"
    assert told in feedback.text


def test_a_mistake_in_a_rule_is_not_told_as_one_of_the_reader(monkeypatch):
    @exercise("01.9", wants=int, solution="x = 1", because="So.")
    def broken(number: int):
        raise RuntimeError("ours")

    monkeypatch.setattr(_check, "find", lambda name: broken)
    with pytest.raises(RuntimeError, match="ours"):
        course.check("01.9", 1)
