"""Exercises of lesson 2, states are values."""

from __future__ import annotations

from types import FunctionType

from depotlab import llb
from depotlab.course._exercise import Judgement, exercise, right, wrong
from depotlab.course._plan import plan_of


@exercise(
    "02.1",
    wants=FunctionType,
    solution="""
def levelled():
    state = llb.image("busybox")
    state = state.env(LEVEL="high")
    return state.run("echo $LEVEL > /level")
""",
    because="`env` changes nothing; it returns a state that has the variable. Whoever wants that"
    " one has to keep it:"
    ' `llb.image("busybox").env(LEVEL="high").run(...)` does so without a name.',
)
def _lost_line(levelled: FunctionType) -> Judgement:
    state = levelled()
    if not isinstance(state, llb.State):
        return wrong(
            f"The function returns a value of type `{type(state).__name__}`, not a state.",
            nudge="`return` what the last call gave.",
        )
    runs = [op for op in plan_of(state) if op.kind == "exec"]
    if len(runs) != 1:
        return wrong(
            f"There are {len(runs)} runs now; the one that was there is enough.",
            nudge="Only the line with `env` needs a repair.",
        )
    levels = [pair for pair in runs[0].env if pair.startswith("LEVEL=")]
    if not levels and "$LEVEL" not in runs[0].what:
        return wrong(
            f"The run is `{runs[0].what}` now; it was to write what the variable says.",
            nudge="Only the line with `env` needs a repair.",
        )
    if not levels and "LEVEL=high" in state.to_dockerfile().text:
        return wrong(
            "The run has no variable `LEVEL`, so it writes an empty line.",
            nudge="A run has the variables of the state that it is called on: `env` comes before it.",
        )
    if not levels:
        return wrong(
            "The run has no variable `LEVEL`, so it writes an empty line.",
            nudge="What becomes of the state that `env` returns? Nobody keeps it.",
        )
    if levels != ["LEVEL=high"]:
        return wrong(f"The run has `{levels[0]}`.", nudge="It was to be `high`.")
    return right(
        "The run has `LEVEL=high`, because the state with the variable is the one that was kept."
        " The state without it"
        " is still there too, and nobody needs it."
    )


@exercise(
    "02.2",
    wants=int,
    solution="""
n_runs = 2
""",
    because="`a` and `b` are equal, so they are one run; `c` and `d` read equal states and have"
    " equal commands, so they are"
    " one run as well.",
)
def _equal_runs(n_runs: int) -> Judgement:
    if n_runs == 2:
        return right(
            "`a == b`, so that is one run; and `c` and `d` do the same to it, so `c == d`. Who"
            " wrote it, where, and"
            " how often, is in no digest."
        )
    if n_runs == 4:
        return wrong(
            "Four runs were written down, and fewer are different.",
            nudge="Is `a == b`? What does `c` read, and what does `d`?",
        )
    if n_runs == 3:
        return wrong(
            "You have seen that `a == b`. Now go on.",
            nudge="`c` reads `b` and `d` reads `a`: what does equality say about those two?",
        )
    return wrong(
        f"It is not {n_runs}.",
        nudge="Count the calls of `run`, and take away those that are equal to another.",
    )


@exercise(
    "02.3",
    wants=FunctionType,
    solution="""
def stamp(state):
    return state.mkfile("/stamp", "made by me")
""",
    because="`mkfile` is done by the builder itself. A `run` would need a shell in the image,"
    " which `scratch` does not have.",
)
def _stamp(stamp: FunctionType) -> Judgement:
    for name, state in (("busybox", llb.image("busybox")), ("scratch", llb.scratch())):
        made = stamp(state)
        if not isinstance(made, llb.State):
            return wrong(
                f"Of `{name}` it makes a value of type `{type(made).__name__}`, not a state.",
                nudge="A function for `pipe` takes a state and returns one.",
            )
        ops = plan_of(made)
        if any(op.kind == "exec" for op in ops):
            return wrong(
                "It uses `run`, and `scratch` has no shell that could run anything.",
                nudge="`mkfile(path, text)` asks the builder itself.",
            )
        if not any("mkfile /stamp" in op.what.split("; ") for op in ops):
            return wrong(
                f"Of `{name}` it makes no `/stamp`.",
                nudge='`state.mkfile("/stamp", "...")`, and return what that gives.',
            )
        if name == "busybox" and len(ops) != 2:
            return wrong(
                f"This is a plan of {len(ops)} operation{'s' * (len(ops) != 1)}; an image and one"
                " file more are two.",
                nudge="Go on from the state that the function was given, with one `mkfile` and no"
                " more.",
            )
    return right(
        "One more operation, on whatever state it is given. It works on `scratch` as well, because"
        " no program of the"
        " image is needed to make a file."
    )
