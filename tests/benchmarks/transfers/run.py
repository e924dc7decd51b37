"""`python -m tests.benchmarks transfers`: measure sending and receiving beside `buildctl`, row by row.

Starts a daemon, a registry and a link of its own in a temporary folder, and removes all of it at the end,
however it ends.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from depotlab import _local as engine_room
from tests.benchmarks.transfers import report
from tests.benchmarks.transfers.daemon import Daemon
from tests.benchmarks.transfers.measure import LOOPBACK, Bench, Row
from tests.benchmarks.transfers.scenarios import scenarios
from tests.benchmarks.transfers.sides import find_buildx
from tests.support.link import Link, NoLink

PAGE = Path(__file__).parents[3] / "docs" / "performance.md"
ROUNDS = 5
NEEDS_GIB = 6.0
"""The most at one time: 1 GiB in the daemon's cache, as a layer, and received by either side."""
_QUICK_PART = 8
_NO_BUILDX = "`docker buildx` beside the Dockerfile builds: it is not installed on this machine."
_SHARED_MEMORY = Path("/dev/shm")


def main(words: Sequence[str] = ()) -> int:
    """Measure, print, and write the page when all rows were measured in full.

    Returns:
        0 when every row has figures and everything arrived as it should; 1 otherwise. A ratio that is not reached is
        shown, and is no failure: a busy machine must not look like a broken one.
    """
    wanted = _arguments(words)
    rows_wanted = scenarios(quick=wanted.quick)
    in_full = not (wanted.only or wanted.quick or wanted.control)
    complete = in_full and wanted.rounds == ROUNDS
    if wanted.only:
        unknown = set(wanted.only) - {one.name for one in rows_wanted}
        if unknown:
            names = ", ".join(one.name for one in rows_wanted)
            sys.stderr.write(f"no such row: {', '.join(sorted(unknown))}; there are {names}\n")
            return 2
        rows_wanted = [one for one in rows_wanted if one.name in wanted.only]
    base = wanted.dir or (_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else tempfile.gettempdir())
    if why := _why_not(Path(base), NEEDS_GIB / (_QUICK_PART if wanted.quick else 1)):
        sys.stderr.write(f"the transfers cannot be measured here: {why}\n")
        return 1
    programs = engine_room.install()
    began_s = time.monotonic()
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dl-", dir=base)))
        link: Link | str
        try:
            link = stack.enter_context(Link())
        except NoLink as error:
            link = str(error)
        addresses = [LOOPBACK] if isinstance(link, str) else [LOOPBACK, link.here]
        daemon = stack.enter_context(Daemon(folder / "daemon", programs, addresses))
        bench = Bench(folder, daemon, link, control=wanted.control)
        for scenario in rows_wanted:
            rows.append(bench.run(scenario, wanted.rounds))
            print(report.line(rows[-1]), flush=True)
    print(f"\n{report.text(rows)}\n\n{(time.monotonic() - began_s) / 60:.1f} minutes")
    for measured in bench.links.values():
        print(measured)
    missing = [] if find_buildx() else [_NO_BUILDX]
    print("\n".join(missing))
    if complete:
        PAGE.write_text(
            report.page(
                rows,
                rounds=ROUNDS,
                buildkit=daemon.version,
                disk="tmpfs" if Path(base) == _SHARED_MEMORY else "a disk of the machine",
                links=list(bench.links.values()),
                missing=missing,
                needs_gib=NEEDS_GIB,
            )
        )
    return int(any(row.problem or row.wrong for row in rows))


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks transfers")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="timed pairs of each row")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="single rows, by name")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try it out")
    parser.add_argument("--control", action="store_true", help="buildctl beside itself")
    parser.add_argument("--dir", help="a fast folder with room; /dev/shm when left out")
    return parser.parse_args(words)


def _why_not(base: Path, needs_gib: float) -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a daemon of our own, whose disk can be read, needs Linux and root"
    free_gib = shutil.disk_usage(base).free / 2**30
    if free_gib < needs_gib:
        return f"{base} has {free_gib:.1f} GiB free of the {needs_gib:g} that are needed (--dir takes another)"
    return ""
