"""What was measured of telemetry and of the service's parts, as tables; ratios before what they are of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Kept", "Reading", "differing", "parts_table", "stores_table", "ways_table"]


@dataclass(frozen=True, slots=True)
class Kept:
    """One store that was given all lines and asked all questions.

    Attributes:
        name: With its version.
        installed_mb: Its packages and those that they need; 0 for what comes with Python.
        size_mb: What the lines take on the disk.
        row_us: Processor time of writing a line.
        asked_ms: Processor time of each question, median.
        answers: To each question, as rows.
    """

    name: str
    installed_mb: float
    size_mb: float
    row_us: float
    asked_ms: Mapping[str, float]
    answers: Mapping[str, Sequence[Sequence[object]]]


@dataclass(frozen=True, slots=True)
class Reading:
    """How an archive of one packing was looked through.

    Attributes:
        gib_s: Processor time of a GiB unpacked, median.
        above_mb: How much memory grew at most.
    """

    gib_s: float
    above_mb: float


def differing(stores: Sequence[Kept]) -> list[str]:
    """Return the questions that two stores answer differently."""
    first, *others = stores
    return [
        question
        for question, rows in first.answers.items()
        if any(other.answers[question] != rows for other in others)
    ]


def stores_table(stores: Sequence[Kept], n_lines: int) -> str:
    """Return the stores side by side; of all but the first, ratios to it."""
    first = stores[0]
    rows = [
        [f"{_count(n_lines)} lines", *(store.name for store in stores)],
        ["---"] * (1 + len(stores)),
        ["installed, with what it needs"]
        + [
            _over(store.installed_mb, first.installed_mb, _mb) if store.installed_mb else "Python's"
            for store in stores
        ],
        ["the lines on the disk", *(_over(s.size_mb, first.size_mb, _mb) for s in stores)],
        ["writing one of them", *(_over(s.row_us, first.row_us, _us) for s in stores)],
    ]
    rows += [
        [question, *(_over(s.asked_ms[question], first_ms, _ms) for s in stores)]
        for question, first_ms in first.asked_ms.items()
    ]
    return _lines(rows)


def ways_table(ways_us: Mapping[str, float], put: Mapping[str, float], n_put: int) -> str:
    """Return the ways into DuckDB, the library's own first, and what it costs to give away a row."""
    first_us = next(iter(ways_us.values()))
    rows = [["a row into DuckDB", "processor time"], ["---"] * 2]
    rows += [[way, _over(took_us, first_us, _us)] for way, took_us in ways_us.items()]
    said = (
        f"`put` of a row costs {_us(put['row_us'])}; {_count(n_put)} rows that wait for a sink that is down take "
        f"{_mb(put['above_mb'])} of memory and {_mb(put['size_mb'])} on the disk."
    )
    return f"{_lines(rows)}\n\n{said}"


def parts_table(
    turns: Mapping[str, float],
    queued: tuple[int, int],
    log: Mapping[str, float],
    n_lines: int,
    readings: Mapping[str, Reading],
) -> str:
    """Return what the parts of a service cost alone.

    Args:
        turns: `few_us` and `many_us`.
        queued: How many builds wait.
        log: `line_us`, `size_mb`, `above_mb`.
        n_lines: Of that log.
        readings: By packing, the plain archive first.
    """
    few, many = map(_count, queued)
    plain_s = next(iter(readings.values())).gib_s
    rows = [
        ["a part of the service alone", "processor time", "memory, at most"],
        ["---"] * 3,
        [
            f"whose turn it is, with {many} builds queued, over {few}",
            f"{turns['many_us'] / turns['few_us']:.2f} × ({_us(turns['many_us'])})",
            "",
        ],
        [
            f"a line of a log of {_count(n_lines)}, which takes {_mb(log['size_mb'])} on the disk",
            _us(log["line_us"]),
            _mb(log["above_mb"]),
        ],
    ]
    rows += [
        [
            f"a GiB of files in an archive, {packing}",
            _over(reading.gib_s, plain_s, _s),
            _mb(reading.above_mb),
        ]
        for packing, reading in readings.items()
    ]
    return _lines(rows)


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |".replace(" --- ", "---") for row in rows)


def _over(value: float, first: float, said: object) -> str:
    assert callable(said)
    if value == first:
        return str(said(value))
    ratio = value / first
    return f"{ratio:.0f} × ({said(value)})" if ratio >= 10 else f"{ratio:.2g} × ({said(value)})"


def _count(n: int) -> str:
    return f"{n:_}".replace("_", " ")


def _mb(value: float) -> str:
    return f"{value:.0f} MB"


def _us(value: float) -> str:
    return f"{value:.0f} µs" if value >= 10 else f"{value:.1f} µs"


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _s(value: float) -> str:
    return f"{value:.2f} s"
