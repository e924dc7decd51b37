"""What verbs of `Telemetry` are asked for, checked at the call."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from depotlab.errors import UsageError
from depotlab.telemetry._queries import Scope
from depotlab.telemetry._schema import TABLES

__all__ = [
    "Since",
    "build_id_of",
    "check_offset",
    "check_parameters",
    "check_word",
    "project_name",
    "row_limit",
    "scope_of",
    "since_ms_of",
    "tables_text",
]

MOST_ROWS = 1_000_000

Since = datetime | timedelta | None
"""Only from then on: an instant with a time zone, or how long ago; None is everything."""


def scope_of(project: str | None, since: Since, *, deployment: str | None = None) -> Scope:
    """Return which rows are meant."""
    return Scope(project, deployment, since_ms_of(since))


def since_ms_of(since: Since) -> int | None:
    """Return an instant as the tables have it."""
    if since is None:
        return None
    if isinstance(since, timedelta):
        since = datetime.now(UTC) - since
    if not isinstance(since, datetime) or since.tzinfo is None:
        raise UsageError(
            f"since={since!r} is no instant with a time zone, and not how long ago.",
            hint="give datetime.now(UTC) - timedelta(days=7), or timedelta(days=7)",
        )
    return round(since.timestamp() * 1000)


def row_limit(verb: str, limit: int, name: str = "limit") -> int:
    """Return how many rows there may be."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_ROWS:
        raise UsageError(
            f"{verb}({name}={limit!r}) is not a whole number from 1 to {MOST_ROWS}.",
            hint="ask for fewer rows, or for a part with since= or project=",
        )
    return limit


def project_name(verb: str, project: object) -> str:
    """Return the name of a project."""
    if not isinstance(project, str) or not project:
        raise UsageError(
            f"{verb}(project={project!r}) is not a name.",
            hint="give the name under which builds are looked at together, such as 'shop'",
        )
    return project


def build_id_of(verb: str, build: object) -> str:
    """Return the id of what has one."""
    found = build
    if not isinstance(build, str):
        found = getattr(build, "build_id", None) or getattr(build, "ref", None)
    if not isinstance(found, str) or not found:
        raise UsageError(
            f"{verb}(build=…) was given a {type(build).__name__}, which has no build id.",
            hint="give a build id, a row of .builds(), or the result of a build",
        )
    return found


def check_offset(offset: object, *, has_build: bool) -> None:
    """Refuse what is no place in the log of a build."""
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise UsageError(
            f"logs(offset={offset!r}) is not a whole number from 0.",
            hint="give the number of the first line",
        )
    if offset and not has_build:
        raise UsageError(
            f"logs(offset={offset}) is a place in the log of one build, and none was given.",
            hint="give a build, or since= for the newest lines of all",
        )


def check_parameters(parameters: object) -> None:
    """Refuse a text in place of a list of values: it would be a list of letters."""
    if isinstance(parameters, str | bytes) or not isinstance(parameters, Sequence):
        raise UsageError(
            f"sql(parameters=…) was given a {type(parameters).__name__}.",
            hint="give a list with a value for each ?, such as ['shop']",
        )


def check_word(verb: str, name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a word that is not one of those that are known."""
    if value not in choices:
        raise UsageError(
            f"{verb}({name}={value!r}) is not known.",
            hint=f"{name} may be {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}",
        )


def tables_text() -> str:
    """Return the tables with their columns in one line."""
    return "; ".join(f"{table.name} ({', '.join(table.names)})" for table in TABLES.values())
