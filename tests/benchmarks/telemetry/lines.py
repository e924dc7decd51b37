"""A million lines as steps print them, the same at each run. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator

from depotlab.telemetry import LogRow

__all__ = ["BATCH_ROWS", "BUILD_LINES", "RARE", "build_id", "log_rows"]

BATCH_ROWS = 2_000
"""As a writer gathers them unless it is told otherwise."""

BUILD_LINES = 500
"""Of each build; their four steps print in turns, as steps do that run at the same time."""

_N_PROJECTS = 20
_N_STEPS = 4
_BEGAN_MS = 1_790_000_000_000
_WORDS = ("api", "auth", "cart", "codec", "index", "layout", "mail", "parse", "render", "store")
_SAID = (
    "compiling src/{word}/{other}_{n}.c",
    "added {word}-{other}@{n}.{m}.0 from the registry",
    "ok   {word}/{other}_test.py::test_{n} ({m} ms)",
    "layer {m}: {n} files of {word}, none of {other}",
)

RARE = "is deprecated"
"""What one line in a thousand says: who asks for it has to look into all of them."""


def build_id(number: int) -> str:
    """Return the id of a build, by its place."""
    return f"build-{number:06d}"


def log_rows(n_lines: int) -> Iterator[list[LogRow]]:
    """Return rows in batches, in the order in which a service writes them: builds one after the other."""
    draw = random.Random(7)
    batch: list[LogRow] = []
    for number in range(-(-n_lines // BUILD_LINES)):
        project = number % _N_PROJECTS
        project_id, deployment_id = f"project-{project:02d}", f"d{number:06d}"
        # A step that reads no context has the same digest in each build of its project.
        steps = [f"sha256:{project:032x}{step:032x}" for step in range(_N_STEPS)]
        began_ms = _BEGAN_MS + 60_000 * number
        for line in range(min(BUILD_LINES, n_lines - number * BUILD_LINES)):
            # One number for all of it: making a line should not take longer than writing it.
            rest, n = divmod(draw.getrandbits(48), 1000)
            rest, m = divmod(rest, 40)
            word, other = _WORDS[rest % 10], _WORDS[rest // 10 % 10]
            text = _SAID[rest // 100 % 4].format(word=word, other=other, n=n, m=m)
            batch.append(
                LogRow(
                    time=began_ms + line * (7 + m),
                    workspace_id="acme",
                    project_id=project_id,
                    deployment_id=deployment_id,
                    message=f"{text}: {word} {RARE}" if n == m else text,
                    step_id=steps[line % _N_STEPS],
                    build_id=build_id(number),
                    stream=1 + (n % 9 == 0),
                    line=line,
                )
            )
            if len(batch) == BATCH_ROWS:
                yield batch
                batch = []
    if batch:
        yield batch
