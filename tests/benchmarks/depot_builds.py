"""Builds on a Depot of this computer: ours on an open client, the official command line as a process, alternating.

Both build the same Dockerfile, all of it cached, from registering the build to its finish. The plane is a process of
its own, the same for both.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import depotlab as dl
from tests.support.officialclients import Cli, depot_cli, running_plane

ROUNDS = 15
CROWDS = {8: 3, 100: 1}
DOCKERFILE = "FROM busybox\nCOPY app.txt /app.txt\nRUN wc -c /app.txt\n"


def run() -> list[str]:
    """Return lines with medians and ratios.

    Raises:
        ClientUnavailable: The official command line cannot be had here.
    """
    program = depot_cli()
    folder = Path(tempfile.mkdtemp(prefix="dlu-"))
    try:
        context = folder / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / "app.txt").write_text("hello\n")
        (folder / "home").mkdir()
        with running_plane(folder) as plane:
            cli = Cli.at(program, plane, folder / "home")
            where = plane.environment
            with dl.depot(
                where["DEPOT_PROJECT_ID"], token=where["DEPOT_TOKEN"], url=plane.url
            ) as bk:
                return _measured(bk, cli, context)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measured(bk: dl.Client, cli: Cli, context: Path) -> list[str]:
    target = dl.dockerfile(context)
    first_s: list[float] = []

    def ours() -> None:
        began_ns = time.time_ns()
        result = bk.build(target, progress="quiet")
        steps = [s for s in result.steps if s.intervals and not s.name.startswith("[depot]")]
        first_s.append((min(s.intervals[0].start_ns for s in steps) - began_ns) / 1e9)

    def theirs() -> None:
        cli.run("build", "--progress", "plain", str(context))

    ours()  # fills the cache; the other has build arguments of its own, and so has its turn too
    theirs()
    first_s.clear()
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(ROUNDS)]
    lines = [
        _line("fully cached build on Depot, from registering to finishing", pairs),
        f"  from the call to the first step of BuildKit: {statistics.median(first_s) * 1000:.0f} ms",
    ]
    for size, rounds in CROWDS.items():
        crowd = [
            (_seconds(lambda: _at_once(ours, size)), _seconds(lambda: _at_once(theirs, size)))  # noqa: B023
            for _ in range(rounds)
        ]
        lines.append(_line(f"{size} of them at once", crowd))
    return lines


def _at_once(build: Callable[[], None], size: int) -> None:
    with ThreadPoolExecutor(size) as threads:
        for done in [threads.submit(build) for _ in range(size)]:
            done.result()


def _seconds(work: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _line(title: str, pairs: list[tuple[float, float]]) -> str:
    ours, theirs = (statistics.median(side) * 1000 for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return f"{title}: {ours:.0f} ms, official CLI {theirs:.0f} ms, ratio {ratio:.2f}"
