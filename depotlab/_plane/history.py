"""What was built: builds with their ends, steps and logs, and the sums over them."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from depotlab._plane.database import Database
from depotlab._plane.ids import new_id
from depotlab._plane.pages import Window
from depotlab._serving import Fault

__all__ = ["BuildRecord", "End", "History", "Keep", "Log", "Seen", "Step", "Sums", "Usage"]

End = Literal["success", "failed", "error", "canceled"]
"""`failed`: its client said so. `error`: it ended without a word from the client that can be used, or can be true."""


_STEPS = (
    "SELECT step AS number, digest, name, started_ns, completed_ns, cached, error,"
    " EXISTS (SELECT 1 FROM logs WHERE logs.build_id = steps.build_id"
    " AND logs.digest = steps.digest) AS has_logs FROM steps WHERE build_id = ?"
)


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """One build.

    Attributes:
        started_ns: When it first asked for a machine; None until then.
        status: `running` until it has ended.
        error: Why it ended as it did; empty after success.
        note: What happened to its machine, if something did.
        cancels_ns: When it was told to stop; None if it was not.
        options: The request that registered it, serialized.
        share: Secret part of its public address; None while it is not shared.
    """

    build_id: str
    project_id: str
    created_ns: int
    started_ns: int | None
    finished_ns: int | None
    status: Literal["running"] | End
    error: str
    note: str
    cancels_ns: int | None
    options: bytes
    share: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One word about a step, from whoever saw it. Instants are nanoseconds since 1970, or None."""

    digest: str
    name: str
    started_ns: int | None = None
    completed_ns: int | None = None
    cached: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """One piece of a step's output, as it came: not always a line."""

    digest: str
    at_ns: int
    stream: int
    message: bytes
    number: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One step as last seen. `number` orders the steps of a build as they were first seen."""

    number: int
    digest: str
    name: str
    started_ns: int | None
    completed_ns: int | None
    cached: bool
    error: str
    has_logs: bool


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one build: steps in all, cached ones, and the time that those took when they last ran."""

    n_steps: int
    n_cached: int
    saved_ns: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one project over a time: builds, the time that they took, the time that caching saved."""

    n_builds: int
    duration_ns: int
    saved_ns: int


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of the past a plane keeps. What runs always stays.

    Attributes:
        days: Builds that ended longer ago are forgotten.
        max_bytes: Of the database; beyond it the oldest builds are forgotten, whatever their age.
    """

    days: float = 90.0
    max_bytes: int = 1 << 30


