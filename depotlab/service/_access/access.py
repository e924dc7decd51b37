"""Who may do what: bearer tokens, the projects that they are for, and how often they may ask.

A token is `depotlab_service_ID_SECRET`: scanners for leaked secrets know it by its look, its id finds the row, and the
whole is compared as a SHA-256 in constant time. A slow hash would protect words that people choose; 192 random bits
need none.

What a token is not for is not found: a refusal that says more would tell which builds and projects exist.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, cast, get_args

from depotlab._depot import Listing
from depotlab._serving import Database, Fault
from depotlab.errors import ServiceError, UsageError
from depotlab.service._access.buckets import Buckets
from depotlab.service._asking.checks import check_expires_s, check_id
from depotlab.service._diskerrors import tells_disk_errors
from depotlab.service._moments import moment, moment_or_none
from depotlab.service._values import MadeToken, May, TokenInfo

__all__ = ["NOBODY", "Access", "Caller"]

_ALL: Final = "*"
_LONGEST_DESCRIPTION: Final = 200
_ID_BYTES = 5
_SECRET_BYTES = 24
_TOKEN = re.compile(
    rf"depotlab_service_(?P<id>[0-9a-f]{{{2 * _ID_BYTES}}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}"
)
_HOW = (
    "send the header `Authorization: Bearer TOKEN`; "
    "`service.tokens.create(...)` or `depotlab serve token create` makes a token"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as its token says.

    Attributes:
        token_id: Of the token.
        projects: Those that it is for; None means all.
        may: What it may do in them.
    """

    token_id: str
    projects: frozenset[str] | None
    may: frozenset[May]

    def sees(self, project: str) -> bool:
        """Return whether the token is for this project."""
        return self.projects is None or project in self.projects

    def need(self, may: May) -> None:
        """Pass if the token may do this in its projects.

        Raises:
            Fault: permission_denied.
        """
        if may not in self.may and "admin" not in self.may:
            allowed = " and ".join(sorted(self.may))
            raise Fault(
                "permission_denied",
                f"this token may {allowed}, not {may}",
                hint=f"use one that was made with may=[{may!r}]",
            )

    def need_project(self, project: str) -> None:
        """Pass if the token is for this project, whether or not there is such a one.

        Raises:
            Fault: permission_denied.
        """
        if not self.sees(project):
            raise Fault(
                "permission_denied",
                f"this token is not for the project {project[:63]!r}",
                hint="use a token of that project",
            )


NOBODY = Caller("", frozenset(), frozenset())
"""Who calls what asks for no token."""


