"""The log of a build as an iterator, for `for` and for `async for`: lines come as they are printed."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from depotlab._portal import portal
from depotlab._values import Value
from depotlab.service._values import LogLine

__all__ = ["AwaitingLogs", "BlockingLogs"]

Next = Callable[[str, int, bool], Awaitable[list[LogLine]]]
"""Returns the next lines of a build from an offset on, on the loop of the service; none at the end."""


class _Lines(Value):
    """Where a reader is.

    Attributes:
        build_id: Of the build.
        offset: Of the line that comes next, or is not there yet: what to resume from.
    """

    def __init__(self, build_id: str, offset: int, *, follow: bool) -> None:
        self.build_id = build_id
        self.offset = offset
        self._follow = follow
        self._here: deque[LogLine] = deque()
        self._is_over = False

    def _take(self) -> LogLine:
        line = self._here.popleft()
        self.offset = line.offset + 1
        return line

    def __repr__(self) -> str:
        return f"<log of build {self.build_id} from line {self.offset}>"


class AwaitingLogs(_Lines):
    """The lines of a build, for one `async for`.

    It ends when the build has ended and all lines were given; without `follow`, when there are no more yet.

    Attributes:
        build_id: Of the build.
        offset: Of the line that comes next: what to resume from.
    """

    def __init__(self, more: Next, build_id: str, offset: int, *, follow: bool) -> None:
        super().__init__(build_id, offset, follow=follow)
        self._more = more

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LogLine:
        if not self._here and not self._is_over:
            self._here.extend(await self._more(self.build_id, self.offset, self._follow))
            self._is_over = not self._here
        if self._is_over:
            raise StopAsyncIteration
        return self._take()

    async def aclose(self) -> None:
        """Give no more lines."""
        self._is_over = True


class BlockingLogs(_Lines):
    """The lines of a build, for one `for`. Ctrl-C ends the waiting, and it can be gone on with.

    It ends when the build has ended and all lines were given; without `follow`, when there are no more yet.

    Attributes:
        build_id: Of the build.
        offset: Of the line that comes next: what to resume from.
    """

    def __init__(self, more: Next, build_id: str, offset: int, *, follow: bool) -> None:
        super().__init__(build_id, offset, follow=follow)
        self._more = more

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LogLine:
        if not self._here and not self._is_over:
            self._here.extend(portal().run(self._next()))
            self._is_over = not self._here
        if self._is_over:
            raise StopIteration
        return self._take()

    async def _next(self) -> list[LogLine]:
        return await self._more(self.build_id, self.offset, self._follow)

    def close(self) -> None:
        """Give no more lines."""
        self._is_over = True
