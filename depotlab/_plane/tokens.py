"""Tokens: made once, shown once, kept as hashes; and what each kind may do.

A token is `depotlab_KIND_ID_SECRET`: its kind can be told by looking (and by scanners for leaked
secrets), its id finds the row, and the whole is compared as a SHA-256 in constant time. A slow hash
would protect words that people choose; 192 random bits need none.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Literal

from depotlab._plane.database import Database
from depotlab._plane.ids import ID_ALPHABET, new_id
from depotlab._serving import Fault

__all__ = ["ANYBODY", "REGISTRY_USER", "Caller", "Kind", "MadeToken", "TokenNote", "Tokens"]

Kind = Literal["user", "organization", "project", "build", "pull"]

REGISTRY_USER = "x-token"
"""The user of every login to the registry; the password is a token."""

_SECRET_BYTES = 24
_TOKEN = re.compile(
    rf"depotlab_(?P<kind>[a-z]+)_(?P<id>[{ID_ALPHABET}]{{10}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}"
)
_HINT = "the token is not known here; `depotlab up` shows the one of this plane"


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A fresh token; `secret` is not kept anywhere else."""

    token_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenNote:
    """What a list of tokens shows."""

    token_id: str
    description: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as its token says.

    Attributes:
        kind: Of the token.
        project_id: The one that a project, build or pull token is good for; empty means all.
        build_id: The one that a build token is good for.
    """

    kind: Kind
    token_id: str
    project_id: str = ""
    build_id: str = ""

    def may_manage(self) -> None:
        """Pass if this is a user's or an organisation's token: they may use the whole API.

        Raises:
            Fault: permission_denied.
        """
        if self.kind not in ("user", "organization"):
            raise Fault("permission_denied", f"a {self.kind} token cannot do this")

    def may_build_in(self, project_id: str) -> None:
        """Pass if builds of the project may be started and looked at.

        Raises:
            Fault: permission_denied.
        """
        if self.kind == "project" and self.project_id != project_id:
            raise Fault("permission_denied", "this token belongs to another project")
        if self.kind not in ("user", "organization", "project"):
            raise Fault("permission_denied", f"a {self.kind} token cannot do this")

    def may_run(self, project_id: str, build_id: str) -> None:
        """Pass if the build may be carried on: its health, its machine, its end.

        Raises:
            Fault: permission_denied.
        """
        if self.kind == "build":
            if self.build_id != build_id:
                raise Fault("permission_denied", "this token belongs to another build")
        else:
            self.may_build_in(project_id)


ANYBODY = Caller("pull", "")
"""Who calls a method that asks for no token."""


class Tokens:
    """Makes and checks tokens."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.sweep()

    def sweep(self) -> None:
        """Forget the tokens that have ended."""
        self._db.change("DELETE FROM tokens WHERE expires_ns < ?", self._db.now_ns())

    def make(
        self,
        kind: Kind,
        *,
        owner_id: str = "",
        project_id: str = "",
        build_id: str = "",
        description: str = "",
        lasts_s: float | None = None,
    ) -> MadeToken:
        """Make a token.

        Args:
            owner_id: The user or organisation behind it.
            lasts_s: For how long it is good; None for ever.
        """
        token_id = new_id()
        secret = f"depotlab_{kind}_{token_id}_{secrets.token_hex(_SECRET_BYTES)}"
        now = self._db.now_ns()
        self._db.change(
            "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(token_id, kind, _hash(secret), owner_id, project_id, build_id, description, now),
            None if lasts_s is None else now + int(lasts_s * 1e9),
        )
        return MadeToken(token_id, secret)

    def check(self, secret: str) -> Caller | None:
        """Return whose token this is, or None if it is nobody's."""
        shape = _TOKEN.fullmatch(secret)
        if shape is None:
            return None
        row = self._db.row("SELECT * FROM tokens WHERE token_id = ?", shape["id"])
        if row is None or not hmac.compare_digest(row["hash"], _hash(secret)):
            return None
        if row["expires_ns"] is not None and row["expires_ns"] < self._db.now_ns():
            return None
        return Caller(row["kind"], row["token_id"], row["project_id"], row["build_id"])

    def caller(self, authorization: str) -> Caller:
        """Return who an `Authorization` header speaks for.

        Raises:
            Fault: unauthenticated: there is none, it is not a bearer token, or nobody's.
        """
        scheme, _, secret = authorization.strip().partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise Fault("unauthenticated", "a token is needed: set DEPOT_TOKEN")
        caller = self.check(secret)
        if caller is None:
            if secret.startswith("eyJ"):  # a JSON web token; nobody here can ask its issuer
                raise Fault("unauthenticated", f"OIDC tokens are not taken here; {_HINT}")
            raise Fault("unauthenticated", _HINT)
        return caller

    def admits(self, user: str, password: str, project_id: str, push: bool) -> bool:
        """Decide about a login to the registry; this is `boundary.Admit`."""
        caller = self.check(password) if user == REGISTRY_USER else None
        if caller is None or (push and caller.kind == "pull"):
            return False
        return caller.kind in ("user", "organization") or project_id in ("", caller.project_id)

    def expire_build(self, build_id: str, *, after_s: float) -> None:
        """Let the tokens of a build end some time from now."""
        at = self._db.now_ns() + int(after_s * 1e9)
        self._db.change("UPDATE tokens SET expires_ns = ? WHERE build_id = ?", at, build_id)

    # ------------------------------------------------------------- a project's own tokens

    def of_project(self, project_id: str) -> list[TokenNote]:
        """Return the project's tokens, oldest first."""
        rows = self._db.rows(
            "SELECT token_id, description FROM tokens WHERE project_id = ? AND kind = 'project'"
            " ORDER BY created_ns",
            project_id,
        )
        return [TokenNote(**dict(row)) for row in rows]

    def describe(self, token_id: str, description: str) -> None:
        """Change the description of a project's token.

        Raises:
            Fault: not_found.
        """
        if not self._db.change(
            "UPDATE tokens SET description = ? WHERE token_id = ? AND kind = 'project'",
            description,
            token_id,
        ):
            raise Fault("not_found", f"token {token_id!r} was not found")

    def delete(self, token_id: str) -> None:
        """Delete a project's token.

        Raises:
            Fault: not_found.
        """
        if not self._db.change(
            "DELETE FROM tokens WHERE token_id = ? AND kind = 'project'", token_id
        ):
            raise Fault("not_found", f"token {token_id!r} was not found")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
