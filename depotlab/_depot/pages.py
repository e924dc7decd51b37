"""Lists that the server gives page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from typing import Generic, TypeVar

from depotlab._depot.errors import BadReply

__all__ = ["Pages"]

ItemT = TypeVar("ItemT")


class Pages(Generic[ItemT]):
    """A list that is fetched while it is read; awaited, it is all of it.

    Each `async for` begins anew. Nothing is asked before the first item is wanted.

    Args:
        fetch: Gives one page for a page token: the items, and the token of the next page or "".

    Example:
        >>> async for project in api.projects.list():  # doctest: +SKIP
        ...     print(project.name)
        >>> projects = await api.projects.list()  # doctest: +SKIP
    """

    def __init__(self, fetch: Callable[[str], Awaitable[tuple[Sequence[ItemT], str]]]) -> None:
        self._fetch = fetch

    async def __aiter__(self) -> AsyncIterator[ItemT]:
        token = ""
        seen = {token}
        while True:
            items, token = await self._fetch(token)
            for item in items:
                yield item
            if not token:
                return
            if token in seen:
                raise BadReply(
                    "The list does not end: the server named a page as the next one that it has given already.",
                    hint="report it to who runs the server",
                    code="internal",
                )
            seen.add(token)

    def __await__(self) -> Generator[object, None, tuple[ItemT, ...]]:
        return self._all().__await__()

    async def _all(self) -> tuple[ItemT, ...]:
        return tuple([item async for item in self])

    def __repr__(self) -> str:
        return "<Pages: read with 'async for', or await for all>"
