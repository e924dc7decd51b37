"""Exercises of lesson 5, what a cache key is."""

from __future__ import annotations

from collections.abc import Sequence
from types import FunctionType

from depotlab import llb
from depotlab.course._exercise import Judgement, exercise, right, wrong
from depotlab.course._plan import Planned, plan_of


@exercise(
    "05.1",
    wants=FunctionType,
    solution="""
def fast(code):
    source = llb.scratch().mkfile("/main.py", code)
    return (
        llb.image("busybox")
        .run("echo tools > /tools", name="install")
        .copy(source, "/main.py", "/app/")
        .run("cat /tools /app/main.py > /out", name="compile")
    )
""",
    because="What changes seldom comes first. The install no longer reads the code, so no change"
    " of the code can change its"
    " key; the compile reads it, and has to.",
)
def _order(fast: FunctionType) -> Judgement:
    before, after = fast("print(1)"), fast("print(2)")
    for state in (before, after):
        if not isinstance(state, llb.State):
            return wrong(
                f"`fast` returns a value of type `{type(state).__name__}`, not a state.",
                nudge="`return` the chain, as `slow` does.",
            )
    names = [op.name for op in plan_of(after)]
    for name in ("install", "compile"):
        if name not in names:
            return wrong(
                f"There is no step called `{name}` any more.",
                nudge="The same steps as in `slow`, in another order.",
            )
    reruns = [op.name for op in llb.compare(before, after).reruns]
    if not reruns:
        return wrong(
            "Two different codes make the same graph: the code does not get in.",
            nudge='`llb.scratch().mkfile("/main.py", code)` has it, and a `copy` brings it in.',
        )
    if "install" in reruns:
        return wrong(
            "`install` still reads the code, so another code gives it another key.",
            nudge="What does the state that `install` is called on contain?",
        )
    if "compile" not in reruns:
        return wrong(
            "`compile` does not see the code, so it would be taken from the cache with the old"
            " one.",
            nudge="The copy of the code comes before `compile`.",
        )
    return right(
        "Another code, and `llb.compare` says that the copy and `compile` run again, and `install`"
        " does not. What seldom"
        " changes comes first: this is the oldest advice about Dockerfiles, and now you know why."
    )


_RERUN = frozenset({"configure", "show"})


@exercise(
    "05.2",
    wants=set,
    solution="""
runs = {"configure", "show"}
""",
    because="The variable is part of every run after `env`. `show` does not use it, but it"
    " inherits it, and it reads"
    " what `configure` has made.",
)
def _inherited(runs: set[str]) -> Judgement:
    if unknown := sorted(str(each) for each in runs - _RERUN - {"prepare"}):
        return wrong(f"`{unknown[0]}` is no step here.", nudge="They are prepare, configure, show.")
    if runs == _RERUN:
        return right(
            "The variable is part of the bytes of every run after `env`, whether its command"
            " mentions it or not. `prepare`"
            " came before."
        )
    if "prepare" in runs:
        return wrong(
            "`prepare` was called before `env`: its bytes do not have the variable.",
            nudge="A state hands its settings on to what comes after it.",
        )
    return wrong(
        "One more." if runs else "At least one does.",
        nudge="`llb.compare(service('low'), service('high'))` tells it field by field.",
    )


@exercise(
    "05.3",
    wants=FunctionType,
    solution="""
def calm(stamp):
    made = llb.image("busybox").env(STAMP=stamp).run("echo 42 > /answer; echo $STAMP > /log", name="compute")
    return llb.image("busybox").copy(made, "/answer", "/").run("cat /answer > /printed", name="print")
""",
    because="The key of the copy is made of the file that it takes, not of all that its step has"
    " made. A stamp that"
    " nobody reads then changes nothing behind it.",
)
def _calm(calm: FunctionType) -> Judgement:
    state = calm("monday")
    if not isinstance(state, llb.State):
        return wrong(
            f"`calm` returns a value of type `{type(state).__name__}`, not a state.",
            nudge="As `noisy` does.",
        )
    ops = plan_of(state)
    found = {op.name: op for op in ops}
    for name in ("compute", "print"):
        if name not in found:
            return wrong(
                f"There is no step called `{name}`.",
                nudge="Both steps of `noisy` are still needed.",
            )
    if not any(pair == "STAMP=monday" for pair in found["compute"].env):
        return wrong(
            "`compute` does not get the stamp any more; its log would be empty.",
            nudge="Leave `compute` as it is. It may run again; what follows need not.",
        )
    if any(pair.startswith("STAMP=") for pair in found["print"].env):
        return wrong(
            "`print` still has the variable `STAMP`, so each stamp gives it another key.",
            nudge='Start `print` from a state that never had the variable: `llb.image("busybox")`.',
        )
    if found["print"].mounts:
        return wrong(
            "`print` gets its file by a mount. That can do it as well, if the mount is read-only"
            " and names the one"
            " file; here it is to be a copy.",
            nudge="`copy` the file onto a fresh busybox, and call `run` on that.",
        )
    copies = [op for op in ops if op.kind == "file" and found["compute"].digest in op.reads]
    if found["compute"].digest in found["print"].reads or not copies:
        return wrong(
            "`print` still starts from all files of `compute`, and the log is one of them.",
            nudge="Which single file does it need? `copy` that one onto a fresh busybox.",
        )
    if not _takes_only_the_answer(copies):
        return wrong(
            f"What is copied is `{copies[0].what}`; the log may come along.",
            nudge="Name the one file.",
        )
    if not _has_image(ops, found["print"], found["compute"]):
        return wrong(
            "`print` reads that one file, and would fail all the same: there is no `cat`, and no shell.",
            nudge='A command needs an image: `llb.image("busybox").copy(...)`, and `run` on that.',
        )
    return right(
        "`print` reads one file, and while that says 42 its key stays, whatever the stamp. This is"
        " what stages of a"
        " Dockerfile do with `COPY --from`."
    )


def _has_image(ops: Sequence[Planned], at: Planned, copied_from: Planned) -> bool:
    """Whether the files that an operation starts from have an image under them, and not only what was copied."""
    by_digest = {op.digest: op for op in ops}
    while at.reads and at.digest != copied_from.digest:
        at = by_digest[at.reads[0]]
    return at.kind == "source"


def _takes_only_the_answer(copies: list[Planned]) -> bool:
    return all(op.what.startswith("copy /answer ") for op in copies)
