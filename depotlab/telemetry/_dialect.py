"""What DuckDB and ClickHouse call by different names. Every other word of our queries is the same in both."""

from __future__ import annotations

from dataclasses import dataclass

from depotlab.errors import UsageError

__all__ = ["Dialect", "dialect_of"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one engine says it.

    Attributes:
        name: As `Source.dialect` has it.
        stages: A query with the columns `project_id`, `created_at`, `stage` and `ms`: a row for each stage of a build.
        describe: A query whose first two columns are the names and types of a table's columns; `{table}` stands in it.
    """

    name: str
    stages: str
    describe: str
    _quantile: str
    _contains: str

    def quantile(self, expression: str, share: float) -> str:
        """Return the expression of a quantile, interpolated between neighbours; NULLs do not count.

        Source: DuckDB `quantile_cont`, ClickHouse `quantileExactInclusive`; both are Hyndman and Fan's type 7.
        """
        return self._quantile.format(x=expression, share=share)

    def contains(self, expression: str) -> str:
        """Return a condition: the text has the parameter as a part, letters as they are written."""
        return self._contains.format(x=expression)


_DUCKDB = Dialect(
    name="duckdb",
    stages=(
        "SELECT project_id, created_at, unnest(map_keys(stages_ms)) AS stage, "
        "unnest(map_values(stages_ms)) AS ms FROM builds_v1"
    ),
    describe="DESCRIBE {table}",
    _quantile="quantile_cont({x}, {share})",
    _contains="contains({x}, ?)",
)
_CLICKHOUSE = Dialect(
    name="clickhouse",
    stages=(
        "SELECT project_id, created_at, stage, ms FROM builds_v1 "
        "ARRAY JOIN mapKeys(stages_ms) AS stage, mapValues(stages_ms) AS ms"
    ),
    describe="DESCRIBE TABLE {table}",
    _quantile="quantileExactInclusive({share})({x})",
    _contains="position({x}, ?) > 0",
)
_DIALECTS = {one.name: one for one in (_DUCKDB, _CLICKHOUSE)}


def dialect_of(name: str) -> Dialect:
    """Return how an engine says it.

    Raises:
        UsageError: No engine of this name is known; an empty name is that of sinks of which none can be asked.
    """
    if not name:
        raise UsageError(
            "None of these sinks can be asked, they only take builds.",
            hint="add a DuckDB file or a ClickHouse to them",
        )
    try:
        return _DIALECTS[name]
    except KeyError:
        raise UsageError(
            f"The source says that its SQL is {name!r}, which is not known.",
            hint=f"its .dialect may be {' or '.join(map(repr, _DIALECTS))}",
        ) from None
