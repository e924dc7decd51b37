"""What a channel leaves on its loop when nobody holds it any more: connections in waiting, a bridge.

A notebook forgets its clients rather than closing them, and each holds two connections, or two programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import Any, Protocol

__all__ = ["close_when_forgotten"]

_closing: set[asyncio.Task[None]] = set()
"""The loop itself holds its tasks weakly."""


class Closes(Protocol):
    """Something to be closed on its loop."""

    async def close(self) -> None: ...


def close_when_forgotten(owner: object, *parts: Closes) -> weakref.finalize[..., Any]:
    """Close parts once their owner is collected; they must not know it. On the loop that they belong to.

    Returns:
        To be detached by an owner that closes them itself.
    """
    loop = asyncio.get_running_loop()
    forgotten = weakref.finalize(owner, _let_go, loop, os.getpid(), parts)
    forgotten.atexit = False  # then everything goes anyway
    return forgotten


def _let_go(loop: asyncio.AbstractEventLoop, pid: int, parts: tuple[Closes, ...]) -> None:
    """Runs wherever the collector does. A forked child has nothing to close, nor has a loop that has ended."""
    if os.getpid() == pid:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_begin, loop, parts)


def _begin(loop: asyncio.AbstractEventLoop, parts: tuple[Closes, ...]) -> None:
    task = loop.create_task(_close(parts), name="depotlab forgotten connection")
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _close(parts: tuple[Closes, ...]) -> None:
    for part in parts:
        await part.close()
