"""Exercises of lesson 8, merge and diff."""

from __future__ import annotations

from depotlab import llb
from depotlab.course._exercise import Judgement, exercise, right, wrong
from depotlab.llb import State


@exercise(
    "08.1",
    wants=(int, int),
    solution="""
in_the_chain = 3
side_by_side_runs = 1
""",
    because="In the chain, the drill was installed onto a saw that is another one now, and the lathe onto that. Side by"
    " side, each stands on the base alone.",
)
def _how_many(in_the_chain: int, side_by_side_runs: int) -> Judgement:
    if (in_the_chain, side_by_side_runs) == (3, 1):
        return right(
            "In the chain, the drill stands on a saw that is another one now, and the lathe on that. Side by side, each"
            " stands on the base alone."
        )
    if in_the_chain != 3:
        return wrong(
            f"In the chain it is not {in_the_chain}.",
            nudge="Follow the arrows of the first picture from the saw downwards: everything you meet reads something"
            " new.",
        )
    return wrong(
        f"The chain is right. Side by side it is not {side_by_side_runs}.",
        nudge="In the second picture, which `install` can be reached from the saw? `diff` and `merge` run no"
        " command.",
    )


@exercise(
    "08.2",
    wants=str,
    solution="""
color = "blue"
""",
    because="`merge` lays its states on top of each other in order, as layers of an image. What is on top is seen.",
)
def _color(color: str) -> Judgement:
    match color.strip().lower():
        case "blue":
            return right("`blue` is laid on top of `red`. `/size` is only in `red`, so it is seen.")
        case "red":
            return wrong(
                "`red` is there, and something lies on it.",
                nudge="`llb.merge(red, blue)` is the order of layers: the lowest first.",
            )
        case _:
            return wrong(f"`{color}` is in neither of them.", nudge="It is `red` or `blue`.")


@exercise(
    "08.3",
    wants=State,
    solution="""
on_tiny = llb.merge(tiny, llb.diff(debian_like, installed))
""",
    because="The difference is the one file that the installation added; laid on `tiny` it comes with nothing else.",
)
def _on_tiny(on_tiny: State) -> Judgement:
    debian_like = llb.scratch().mkfile("/os", "big").mkfile("/manual", "1000 pages")
    tiny = llb.scratch().mkfile("/os", "small")
    installed = debian_like.mkfile("/tool", "cuts")
    tool = llb.diff(debian_like, installed)
    if on_tiny == llb.merge(tiny, tool):
        return right(
            "One layer was cut from one base and laid on another: `/os` says `small`, there is no `/manual`, and the"
            " tool is there. You did not have to know which files it consists of."
        )
    if on_tiny == llb.merge(tool, tiny):
        return wrong(
            "The base lies on top of the tool. Here it comes to the same; with a file that both have, it would not.",
            nudge="The lowest comes first.",
        )
    if on_tiny == tool:
        return wrong(
            "This is the tool alone; its base is missing.", nudge="Lay it on `tiny` with `merge`."
        )
    if on_tiny == llb.merge(tiny, installed):
        return wrong(
            "This brings all of `debian_like` along: `/os` would say `big`.",
            nudge="Cut the tool out first: what does `installed` have that `debian_like` has not?",
        )
    kinds = {view.kind for view in on_tiny.marshal(local_unique_id="").ops}
    if "diff" not in kinds and "file" in kinds and on_tiny == tiny.copy(installed, "/tool", "/"):
        return wrong(
            "The files are right, because you knew the name of the one that was added.",
            nudge="An installation adds hundreds. Let `llb.diff` find them.",
        )
    missing = [word for word in ("merge", "diff") if word not in kinds]
    if missing:
        return wrong(
            f"There is no `{missing[0]}` in this graph.",
            nudge="`diff` cuts out what was added, `merge` lays it on a base.",
        )
    return wrong(
        "It has a diff and a merge, and yet other files than asked for.",
        nudge="`llb.diff(lower, upper)`: what was there before comes first. `llb.merge(lowest, …)`.",
    )
