"""Logins from a terminal, which somebody with the plane's token lets through on the status page."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field

__all__ = ["Logins"]

_LOGIN_LASTS_S = 600.0
_MOST_LOGINS = 100


@dataclass
class Logins:
    """Logins that wait for somebody to approve them on the status page."""

    _waiting: dict[str, asyncio.Event] = field(default_factory=dict)

    def begin(self) -> str:
        """Return the id of a new one; the oldest one goes when there are too many."""
        if len(self._waiting) >= _MOST_LOGINS:
            del self._waiting[next(iter(self._waiting))]
        login_id = secrets.token_hex(16)
        self._waiting[login_id] = asyncio.Event()
        return login_id

    def approve(self, login_id: str) -> bool:
        """Let a login through; return whether it is one that waits."""
        waiting = self._waiting.get(login_id)
        if waiting is None:
            return False
        waiting.set()
        return True

    async def approved(self, login_id: str) -> bool:
        """Wait until a login is approved, once; return whether it was, in time."""
        waiting = self._waiting.get(login_id)
        if waiting is None:
            return False
        try:
            async with asyncio.timeout(_LOGIN_LASTS_S):
                await waiting.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(login_id, None)
        return True
