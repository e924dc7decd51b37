"""The questions as SQL: pure functions from what is asked to one statement and its parameters.

Values of users stand as `?`; words in the text come from here only. Instants are whole milliseconds, so a day begins
where the rest by 86 400 000 is nothing. Shares are counted here and divided by the reader, because the two engines
divide whole numbers differently.
"""

# ruff: noqa: S608 - every word of the statements is from here; what users give are parameters
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from depotlab.telemetry._dialect import Dialect
from depotlab.telemetry._rows import CANCELED, NEVER_ENDED

__all__ = [
    "CacheBy",
    "FlakyBy",
    "Query",
    "Scope",
    "SlowBy",
    "TrendBy",
    "builds",
    "cache_hit_rate",
    "flaky_steps",
    "has_build",
    "logs",
    "slowest_steps",
    "stages",
    "steps",
    "trend",
]

CacheBy = Literal["build", "project", "step", "day"]
FlakyBy = Literal["digest", "name"]
SlowBy = Literal["median", "p95", "total"]
TrendBy = Literal["build", "day"]

_DAY_MS = 86_400_000
_TOOK = "completed_at - started_at"

# Steps that no cache could save: the frontend's own, logins, what exports and imports, and what finds or loads
# sources. Of a base image that is there already the daemon says now that it was cached and now that it ran for 10 ms,
# as was seen with v0.32.2. Source: the names that moby/buildkit gives them in `frontend/dockerfile`, `client/llb`,
# `exporter`, `cache/remotecache` and `solver/llbsolver`.
_NEVER_CACHED = (
    "[%] FROM %",
    "docker-image://%",
    "oci-layout://%",
    "local://%",
    "[internal]%",
    "[auth]%",
    "[depot]%",
    "resolve image config %",
    "exporting %",
    "importing cache %",
    "pushing %",
    "writing %",
    "preparing build cache %",
    "sending %",
    "loading %",
    "resolving provenance %",
    "merging %manifest%",
)
_COUNTS_FOR_CACHE = " AND ".join(f"name NOT LIKE '{pattern}'" for pattern in _NEVER_CACHED)
_BY_ITSELF = f"error NOT LIKE '%{CANCELED}' AND error <> '{NEVER_ENDED}'"


