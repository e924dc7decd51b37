"""Exercises of lesson 1, a state is a plan."""

from __future__ import annotations

import re

from depotlab.course._exercise import Judgement, exercise, right, wrong
from depotlab.course._plan import plan_of
from depotlab.llb import State


@exercise(
    "01.1",
    wants=State,
    solution="""
plan = llb.image("busybox").run("mkdir /app && echo hi > /app/greeting")
""",
    because="Two operations: an image, and one run that reads it. `base.dir('/app').run('echo hi >"
    " greeting')` is"
    " another way: a run finds its working directory made.",
)
def _a_plan(plan: State) -> Judgement:
    ops = plan_of(plan)
    runs = [op for op in ops if op.kind == "exec"]
    if not any(op.kind == "source" and "/busybox" in op.what for op in ops):
        return wrong(
            "This plan does not start from busybox.",
            nudge='The first call is `llb.image("busybox")`; every call after it goes on from'
            " there.",
        )
    if len(runs) != 1:
        return wrong(
            f"This plan has {len(runs)} runs, and one is asked for.",
            nudge="One `run` may hold a whole line of shell: `this && that`.",
        )
    run = runs[0]
    whole = f"{run.cwd.rstrip('/')}/" if run.cwd != "/" else ""
    if "/app/greeting" not in run.what and not (whole == "/app/" and "greeting" in run.what):
        return wrong(
            f"The run is `{run.what}`, in the directory `{run.cwd}`: it does not write"
            " `/app/greeting`.",
            nudge="A shell writes a file with `echo hi > PATH`.",
        )
    if not re.search(r"\bhi\b", run.what):
        return wrong(
            f"The run is `{run.what}`: what it writes is not `hi`.",
            nudge="What is quoted after `echo` is what the file holds.",
        )
    made = any("mkdir /app" in op.what.split("; ") for op in ops if op.kind == "file")
    if run.cwd != "/app" and not made and not re.search(r"mkdir[^;&|]*/app", run.what):
        return wrong(
            "The plan is fine as a plan, and its build would fail: busybox has no `/app`, and `>`"
            " makes files, not"
            " directories.",
            nudge="Make the directory in the same line, or let the run start in it with"
            " `.dir(...)`.",
        )
    return right(
        f"{len(ops)} operations, and neither has run. What you hold is `{run.digest[:19]}…`, the"
        " name of files that"
        " nobody has made yet."
    )


@exercise(
    "01.2",
    wants=int,
    solution="""
n_ops = 5
""",
    because="An image, a run, a mkfile, a mkdir and a copy. `scratch` is the empty file system:"
    " there is nothing to do"
    " for it, so it is no operation.",
)
def _count(n_ops: int) -> Judgement:
    if n_ops == 5:
        return right(
            "An image, a run, a mkfile, a mkdir and a copy. `scratch` is the empty file system, so"
            " there is nothing to"
            " do for it; the picture has no box of that name either."
        )
    if n_ops == 6:
        return wrong(
            "One too many.",
            nudge="Which of the calls asks for nothing at all? If you counted the definition's"
            " last entry: it only"
            " points at the result.",
        )
    if n_ops == 3:
        return wrong(
            "These are the operations that `page` was made with; what it copies from has to be"
            " made as well.",
            nudge="`app` is a part of this plan: follow the copy to where its file comes from.",
        )
    return wrong(
        f"It is not {n_ops}.",
        nudge="Count the boxes that a picture would have, back from the copy: what does each read?",
    )


_SAME = frozenset({"another name", "a start command"})
_WHY = {
    "another name": "A name is for people: it stands beside the operation, not in it.",
    "a start command": "`cmd` describes the image and makes no file.",
    "a variable": "The run gets its variables with its command, so they are in the operation's"
    " bytes.",
    "another command": "The command is what a run is made of.",
}


@exercise(
    "01.3",
    wants=set,
    solution="""
same = {"another name", "a start command"}
""",
    because="Only what can change the files is in the bytes of an operation. Names are for people,"
    " and the start"
    " command of the image is a note to whoever runs it.",
)
def _same_digest(same: set[str]) -> Judgement:
    if unknown := sorted(str(each) for each in same - set(_WHY)):
        return wrong(
            f"`{unknown[0]}` is none of the four.",
            nudge="The names are the keys of `candidates`.",
        )
    if same == _SAME:
        return right(
            "Only what can change the files is in the bytes. A name is for people, and `cmd` is a"
            " note to whoever"
            " starts the image."
        )
    if extra := sorted(same - _SAME):
        return wrong(f"Not `{extra[0]}`: another digest. {_WHY[extra[0]]}", nudge=_PRINT)
    more = "is one" if same else "are two"
    return wrong(f"{len(same)} is right, and there {more} more.", nudge=_PRINT)


_PRINT = "You may look: `{what: state.digest == app.digest for what, state in candidates.items()}`."