class History:
    """Builds, steps and logs in the database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # --------------------------------------------------------------------------------- builds

    def create(self, project_id: str, options: bytes) -> BuildRecord:
        """Register a build that runs from now on."""
        build_id = new_id()
        self._db.change(
            "INSERT INTO builds VALUES (?, ?, ?, NULL, NULL, 'running', '', '', NULL, ?, NULL)",
            *(build_id, project_id, self._db.now_ns(), options),
        )
        return self.build(build_id)

    def find(self, build_id: str) -> BuildRecord | None:
        """Return a build, if there is one."""
        row = self._db.row("SELECT * FROM builds WHERE build_id = ?", build_id)
        return BuildRecord(**dict(row)) if row else None

    def build(self, build_id: str) -> BuildRecord:
        """Return a build.

        Raises:
            Fault: not_found.
        """
        found = self.find(build_id)
        if found is None:
            raise Fault("not_found", f"build {build_id!r} was not found")
        return found

    def shared(self, share: str) -> BuildRecord | None:
        """Return the build that is shared under this secret, if any."""
        row = self._db.row("SELECT * FROM builds WHERE share = ?", share)
        return BuildRecord(**dict(row)) if row else None

    def builds(self, project_id: str, page: Window) -> list[BuildRecord]:
        """Return one page and one more of a project's builds, newest first."""
        rows = self._db.rows(
            "SELECT * FROM builds WHERE project_id = ? AND created_ns < ?"
            " ORDER BY created_ns DESC LIMIT ?",
            *(project_id, page.after or 2**63 - 1, page.size + 1),
        )
        return [BuildRecord(**dict(row)) for row in rows]

    def recent(self, limit: int) -> list[BuildRecord]:
        """Return every running build and the latest others, newest first, `limit` at most."""
        rows = self._db.rows(
            "SELECT * FROM builds ORDER BY status != 'running', created_ns DESC LIMIT ?", limit
        )
        return [BuildRecord(**dict(row)) for row in rows]

    def counts(self) -> dict[str, int]:
        """Return how many builds each project has; none is left out."""
        rows = self._db.rows("SELECT project_id, count(*) AS n FROM builds GROUP BY project_id")
        return {row["project_id"]: row["n"] for row in rows}

    def running(self) -> list[BuildRecord]:
        """Return the builds that have not ended, oldest first."""
        rows = self._db.rows("SELECT * FROM builds WHERE status = 'running' ORDER BY created_ns")
        return [BuildRecord(**dict(row)) for row in rows]

    def start(self, build_id: str) -> None:
        """Remember when the build first asked for a machine."""
        self._db.change(
            "UPDATE builds SET started_ns = ? WHERE build_id = ? AND started_ns IS NULL",
            *(self._db.now_ns(), build_id),
        )

    def finish(self, build_id: str, end: End, error: str = "") -> bool:
        """End a build. The first end stays: return whether this was it."""
        return bool(
            self._db.change(
                "UPDATE builds SET status = ?, error = ?, finished_ns = ?"
                " WHERE build_id = ? AND status = 'running'",
                *(end, error, self._db.now_ns(), build_id),
            )
        )

    def note(self, build_id: str, text: str) -> None:
        """Remember what happened to the build's machine."""
        self._db.change("UPDATE builds SET note = ? WHERE build_id = ?", text, build_id)

    def ask_to_stop(self, build_id: str) -> None:
        """Remember that the build has to stop now; the first time counts."""
        self._db.change(
            "UPDATE builds SET cancels_ns = ? WHERE build_id = ? AND status = 'running'"
            " AND cancels_ns IS NULL",
            *(self._db.now_ns(), build_id),
        )

    def now_ns(self) -> int:
        """Return the time of this record's clock, in nanoseconds since 1970."""
        return self._db.now_ns()

    def share(self, build_id: str, *, on: bool) -> str:
        """Make a build public under a secret address, or private again; return the secret."""
        share = self.build(build_id).share if on else None
        if on and share is None:
            share = secrets.token_hex(16)
        self._db.change("UPDATE builds SET share = ? WHERE build_id = ?", share, build_id)
        return share or ""

    def keep_contexts(self, build_id: str, files: Iterable[tuple[str, str, str]]) -> None:
        """Keep Dockerfiles of a build, each as target, name and contents."""
        self._db.change_many(
            "INSERT OR REPLACE INTO contexts VALUES (?, ?, ?, ?)",
            [(build_id, *file) for file in files],
        )

    def start_push(self, build_id: str, tag: str) -> str:
        """Remember that images of a build are being copied to another registry."""
        push_id = new_id()
        self._db.change(
            "INSERT INTO pushes VALUES (?, ?, ?, ?, NULL, NULL)",
            *(push_id, build_id, tag, self._db.now_ns()),
        )
        return push_id

    def finish_push(self, build_id: str, push_id: str, error: str) -> None:
        """Remember how that ended.

        Raises:
            Fault: not_found.
        """
        if not self._db.change(
            "UPDATE pushes SET finished_ns = ?, error = ? WHERE push_id = ? AND build_id = ?",
            *(self._db.now_ns(), error, push_id, build_id),
        ):
            raise Fault("not_found", f"push {push_id!r} was not found")

    def prune(self, keep: Keep) -> int:
        """Forget old builds with their steps, logs and files; return how many.

        The file does not shrink: what comes next takes the room.
        """
        before_ns = self._db.now_ns() - int(keep.days * 86_400e9)
        n_gone = self._forget(
            "SELECT build_id FROM builds WHERE status != 'running' AND finished_ns < ?", before_ns
        )
        while self._db.used_bytes() > keep.max_bytes:
            n_more = self._forget(
                "SELECT build_id FROM builds WHERE status != 'running'"
                " ORDER BY created_ns LIMIT max(1, (SELECT count(*) FROM builds) / 20)"
            )
            if not n_more:
                break
            n_gone += n_more
        return n_gone

    def _forget(self, which: str, *values: object) -> int:
        with self._db.transaction():
            ids: list[tuple[object, ...]] = [
                (row["build_id"],) for row in self._db.rows(which, *values)
            ]
            for table in ("contexts", "pushes", "logs", "steps", "builds"):
                self._db.change_many(f"DELETE FROM {table} WHERE build_id = ?", ids)  # noqa: S608 - names from the line above
        return len(ids)

    # ------------------------------------------------------------------------- steps and logs

    def record(self, build_id: str, steps: Iterable[Seen], logs: Iterable[Log]) -> None:
        """Fold words about steps and pieces of output into what is known.

        They may come twice, since the gate and the client see the same build, and late: a word
        that a step has started does not undo its end, unless it has started again since.
        """
        with self._db.transaction():
            self._db.change_many(
                "INSERT INTO steps (build_id, digest, name, started_ns, completed_ns, cached, error)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (build_id, digest) DO UPDATE SET"
                " name = CASE WHEN excluded.name = '' THEN name ELSE excluded.name END,"
                " started_ns = coalesce(excluded.started_ns, started_ns),"
                " completed_ns = excluded.completed_ns, cached = excluded.cached,"
                " error = excluded.error"
                " WHERE excluded.completed_ns IS NOT NULL OR completed_ns IS NULL"
                " OR excluded.started_ns > completed_ns",
                [
                    (build_id, s.digest, s.name, s.started_ns, s.completed_ns, s.cached, s.error)
                    for s in steps
                ],
            )
            self._db.change_many(
                "INSERT OR IGNORE INTO logs (build_id, digest, at_ns, stream, message)"
                " VALUES (?, ?, ?, ?, ?)",
                [(build_id, log.digest, log.at_ns, log.stream, log.message) for log in logs],
            )

    def steps(self, build_id: str, page: Window) -> list[Step]:
        """Return one page and one more of a build's steps, in the order in which they came up."""
        rows = self._db.rows(
            f"{_STEPS} AND step > ? ORDER BY step LIMIT ?",
            *(build_id, page.after or 0, page.size + 1),
        )
        return [_step(row) for row in rows]

    def is_unfinished(self, build_id: str) -> bool:
        """Return whether a step has begun whose end nobody has seen."""
        return bool(
            self._db.row(
                "SELECT 1 FROM steps WHERE build_id = ? AND started_ns IS NOT NULL"
                " AND completed_ns IS NULL LIMIT 1",
                build_id,
            )
        )

    def last_steps(self, build_id: str, limit: int) -> list[Step]:
        """Return the steps that came up last, in the order in which they did."""
        rows = self._db.rows(f"{_STEPS} ORDER BY step DESC LIMIT ?", build_id, limit)
        return [_step(row) for row in reversed(rows)]

    def logs(self, build_id: str, digest: str, page: Window) -> list[Log]:
        """Return one page and one more of a step's output, oldest first."""
        rows = self._db.rows(
            "SELECT digest, at_ns, stream, message, log AS number FROM logs"
            " WHERE build_id = ? AND digest = ? AND log > ? ORDER BY log LIMIT ?",
            *(build_id, digest, page.after or 0, page.size + 1),
        )
        return [Log(**dict(row)) for row in rows]

    def last_logs(self, build_id: str, limit: int) -> list[Log]:
        """Return the end of a build's output, oldest first."""
        rows = self._db.rows(
            "SELECT digest, at_ns, stream, message, log AS number FROM logs WHERE build_id = ?"
            " ORDER BY log DESC LIMIT ?",
            *(build_id, limit),
        )
        return [Log(**dict(row)) for row in reversed(rows)]

    # ----------------------------------------------------------------------------------- sums

    def sums(self, build_ids: Iterable[str]) -> Mapping[str, Sums]:
        """Return the sums over the steps of some builds."""
        found = {}
        for build_id in build_ids:
            row = self._db.row(
                "SELECT count(*) AS n_steps, coalesce(sum(cached), 0) AS n_cached,"
                " coalesce(sum(CASE WHEN cached THEN (SELECT ran.completed_ns - ran.started_ns"
                "  FROM steps AS ran WHERE ran.digest = steps.digest AND ran.cached = 0"
                "  AND ran.completed_ns IS NOT NULL AND ran.step < steps.step"
                "  ORDER BY ran.step DESC LIMIT 1) END), 0) AS saved_ns"
                " FROM steps WHERE build_id = ?",
                build_id,
            )
            assert row is not None
            found[build_id] = Sums(**dict(row))
        return found

    def usage(self, project_id: str, start_ns: int, end_ns: int) -> Usage:
        """Return the sums over a project's builds that were registered in `[start_ns, end_ns)`."""
        rows = self._db.rows(
            "SELECT build_id, coalesce(finished_ns - coalesce(started_ns, created_ns), 0) AS took_ns"
            " FROM builds WHERE project_id = ? AND created_ns >= ? AND created_ns < ?",
            *(project_id, start_ns, end_ns),
        )
        saved = self.sums(row["build_id"] for row in rows)
        return Usage(
            len(rows), sum(row["took_ns"] for row in rows), sum(s.saved_ns for s in saved.values())
        )


def _step(row: sqlite3.Row) -> Step:
    fields = dict(row)
    fields["cached"], fields["has_logs"] = bool(fields["cached"]), bool(fields["has_logs"])
    return Step(**fields)