class Access:
    """Makes, checks and counts. To be used on the event loop of the database.

    Args:
        database: Has the table `tokens`.
        requests_per_minute: Of each token.
        builds_per_hour: Of each project, whatever tokens ask for them.
        now_s: The clock of these limits, in seconds; it never goes back.

    Attributes:
        database: As given.

    Raises:
        UsageError: A limit allows nothing.
    """

    def __init__(
        self,
        database: Database,
        *,
        requests_per_minute: int = 1200,
        builds_per_hour: int = 600,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = self._db = database
        self._now_s = now_s
        self._requests = Buckets(requests_per_minute, per_s=60.0, what="requests_per_minute")
        self._builds = Buckets(builds_per_hour, per_s=3600.0, what="builds_per_hour")

    # ------------------------------------------------------------------------------- the tokens

    @tells_disk_errors
    async def create(
        self,
        description: str,
        *,
        projects: str | Iterable[str],
        may: str | Iterable[str] = ("build", "read"),
        expires_s: float | None = None,
    ) -> MadeToken:
        """Make a token. Its secret is in the answer and nowhere else.

        Args:
            description: Whom or what it is for, in 200 letters at most, so that it can be told from others later.
            projects: Names of projects, which need not exist yet, or `"*"` for all.
            may: `build` (upload, start and cancel builds), `read` (builds and their logs), `admin` (all of it, and
                the tokens).
            expires_s: For how long it is good, in seconds; None for ever.

        Raises:
            UsageError: One of them is none.
            ServiceError: `invalid_argument`: a project cannot have this name.
        """
        if not isinstance(description, str) or not description.strip():
            raise UsageError(
                f"description={description!r} says nothing.",
                hint="say whom the token is for, such as 'shop, CI'",
            )
        if len(description) > _LONGEST_DESCRIPTION or not description.isprintable():
            # It is shown in the terminal of whoever looks after the service.
            raise UsageError(
                f"description= has more than {_LONGEST_DESCRIPTION} letters, or line breaks or control characters.",
                hint="say in a few words whom the token is for, such as 'shop, CI'",
            )
        named = _names("projects", projects)
        for name in named:
            if name != _ALL:
                check_id("project", name)
        allowed = _names("may", may)
        wrong = [word for word in allowed if word not in get_args(May)]
        if wrong:
            raise UsageError(
                f"may={wrong[0]!r} is nothing that a token may.",
                hint="use 'build', 'read' and 'admin'",
            )
        check_expires_s(expires_s)
        self.sweep()
        token_id = secrets.token_hex(_ID_BYTES)
        secret = f"depotlab_service_{token_id}_{secrets.token_hex(_SECRET_BYTES)}"
        created_ns = self._db.now_ns()
        expires_ns = None if expires_s is None else created_ns + int(expires_s * 1e9)
        self._db.change(
            "INSERT INTO tokens (token_id, hash, description, projects, may, created_ns, expires_ns)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(token_id, _hash(secret), description),
            _ALL if _ALL in named else json.dumps(named),
            json.dumps(allowed),
            *(created_ns, expires_ns),
        )
        return MadeToken(
            token_id,
            description,
            () if _ALL in named else tuple(named),
            cast("tuple[May, ...]", tuple(allowed)),
            moment(created_ns),
            moment_or_none(expires_ns),
            secret,
        )

    @tells_disk_errors
    async def list(self) -> Listing[TokenInfo]:
        """Return the tokens that are good now, the oldest first."""
        self.sweep()
        rows = self._db.rows(
            "SELECT token_id, description, projects, may, created_ns, expires_ns FROM tokens"
            " ORDER BY created_ns"
        )
        return Listing(
            (
                TokenInfo(
                    row["token_id"],
                    row["description"],
                    tuple(sorted(_projects(row["projects"]) or ())),
                    tuple(json.loads(row["may"])),
                    moment(row["created_ns"]),
                    moment_or_none(row["expires_ns"]),
                )
                for row in rows
            ),
            "tokens",
        )

    @tells_disk_errors
    async def revoke(self, token_id: str) -> None:
        """Make a token useless from the next request on. Streams that it began go on to their ends.

        Raises:
            ServiceError: not_found.
        """
        if not self._db.change("DELETE FROM tokens WHERE token_id = ?", token_id):
            raise ServiceError(
                f"Token {token_id!r} was not found.",
                code="not_found",
                hint="service.tokens.list() shows the ids of all",
            )

    def sweep(self) -> None:
        """Forget the tokens that have expired."""
        self._db.change("DELETE FROM tokens WHERE expires_ns <= ?", self._db.now_ns())

    # ------------------------------------------------------------------------------ the requests

    def identify(self, authorization: str) -> Caller:
        """Return who an `Authorization` header speaks for, and count the request.

        Raises:
            Fault: unauthenticated: there is none, it is not a bearer token, or nobody's. resource_exhausted: this
                token has asked too often.
        """
        scheme, _, secret = authorization.strip().partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise Fault("unauthenticated", "a token is needed", hint=_HOW)
        caller = self.check(secret)
        if caller is None:
            raise Fault("unauthenticated", "this token is not known, or not any more", hint=_HOW)
        wait_s = self._requests.take(caller.token_id, self._now_s())
        if wait_s:
            raise Fault(
                "resource_exhausted",
                "this token has asked too often",
                hint=f"ask again in {wait_s:.0f} s" if wait_s >= 1 else "ask again in a second",
                retry_after_s=wait_s,
            )
        return caller

    def check(self, secret: str) -> Caller | None:
        """Return whose token this is, or None if it is nobody's."""
        shape = _TOKEN.fullmatch(secret)
        if shape is None:
            return None
        row = self._db.row("SELECT * FROM tokens WHERE token_id = ?", shape["id"])
        if row is None or not hmac.compare_digest(row["hash"], _hash(secret)):
            return None
        if row["expires_ns"] is not None and row["expires_ns"] <= self._db.now_ns():
            return None
        return Caller(
            row["token_id"], _projects(row["projects"]), frozenset(json.loads(row["may"]))
        )

    def count_build(self, project: str) -> None:
        """Count one more build of a project.

        Raises:
            Fault: resource_exhausted.
        """
        wait_s = self._builds.take(project, self._now_s())
        if wait_s:
            raise Fault(
                "resource_exhausted",
                f"the project {project!r} has asked for too many builds within the hour",
                hint=f"ask again in {max(1.0, wait_s):.0f} s",
                retry_after_s=wait_s,
            )

    def forget_build(self, project: str) -> None:
        """Count one less: there was none."""
        self._builds.give_back(project)


def _names(argument: str, given: str | Iterable[str]) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise UsageError(
            f"{argument}={given!r} names nothing, or something that has no name.",
            hint="give at least one, such as projects=['shop'] or may=['build', 'read']",
        )
    return sorted(set(names))


def _projects(text: str) -> frozenset[str] | None:
    return None if text == _ALL else frozenset(json.loads(text))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
