"""What has to happen in a thread even when the task that asks for it is cancelled once more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["uninterrupted"]

T = TypeVar("T")


async def uninterrupted(work: Callable[[], T]) -> T:
    """Run something that blocks in a thread, and wait for it even when the task is cancelled meanwhile.

    Without it, what has not begun in its thread when the cancellation comes would never begin.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
