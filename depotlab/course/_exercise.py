"""What an exercise is: a rule that judges an answer, and a solution to compare with."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import UnionType

from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = ["LESSONS", "Exercise", "Judgement", "exercise", "find", "lesson_name", "right", "wrong"]

LESSONS = tuple(f"{number:02}" for number in range(1, 13))

Kind = type | UnionType


@dataclass(frozen=True, slots=True, repr=False)
class Judgement(Value):
    """What a rule says of an answer.

    Attributes:
        right: Whether it is what was asked for.
        text: Of a right answer why it is right, of another what is different. `Code` is between backticks.
        nudge: Where to look next, without saying the answer; empty of a right one.
    """

    right: bool
    text: str
    nudge: str = ""


def right(why: str) -> Judgement:
    """Say that an answer is right, and why."""
    return Judgement(True, why)


def wrong(difference: str, *, nudge: str) -> Judgement:
    """Say what is different in an answer, and where to look."""
    return Judgement(False, difference, nudge)


Rule = Callable[..., Judgement]


@dataclass(frozen=True, slots=True, repr=False)
class Exercise(Value):
    """One exercise of the course.

    Attributes:
        name: Lesson and number, such as `05.1`.
        wants: The kind of each answer that `check` is given, in their order.
        solution: What a reader could write in the place of the gap: the cell without its last line, the check.
        because: Why this is a solution, a sentence or two.
        rule: Judges answers of these kinds.
    """

    name: str
    wants: tuple[Kind, ...]
    solution: str
    because: str
    rule: Rule = field(repr=False)


def exercise(
    name: str, *, wants: Kind | tuple[Kind, ...], solution: str, because: str
) -> Callable[[Rule], Exercise]:
    """Make an exercise of the function that judges its answers; the arguments are those of `Exercise`."""

    def made(rule: Rule) -> Exercise:
        kinds = wants if isinstance(wants, tuple) else (wants,)
        return Exercise(name, kinds, solution.strip("\n"), because, rule)

    return made


def find(name: str) -> Exercise:
    """Return an exercise by its name, such as `05.1`.

    Raises:
        UsageError: There is none of this name.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\d\d\.\d", name):
        raise UsageError(
            f"An exercise is called such as '05.1', not {name!r}.",
            hint="the name is in the title above the exercise",
        )
    lesson = lesson_name(name[:2])
    here = _of_lesson(lesson)
    if name not in here:
        raise UsageError(
            f"Lesson {lesson} has no exercise {name!r}.",
            hint=f"it has {', '.join(sorted(here)) or 'none'}",
        )
    return here[name]


def lesson_name(lesson: str) -> str:
    """Return the two digits of a lesson.

    Raises:
        UsageError: It is none of the twelve.
    """
    if lesson not in LESSONS:
        raise UsageError(
            f"There is no lesson {lesson!r}.", hint=f"they are {LESSONS[0]!r} to {LESSONS[-1]!r}"
        )
    return lesson


def _of_lesson(lesson: str) -> dict[str, Exercise]:
    module = importlib.import_module(f"depotlab.course._lesson{lesson}")
    found = [value for value in vars(module).values() if isinstance(value, Exercise)]
    return {each.name: each for each in found}
