"""What a service keeps on disk: one SQLite file, its tables, and every change of a build as one transaction.

A build moves `queued` -> `running` -> `succeeded`, `failed` or `canceled`, and never back. What of it waits for a turn,
for another try or for nothing is known in memory only: a service that starts takes every build that has not ended for
one that waits. To be used on one event loop; nothing here waits.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from depotlab._serving import Database
from depotlab.errors import ServiceError
from depotlab.service._asking.checks import no_build
from depotlab.service._boundary import (
    BuildState,
    EndUserError,
    Order,
    UploadedContext,
)
from depotlab.service._builds.rows import info_of, order_of, telemetry_row, written
from depotlab.service._builds.uploads import Uploads
from depotlab.service._moments import moment_or_none
from depotlab.service._values import BuildInfo, BuildInfos, ProjectInfo, ProjectInfos
from depotlab.telemetry import BuildRow

__all__ = ["State", "Unfinished"]

_CHOICES = {
    (False, False): "",
    (True, False): "AND project = ?",
    (False, True): "AND state = ?",
    (True, True): "AND project = ? AND state = ?",
}


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A build that has not ended when a service starts."""

    build_id: str
    project: str
    state: BuildState
    attempts: int
    has_secrets: bool


class State:
    """Builds and idempotency keys in the service's file.

    Args:
        database: The open file.
        uploads: What builds are made of.
    """

    def __init__(self, database: Database, uploads: Uploads) -> None:
        self._db = database
        self._uploads = uploads

    # --------------------------------------------------------------------------------- builds

    def add(self, order: Order, *, has_secrets: bool, idempotency_key: str, asked: str) -> str:
        """Keep a new build, and return its id; or the id of the one that the key stands for.

        Args:
            order: What is asked for.
            has_secrets: Something is needed that is not kept.
            idempotency_key: Empty for none.
            asked: All that a call with the same key has to agree in.

        Raises:
            ServiceError: `already_exists`: the key stands for another build, or the image's tag is another
                project's; `not_found`: the archive was not handed out to this project.
        """
        now = self._db.now_ns()
        with self._db.transaction():
            if idempotency_key:
                known = self._db.row(
                    "SELECT * FROM idempotency WHERE project = ? AND key = ?",
                    order.project,
                    idempotency_key,
                )
                if known is not None:
                    return _same(known, asked, idempotency_key)
            if isinstance(order.context, UploadedContext):
                self._uploads.use(order.context.key, order.project)
            self._claim_tag(order)
            self._db.change(
                "INSERT INTO builds (build_id, project, workspace, deployment, asked, has_secrets,"
                " created_ns) VALUES (?, ?, ?, ?, ?, ?, ?)",
                order.build_id,
                order.project,
                order.workspace,
                order.deployment,
                written(order),
                has_secrets,
                now,
            )
            if idempotency_key:
                self._db.change(
                    "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)",
                    order.project,
                    idempotency_key,
                    asked,
                    order.build_id,
                    now,
                )
        return order.build_id

    def known(self, project: str, idempotency_key: str, asked: str) -> str | None:
        """Return the id of the build that a key stands for, if any; errors are those of `add`."""
        row = self._db.row(
            "SELECT * FROM idempotency WHERE project = ? AND key = ?", project, idempotency_key
        )
        return None if row is None else _same(row, asked, idempotency_key)

    def has_key(self, project: str, idempotency_key: str) -> bool:
        """Return whether a key stands for a build, whatever was asked for."""
        return bool(
            self._db.row(
                "SELECT 1 FROM idempotency WHERE project = ? AND key = ?", project, idempotency_key
            )
        )

    def _claim_tag(self, order: Order) -> None:
        """`a-b` of project `x` and `b` of project `x-a` would be one tag: it stays with who had it first."""
        tag = f"{order.project}-{order.deployment}"
        self._db.change("INSERT OR IGNORE INTO tags VALUES (?, ?)", tag, order.project)
        row = self._db.row("SELECT project FROM tags WHERE tag = ?", tag)
        if row is not None and row["project"] != order.project:
            raise ServiceError(
                f"The image tag {tag!r} belongs to another project.",
                code="already_exists",
                hint="choose another deployment",
            )

    def start(self, build_id: str) -> int:
        """A try begins; return its number, from 1."""
        with self._db.transaction():
            self._db.change(
                "UPDATE builds SET state = 'running', attempts = attempts + 1,"
                # Not before it was made, should the clock have been set back since.
                " started_ns = coalesce(started_ns, max(?, created_ns)),"
                " depot_build_id = '', depot_build_url = ''"
                " WHERE build_id = ? AND finished_ns IS NULL",
                self._db.now_ns(),
                build_id,
            )
            return int(self._row(build_id)["attempts"])

    def stage(self, build_id: str, stage: str, took_s: Mapping[str, float]) -> None:
        """Keep where a build is, and how long its stages took so far."""
        self._db.change(
            "UPDATE builds SET stage = ?, stages = ? WHERE build_id = ? AND finished_ns IS NULL",
            stage,
            json.dumps(took_s),
            build_id,
        )

    def depot(self, build_id: str, *, project_id: str, depot_build_id: str, url: str) -> None:
        """Keep what Depot calls the project and, if it is known, the build."""
        self._db.change(
            "UPDATE builds SET depot_project_id = ?, depot_build_id = ?, depot_build_url = ?"
            " WHERE build_id = ?",
            project_id,
            depot_build_id,
            url,
            build_id,
        )

    def end(
        self,
        build_id: str,
        state: BuildState,
        took_s: Mapping[str, float],
        *,
        image: str = "",
        digest: str = "",
        error: EndUserError | None = None,
        cached_steps: int = 0,
        total_steps: int = 0,
    ) -> bool:
        """A build has ended; return whether it had not before."""
        said = error or EndUserError("", "")
        return bool(
            self._db.change(
                "UPDATE builds SET state = ?, stage = '', stages = ?, image = ?, digest = ?,"
                " category = ?, message = ?, raw = ?, cached_steps = ?, total_steps = ?,"
                " finished_ns = max(?, created_ns, coalesce(started_ns, 0))"
                " WHERE build_id = ? AND finished_ns IS NULL",
                state,
                json.dumps(took_s),
                image,
                digest,
                said.category,
                said.message,
                said.raw,
                cached_steps,
                total_steps,
                self._db.now_ns(),
                build_id,
            )
        )

    # -------------------------------------------------------------------------------- answers

    def _row(self, build_id: str) -> sqlite3.Row:
        row = self._db.row("SELECT * FROM builds WHERE build_id = ?", build_id)
        if row is None:
            raise no_build(build_id)
        return row

    def info(self, build_id: str) -> BuildInfo:
        """Return a build.

        Raises:
            ServiceError: `not_found`.
        """
        return info_of(self._row(build_id))

    def order(self, build_id: str) -> Order:
        """Return what was asked for."""
        return order_of(self._row(build_id))

    def first_started_ns(self, build_id: str) -> int:
        """Return when the first try began, in nanoseconds since 1970."""
        return int(self._row(build_id)["started_ns"] or 0)

    def infos(
        self, *, project: str | None, state: str | None, page_size: int, page_token: str
    ) -> BuildInfos:
        """Return a page of builds, the newest first."""
        # One statement for each choice, so that each has its index.
        chosen = _CHOICES[project is not None, state is not None]
        rows = self._db.rows(
            f"SELECT * FROM builds WHERE number < ? {chosen} ORDER BY number DESC LIMIT ?",  # noqa: S608 - ours
            int(page_token) if page_token else 2**62,
            *(value for value in (project, state) if value is not None),
            page_size + 1,
        )
        more = str(rows[page_size - 1]["number"]) if len(rows) > page_size else ""
        return BuildInfos(map(info_of, rows[:page_size]), more)

    def projects(self, names: Collection[str] | None) -> ProjectInfos:
        """Return the projects that have builds, or are known at Depot; of these names only, if some are given."""
        only = "" if names is None else f"AND project IN ({', '.join('?' * len(names))})"
        asked = names or ()
        known = {
            row["project"]: row
            for row in self._db.rows(f"SELECT * FROM projects WHERE true {only}", *asked)  # noqa: S608 - ours
        }
        # Both are answered by an index alone: the service may have many builds.
        kept = {
            row["project"]: row
            for row in self._db.rows(
                "SELECT project, count(*) AS n, max(number) AS newest FROM builds"  # noqa: S608 - ours
                f" WHERE true {only} GROUP BY project",
                *asked,
            )
        }
        unfinished = {
            (row["project"], row["state"]): row["n"]
            for row in self._db.rows(
                "SELECT project, state, count(*) AS n FROM builds"  # noqa: S608 - ours
                f" WHERE state IN ('queued', 'running') {only} GROUP BY project, state",
                *asked,
            )
        }
        return ProjectInfos(
            ProjectInfo(
                project=name,
                workspace=(known[name]["workspace"] or "") if name in known else "",
                depot_project_id=(known[name]["depot_project_id"] or "") if name in known else "",
                n_queued=unfinished.get((name, "queued"), 0),
                n_running=unfinished.get((name, "running"), 0),
                n_builds=kept[name]["n"] if name in kept else 0,
                last_build_at=self._created_at(kept[name]["newest"]) if name in kept else None,
            )
            for name in sorted(known.keys() | kept.keys())
        )

    def _created_at(self, number: int) -> datetime | None:
        row = self._db.row("SELECT created_ns FROM builds WHERE number = ?", number)
        return moment_or_none(None if row is None else row["created_ns"])

    def unfinished(self) -> list[Unfinished]:
        """Return the builds that have not ended, in the order in which they came."""
        rows = self._db.rows(
            "SELECT build_id, project, state, attempts, has_secrets FROM builds"
            " WHERE state IN ('queued', 'running') ORDER BY number"
        )
        return [
            Unfinished(
                r["build_id"], r["project"], r["state"], r["attempts"], bool(r["has_secrets"])
            )
            for r in rows
        ]

    # ------------------------------------------------------------------------------ telemetry

    def untold(self) -> list[str]:
        """Return builds that have ended and of which telemetry was not told."""
        rows = self._db.rows(
            "SELECT build_id FROM builds WHERE is_told = 0 AND finished_ns IS NOT NULL"
            " ORDER BY number"
        )
        return [row["build_id"] for row in rows]

    def told(self, build_id: str) -> None:
        """Telemetry was told of a build."""
        self._db.change("UPDATE builds SET is_told = 1 WHERE build_id = ?", build_id)

    def telemetry_row(self, build_id: str) -> BuildRow:
        """Return a build that has ended as telemetry keeps it."""
        return telemetry_row(self._row(build_id))

    # ---------------------------------------------------------------------------- house-keeping

    def old_builds(self, *, before_ns: int, n_most: int) -> list[str]:
        """Return builds that ended before a moment, the oldest first."""
        rows = self._db.rows(
            "SELECT build_id FROM builds WHERE finished_ns < ? AND is_told"
            " ORDER BY finished_ns LIMIT ?",
            before_ns,
            n_most,
        )
        return [row["build_id"] for row in rows]

    def forget_some(self, build_id: str, *, n_lines: int) -> bool:
        """Forget so many lines of a build, or the build itself when it has no more; return whether it is gone."""
        number = self._row(build_id)["number"]
        with self._db.transaction():
            if self._db.change(
                "DELETE FROM lines WHERE build = ? AND line IN"
                " (SELECT line FROM lines WHERE build = ? ORDER BY line LIMIT ?)",
                number,
                number,
                n_lines,
            ):
                return False
            self._db.change("DELETE FROM log_steps WHERE build = ?", number)
            self._db.change("DELETE FROM builds WHERE number = ?", number)
        return True

    def forget_keys(self, *, before_ns: int) -> None:
        """Forget idempotency keys that were first used before a moment."""
        self._db.change("DELETE FROM idempotency WHERE created_ns < ?", before_ns)


def _same(known: sqlite3.Row, asked: str, key: str) -> str:
    if known["asked"] != asked:
        raise ServiceError(
            f"idempotency_key={key!r} was used for another build ({known['build_id']}).",
            code="already_exists",
            hint="give each build a key of its own; only a repeated call has the same",
        )
    return str(known["build_id"])
