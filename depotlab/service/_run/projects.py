"""Which Depot project builds for which customer's project: made once, whoever asks first, and kept.

Depot allows one name twice and knows no "only if there is none", so the guard is here. A row of the service's table is
claimed in one transaction, by one of all processes that share the file; the others wait for what it finds. Whoever has
the claim looks for the name before it makes the project: another service may have made it, or a process that died
before it could keep the id. Its claim ends by itself then. Services that share a Depot and no file may still make two
at the same moment: each looks again, the oldest is meant by all, and whoever made another one removes its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from depotlab._depot import DeadlineExceeded, DepotError, Project
from depotlab._depot import Projects as DepotProjects
from depotlab._serving import Database
from depotlab.service._settings.depot import Depot

__all__ = ["Projects", "find_or_make"]

_log = logging.getLogger("depotlab.service")

CLAIM_S: Final = 60.0
"""After which a claim counts as one of a process that has died."""

MAKE_S: Final = 45.0
"""How long finding or making a project may take: less than a claim lasts, so that no claim ends under its holder."""

LOOK_S: Final = 0.2
"""Between two looks at what another process has found."""

Make = Callable[[], Awaitable[str]]
"""Returns the id of the Depot project of a name; called by who has the claim."""


class Projects:
    """The table of projects. To be used on one event loop.

    Args:
        database: Has the table `projects`; other processes may have the same file open.
        claim_s: After how many seconds a claim is worth nothing any more.
        look_s: Between two looks at the claim of another process.
    """

    def __init__(
        self, database: Database, *, claim_s: float = CLAIM_S, look_s: float = LOOK_S
    ) -> None:
        self._db = database
        self._claim_ns = round(claim_s * 1e9)
        self._look_s = look_s
        self._finding: dict[str, asyncio.Task[str]] = {}

    def known(self, project: str) -> str:
        """Return the id of the Depot project of a customer's project, or nothing while there is none."""
        row = self._db.row("SELECT depot_project_id FROM projects WHERE project = ?", project)
        return str(row["depot_project_id"] or "") if row else ""

    async def depot_project(self, project: str, workspace: str, make: Make) -> str:
        """Return the id of the Depot project of a customer's project; the first to ask has it made.

        What was begun goes on if the caller is cancelled, since others may wait for the same.

        Args:
            project: The customer's project.
            workspace: Whose it is; kept with a new row.
            make: Finds or makes the Depot project.

        Raises:
            DepotError: It could not be found or made. The next caller tries again.
        """
        if known := self.known(project):
            return known
        finding = self._finding.get(project)
        if finding is None:
            work = self._find(project, workspace, make)
            finding = asyncio.create_task(work, name="depotlab service project")
            self._finding[project] = finding
            finding.add_done_callback(lambda task: self._found(project, task))
        return await asyncio.shield(finding)

    def forget(self, project: str, depot_project_id: str) -> None:
        """Forget an id that Depot does not know (any more), unless another one has been kept since."""
        self._db.change(
            "UPDATE projects SET depot_project_id = '', claimed_ns = 0, updated_ns = ?"
            " WHERE project = ? AND depot_project_id = ?",
            self._db.now_ns(),
            project,
            depot_project_id,
        )

    async def close(self) -> None:
        """Give up what is being found. Idempotent."""
        finding = list(self._finding.values())
        for task in finding:
            task.cancel()
        if finding:
            await asyncio.wait(finding)

    def _found(self, project: str, task: asyncio.Task[str]) -> None:
        del self._finding[project]
        if not task.cancelled():
            task.exception()  # seen: who waits for it is told, and all of them may have gone

    async def _find(self, project: str, workspace: str, make: Make) -> str:
        while True:
            known, claimed_ns = self._claim(project, workspace)
            if known:
                return known
            if not claimed_ns:
                await asyncio.sleep(self._look_s)
                continue
            try:
                async with asyncio.timeout(MAKE_S) as limit:
                    made = await make()
            except BaseException as error:
                self._let_go(project, claimed_ns)
                if isinstance(error, TimeoutError) and limit.expired():
                    raise DeadlineExceeded(
                        f"Depot did not find or make the project for {project!r} within {MAKE_S:g} s.",
                        hint="try again",
                        code="deadline_exceeded",
                        method="CreateProject",
                    ) from error
                raise
            if self._keep(project, made, claimed_ns):
                return made

    def _claim(self, project: str, workspace: str) -> tuple[str, int]:
        """Return the id if it is kept; else, if the claim is ours from now on, since when; else neither."""
        with self._db.transaction():
            now_ns = self._db.now_ns()
            row = self._db.row(
                "SELECT depot_project_id, claimed_ns FROM projects WHERE project = ?", project
            )
            if row is not None and row["depot_project_id"]:
                return str(row["depot_project_id"]), 0
            # A claim from the future is one from before a clock was set back.
            if row is not None and abs(now_ns - (row["claimed_ns"] or 0)) < self._claim_ns:
                return "", 0
            self._db.change(
                "INSERT INTO projects (project, workspace, depot_project_id, claimed_ns, updated_ns)"
                " VALUES (?, ?, '', ?, ?) ON CONFLICT (project)"
                " DO UPDATE SET claimed_ns = excluded.claimed_ns",
                project,
                workspace,
                now_ns,
                now_ns,
            )
            return "", now_ns

    def _keep(self, project: str, depot_project_id: str, claimed_ns: int) -> bool:
        """Keep what was found; false if our claim had ended and somebody else's began."""
        n_changed = self._db.change(
            "UPDATE projects SET depot_project_id = ?, updated_ns = ?"
            " WHERE project = ? AND claimed_ns = ? AND coalesce(depot_project_id, '') = ''",
            depot_project_id,
            self._db.now_ns(),
            project,
            claimed_ns,
        )
        return n_changed == 1

    def _let_go(self, project: str, claimed_ns: int) -> None:
        self._db.change(
            "UPDATE projects SET claimed_ns = 0 WHERE project = ? AND claimed_ns = ?",
            project,
            claimed_ns,
        )


async def find_or_make(
    projects: DepotProjects, depot: Depot, project: str, *, organization_id: str = ""
) -> str:
    """Return the id of the Depot project of a customer's project: the oldest of its name, made if there is none.

    Args:
        projects: Of the API, with a token that may make projects.
        depot: Names the project, and says what a new one is like.
        project: The customer's project.
        organization_id: Owns it; empty is what the token belongs to.

    Raises:
        DepotError: Depot refused, or cannot be reached.
    """
    name = depot.project_name(project)
    found = await _oldest(projects, name, organization_id)
    if found is not None:
        return found.id
    made = await projects.create(name, region=depot.region, cache_policy=depot.cache_policy())
    oldest = await _oldest(projects, name, organization_id) or made
    if oldest.id != made.id:
        # Ours is empty, and everybody who looks finds the other one.
        try:
            await projects.delete(made.id)
        except DepotError as error:
            _log.warning("the project %s at Depot is of no use: %s", made.id, error.message)
    return oldest.id


async def _oldest(projects: DepotProjects, name: str, organization_id: str) -> Project | None:
    same = [project async for project in projects.list() if project.name == name]
    # A user's token sees the projects of every organization of that user.
    if organization_id:
        same = [project for project in same if project.organization_id in ("", organization_id)]
    return min(same, key=_age, default=None)


def _age(project: Project) -> tuple[bool, float, str]:
    created_at = project.created_at
    return (created_at is None, created_at.timestamp() if created_at else 0.0, project.id)
