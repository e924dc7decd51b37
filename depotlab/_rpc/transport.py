"""What a connection to a daemon is, whatever carries it: bytes in both directions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

__all__ = ["Dialer", "Transport"]


class Transport(Protocol):
    """A duplex stream of bytes in chunks without meaning. Belongs to the event loop it was made on."""

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the peer has closed."""

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces in order; returns when it may be called again (back-pressure)."""

    async def close(self) -> None:
        """Let go of everything; can be called twice."""


Dialer = Callable[[], Awaitable[Transport]]
"""Opens one more connection to the same daemon."""
