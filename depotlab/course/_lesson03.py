"""Exercises of lesson 3, a Dockerfile is one frontend."""

from __future__ import annotations

from types import FunctionType

from depotlab import llb
from depotlab.course._exercise import Judgement, exercise, right, wrong
from depotlab.course._plan import plan_of

_OPS = frozenset({"FROM", "WORKDIR", "COPY", "RUN"})
_NO_OPS = {
    "ENV": "`ENV` is a setting: runs after it carry it in their own bytes.",
    "ARG": "`ARG` is a setting: runs after it carry it in their own bytes.",
    "USER": "`USER` is a setting: runs after it carry it in their own bytes.",
    "LABEL": "`LABEL` is a note in the image's config.",
    "EXPOSE": "`EXPOSE` is a note in the image's config.",
    "CMD": "`CMD` is a note in the image's config, for whoever starts it.",
    "ENTRYPOINT": "`ENTRYPOINT` is a note in the image's config, for whoever starts it.",
}


@exercise(
    "03.1",
    wants=set,
    solution="""
ops = {"FROM", "WORKDIR", "COPY", "RUN"}
""",
    because="An instruction is an operation if it makes or changes files. `WORKDIR` is one of them"
    " because it makes the"
    " directory; `FROM` fetches an image. The others are settings of later runs, or notes in the"
    " image's config.",
)
def _operations(ops: set[str]) -> Judgement:
    if unknown := sorted(str(each) for each in ops - _OPS - set(_NO_OPS)):
        return wrong(f"`{unknown[0]}` is not in this Dockerfile.", nudge="Write them in capitals.")
    if ops == _OPS:
        return right(
            "What makes or changes files is an operation. The rest is settings of later runs, or"
            " notes in the image's"
            " config: `.env(...)` and `.cmd(...)` of a state, which draw no box either."
        )
    if extra := sorted(ops - _OPS):
        return wrong(
            f"Not `{extra[0]}`. {_NO_OPS[extra[0]]}",
            nudge="Which instructions make or change files?",
        )
    if ops == _OPS - {"WORKDIR"}:
        return wrong(
            "Nearly: one more of them makes something.",
            nudge="Is `/app` there before anybody asks for it?",
        )
    return wrong(
        f"{len(ops)} of them are right, and there are more.",
        nudge="Which lines have a box in the panes above? And does `COPY` change files? (On an"
        " engine, `bk.to_state(page)` draws this one.)",
    )


@exercise(
    "03.2",
    wants=llb.State,
    solution="""
mine = (
    llb.image("busybox")
    .env(LEVEL="high")
    .dir("/srv")
    .run("echo $LEVEL > level")
    .cmd(["cat", "/srv/level"])
)
""",
    because="Each line has its method. `env` and `dir` are settings that the run inherits, `cmd`"
    " describes the image. A run finds its working directory made, so `mkdir` may be there or"
    " not.",
)
def _translate(mine: llb.State) -> Judgement:
    runs = [op for op in plan_of(mine) if op.kind == "exec"]
    if len(runs) != 1:
        return wrong(
            f"Your graph has {len(runs)} runs, the Dockerfile has one.",
            nudge="One `RUN`, one `run`.",
        )
    run = runs[0]
    if "LEVEL=high" not in run.env:
        return wrong("The run has no `LEVEL=high`.", nudge="`ENV` is `env(...)`, before the run.")
    if run.cwd != "/srv":
        return wrong(
            f"The run starts in `{run.cwd}`, not in `/srv`.", nudge="`WORKDIR` is `dir(...)`."
        )
    if not any(op.kind == "source" and "/busybox" in op.what for op in plan_of(mine)):
        return wrong("Your graph does not start from busybox.", nudge="`FROM` is `llb.image(...)`.")
    if run.what.split() != ["echo", "$LEVEL", ">", "level"]:
        return wrong(
            f"The command is `{run.what}`.", nudge="It was `echo $LEVEL > level`, word for word."
        )
    said = mine.to_dockerfile().text
    if 'CMD ["cat", "/srv/level"]' not in said:
        return wrong(
            'The image does not say what to start, or says other than `["cat", "/srv/level"]`.',
            nudge="`CMD` is `cmd([...])`, with the same list, on the state that the run returned.",
        )
    return right(
        "The same files and the same image. `print(mine.to_dockerfile())` says your graph as a"
        " Dockerfile again: the way"
        " goes in both directions, because neither of them is the build. The graph is."
    )


@exercise(
    "03.3",
    wants=FunctionType,
    solution="""
def graph_of(text):
    made = llb.scratch()
    for line in text.splitlines():
        if line.startswith("mkdir "):
            made = made.mkdir(line.removeprefix("mkdir "))
        else:
            path, content = line.split(": ", 1)
            made = made.mkfile(path, content)
    return made
""",
    because="A frontend reads a text and returns a graph. Another instruction of the language is"
    " another branch in it.",
)
def _language(graph_of: FunctionType) -> Judgement:
    state = graph_of("mkdir /songs\n/songs/first: la la: la\n/title: mkdir songs")
    if not isinstance(state, llb.State):
        return wrong(
            f"Of a text with `mkdir` it makes a value of type `{type(state).__name__}`, not a"
            " state.",
            nudge="`return` what the last call gave.",
        )
    done = "; ".join(op.what for op in plan_of(state)).split("; ")
    if "mkdir /songs" not in done:
        return wrong(
            f"Of `mkdir /songs` it makes {_listed(done)}.",
            nudge="`line.startswith('mkdir ')` tells such a line; `made.mkdir(path)` makes a"
            " directory.",
        )
    if missing := [f for f in ("mkfile /songs/first", "mkfile /title") if f not in done]:
        return wrong(
            f"`{missing[0].removeprefix('mkfile ')}` is not made any more.",
            nudge="Lines that do not begin with `mkdir` are what they were. Keep what `mkfile`"
            " returns.",
        )
    if done.index("mkdir /songs") > done.index("mkfile /songs/first"):
        return wrong(
            "The file is made before its directory.", nudge="Go through the lines in their order."
        )
    return right(
        "You have extended a build language. No builder had to learn it: what arrives there is the"
        " same kind of graph"
        " as ever."
    )


def _listed(done: list[str]) -> str:
    return ", ".join(f"`{what}`" for what in done if what) or "nothing"
