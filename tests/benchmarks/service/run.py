"""`python -m tests.benchmarks service`: two hundred builds of twenty projects, on four machines of a Depot here.

The Depot and the service are processes of their own, below a temporary folder that is removed at the end. What the
service kept of steps and lines is compared with what each machine's daemon told the Depot.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import depotlab as dl
from depotlab import _local as engine_room
from depotlab._plane.presence import status
from tests.benchmarks.notebook.rows import between
from tests.benchmarks.service.figures import Lost, figures, table
from tests.support.buildservice import counted_by_depot

PAGE = Path(__file__).parents[3] / "docs" / "service.md"
COMMAND = "python -m tests.benchmarks service"
_IDLE_S = 0.5
_LOOK_S = 0.25  # less than an idle machine stays, so that no start is missed
_MOST_S = 1_800


def main(words: Sequence[str] = ()) -> int:
    """Measure, print, and write the tables into docs/service.md when the whole load was run.

    Returns:
        0; 1 when a build did not succeed, or a step or line was lost or doubled.
    """
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--builds", type=int, default=200)
    parser.add_argument("--projects", type=int, default=20)
    parser.add_argument("--machines", type=int, default=4)
    parser.add_argument("--lines", type=int, default=50, help="that each build prints")
    wanted = parser.parse_args(words)
    engine_room.install()
    with tempfile.TemporaryDirectory(prefix="dls-") as name:
        folder = Path(name)
        with _depot(folder / "p") as watch:
            plan = {
                "plane": str(folder / "p"),
                "folder": str(folder / "s"),
                "n_builds": wanted.builds,
                "n_projects": wanted.projects,
                "n_machines": wanted.machines,
                "n_lines": wanted.lines,
                "idle_s": _IDLE_S,
            }
            facts = _facts()
            run = _loaded(plan)
            found = figures(run, _lost(run, folder / "p"))
            text = table(run, found, watch.seen(), facts)
    print(text)
    for build in run["builds"]:
        if build["state"] != "succeeded":
            print(f"{build['project']} {build['build_id']}: {build['state']}: {build['error']}")
    if not words:
        PAGE.write_text(between(PAGE.read_text(), f"\n{text}\n"))
    is_whole = found.states == {"succeeded": wanted.builds}
    return 0 if is_whole and (found.lost.steps, found.lost.lines) == (0, 0) else 1


def _loaded(plan: Mapping[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.service.load", json.dumps(plan)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=_MOST_S,
        check=True,
    )
    run: dict[str, Any] = json.loads(done.stdout)
    return run


def _lost(run: Mapping[str, Any], plane: Path) -> Lost:
    """Ask the Depot for every build, and compare."""
    steps: dict[str, list[str]] = defaultdict(list)
    lines: dict[str, dict[str, int]] = defaultdict(dict)
    attempts = {build["build_id"]: build["attempts"] for build in run["builds"]}
    for build_id, step_id, attempt in run["steps"]:
        if attempt == attempts.get(build_id):  # not those that were built alone before
            steps[build_id].append(step_id)
    for build_id, step_id, n in run["lines"]:
        lines[build_id][step_id] = n
    n_steps = n_lines = lost_steps = lost_lines = 0
    with dl.depot_api(local=plane) as api, ThreadPoolExecutor(4) as threads:
        counts = threads.map(
            lambda b: counted_by_depot(api, b["depot_project_id"], b["depot_build_id"]),
            run["builds"],
        )
        for build, daemons in zip(run["builds"], counts, strict=True):
            ours, theirs = lines[build["build_id"]], dict(daemons.n_lines)
            n_steps += len(daemons.steps)
            n_lines += sum(theirs.values())
            lost_steps += _differs(steps[build["build_id"]], daemons.steps)
            lost_lines += sum(
                abs(ours.get(key, 0) - theirs.get(key, 0)) for key in ours.keys() | theirs.keys()
            )
    return Lost(n_steps, n_lines, lost_steps, lost_lines)


def _differs(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Steps that one side has more often than the other: missing ones, and those that are there twice."""
    return sum(abs(ours.count(key) - theirs.count(key)) for key in {*ours, *theirs})


class _Watch:
    """Looks at which machines a Depot runs, until it is closed."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/page/state"
        self._seen = {"most": 0, "busy": 0, "starts": 0}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="machine watch")
        self._thread.start()

    def _look(self) -> None:
        before: set[tuple[str, str]] = set()
        while not self._over.wait(_LOOK_S):
            with urllib.request.urlopen(self._url, timeout=30) as answer:
                machines = json.load(answer)["machines"]
            there = {(m["project_id"], m["platform"]) for m in machines}
            self._seen["most"] = max(self._seen["most"], len(there))
            self._seen["busy"] = max(self._seen["busy"], sum(1 for m in machines if m["builds"]))
            self._seen["starts"] += len(there - before)
            before = there

    def seen(self) -> dict[str, int]:
        """Return how many there were at once at most, how many had builds, and how often one was started."""
        return dict(self._seen)

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def _depot(state: Path) -> Iterator[_Watch]:
    command = [sys.executable, "-m", "tests.benchmarks.service.plane", str(state), str(_IDLE_S)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the Depot did not start")
        watch = _Watch(status(state).url)
        try:
            yield watch
        finally:
            watch.close()
            process.stdin.close()
            process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _facts() -> str:
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores {platform.machine()} with a load of "
        f"{os.getloadavg()[0]:.1f} before, Python {platform.python_version()}, DuckDB {version('duckdb')}, "
        "BuildKit 0.32.2; the service, the Depot, its registry and all daemons share these cores"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