@dataclass(frozen=True, slots=True)
class Query:
    """One statement."""

    sql: str
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows are meant.

    Attributes:
        project: Only of this project.
        deployment: Only of this deployment.
        since_ms: Only from this instant on.
    """

    project: str | None = None
    deployment: str | None = None
    since_ms: int | None = None

    def where(self, instant: str, *also: str) -> tuple[str, tuple[Any, ...]]:
        """Return a `WHERE` clause and its parameters; `instant` is the column that `since_ms` is about."""
        asked = [
            ("project_id = ?", self.project),
            ("deployment_id = ?", self.deployment),
            (f"{instant} >= ?", self.since_ms),
        ]
        said = [(text, value) for text, value in asked if value is not None]
        conditions = [text for text, _ in said] + list(also)
        clause = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return clause, tuple(value for _, value in said)


def builds(scope: Scope, *, status: str | None, limit: int) -> Query:
    """Builds, the newest first."""
    where, parameters = scope.where("created_at", *(["status = ?"] if status else []))
    return Query(
        "SELECT build_id, workspace_id, project_id, deployment_id, status, image, digest, error, error_category, "
        "created_at, started_at, completed_at, attempts, cached_steps, total_steps, log_lines "
        f"FROM builds_v1 {where} ORDER BY created_at DESC, build_id DESC LIMIT {limit:d}",
        (*parameters, *([status] if status else [])),
    )


def has_build(*build_ids: str) -> Query:
    """One row if there is a build of one of these ids."""
    places = ", ".join("?" for _ in build_ids)
    return Query(f"SELECT build_id FROM builds_v1 WHERE build_id IN ({places}) LIMIT 1", build_ids)


def steps(build_id: str, *, limit: int) -> Query:
    """Steps of one build, in the order in which they began."""
    return Query(
        "SELECT name, cached, started_at, completed_at, error, has_logs, step_id, attempt FROM build_steps_v1 "
        f"WHERE build_id = ? ORDER BY attempt, started_at, completed_at, step_id LIMIT {limit:d}",
        (build_id,),
    )


def logs(
    dialect: Dialect,
    scope: Scope,
    *,
    build_id: str | None,
    step: str | None,
    contains: str | None,
    offset: int,
    limit: int,
) -> Query:
    """Lines of one build from an offset on, in its order; or of all builds, the newest first."""
    conditions: list[str] = []
    values: list[Any] = []
    of_build = "build_id = ?" if build_id is not None else ""
    if build_id is not None:
        conditions += [of_build, "line >= ?"]
        values += [build_id, offset]
    if step is not None:
        named = " AND ".join(
            filter(None, [of_build, f"(step_id = ? OR {dialect.contains('name')})"])
        )
        conditions.append(f"step_id IN (SELECT step_id FROM build_steps_v1 WHERE {named})")
        values += [*([build_id] if build_id is not None else []), step, step]
    if contains is not None:
        conditions.append(dialect.contains("message"))
        values.append(contains)
    where, parameters = scope.where("time", *conditions)
    order = "line, time" if build_id is not None else "time DESC, build_id, line DESC"
    return Query(
        "SELECT line, time, stream, message, step_id, build_id FROM build_step_logs_v1 "
        f"{where} ORDER BY {order} LIMIT {limit:d}",
        (*parameters, *values),
    )


def slowest_steps(dialect: Dialect, scope: Scope, *, by: SlowBy, limit: int) -> Query:
    """Steps by name: how often they ran, how long that took, how often they were in the cache."""
    where, parameters = scope.where("started_at", "started_at > 0", "completed_at >= started_at")
    took = f"CASE WHEN NOT cached THEN {_TOOK} END"
    order = {"median": "median_ms", "p95": "p95_ms", "total": "total_ms"}[by]
    return Query(
        "SELECT name, sum(CASE WHEN cached THEN 0 ELSE 1 END) AS n_ran, sum(CASE WHEN cached THEN 1 ELSE 0 END) "
        f"AS n_cached, {dialect.quantile(took, 0.5)} AS median_ms, {dialect.quantile(took, 0.95)} AS p95_ms, "
        f"sum({took}) AS total_ms, max({took}) AS max_ms FROM build_steps_v1 {where} GROUP BY name "
        f"HAVING sum(CASE WHEN cached THEN 0 ELSE 1 END) > 0 ORDER BY {order} DESC, total_ms DESC, name "
        f"LIMIT {limit:d}",
        parameters,
    )


def cache_hit_rate(scope: Scope, *, by: CacheBy, limit: int) -> Query:
    """How many steps there were and how many of them the cache had."""
    where, parameters = scope.where("started_at", "started_at > 0", _COUNTS_FOR_CACHE)
    key = {
        "build": "build_id",
        "project": "project_id",
        "step": "name",
        "day": f"started_at - started_at % {_DAY_MS}",
    }[by]
    order = "began_at DESC, which" if by in ("build", "day") else "n_steps DESC, which"
    return Query(
        f"SELECT {key} AS which, count(DISTINCT build_id) AS n_builds, count(*) AS n_steps, "
        "sum(CASE WHEN cached THEN 1 ELSE 0 END) AS n_cached, min(started_at) AS began_at "
        f"FROM build_steps_v1 {where} GROUP BY which ORDER BY {order} LIMIT {limit:d}",
        parameters,
    )


def trend(dialect: Dialect, scope: Scope, *, by: TrendBy, limit: int) -> Query:
    """Builds or days, the newest first: how long builds took, how many failed, what the cache had."""
    where, parameters = scope.where("created_at")
    step_where, step_parameters = Scope(scope.project, scope.deployment).where(
        "started_at", "started_at > 0", _COUNTS_FOR_CACHE
    )
    key = "build_id" if by == "build" else f"created_at - created_at % {_DAY_MS}"
    took = "CASE WHEN started_at > 0 THEN completed_at - started_at END"
    return Query(
        f"SELECT {key} AS which, min(created_at) AS began_at, count(*) AS n_builds, "
        "sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS n_failed, "
        "sum(CASE WHEN status = 'canceled' THEN 1 ELSE 0 END) AS n_canceled, "
        f"{dialect.quantile(took, 0.5)} AS median_ms, {dialect.quantile(took, 0.95)} AS p95_ms, "
        "sum(s.hits) AS n_cached, sum(s.seen) AS n_steps FROM ("
        f"SELECT * FROM builds_v1 {where}) AS b LEFT JOIN ("
        "SELECT build_id AS of_build, sum(CASE WHEN cached THEN 1 ELSE 0 END) AS hits, count(*) AS seen "
        f"FROM build_steps_v1 {step_where} GROUP BY of_build) AS s ON b.build_id = s.of_build "
        f"GROUP BY which ORDER BY began_at DESC, which DESC LIMIT {limit:d}",
        (*parameters, *step_parameters),
    )


def flaky_steps(scope: Scope, *, by: FlakyBy, limit: int) -> Query:
    """Steps that ran and failed, and ran and succeeded; how often one followed the other.

    What a window sees of the run before it is a frame of one row: `lag` is not in all versions of ClickHouse.
    """
    where, parameters = scope.where("started_at", "NOT cached", "started_at > 0", _BY_ITSELF)
    key = "step_id" if by == "digest" else "name"
    before = (
        f"OVER (PARTITION BY project_id, {key} ORDER BY started_at, build_id, attempt "
        "ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING)"
    )
    return Query(
        f"SELECT project_id, {key} AS which, max(name) AS step_name, count(*) AS n_ran, sum(failed) AS n_failed, "
        "sum(CASE WHEN n_before = 1 AND was_failed <> failed THEN 1 ELSE 0 END) AS n_changes, "
        "count(DISTINCT build_id) AS n_builds, max(CASE WHEN failed = 1 THEN started_at ELSE 0 END) AS last_failed_at "
        f"FROM (SELECT project_id, step_id, name, build_id, started_at, failed, count(*) {before} AS n_before, "
        f"max(failed) {before} AS was_failed FROM (SELECT project_id, step_id, name, build_id, attempt, started_at, "
        f"CASE WHEN error <> '' THEN 1 ELSE 0 END AS failed FROM build_steps_v1 {where}) AS runs) AS seen "
        "GROUP BY project_id, which HAVING sum(failed) > 0 AND sum(failed) < count(*) "
        f"ORDER BY n_changes DESC, n_failed DESC, which LIMIT {limit:d}",
        parameters,
    )


def stages(dialect: Dialect, scope: Scope) -> Query:
    """How long builds spent in each stage."""
    where, parameters = Scope(scope.project, None, scope.since_ms).where("created_at")
    return Query(
        f"SELECT stage, count(*) AS n_builds, {dialect.quantile('ms', 0.5)} AS median_ms, "
        f"{dialect.quantile('ms', 0.95)} AS p95_ms, max(ms) AS max_ms, sum(ms) AS total_ms "
        f"FROM ({dialect.stages}) AS each_stage {where} GROUP BY stage ORDER BY stage",
        parameters,
    )
