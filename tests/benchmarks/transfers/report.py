"""The table, as text for a terminal and as a page for `docs`."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.transfers.measure import BLIND, Row
from tests.benchmarks.transfers.scenarios import MOST_PEAK_MB, MTLS
from tests.benchmarks.transfers.sides import Run
from tests.support.link import Shape

HEADS = (
    "scenario",
    "way",
    "ours s",
    "buildctl s",
    "ratio",
    "must reach",
    "verdict",
    "CPU s: ours",
    "buildctl",
    "daemon (ours)",
    "daemon (buildctl)",
    "peak MB",
)

_NAMES = {"buildx": "`docker buildx`"}

_PAGE = """\
# Performance: sending and receiving, beside `buildctl`

This page is written by `make bench`; `python -m tests.benchmarks transfers` makes it alone. Seconds differ
between machines and hours; the ratios of one run are what counts.

{facts}

{table}
{remarks}
## How to read it

- *ours* is `Client.build` in a running interpreter on an open client; *buildctl* is a process, from its start to
  its exit. Same daemon, same graph, same filters, in turns (ours, `buildctl`, ours, …), {rounds} pairs of each, three
  times as many of the cached build. Seconds are medians; the ratio is the median of the pairs' ratios.
- *CPU s* are processor seconds of one build, medians: of our process, of `buildctl`, and of the daemon while it
  served each. Where the daemon's come near to the seconds of the build, it is the daemon that sets the pace.
- *peak MB* is the largest memory of our process above a bare interpreter; our imports, grpcio and protobuf are in it.
  Above {most_peak_mb:g} MB the row is not met.
- *cold*: new contents in each pair, under a key that the daemon has not seen, after all that it had has been removed
  from its disk. *unchanged*: each side has sent the directory once under a key of its own, and afterwards the
  daemon's copy is not written to, which is checked by inodes and times of change.
- What arrived is compared, not only times: names, kinds, modes, owners, sizes, SHA-256 of contents and targets of
  links, of each copy on the daemon's disk with the directory that was sent, and of the files, tars and layers
  that were received with each other; every line of the log. A difference makes the run fail.
- Uploads are graphs of one local source. Contexts, the daemon's disk and what is received are on {disk}. An
  eighth of the repository are source files, the rest packages with the time stamps that a package manager sets; the
  text of both compresses to a third.
- Whether files are compressed on their way is decided during each transfer by how the link behaves. Where it says
  *ours without compression*, that is a third client in the same turns, which may not.
- Where it says *a receiver that does nothing*, that is our client in the same turns with its hands in its lap
  (`tests/benchmarks/transfers/blind.py`): of a directory it writes nothing, of an archive it looks at nothing. What it
  takes is the daemon's time.
- Outputs are in the daemon's cache before. `oci` is uncompressed, so that the daemon's gzip is not what is timed. What
  is thrown away (written to `/dev/null`) was kept and compared in a round before those that are timed.

## Links

Links are played on one machine: client and daemon are in two network namespaces, and a relay delays and limits the IP
packets between their TUN devices (`tests/support/link.py`). TCP is the kernel's own, with the socket buffers that
the system is set to; packets are lost only where a buffer of one round trip is full.

{links}

## Not measured

{missing}

## Again

`make bench` on a Linux machine with root, `runc`, a static busybox, `/dev/net/tun` for the links, and
{needs_gib:g} GiB free in `/dev/shm` or in the folder given with `--dir`. `--only NAME …` runs single rows,
`--rounds N` changes how often, `--quick` takes a sixteenth of the sizes, `--control` puts `buildctl` in our place too
and so shows how far ratios of equals stray; these four only print.

