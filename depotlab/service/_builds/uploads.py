"""Archives that were, or may be, uploaded: under which key, and for whom. To be used on one event loop."""

from __future__ import annotations

from depotlab._serving import Database
from depotlab.errors import ServiceError

__all__ = ["Uploads"]


class Uploads:
    """Keys that were handed out, `PROJECT/NANOSECONDS.tar.gz`, each to one project.

    Args:
        database: The service's file.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, project: str, *, expires_s: int, most: int) -> str:
        """Remember a key for an archive of a project, and return it.

        Raises:
            ServiceError: `resource_exhausted`: the project has too many that were not used.
        """
        now = self._db.now_ns()
        with self._db.transaction():
            row = self._db.row(
                "SELECT count(*) AS n FROM uploads"
                " WHERE project = ? AND used_ns IS NULL AND expires_ns > ?",
                project,
                now,
            )
            assert row is not None
            if row["n"] >= most:
                raise ServiceError(
                    f"The project {project!r} has {most} upload URLs that were not used for a build.",
                    code="resource_exhausted",
                    hint="use one of them, or ask again when one has expired",
                )
            key = f"{project}/{now}.tar.gz"
            self._db.change(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, NULL)",
                key,
                project,
                now,
                now + expires_s * 10**9,
            )
        return key

    def old(self, *, before_ns: int, unused_before_ns: int, n_most: int) -> list[str]:
        """Return keys that no build will ask for.

        Args:
            before_ns: Those that were handed out before this moment; of builds that have not ended none.
            unused_before_ns: Those that expired before this moment, and were not used for a build.
            n_most: At most so many.
        """
        rows = self._db.rows(
            "SELECT key FROM uploads WHERE (used_ns IS NULL AND expires_ns < ?)"
            " OR (created_ns < ? AND NOT EXISTS"
            " (SELECT 1 FROM builds WHERE state IN ('queued', 'running')"
            " AND project = uploads.project AND instr(asked, uploads.key))) LIMIT ?",
            unused_before_ns,
            before_ns,
            n_most,
        )
        return [row["key"] for row in rows]

    def forget(self, key: str) -> None:
        """Forget a key; nothing can be built from it any more."""
        self._db.change("DELETE FROM uploads WHERE key = ?", key)

    def use(self, key: str, project: str) -> None:
        """A build is made of it.

        Raises:
            ServiceError: `not_found`: it was not handed out to this project.
        """
        changed = self._db.change(
            "UPDATE uploads SET used_ns = coalesce(used_ns, ?) WHERE key = ? AND project = ?",
            self._db.now_ns(),
            key,
            project,
        )
        if not changed:
            raise ServiceError(
                f"build_context_path={key!r} was not handed out to the project {project!r}.",
                code="not_found",
                hint="ask generate_upload_url(project) for one, and PUT the archive to its upload_url",
            )
