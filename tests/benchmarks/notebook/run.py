"""`python -m tests.benchmarks notebook`: what the view of a build costs in a real kernel and a real page.

Starts a daemon, a kernel, a JupyterLab and a browser of its own in a temporary folder, and removes all of it at the
end. What a build itself costs is measured in the same run and subtracted, or divided by.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import secrets
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from depotlab import _local as engine_room
from tests.benchmarks.notebook.kernels import running_kernel
from tests.benchmarks.notebook.pages import Pages, opened_pages, p95
from tests.benchmarks.notebook.rows import Row, between, table
from tests.benchmarks.transfers.daemon import Daemon
from tests.support.lab import chromium

PAGE = Path(__file__).parents[3] / "docs" / "notebook.md"
COMMAND = "python -m tests.benchmarks notebook"
N_STEPS = 1_000
N_LINES = 500_000
SECONDS = 20.0
ROUNDS = 3
PAIRS = 7
STAMPS = 60
_SHARED_MEMORY = Path("/dev/shm")
PARTS = ("cost", "log", "pixels", "saved", "gaps", "stop")


def main(words: Sequence[str] = ()) -> int:
    """Measure, print, and write the table into docs/notebook.md when everything was measured.

    Returns:
        0; 1 when it cannot be measured here. A target that is missed is shown, and is no failure: a busy machine must
        not look like a broken view.
    """
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="single parts; they only print")
    wanted = parser.parse_args(words)
    parts = wanted.only or PARTS
    if why := _why_not():
        sys.stderr.write(f"the notebook view cannot be measured here: {why}\n")
        return 1
    rows: list[Row] = []
    browser = ""
    with ExitStack() as stack:
        base = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dl-", dir=base)))
        if "cost" in parts:
            rows += _told(_cost())
        daemon = Daemon(folder / "daemon", engine_room.install(), ["127.0.0.1"])
        address = stack.enter_context(daemon).socket_address
        if "log" in parts:
            rows += _told(_log(address))
        if set(parts) - {"cost", "log"}:
            pages = stack.enter_context(opened_pages(folder))
            browser = f", Chromium {pages.browser_version}"
            in_pages: dict[str, Callable[[], list[Row]]] = {
                "pixels": lambda: _pixels(pages),
                "saved": lambda: _saved(pages),
                "gaps": lambda: _gaps(pages),
                "stop": lambda: _stop(pages, address),
            }
            for measure in (in_pages[part] for part in in_pages if part in parts):
                rows += _told(measure())
    if not wanted.only:
        text = f"{_facts()}{browser}; medians.\n\n{table(rows)}"
        PAGE.write_text(between(PAGE.read_text(), f"\n{text}\n"))
    return 0


def _why_not() -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a daemon of our own needs Linux and root"
    return "" if chromium() else "there is no Chromium on PATH"


def _told(rows: list[Row]) -> list[Row]:
    print("\n".join(table(rows).splitlines()[2:]), flush=True)
    return rows


def _cost() -> list[Row]:
    """Of a kernel that shows many active steps, above one that takes in the same events and shows nothing."""
    cell = f"print(inkernel.shown_cpu_s({N_STEPS}, n_lines=2_000, seconds={SECONDS}, has_view=%s))"
    with running_kernel() as kernel:
        kernel.run(cell % True)  # what is loaded once is loaded
        without_s = statistics.median(
            float(kernel.run(cell % False).printed) for _ in range(ROUNDS)
        )
        shown = [kernel.run(cell % True) for _ in range(ROUNDS)]
    with_s = statistics.median(float(said.printed) for said in shown)
    return [
        Row(
            f"a core, for showing {N_STEPS} active steps",
            100 * (with_s - without_s) / SECONDS,
            "%",
            10,
            f"{100 * with_s / SECONDS:.0f} % with {N_STEPS * 10} status events a second themselves",
        ),
        Row(
            "messages of the kernel to pages meanwhile",
            statistics.median(said.per_s(edge_s=1.0) for said in shown),
            "/s",
            12,
        ),
    ]


def _log(address: str) -> list[Row]:
    """The processor time of a kernel for a long log of a real daemon, over the same with no view, in turns."""
    with running_kernel() as kernel:

        def used_s(*, has_view: bool) -> float:
            cell = (
                f"print('cpu', inkernel.received_cpu_s({address!r}, n_lines={N_LINES}, "
                f"unique={secrets.token_hex(8)!r}, has_view={has_view}))"
            )
            return float(kernel.run(cell).printed.rpartition("cpu ")[2])

        used_s(has_view=True)
        pairs = [(used_s(has_view=True), used_s(has_view=False)) for _ in range(PAIRS)]
    quiet_s = statistics.median(quiet for _, quiet in pairs)
    ratios = sorted(shown / quiet for shown, quiet in pairs)
    return [
        Row(
            f"processor time of a build with {N_LINES // 1000} 000 lines of log, over that without a view",
            statistics.median(ratios),
            "ratio",
            1.2,
            f"{quiet_s:.2f} s without; pairs from {ratios[0]:.2f} to {ratios[-1]:.2f}",
        )
    ]


def _pixels(pages: Pages) -> list[Row]:
    rows = []
    for n_steps, most in ((15, 200), (N_STEPS, None)):
        found = pages.latencies_ms(STAMPS, n_steps=n_steps)
        rows.append(
            Row(
                f"from a status event to its pixels, {n_steps} active steps",
                statistics.median(found),
                "ms",
                most,
                f"95 % within {p95(found):.0f} ms",
            )
        )
    return rows


def _saved(pages: Pages) -> list[Row]:
    return [
        Row(
            f"output of a build of {n} steps in the saved file",
            pages.saved_bytes(n) / 1000,
            "kB",
            most,
        )
        for n, most in ((50, 60), (N_STEPS, None))
    ]


def _gaps(pages: Pages) -> list[Row]:
    found = pages.gaps_ms(n_steps=N_STEPS, n_lines=N_LINES, seconds=SECONDS)
    return [
        Row(
            f"between frames of the page, {N_STEPS} steps and {N_LINES // 1000} 000 lines in {SECONDS:.0f} s",
            statistics.median(found),
            "ms",
            None,
            f"95 % within {p95(found):.0f} ms, the longest {max(found):.0f} ms",
        )
    ]


def _stop(pages: Pages, address: str) -> list[Row]:
    return [
        Row(f"from {what} to the end of a cell that builds", statistics.median(found), "s", 2)
        for what, by in (("Cancel", "button"), ("■", "interrupt"))
        for found in [pages.stops_s(address, by=by, rounds=3)]
    ]


def _facts() -> str:
    names = ("jupyterlab", "ipykernel", "ipywidgets")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores {platform.machine()} with a load of {os.getloadavg()[2]:.1f}"
    return f"{today}, {machine}, Python {platform.python_version()}, {packages}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
