"""Questions about builds, for who sits before a notebook. Every verb blocks for one query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, get_args, runtime_checkable

from depotlab._values import Value
from depotlab.errors import TelemetryError, UsageError
from depotlab.progress import Phase, Snapshot
from depotlab.telemetry import _queries as queries
from depotlab.telemetry._answers import (
    cache_rate,
    flaky_step,
    recorded_build,
    recorded_line,
    recorded_step,
    slow_step,
    stage_time,
    trend_point,
)
from depotlab.telemetry._arguments import (
    Since,
    build_id_of,
    check_offset,
    check_parameters,
    check_word,
    project_name,
    row_limit,
    scope_of,
    tables_text,
)
from depotlab.telemetry._connection import Connection
from depotlab.telemetry._dialect import dialect_of
from depotlab.telemetry._found import (
    CacheRates,
    FlakySteps,
    RecordedBuilds,
    RecordedLines,
    RecordedSteps,
    SlowSteps,
    SqlRows,
    StageTimes,
    Trend,
)
from depotlab.telemetry._fromsnapshot import BuildIds, id_of
from depotlab.telemetry._parquet import export_parquet
from depotlab.telemetry._queries import CacheBy, FlakyBy, Query, SlowBy, TrendBy
from depotlab.telemetry._rows import BuildRow, LogRow, StepRow
from depotlab.telemetry._schema import TABLES
from depotlab.telemetry._sink import Answer, Source
from depotlab.telemetry._stores import Store, Where, find_store
from depotlab.telemetry._writer import Writer

if TYPE_CHECKING:
    from depotlab.telemetry._plots import Plots

__all__ = ["Built", "Telemetry", "open"]

_COUNTED = {"builds": BuildRow.table, "steps": StepRow.table, "lines": LogRow.table}
_STAGES = ("queued", "context", "project", "machine", "solve", "drain", "finish")
_STATUSES = ("succeeded", "failed", "canceled")


@runtime_checkable
class Built(Protocol):
    """What has the last snapshot of a build: a `BuildResult`, a `StepFailed`, the `Build` that `submit` returned."""

    @property
    def snapshot(self) -> Snapshot:
        """The state of all steps."""


def open(where: Where = None) -> Telemetry:  # noqa: A001 - read as `telemetry.open`
    """Return what is known of builds: of this computer's own, or of those in another store.

    Args:
        where: None is the store that `recording()` fills, a DuckDB file in the state folder (`DEPOTLAB_TELEMETRY` names
            another place). Else the path of a `.duckdb` file, which is made when it is missing; a folder of Parquet
            files; an address of ClickHouse, `http://user:password@host:8123/database`; or any `Source`.

    Raises:
        UsageError: It is none of these.
        MissingExtra: Its engine is not installed: extras `telemetry` and `clickhouse`.

    Example:
        >>> from depotlab import telemetry
        >>> t = telemetry.open("builds.duckdb")                         # doctest: +SKIP
        >>> t.slowest_steps(5)                                          # doctest: +SKIP
        <SlowSteps 5 slow steps>
    """
    store = find_store(where)
    return Telemetry(store.source, connection=Connection(store))


class Telemetry(Value):
    """What is known of builds. Made by `telemetry.open`; `service.telemetry` is one too.

    Verbs block for one query; from a coroutine call them by `asyncio.to_thread`. What a writer of this process was
    given is waited for up to five seconds, a long log of one's own up to a minute, so that what has just ended is in
    the answer. Instants are in UTC.

    Args:
        source: What is asked.
        writer: What writes there, whose rows are to be seen; it stays its maker's.
        connection: What asks and adds; None makes one of the source and the writer.
    """

    def __init__(
        self,
        source: Source,
        writer: Writer | None = None,
        *,
        connection: Connection | None = None,
    ) -> None:
        self._dialect = dialect_of(source.dialect)
        self._connection = connection or Connection(Store(source), writer)

    # ---------------------------------------------------------------------------------- builds

    def builds(
        self,
        *,
        project: str | None = None,
        deployment: str | None = None,
        status: str | None = None,
        since: Since = None,
        limit: int = 100,
    ) -> RecordedBuilds:
        """List builds that have ended, the newest first.

        Args:
            project: Only of this project.
            deployment: Only of this deployment.
            status: Only those that `succeeded`, `failed` or were `canceled`.
            since: Only those asked for since then.
            limit: At most so many.
        """
        if status is not None:
            check_word("builds", "status", status, _STATUSES)
        answer = self._ask(
            queries.builds(
                scope_of(project, since, deployment=deployment),
                status=status,
                limit=row_limit("builds", limit),
            )
        )
        return RecordedBuilds(map(recorded_build, answer.rows))

    def steps(self, build: object, *, limit: int = 10_000) -> RecordedSteps:
        """List the steps of one build, in the order in which they began.

        Args:
            build: Its id, or something that has one, such as a row of `builds()` or the result of a build.
            limit: At most so many.

        Raises:
            UsageError: Nothing is known of it.
        """
        build_id = build_id_of("steps", build)
        answer = self._ask(queries.steps(build_id, limit=row_limit("steps", limit)))
        if not answer.rows:
            self._require(build_id)
        return RecordedSteps(map(recorded_step, answer.rows))

    def logs(
        self,
        build: object | None = None,
        *,
        step: str | None = None,
        contains: str | None = None,
        project: str | None = None,
        since: Since = None,
        offset: int = 0,
        limit: int = 1000,
    ) -> RecordedLines:
        """Return lines that steps printed.

        Args:
            build: Of this build, in their order; None of all builds: the newest lines.
            step: Only of this step: its digest, or a part of its name.
            contains: Only lines with this text in them, letters as they are written.
            project: Only of this project.
            since: Only lines since then.
            offset: Of a build: begin with this line, from 0.
            limit: At most so many lines.

        Raises:
            UsageError: Nothing is known of the build.
        """
        check_offset(offset, has_build=build is not None)
        build_id = None if build is None else build_id_of("logs", build)
        most = row_limit("logs", limit)
        answer = self._ask(
            queries.logs(
                self._dialect,
                scope_of(project, since),
                build_id=build_id,
                step=step,
                contains=contains,
                offset=offset,
                limit=most + 1,
            )
        )
        lines = list(map(recorded_line, answer.rows[:most]))
        note = ""
        if build_id is None:
            lines.reverse()
        elif not lines:
            self._require(build_id)
        if len(answer.rows) > most:
            more = "limit=" if build_id is None else f"offset={lines[-1].offset + 1}"
            note = f"There are more lines: give {more}."
        return RecordedLines(lines, note=note)

    # ----------------------------------------------------------------------------- what is slow

    def slowest_steps(
        self,
        n: int = 20,
        *,
        project: str | None = None,
        since: Since = None,
        by: SlowBy = "median",
    ) -> SlowSteps:
        """Return the steps that take longest, put together by their name.

        Args:
            n: So many.
            project: Only of this project.
            since: Only steps since then.
            by: What counts: `median` or `p95` of the runs, or `total` time of all of them.
        """
        check_word("slowest_steps", "by", by, get_args(SlowBy))
        limit = row_limit("slowest_steps", n, "n")
        query = queries.slowest_steps(self._dialect, scope_of(project, since), by=by, limit=limit)
        return SlowSteps(map(slow_step, self._ask(query).rows))

    def stages(self, *, project: str | None = None, since: Since = None) -> StageTimes:
        """Return how long builds spent in each stage: waiting for their turn, for a machine, building.

        Args:
            project: Only of this project.
            since: Only builds since then.
        """
        answer = self._ask(queries.stages(self._dialect, scope_of(project, since)))
        found = list(map(stage_time, answer.rows))
        place = {name: number for number, name in enumerate(_STAGES)}
        return StageTimes(sorted(found, key=lambda one: place.get(one.stage, len(place))))

    # --------------------------------------------------------------------------- what is cached

    def cache_hit_rate(
        self,
        by: CacheBy = "build",
        *,
        project: str | None = None,
        since: Since = None,
        limit: int = 100,
    ) -> CacheRates:
        """Return how much the cache had.

        Steps that no cache can save do not count: loading base images and contexts, exporting, logging in, what the
        frontend does for itself.

        Args:
            by: For each `build`, `project`, `step` (by its name) or `day`.
            project: Only of this project.
            since: Only steps since then.
            limit: At most so many: the newest builds or days, the projects or names with most steps.
        """
        check_word("cache_hit_rate", "by", by, get_args(CacheBy))
        query = queries.cache_hit_rate(
            scope_of(project, since), by=by, limit=row_limit("cache_hit_rate", limit)
        )
        found = [cache_rate(row, by) for row in self._ask(query).rows]
        return CacheRates(reversed(found) if by in ("build", "day") else found)

    # ----------------------------------------------------------------------------- what changes

    def trend(
        self,
        by: TrendBy = "build",
        *,
        project: str | None = None,
        deployment: str | None = None,
        since: Since = None,
        limit: int = 200,
    ) -> Trend:
        """Return how builds change with time: how long they take, how many fail, what the cache has.

        Args:
            by: A point for each `build` or `day`.
            project: Only of this project.
            deployment: Only of this deployment.
            since: Only builds since then.
            limit: At most so many points, the newest.
        """
        check_word("trend", "by", by, get_args(TrendBy))
        query = queries.trend(
            self._dialect,
            scope_of(project, since, deployment=deployment),
            by=by,
            limit=row_limit("trend", limit),
        )
        return Trend(reversed([trend_point(row, by) for row in self._ask(query).rows]))

    def flaky_steps(
        self,
        by: FlakyBy = "name",
        *,
        project: str | None = None,
        since: Since = None,
        limit: int = 50,
    ) -> FlakySteps:
        """Return steps that ran and failed, and ran and succeeded.

        With `name`, steps of one name in one project ended in both ways. That may also be a mistake that somebody made
        and mended, which changes twice: look at `n_changes`, by which they are sorted. With `digest`, the same step of
        the same inputs ended in both ways: nothing that was asked for differs, so it is flaky. But BuildKit gives a
        local directory or a fetched context another digest in each build, and with it every step that reads it; so
        this finds steps before the first `COPY`. Cached and cancelled steps do not count.

        Args:
            by: What makes two steps the same: `name` or `digest`.
            project: Only of this project.
            since: Only steps since then.
            limit: At most so many.
        """
        check_word("flaky_steps", "by", by, get_args(FlakyBy))
        query = queries.flaky_steps(
            scope_of(project, since), by=by, limit=row_limit("flaky_steps", limit)
        )
        return FlakySteps(flaky_step(row, by) for row in self._ask(query).rows)

    # ------------------------------------------------------------------------------ in own words

    def sql(self, sql: str, parameters: Sequence[Any] = ()) -> SqlRows:
        """Run one statement that reads, in the SQL of the store: DuckDB's or ClickHouse's.

        Args:
            sql: The statement; values stand as `?` in it.
            parameters: These values, in order.

        Raises:
            TelemetryError: The statement is wrong (the message has the engine's words, the hint the tables there are),
                or the store cannot be reached.

        Example:
            >>> t.sql("SELECT status, count(*) AS n FROM builds_v1 GROUP BY status")  # doctest: +SKIP
            <SqlRows 2 rows: status, n>
        """
        check_parameters(parameters)
        try:
            answer = self._ask(Query(sql, tuple(parameters)))
        except TelemetryError as error:
            if error.is_transient or error.hint:
                raise
            raise TelemetryError(error.message, hint=f"there are {tables_text()}") from error
        return SqlRows(answer.columns, answer.rows)

    @property
    def tables(self) -> SqlRows:
        """The tables and columns that `sql` can ask for. Instants are whole milliseconds since 1970 in UTC."""
        return SqlRows(
            ("table", "column", "type"),
            [(t.name, column.name, column.kind) for t in TABLES.values() for column in t.columns],
        )

    @property
    def plot(self) -> Plots:
        """The same answers as pictures. Needs the extra `plots`."""
        from depotlab.telemetry._plots import Plots

        return Plots(self)

    # ------------------------------------------------------------------------------------ adding

    def add(
        self,
        build: Built | Snapshot,
        *,
        project: str,
        deployment: str = "",
        workspace: str = "",
    ) -> str:
        """Add a build that has ended, well or badly: its steps and what they printed.

        A build that is known already is not added again; but a snapshot alone does not have the name of a build that
        succeeded, and is known only as itself. Texts that were given to a build as secrets are left out by
        `recording` only: here nobody knows them.

        Args:
            build: A result, a `StepFailed`, the `Build` that `submit` returned, or a snapshot.
            project: Under which name builds are looked at together.
            deployment: What it was for; empty takes what the build calls itself.
            workspace: Whose project it is.

        Returns:
            Its build id.

        Raises:
            UsageError: The build still runs, or the store takes no builds.
            TelemetryError: The store cannot be asked whether it knows the build.
        """
        snapshot = build if isinstance(build, Snapshot) else getattr(build, "snapshot", None)
        if not isinstance(snapshot, Snapshot):
            raise UsageError(
                f"add(build=…) was given a {type(build).__name__}.",
                hint="give the result of a build, a StepFailed, what submit() returned, or a snapshot",
            )
        if snapshot.phase is Phase.RUNNING:
            raise UsageError(
                f"add(build=…): {snapshot.target or 'the build'} still runs.",
                hint="wait for its end: build.result()",
            )
        if snapshot.phase is Phase.SUCCEEDED and callable(result := getattr(build, "result", None)):
            build = result()  # what `submit` returned: its result has a name, the other one has not
        ids = BuildIds(
            build_id=id_of(snapshot, ref=str(getattr(build, "ref", ""))),
            project_id=project_name("add", project),
            workspace_id=workspace,
            deployment_id=deployment or snapshot.target,
        )
        names: Iterable[str] = getattr(build, "names", ())
        self._connection.writer()  # before the store is asked: one that takes nothing says so
        known = self._ask(queries.has_build(ids.build_id, id_of(snapshot))).rows
        if known:
            return str(known[0][0])
        digest = str(getattr(build, "digest", ""))
        self._connection.put(snapshot, ids, image=", ".join(names), digest=digest)
        return ids.build_id

    def flush(self, *, timeout_s: float = 30.0) -> bool:
        """Wait until what was added is written; return whether it is."""
        return self._connection.flush(timeout_s)

    def export_parquet(
        self,
        folder: str | os.PathLike[str],
        *,
        since: Since = None,
        by_project: bool = False,
    ) -> tuple[Path, ...]:
        """Write all rows as Parquet files, those added so far included; `telemetry.export_parquet` says more.

        Args:
            folder: Made if missing.
            since: Only rows that are not older, with its time zone.
            by_project: A folder for each table with parts by project.

        Raises:
            UsageError: The store is none of ours, or `since` has no time zone.
            TelemetryError: The store cannot be asked, or the folder not be written.
        """
        self.flush()
        return export_parquet(self._connection.source, folder, since=since, by_project=by_project)

    def close(self) -> None:
        """Write what was added, and let go of the store. Idempotent; what is asked afterwards opens it again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Telemetry of {self._connection.source!r}>"

    def _facts(self) -> Iterable[tuple[str, object]]:
        yield "store", repr(self._connection.source)
        try:
            for what, table in _COUNTED.items():
                counted = Query(f"SELECT count(*) FROM {table}")  # noqa: S608 - ours
                yield what, int(self._ask(counted).rows[0][0])
        except TelemetryError as error:
            yield "trouble", error.message

    def _ask(self, query: Query) -> Answer:
        return self._connection.ask(query)

    def _require(self, build_id: str) -> None:
        if not self._ask(queries.has_build(build_id)).rows:
            raise UsageError(
                f"Nothing is known of a build {build_id!r}.",
                hint="see .builds() for those that are known; one that runs comes with its end",
            )
