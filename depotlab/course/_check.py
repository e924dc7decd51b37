"""Judge an answer: nothing is lost by a wrong one, and each says something."""

from __future__ import annotations

import os
import traceback
from types import FunctionType, UnionType

from depotlab.course._exercise import Exercise, Kind, find
from depotlab.course._feedback import Feedback, Solution
from depotlab.errors import UsageError
from depotlab.llb import State

__all__ = ["check", "solution"]

# How a reader would say it; other kinds are called by their name.
_WORDS: dict[type, str] = {
    State: "a state",
    FunctionType: "a function",
    str: "a text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    list: "a list",
    tuple: "a tuple",
    set: "a set",
    dict: "a dictionary",
    bytes: "bytes",
}


def check(exercise: str, *answers: object) -> Feedback:
    """Say what is right about an answer, or what is different and where to look next.

    A gap that is still `...` is no mistake, so a notebook runs from top to bottom before anything is solved. With
    `DEPOTLAB_COURSE_STRICT=1` everything but a right answer raises: that is for tests.

    Args:
        exercise: Its name, such as `"05.1"`.
        answers: What the exercise asks for, usually one value.

    Raises:
        UsageError: There is no such exercise, or it asks for more or fewer values.
        AssertionError: Only with `DEPOTLAB_COURSE_STRICT=1`: the answer is not right.

    Example:
        >>> from depotlab import course
        >>> course.check("01.2", 6).text
        'One too many.'
    """
    feedback = _feedback(find(exercise), answers)
    if os.environ.get("DEPOTLAB_COURSE_STRICT") == "1" and not feedback:
        raise AssertionError(str(feedback))
    return feedback


def solution(exercise: str) -> Solution:
    """Return one way to do an exercise, and why it is one.

    Args:
        exercise: Its name, such as `"05.1"`.

    Raises:
        UsageError: There is no such exercise.
    """
    found = find(exercise)
    return Solution(found.name, found.solution, found.because)


def _feedback(exercise: Exercise, answers: tuple[object, ...]) -> Feedback:
    if len(answers) != len(exercise.wants):
        raise UsageError(
            f"check({exercise.name!r}, ...) was given {len(answers)} values and wants"
            f" {len(exercise.wants)}.",
            hint="leave the line with the check as it was",
        )
    wanted = " and ".join(dict.fromkeys(_words(kind) for kind in exercise.wants))
    if any(answer is ... for answer in answers):
        return Feedback(
            exercise.name,
            "open",
            f"Replace the `...` by {wanted}, and run the cell again, as often as you like.",
        )
    for answer, kind in zip(answers, exercise.wants, strict=True):
        if not isinstance(answer, kind):
            return Feedback(
                exercise.name,
                "not yet",
                f"This is {_words(type(answer))}; what is asked for is {_words(kind)}.",
                "Look at what the cell gives to the check, not only at what it does.",
            )
    try:
        judged = exercise.rule(*answers)
    except Exception as error:
        guilty = _guilty(error, answers)
        if guilty is None:
            raise
        return Feedback(
            exercise.name,
            "not yet",
            f"`{guilty.__name__}` raises `{type(error).__name__}: {_first_line(error)}`.",
            "Call it yourself, in a cell of its own, and see where.",
        )
    return Feedback(
        exercise.name, "right" if judged.right else "not yet", judged.text, judged.nudge
    )


def _guilty(error: Exception, answers: tuple[object, ...]) -> FunctionType | None:
    """The function of the reader that an error comes from, if it does; our own mistakes are to be seen."""
    functions = [answer for answer in answers if isinstance(answer, FunctionType)]
    codes = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
    for function in functions:
        # Called with arguments that it does not take, it has not even begun.
        not_begun = isinstance(error, TypeError) and str(error).startswith(
            f"{function.__qualname__}()"
        )
        if function.__code__ in codes or not_begun:
            return function
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def _words(kind: Kind) -> str:
    if isinstance(kind, UnionType):
        return " or ".join(_words(each) for each in kind.__args__)
    for known in kind.__mro__:
        if known in _WORDS:
            return _WORDS[known]
    return f"a `{kind.__name__}`"
