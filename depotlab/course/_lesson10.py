"""Exercises of lesson 10, platforms and sameness."""

from __future__ import annotations

import re

from depotlab.course._exercise import Judgement, exercise, right, wrong

_METHODS = ("copy", "mkfile", "run", "rm")


@exercise(
    "10.1",
    wants=int,
    solution="""
different_layers = 3
""",
    because="The page is the same bytes on every platform, so it is one layer with one name. The file that names the"
    " platform is another one in each.",
)
def _different_layers(different_layers: int) -> Judgement:
    match different_layers:
        case 3:
            return right(
                "The page is the same bytes for both, so it has one name and is stored once. Only what differs is"
                " there twice."
            )
        case 4:
            return wrong(
                "There are four entries in the two manifests, and two of them are the same.",
                nudge="Compare the digests that the cell above printed.",
            )
        case _:
            return wrong(
                f"It is not {different_layers}.",
                nudge="Write down the digests of the layers that the cell above printed, each only once.",
            )


@exercise(
    "10.2",
    wants=set,
    solution="""
usable = {"copy", "mkfile", "rm"}
""",
    because="BuildKit itself carries out the file operations, on any platform. Only `run` starts a program of the"
    " image.",
)
def _usable(usable: set[str]) -> Judgement:
    if unknown := sorted(str(each) for each in usable - set(_METHODS)):
        return wrong(
            f"`{unknown[0]}` is none of the four.",
            nudge=f"They are called {', '.join(map(repr, _METHODS))}.",
        )
    if usable == {"copy", "mkfile", "rm"}:
        return right(
            "BuildKit itself carries out these three; no program of the image is started. `run` starts one, and that"
            " is a program for another machine."
        )
    if "run" in usable:
        return wrong(
            "`run` starts a program that is in the image, and that program is made for the other platform.",
            nudge="Who carries out each of them: a program of the image, or BuildKit?",
        )
    left_out = next(name for name in _METHODS if name != "run" and name not in usable)
    return wrong(
        f"`{left_out}` works as well.",
        nudge="It needs no shell and no program in the image: it works on `scratch`, which is empty.",
    )


@exercise(
    "10.3",
    wants=str,
    solution="""
command = "date -u -d @$SOURCE_DATE_EPOCH"
""",
    because="The date comes from the variable now, and the variable is in the graph: it is the same whenever the step"
    " runs.",
)
def _command(command: str) -> Judgement:
    if re.search(r"date\b.*@\d", command):
        return wrong(
            "This is the same each time, so the image would be too. It is not the moment in the variable, though: set"
            " that to another one, and this stays as it is.",
            nudge="Write `$SOURCE_DATE_EPOCH` where the number is.",
        )
    if "SOURCE_DATE_EPOCH" not in command and "date" not in command:
        return wrong(
            "This prints no date.",
            nudge="`date -u -d @86400` prints one, and the seconds to take are in `$SOURCE_DATE_EPOCH`.",
        )
    if "SOURCE_DATE_EPOCH" not in command:
        return wrong(
            "This asks the clock, so it prints something else each time.",
            nudge="The seconds are in `$SOURCE_DATE_EPOCH`; `-d @SECONDS` makes a date of them.",
        )
    if not re.search(r"\$\{?SOURCE_DATE_EPOCH", command):
        return wrong(
            "The name of the variable is there, not its value.",
            nudge="A shell puts the value in where you write `$SOURCE_DATE_EPOCH`.",
        )
    if re.search(r"'[^']*\$\{?SOURCE_DATE_EPOCH[^']*'", command):
        return wrong(
            "Between single quotes a shell leaves `$` alone.",
            nudge="Use double quotes, or none: there are no spaces in a number.",
        )
    if "date" not in command.replace("SOURCE_DATE_EPOCH", ""):
        return wrong(
            "This is the same each time, so the image would be too. It prints a number, though, and not a date.",
            nudge="`date -u -d @86400` prints the second of January 1970.",
        )
    if not re.search(r"-\w*d\s*\"?@|--date[= ]\"?@", command):
        return wrong(
            "`date` has to be told which moment is meant, and that it is given in seconds.",
            nudge="`date -d @86400`: the `@` says that these are seconds since 1970.",
        )
    return right(
        "The date is in the graph now, and not in the moment. Note `-u`: without it, the time zone of the builder would"
        " be in the file."
        if re.search(r"\s-\w*u", command)
        else "The date is in the graph now. Add `-u`, or the time zone of the builder will be in the file."
    )