{names}
"""


def text(rows: Sequence[Row]) -> str:
    """Return the table for a terminal."""
    cells = [HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADS))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in [*lines, *_remarks(rows)])


def line(row: Row) -> str:
    """Return one row for somebody who waits."""
    named = zip(HEADS[2:], _cells(row)[2:], strict=True)
    figures = ", ".join(f"{head} {cell}" for head, cell in named if cell)
    return "\n".join(
        [f"{row.scenario.name}: {row.scenario.title}, {_way(row)}: {figures}", *_remarks([row])]
    )


def page(
    rows: Sequence[Row],
    *,
    rounds: int,
    buildkit: str,
    disk: str,
    links: Sequence[str],
    missing: Sequence[str],
    needs_gib: float,
) -> str:
    """Return the page."""
    table = [HEADS, ["---"] * len(HEADS), *(_cells(row) for row in rows)]
    lacks = [*missing, *(f"{row.scenario.name}: {row.problem}" for row in rows if row.problem)]
    remarks = [
        f"{row.scenario.title}, {_way(row)}: {beside}" for row in rows for beside in _beside(row)
    ]
    names = [f"`{row.scenario.name}` {row.scenario.title}, {_way(row)}" for row in rows]
    return _PAGE.format(
        facts=_facts(buildkit),
        table="\n".join(f"| {' | '.join(cells)} |" for cells in table),
        remarks="".join(f"\n{line}\n" for line in remarks),
        rounds=rounds,
        most_peak_mb=MOST_PEAK_MB,
        disk=disk,
        links="\n".join(f"- {what}" for what in links) or "- none here",
        missing="\n".join(f"- {what}" for what in lacks) or "Nothing is missing.",
        needs_gib=needs_gib,
        names="\n".join(f"- {name}" for name in names),
    )


def _facts(buildkit: str) -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"{today}, {os.cpu_count()} cores {platform.machine()}, {memory_gib:.0f} GiB, Linux {platform.release()}, "
        f"TCP {control}, Python {platform.python_version()}, grpcio {version('grpcio')}, BuildKit {buildkit}."
    )


def _cells(row: Row) -> list[str]:
    must = f"≤ {row.scenario.must:.2f}"
    name = [row.scenario.title, _way(row)]
    if row.problem:
        return [*name, "", "", "", must, row.verdict, "", "", "", "", ""]
    return [
        *name,
        _seconds(run.seconds for run in row.ours),
        _seconds(run.seconds for run in row.buildctl),
        f"{row.ratio:.2f}",
        must,
        row.verdict,
        _cpu(row.ours),
        _cpu(row.buildctl),
        _seconds(row.daemon_s["ours"]),
        _seconds(row.daemon_s["buildctl"]),
        f"{row.peak_mb:.0f}",
    ]


def _way(row: Row) -> str:
    way = row.scenario.way
    return f"{way}, {MTLS}" if isinstance(way, Shape) else way


def _remarks(rows: Iterable[Row]) -> list[str]:
    found = []
    for row in rows:
        if row.problem:
            found.append(f"  {row.scenario.name} could not run: {row.problem}")
        found += [f"  {row.scenario.name}: WRONG: {line}" for line in row.wrong]
        found += [f"  {row.scenario.name}: {line}" for line in _beside(row)]
    return found


def _beside(row: Row) -> list[str]:
    """Return how it went beside others, where they were run, and what hung."""
    lines = [
        f"`{side}` hung in {count} more builds, which were ended"
        for side, count in row.hung.items()
    ]
    if not row.problem:
        for side, ratio in row.other_ratios.items():
            seconds = _seconds(run.seconds for run in row.others[side])
            lines.append(f"{_NAMES.get(side, side)} {seconds} s, ratio {ratio:.2f}")
        if row.blind_ratio is not None:
            seconds = _seconds(run.seconds for run in row.others[BLIND])
            lines.append(
                f"{BLIND} {seconds} s, {row.blind_ratio:.2f} of `buildctl`: the least there can be"
            )
    return lines


def _cpu(runs: Iterable[Run]) -> str:
    return _seconds(run.cpu_s for run in runs)


def _seconds(values: Iterable[float]) -> str:
    median = statistics.median(values)
    return f"{median:.3f}" if median < 1 else f"{median:.2f}"
