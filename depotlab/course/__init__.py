"""The course: what its twelve notebooks (`notebooks/course/`) need beside the library itself.

    bk = course.builder("05")          a builder: the engine of this computer, or the recording of the lesson
    word = course.fresh("05")          a word that no cache has met, for cells that show what runs and what does not
    course.check("05.1", answer)       what is right about an answer, or what is different and where to look
    course.solution("05.1")            one way to do it, and why

`DEPOTLAB_COURSE` decides where lessons build: `live`, `recorded`, or `record`, which builds live and writes the
recording. Without it they build live where the engine is installed, else from the recording. With
`DEPOTLAB_COURSE_STRICT=1`, for tests, `check` raises unless an answer is right.

The exercises of lesson 5 are in `_lesson05.py`, and so on: each a function, made an `Exercise` by `@exercise`, that
says of an answer `right(why)` or `wrong(what is different, nudge=...)`. A file of that name is found by itself.

May import everything but `cli` and `_magics`; nothing imports it.
"""

from depotlab.course._builder import builder, fresh
from depotlab.course._check import check, solution
from depotlab.course._exercise import Exercise, Judgement
from depotlab.course._feedback import Feedback, Solution

__all__ = [
    "Exercise",
    "Feedback",
    "Judgement",
    "Solution",
    "builder",
    "check",
    "fresh",
    "solution",
]


def __dir__() -> list[str]:
    return sorted(__all__)
