"""The tokens of a service, as its two faces show them: to await, and to call from anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from depotlab._depot import Listing
from depotlab._portal import portal
from depotlab._values import Value
from depotlab.service._values import MadeToken, TokenInfo

__all__ = ["AwaitingTokens", "Tokens"]


class TokenBook(Protocol):
    """What keeps the tokens: `Access` of a service that is here, or a service elsewhere."""

    async def create(
        self,
        description: str,
        *,
        projects: str | Iterable[str],
        may: str | Iterable[str],
        expires_s: float | None,
    ) -> MadeToken:
        """Make one."""

    async def list(self) -> Listing[TokenInfo]:
        """Return all."""

    async def revoke(self, token_id: str) -> None:
        """End one."""


class AwaitingTokens(Value):
    """The bearer tokens of a service, to await from any event loop."""

    def __init__(self, book: TokenBook) -> None:
        self._book = book

    def __repr__(self) -> str:
        return "<tokens of a build service>"

    async def create(
        self,
        description: str,
        *,
        projects: str | Iterable[str],
        may: str | Iterable[str] = ("build", "read"),
        expires_s: float | None = None,
    ) -> MadeToken:
        """Make a token; the arguments are those of `Tokens.create`.

        Raises:
            UsageError: One of the arguments is wrong.
        """
        return await portal().wait_for(
            self._book.create(description, projects=projects, may=may, expires_s=expires_s)
        )

    async def list(self) -> Listing[TokenInfo]:
        """Return the tokens that are good now, the oldest first, without their secrets."""
        return await portal().wait_for(self._book.list())

    async def revoke(self, token_id: str) -> None:
        """Make a token useless from the next request on.

        Raises:
            ServiceError: not_found.
        """
        await portal().wait_for(self._book.revoke(token_id))


class Tokens(Value):
    """The bearer tokens of a service: who may use it over the wire, and for which projects.

    A token is shown once, when it is made; kept is only its hash.
    """

    def __init__(self, book: TokenBook) -> None:
        self._book = book

    def __repr__(self) -> str:
        return "<tokens of a build service>"

    def create(
        self,
        description: str,
        *,
        projects: str | Iterable[str],
        may: str | Iterable[str] = ("build", "read"),
        expires_s: float | None = None,
    ) -> MadeToken:
        """Make a token. Its `.secret` is in the answer and nowhere else.

        Args:
            description: Whom or what it is for, so that it can be told from others later.
            projects: Names of projects, which need not exist yet, or `"*"` for all.
            may: `build` (upload, start and cancel builds), `read` (builds and their logs), `admin` (all of it, and
                the tokens).
            expires_s: For how long it is good, in seconds; None for ever.

        Raises:
            UsageError: One of the arguments is wrong; the message names it.

        Example:
            >>> token = service.tokens.create("shop, CI", projects=["shop"])  # doctest: +SKIP
        """
        return portal().run(
            self._book.create(description, projects=projects, may=may, expires_s=expires_s)
        )

    def list(self) -> Listing[TokenInfo]:
        """Return the tokens that are good now, the oldest first, without their secrets."""
        return portal().run(self._book.list())

    def revoke(self, token_id: str) -> None:
        """Make a token useless from the next request on.

        Raises:
            ServiceError: not_found.
        """
        portal().run(self._book.revoke(token_id))
