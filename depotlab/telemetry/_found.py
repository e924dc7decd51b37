"""Tables of what questions about builds are answered with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from depotlab._values import Rows, cut, data_frame, table_html
from depotlab.telemetry._records import (
    CacheRate,
    FlakyStep,
    RecordedBuild,
    RecordedLine,
    RecordedStep,
    SlowStep,
    StageTime,
    TrendPoint,
    seconds_text,
)

__all__ = [
    "CacheRates",
    "FlakySteps",
    "Found",
    "RecordedBuilds",
    "RecordedLines",
    "RecordedSteps",
    "SlowSteps",
    "SqlRows",
    "StageTimes",
    "Trend",
]

_SHOWN_ROWS = 60
_MAX_CELL = 120
_UNITS = ("_at", "_s")

RowT = TypeVar("RowT")


class Found(Rows[RowT]):
    """An answer as a sequence of values that notebooks show as a table.

    Args:
        items: The values.
        note: What is to be said below the table, such as that there is more.
    """

    _row: ClassVar[type[Any]]
    _what: ClassVar[str] = "row"
    _shown: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._columns = tuple(field.name for field in fields(cls._row))

    def __init__(self, items: Iterable[RowT], *, note: str = "") -> None:
        super().__init__(items)
        self.note = note

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each, for tables of any kind."""
        return [{name: getattr(one, name) for name in self._columns} for one in self]

    def _headline(self) -> str:
        return f"{len(self)} {self._what}{'' if len(self) == 1 else 's'}" if self else self._none()

    def _none(self) -> str:
        return f"no {self._what}s"

    def _shown_columns(self) -> Sequence[str]:
        return self._shown or self._columns

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._headline()}>"

    def __str__(self) -> str:
        return "\n".join([self._headline(), *(f"  {one!r}" for one in self[:_SHOWN_ROWS])])

    def _repr_html_(self) -> str:
        shown = self._shown_columns()
        rows = [[_cell(name, getattr(one, name)) for name in shown] for one in self[:_SHOWN_ROWS]]
        heads = [_head(name) for name in shown]
        return _html(self._headline(), heads, rows, len(self) - _SHOWN_ROWS, self.note)


class RecordedBuilds(Found[RecordedBuild]):
    """Builds, the newest first."""

    _row = RecordedBuild
    _what = "build"
    _shown = (
        "created_at",
        "project",
        "deployment",
        "status",
        "queued_s",
        "duration_s",
        "n_cached",
        "n_steps",
        "n_log_lines",
        "error",
        "build_id",
    )


class RecordedSteps(Found[RecordedStep]):
    """Steps of one build, in the order in which they began."""

    _row = RecordedStep
    _what = "step"
    _shown = ("name", "state", "duration_s", "started_at", "has_logs", "error")

    def _shown_columns(self) -> Sequence[str]:
        tries = ("attempt",) if any(step.attempt > 1 for step in self) else ()
        return (*tries, *self._shown)


class RecordedLines(Found[RecordedLine]):
    """Lines that steps printed, in their order."""

    _row = RecordedLine
    _what = "line"
    _shown = ("offset", "at", "stream", "text")

    @property
    def text(self) -> str:
        """All of them, one below the other."""
        return "\n".join(line.text for line in self)

    def __str__(self) -> str:
        return self.text


class SlowSteps(Found[SlowStep]):
    """Steps by name, the slowest first."""

    _row = SlowStep
    _what = "slow step"


class CacheRates(Found[CacheRate]):
    """What the cache had: builds and days in order of time, projects and steps from those with the most steps on."""

    _row = CacheRate
    _what = "cache rate"

    @property
    def cached_share(self) -> float | None:
        """Of all steps in the table together, 0 to 1; None without any."""
        n_steps = sum(rate.n_steps for rate in self)
        return sum(rate.n_cached for rate in self) / n_steps if n_steps else None

    def _headline(self) -> str:
        share = self.cached_share
        return "no steps" if share is None else f"{share:.0%} of the steps were in the cache"


class Trend(Found[TrendPoint]):
    """Builds or days in order of time."""

    _row = TrendPoint
    _what = "point"


class FlakySteps(Found[FlakyStep]):
    """Steps that sometimes fail, those that change most often first."""

    _row = FlakyStep
    _what = "flaky step"
    _shown = (
        "name",
        "project",
        "n_ran",
        "n_failed",
        "failed_share",
        "n_changes",
        "n_builds",
        "last_failed_at",
    )


class StageTimes(Found[StageTime]):
    """Stages, in the order in which builds go through them."""

    _row = StageTime
    _what = "stage"


class SqlRows(Rows[dict[str, Any]]):
    """What a statement found: a dictionary for each row.

    Args:
        columns: Names, in order.
        rows: Values in the order of the columns.
        note: What is to be said below the table.

    Attributes:
        columns: As given; of columns of one name, as a join has them, the second is `name_1`.
    """

    def __init__(
        self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, note: str = ""
    ) -> None:
        self.columns = _distinct(columns)
        super().__init__(dict(zip(self.columns, row, strict=True)) for row in rows)
        self.note = note

    def rows(self) -> list[dict[str, Any]]:
        """Return the dictionaries."""
        return list(self)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with the columns as the statement named them, and values as the store has them.

        Instants of the tables are whole milliseconds: `pandas.to_datetime(frame.started_at, unit="ms", utc=True)`.

        Raises:
            UsageError: pandas is not installed.
        """
        empty = data_frame([], ())  # says so when pandas is missing
        return type(empty)(self.rows(), columns=list(self.columns))

    def _headline(self) -> str:
        return f"{len(self)} {'row' if len(self) == 1 else 'rows'}"

    def __repr__(self) -> str:
        return f"<SqlRows {self._headline()}: {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        rows = [[_plain(row[name]) for name in self.columns] for row in self[:_SHOWN_ROWS]]
        return _html(self._headline(), self.columns, rows, len(self) - _SHOWN_ROWS, self.note)


def _html(
    headline: str, heads: Sequence[str], rows: list[list[str]], n_more: int, note: str
) -> str:
    numbers = frozenset(
        head for place, head in enumerate(heads) if all(_is_number(row[place]) for row in rows)
    )
    notes = [f"and {n_more} more"] if n_more > 0 else []
    return table_html(
        headline,
        heads,
        rows,
        notes=[*notes, *([note] if note else [])],
        right=numbers,
    )


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of which no two are the same, numbered as DuckDB numbers them in a data frame."""
    found: list[str] = []
    for name in names:
        new, number = name, 0
        while new in found or (number and new in names):
            number += 1
            new = f"{name}_{number}"
        found.append(new)
    return tuple(found)


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or (cell[0] == "-" and cell[1:2].isdigit())


def _head(name: str) -> str:
    zone = " (UTC)" if name == "at" or name.endswith("_at") else ""
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return name.removeprefix("n_").replace("_", " ") + zone


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float) and name.endswith("_s"):
        return seconds_text(value)
    if isinstance(value, float) and name.endswith("_share"):
        return f"{value:.0%}"
    return _plain(value)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}={one}" for key, one in value.items())
    return cut(str(value), _MAX_CELL)
