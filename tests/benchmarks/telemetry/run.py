"""`python -m tests.benchmarks telemetry`: what it costs to keep rows, lines and a queue, and to ask about them.

A million log lines go into DuckDB, SQLite and chDB, and the same questions to all three, in turns, so that all of them
suffer from the same noise. What other parts of the service cost is measured beside them, each in a process of its own.
No daemon, no network. Processor time is that of all threads of a process.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import io
import os
import platform
import random
import sqlite3
import statistics
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import zstandard

from tests.benchmarks.notebook.rows import between
from tests.benchmarks.telemetry.figures import (
    Kept,
    Reading,
    differing,
    parts_table,
    stores_table,
    ways_table,
)
from tests.benchmarks.telemetry.process import process
from tests.benchmarks.telemetry.stores import QUESTIONS, STORES

DOCS = Path(__file__).parents[3] / "docs"
COMMAND = "python -m tests.benchmarks telemetry"
PARTS = "figures of parts"
"""The mark in docs/service.md, which has figures of the load test too."""

_ROUNDS = 5
_QUEUED = (1_000, 10_000)
_N_WAYS, _N_SLOW_WAYS = 20_000, 1_000
_MIB = 1 << 20
_FILE_BYTES = 64 << 10
# Longer than what any packing looks back for repetitions, unless it is told to.
_TEXT_BYTES = 16 * _MIB
_SUFFIX = {"plain": "tar", "gzip": "tar.gz", "zstd": "tar.zst"}
_PACKAGES: dict[str, tuple[str, ...]] = {
    "duckdb": ("duckdb",),
    "sqlite": (),
    "chdb": ("chdb", "chdb-core", "pandas", "pyarrow", "numpy"),
}


def main(words: Sequence[str] = ()) -> int:
    """Measure, print, and write tables into docs/telemetry.md and docs/service.md when all of it was measured.

    Returns:
        0; 1 when two stores answer differently.
    """
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--lines", type=int, default=1_000_000, help="in each store")
    parser.add_argument("--mib", type=int, default=128, help="of files in each archive")
    wanted = parser.parse_args(words)
    facts = _facts()
    with tempfile.TemporaryDirectory(prefix="dlt-") as name:
        folder = Path(name)
        stores = _stores(folder, wanted.lines)
        said = stores_table(stores, wanted.lines)
        print(f"{facts}.\n\n{said}\n", flush=True)
        rows = _rows(folder, wanted.lines)
        print(f"{rows}\n", flush=True)
        parts = _parts(folder, wanted.lines // 2, wanted.mib * _MIB)
        print(parts, flush=True)
    if wrong := differing(stores):
        print(f"answered differently: {'; '.join(wrong)}")
        return 1
    if not words:
        _write(DOCS / "telemetry.md", f"{facts}.\n\n{said}\n\n{rows}")
        _write(DOCS / "service.md", f"{facts}.\n\n{parts}", mark=PARTS)
    return 0


def _write(page: Path, text: str, **marked: str) -> None:
    page.write_text(between(page.read_text(), f"\n{text}\n", **marked))


def _stores(folder: Path, n_lines: int) -> list[Kept]:
    """Fill the stores, then ask them in turns."""
    names = {
        "duckdb": f"DuckDB {version('duckdb')}",
        "sqlite": f"SQLite {sqlite3.sqlite_version}",
        "chdb": f"chDB {version('chdb')}",
    }
    with ExitStack() as stack:
        running = {name: stack.enter_context(process("stores")) for name in STORES}
        filled = {}
        for name, store in running.items():
            (folder / name).mkdir()
            filled[name] = store.ask("fill", name, str(folder / name), n_lines)
        asked_ms: dict[str, dict[str, list[float]]] = {
            name: {question: [] for question in QUESTIONS} for name in STORES
        }
        answers: dict[str, dict[str, Any]] = {name: {} for name in STORES}
        for _ in range(_ROUNDS):
            for question in QUESTIONS:
                for name, store in running.items():
                    answer = store.ask("ask", name, question)
                    asked_ms[name][question].append(answer["ms"])
                    answers[name][question] = answer["rows"]
    return [
        Kept(
            names[name],
            _installed_mb(_PACKAGES[name]),
            filled[name]["size_mb"],
            filled[name]["row_us"],
            {question: statistics.median(each) for question, each in asked_ms[name].items()},
            answers[name],
        )
        for name in STORES
    ]


def _rows(folder: Path, n_lines: int) -> str:
    with process("alone") as alone:
        ways_us = alone.ask("ways", str(folder), _N_WAYS, _N_SLOW_WAYS)
    with process("alone") as alone:
        put = alone.ask("put", str(folder), n_lines)
    return ways_table(ways_us, put, n_lines)


def _parts(folder: Path, n_lines: int, n_bytes: int) -> str:
    with process("alone") as alone:
        turns = alone.ask("turns", *_QUEUED, _ROUNDS)
    with process("alone") as alone:
        log = alone.ask("log", str(folder), n_lines)
    return parts_table(turns, _QUEUED, log, n_lines, _readings(_archives(folder, n_bytes)))


def _readings(archives: Mapping[str, Path]) -> dict[str, Reading]:
    """Have each archive looked through in a process of its own, in turns."""
    found: dict[str, list[dict[str, float]]] = {packing: [] for packing in archives}
    with ExitStack() as stack:
        running = {packing: stack.enter_context(process("alone")) for packing in archives}
        for _ in range(_ROUNDS):
            for packing, path in archives.items():
                found[packing].append(running[packing].ask("archive", str(path)))
    return {
        packing: Reading(
            statistics.median(one["used_s"] * (1 << 30) / one["unpacked_bytes"] for one in each),
            # What is loaded once is loaded: the first has it in its memory.
            max(one["above_mb"] for one in each),
        )
        for packing, each in found.items()
    }


def _archives(folder: Path, n_bytes: int) -> dict[str, Path]:
    """Make the same archive in each packing, as `tar` and `zstd` do unless told otherwise."""
    text = _text(_TEXT_BYTES)
    packings: dict[str, Callable[[Path], Any]] = {
        "plain": partial(Path.open, mode="wb"),
        "gzip": partial(gzip.open, mode="wb", compresslevel=6),
        "zstd": partial(zstandard.open, mode="wb"),
    }
    made = {}
    for packing, opened in packings.items():
        made[packing] = folder / f"context.{_SUFFIX[packing]}"
        with (
            opened(made[packing]) as packed,
            tarfile.open(fileobj=packed, mode="w|") as archive,
        ):
            for at in range(0, n_bytes, _FILE_BYTES):
                content = text[at % _TEXT_BYTES :][:_FILE_BYTES]
                member = tarfile.TarInfo(f"src/file{at // _FILE_BYTES:06d}.txt")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return made


def _text(n_bytes: int) -> bytes:
    """Return words of a small language in some order, which pack about as well as source code does."""
    draw = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz_"
    words = ["".join(draw.choices(letters, k=draw.randrange(2, 12))) for _ in range(4_000)]
    likely = [1 / (1 + place) for place in range(len(words))]
    text = " ".join(draw.choices(words, likely, k=n_bytes // 4)).encode()
    return (text * (1 + n_bytes // len(text)))[:n_bytes]


def _installed_mb(packages: Sequence[str]) -> float:
    paths = [
        Path(str(found.locate_file(file)))
        for found in map(distribution, packages)
        for file in found.files or ()
    ]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def _facts() -> str:
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores {platform.machine()} with a load of "
        f"{os.getloadavg()[0]:.1f} before, Python {platform.python_version()}; processor time, medians"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
