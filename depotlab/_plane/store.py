"""Who and what there is: the organisation, its user, projects and their trust policies."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from depotlab._plane.boundary import CachePolicy
from depotlab._plane.database import Database
from depotlab._plane.ids import new_id
from depotlab._plane.pages import Window
from depotlab._serving import Fault

__all__ = ["Organization", "Project", "Provider", "Store", "TrustPolicy"]

Provider = Literal["buildkite", "circleci", "github"]

_DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Organization:
    """The one organisation of a plane."""

    organization_id: str
    name: str
    created_ns: int


@dataclass(frozen=True, slots=True)
class Project:
    """A name, an isolated cache, a repository in the registry.

    Attributes:
        hardware: Kept and given back as its number; a plane on one computer has one kind of machine.
        created_ns: Nanoseconds since 1970.
    """

    project_id: str
    organization_id: str
    name: str
    region_id: str
    created_ns: int
    cache_policy: CachePolicy
    hardware: int


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A CI pipeline that a project trusts.

    Attributes:
        owner: Organisation, slug or account at the provider.
        name: Pipeline, project or repository there.
    """

    trust_policy_id: str
    provider: Provider
    owner: str
    name: str


class Store:
    """Projects and what belongs to them. The first use makes an organisation, a user and a project."""

    def __init__(self, database: Database) -> None:
        self._db = database
        with database.transaction():
            if not database.row("SELECT 1 FROM organizations"):
                now = database.now_ns()
                database.change(
                    "INSERT INTO organizations VALUES (?, ?, ?)", new_id(), "This computer", now
                )
                database.change("INSERT INTO users VALUES (?, ?, ?)", new_id(), "You", now)
        found = database.row("SELECT * FROM organizations")
        user = database.row("SELECT user_id FROM users")
        assert found is not None
        assert user is not None
        self.organization = Organization(**dict(found))
        self.user_id: str = user["user_id"]
        if not database.row("SELECT 1 FROM projects"):
            self.create_project(_DEFAULT_PROJECT)

    # ------------------------------------------------------------------------------- projects

    def create_project(
        self,
        name: str,
        *,
        region_id: str = "",
        cache_policy: CachePolicy | None = None,
        hardware: int = 0,
    ) -> Project:
        """Add a project. Names need not differ."""
        policy = cache_policy or CachePolicy()
        project = Project(
            new_id(),
            self.organization.organization_id,
            name,
            region_id or "local",
            self._db.now_ns(),
            policy,
            hardware,
        )
        self._db.change(
            "INSERT INTO projects VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            project.project_id,
            project.organization_id,
            project.name,
            project.region_id,
            project.created_ns,
            policy.keep_gb,
            policy.keep_days,
            hardware,
        )
        return project

    def project(self, project_id: str) -> Project:
        """Return a project.

        Raises:
            Fault: not_found.
        """
        row = self._db.row("SELECT * FROM projects WHERE project_id = ?", project_id)
        if row is None:
            raise Fault("not_found", f"project {project_id!r} was not found")
        return _project(row)

    def default_project(self) -> Project:
        """Return the oldest project, for clients that name none.

        Raises:
            Fault: not_found: every project was deleted.
        """
        row = self._db.row("SELECT * FROM projects ORDER BY created_ns LIMIT 1")
        if row is None:
            raise Fault("not_found", "there is no project; create one first")
        return _project(row)

    def projects(self, page: Window | None = None, *, region_id: str = "") -> list[Project]:
        """Return projects, oldest first; all of them, or one page and one more."""
        limit, after = (page.size + 1, page.after or 0) if page else (-1, 0)
        rows = self._db.rows(
            "SELECT * FROM projects WHERE created_ns > ? AND (? IN ('', region_id))"
            " ORDER BY created_ns LIMIT ?",
            after,
            region_id,
            limit,
        )
        return [_project(row) for row in rows]

    def update_project(
        self,
        project_id: str,
        *,
        name: str | None = None,
        region_id: str | None = None,
        cache_policy: CachePolicy | None = None,
        hardware: int | None = None,
    ) -> Project:
        """Change what is given and return the project.

        Raises:
            Fault: not_found.
        """
        before = self.project(project_id)
        policy = cache_policy or before.cache_policy
        self._db.change(
            "UPDATE projects SET name = ?, region_id = ?, keep_gb = ?, keep_days = ?, hardware = ?"
            " WHERE project_id = ?",
            before.name if name is None else name,
            before.region_id if region_id is None else region_id,
            policy.keep_gb,
            policy.keep_days,
            before.hardware if hardware is None else hardware,
            project_id,
        )
        return self.project(project_id)

    def delete_project(self, project_id: str) -> None:
        """Forget a project, its tokens, its policies and its builds."""
        with self._db.transaction():
            for table in ("contexts", "pushes", "logs", "steps"):
                self._db.change(
                    f"DELETE FROM {table} WHERE build_id IN"  # noqa: S608 - names from the line above
                    " (SELECT build_id FROM builds WHERE project_id = ?)",
                    project_id,
                )
            for table in ("trust_policies", "tokens", "builds", "projects"):
                self._db.change(f"DELETE FROM {table} WHERE project_id = ?", project_id)  # noqa: S608

    # -------------------------------------------------------------------------- trust policies

    def trust_policies(self, project_id: str) -> list[TrustPolicy]:
        """Return the policies of a project, oldest first."""
        rows = self._db.rows(
            "SELECT trust_policy_id, provider, owner, name FROM trust_policies"
            " WHERE project_id = ? ORDER BY created_ns",
            project_id,
        )
        return [TrustPolicy(**dict(row)) for row in rows]

    def add_trust_policy(
        self, project_id: str, provider: Provider, owner: str, name: str
    ) -> TrustPolicy:
        """Add a policy, or return the one that says the same already."""
        for policy in self.trust_policies(project_id):
            if (policy.provider, policy.owner, policy.name) == (provider, owner, name):
                return policy
        policy = TrustPolicy(new_id(), provider, owner, name)
        self._db.change(
            "INSERT INTO trust_policies VALUES (?, ?, ?, ?, ?, ?)",
            policy.trust_policy_id,
            project_id,
            provider,
            owner,
            name,
            self._db.now_ns(),
        )
        return policy

    def remove_trust_policy(self, project_id: str, trust_policy_id: str) -> None:
        """Remove a policy.

        Raises:
            Fault: not_found.
        """
        if not self._db.change(
            "DELETE FROM trust_policies WHERE project_id = ? AND trust_policy_id = ?",
            project_id,
            trust_policy_id,
        ):
            raise Fault("not_found", f"trust policy {trust_policy_id!r} was not found")


def _project(row: sqlite3.Row) -> Project:
    fields = dict(row)
    policy = CachePolicy(fields.pop("keep_gb"), fields.pop("keep_days"))
    return Project(**fields, cache_policy=policy)
