"""Exercises of lesson 4, the graph, not the list."""

from __future__ import annotations

from depotlab.course._exercise import Judgement, exercise, right, wrong
from depotlab.course._plan import Planned, plan_of
from depotlab.llb import State

_FILES = ("/lint", "/test")


@exercise(
    "04.1",
    wants=State,
    solution="""
lint = base.run("echo fine > /lint", name="lint")
test = base.run("echo passed > /test", name="test")
graph = llb.scratch().copy(lint, "/lint", "/").copy(test, "/test", "/")
""",
    because="Both runs read `base` and neither reads the other, so a builder may do them at the"
    " same time. The copies bring"
    " together what each has made; `llb.merge` of two differences would do it too.",
)
def _unchained(graph: State) -> Judgement:
    ops = plan_of(graph)
    lint, test = (_run_that_writes(ops, path) for path in _FILES)
    if lint is None or test is None:
        missing = _FILES[0] if lint is None else _FILES[1]
        return wrong(
            f"No run of this graph writes `{missing}`.",
            nudge="A state that the result does not read is not in its graph. Both have to come"
            " in.",
        )
    if lint.digest == test.digest:
        return wrong(
            "One run writes both files, so it is still one after the other, inside a shell.",
            nudge="Two calls of `run`, each on `base`.",
        )
    if lint.digest in _above(ops, test) or test.digest in _above(ops, lint):
        return wrong(
            "One of the two still reads the other, so a builder has to wait.",
            nudge="Start both from `base`: `lint = base.run(...)`, `test = base.run(...)`.",
        )
    return right(
        "Neither reads the other, so nothing makes one wait. What brings them together at the end"
        " reads both."
    )


@exercise(
    "04.2",
    wants=int,
    solution="""
seconds = 11
""",
    because="fetch, compile, pack: 4 + 6 + 1. The documentation takes 9 of these seconds beside"
    " them.",
)
def _critical(seconds: int) -> Judgement:
    match seconds:
        case 11:
            return right(
                "fetch, compile, pack: 4 + 6 + 1. This is the critical path: the documentation"
                " is the slowest step of all,"
                " and making it faster would not save a second."
            )
        case 20:
            return wrong("This is the time of a list: one after the other.", nudge=_PATH)
        case 10:
            return wrong(
                "This is the path with the slowest step. Is it the slowest path?", nudge=_PATH
            )
        case 9:
            return wrong("The slowest step alone is not all that has to be done.", nudge=_PATH)
    return wrong(f"It is not {seconds}.", nudge=_PATH)


_PATH = "Add up each way from the start to `pack`, and take the longest."
_NEEDED = frozenset({"fetch", "compile", "render"})
_NAMES = _NEEDED | {"test", "publish"}


@exercise(
    "04.3",
    wants=set,
    solution="""
runs = {"fetch", "compile", "render"}
""",
    because="Follow the arrows back from `release`: it reads compile and render, and both read"
    " fetch.",
)
def _needed(runs: set[str]) -> Judgement:
    if unknown := sorted(str(each) for each in runs - _NAMES):
        return wrong(f"`{unknown[0]}` is no step here.", nudge="The names are those after `name=`.")
    if runs == _NEEDED:
        return right(
            "These are all that `release` can be followed back to. The others were planned, in"
            " Python, and are not even"
            " in what the builder is sent."
        )
    if extra := sorted(runs - _NEEDED):
        return wrong(
            f"`{extra[0]}` reads files of this graph, but nothing in `release` reads `{extra[0]}`.",
            nudge="Arrows point from what is read to who reads it. Follow them backwards only.",
        )
    return wrong(
        f"`{min(_NEEDED - runs)}` is needed as well.",
        nudge="What does each of your steps read? And what does that read?",
    )


def _run_that_writes(ops: tuple[Planned, ...], path: str) -> Planned | None:
    """The first run whose command, in its directory, writes a path of the root."""
    for op in ops:
        if op.kind == "exec" and (path in op.what or (op.cwd == "/" and path[1:] in op.what)):
            return op
    return None


def _above(ops: tuple[Planned, ...], op: Planned) -> set[str]:
    """Digests of all that an operation reads, through however many others."""
    by_digest = {each.digest: each for each in ops}
    found: set[str] = set()
    waiting = list(op.reads)
    while waiting:
        digest = waiting.pop()
        if digest not in found:
            found.add(digest)
            waiting += by_digest[digest].reads
    return found
