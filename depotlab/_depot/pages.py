"""Lists that the server gives page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from typing import Any, Generic, TypeVar

from depotlab._depot.errors import BadReply
from depotlab._depot.listing import Listing
from depotlab._values import Value

__all__ = ["Pages", "Reading"]

ItemT = TypeVar("ItemT")

Page = tuple[Sequence[ItemT], str]
"""The items of a page, and the token of the next one or an empty text."""


class Reading(Generic[ItemT]):
    """One way through a list, page after page.

    Attributes:
        done: There is no other page.
    """

    def __init__(self, fetch: Callable[[str], Coroutine[Any, Any, Page[ItemT]]]) -> None:
        self.done = False
        self._fetch = fetch
        self._token = ""
        self._seen = {""}

    async def more(self) -> Sequence[ItemT]:
        """Return the next page; when it fails, the same page comes next.

        Raises:
            BadReply: The list does not end.
        """
        items, token = await self._fetch(self._token)
        if token and token in self._seen:
            raise BadReply(
                "The list does not end: the server named a page as the next one that it has given already.",
                hint="report it to who runs the server",
                code="internal",
            )
        self._seen.add(token)
        self._token, self.done = token, not token
        return items


class Pages(Value, Generic[ItemT]):
    """A list that is fetched while it is read; awaited, it is all of it.

    Each `async for` begins anew. Nothing is asked before the first item is wanted.

    Args:
        fetch: Gives one page for a page token: the items, and the token of the next page or "".
        noun: What the items are, in the plural.

    Example:
        >>> async for project in api.projects.list():  # doctest: +SKIP
        ...     print(project.name)
        >>> projects = await api.projects.list()  # doctest: +SKIP
    """

    def __init__(
        self, fetch: Callable[[str], Coroutine[Any, Any, Page[ItemT]]], noun: str = "items"
    ) -> None:
        self._fetch = fetch
        self._noun = noun

    @property
    def noun(self) -> str:
        """What the items are, in the plural."""
        return self._noun

    def begin(self) -> Reading[ItemT]:
        """Return one way through, from the first page on."""
        return Reading(self._fetch)

    def through(
        self, carry: Callable[[Coroutine[Any, Any, Page[ItemT]]], Coroutine[Any, Any, Page[ItemT]]]
    ) -> Pages[ItemT]:
        """Return the same list, each page of which is fetched by `carry`, such as on another event loop."""
        fetch = self._fetch
        return Pages(lambda token: carry(fetch(token)), self._noun)

    async def __aiter__(self) -> AsyncIterator[ItemT]:
        reading = self.begin()
        while not reading.done:
            for item in await reading.more():
                yield item

    def __await__(self) -> Generator[Any, None, Listing[ItemT]]:
        return self._all().__await__()

    async def _all(self) -> Listing[ItemT]:
        return Listing([item async for item in self], self._noun)

    def __repr__(self) -> str:
        return f"<{self._noun}: read with 'async for', or await for all>"
