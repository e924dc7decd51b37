"""Exercises of lesson 11, failure lab."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from depotlab.course._exercise import Judgement, exercise, right, wrong


@exercise(
    "11.1",
    wants=int,
    solution="""
runs_again = 2
""",
    because="`configure` has another command, and `smoke test` reads what it makes. `busybox` stays as it was.",
)
def _runs_again(runs_again: int) -> Judgement:
    match runs_again:
        case 2:
            return right(
                "`configure` is another command now, and `smoke test` reads its files. What is before them stays in the"
                " cache: a repair costs what comes after it."
            )
        case 1:
            return wrong(
                "`configure` succeeded the last time, and it is in the cache with the *old* command.",
                nudge="Which step has the line that we repair, and which steps read what it makes?",
            )
        case _:
            return wrong(
                f"It is not {runs_again}.",
                nudge="Two steps run a command, and one of them has the line that we repair.",
            )


_WHO = ("you", "frontend", "builder")


@exercise(
    "11.2",
    wants=(str, str, str),
    solution="""
who_saw_the_typo = "frontend"
who_saw_the_missing_file = "builder"
who_saw_the_missing_secret = "you"
""",
    because="`RUNN` is no instruction, which the frontend sees when it reads the text. `srv.py` is a fine name of a"
    " file; only the one who looks for it knows that it is not there. And that no secret was handed over, your own"
    " process knows before it sends anything.",
)
def _noticed(typo: str, missing_file: str, unlocked: str) -> Judgement:
    given = (typo, missing_file, unlocked)
    if unknown := [each for each in given if each not in _WHO]:
        return wrong(
            f"`{unknown[0]}` is none of the three.",
            nudge=f"They are called {', '.join(map(repr, _WHO))}.",
        )
    if typo != "frontend":
        return wrong(
            "Look at the first error again: it is of the kind `DockerfileError`.",
            nudge="Who knows that `RUNN` is no instruction? depotlab does not read Dockerfiles; it sends them.",
        )
    if missing_file != "builder":
        return wrong(
            "`COPY srv.py /app/` is correct as a text, so neither you nor the frontend has a reason to complain.",
            nudge="Somebody has to look for the file. Who has the files at that moment?",
        )
    if unlocked != "you":
        return wrong(
            "The third error came at once, and the builder has not heard of that build.",
            nudge="`GraphError` is raised before anything is sent.",
        )
    return right(
        "Each noticed it at the first moment when it could be known: the secret before anything was sent, the typo when"
        " the text was read, the file when somebody looked for it."
    )


@exercise(
    "11.3",
    wants=str | bytes,
    solution="""
mystery.ls("/var/log/app")                                      # there is a start.log
log = mystery.read("/var/log/app/start.log").decode()
missing = log.split("can't open '")[1].split("'")[0]
""",
    because="The step wrote its log into a file, and the file is where the step left it. `mystery.ls('/var/log/app')`"
    " shows it.",
)
def _missing(missing: str | bytes) -> Judgement:
    said = (missing.decode("utf-8", "replace") if isinstance(missing, bytes) else missing).strip()
    if said == "/etc/app/license.key":
        return right(
            "No second build, no added `echo`: you read the log where the failed step had left it."
        )
    if said.endswith("license.key") and " " not in said:
        return wrong(
            f"The file is right, and its path is not `{said[:60]}`.",
            nudge="Everything between the quotes of the message in the log.",
        )
    if "license.key" in said:
        return wrong(
            f"You have found it. What is asked for is the path alone, not `{said[:60]}`.",
            nudge="Everything between the quotes of the message.",
        )
    if "start.log" in said:
        return wrong(
            "That is the log, and it is not missing. Read it.",
            nudge="`mystery.read(path).decode()` gives the text of a file.",
        )
    return wrong(
        "The log says something else.",
        nudge='The script sends all its output to a file; `mystery.ls("/var/log/app")` shows which.',
    )


def _copies_the_server(lines: list[list[str]]) -> bool:
    """Whether an instruction copies `server.py` into `/app`, wherever the working directory is."""
    cwd = PurePosixPath("/")
    for word, *rest in lines:
        if word.upper() == "WORKDIR" and rest:
            cwd /= rest[0]
        elif word.upper() in ("COPY", "ADD") and {"server.py", "./server.py"} & set(rest[:-1]):
            target = cwd / rest[-1]
            if PurePosixPath("/app") in (target, target.parent):
                return True
    return False


@exercise(
    "11.4",
    wants=str,
    solution='''
corrected = """
FROM busybox
COPY server.py /app/
"""
''',
    because="`COPY` reads from the context, and the context has `server.py`.",
)
def _corrected(corrected: str) -> Judgement:
    # `COPY ["server.py", "/app/"]` is another way to write it.
    lines = [re.sub(r'[\[\]",]', " ", line).split() for line in corrected.splitlines()]
    lines = [line for line in lines if line and not line[0].startswith("#")]
    words = [line[0].upper() for line in lines]
    if any("srv.py" in word for line in lines for word in line):
        if _copies_the_server(lines):
            return wrong(
                "This finds the file, and gives it the name `srv.py` in the image.",
                nudge="`/app/` alone is enough: the file keeps its name.",
            )
        return wrong(
            "`srv.py` is still there, and the context has no such file.",
            nudge="The context is what you hand over: `{'server.py': ...}`.",
        )
    if not words or words[0] != "FROM":
        return wrong(
            "This does not begin with `FROM`.",
            nudge="Give the whole text, with both lines of the original.",
        )
    if not _copies_the_server(lines):
        return wrong(
            "No line copies `server.py`, by that name, into `/app/`.",
            nudge="Only the name of the file was wrong.",
        )
    return right(
        "Only a name. A wrong `COPY` is found when the builder looks for the file, so it costs you the steps before it:"
        " one more reason to copy small things late."
    )
