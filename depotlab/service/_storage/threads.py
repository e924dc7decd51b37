"""Threads of one store, for what blocks: disks, other servers, and archives that are looked through."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, ParamSpec, TypeVar

from depotlab.service._boundary import ContextFacts
from depotlab.service._storage.archives import check_archive

__all__ = ["Threads"]

P = ParamSpec("P")
T = TypeVar("T")

# Half of them for archives, so that short calls find one free.
_MOST_THREADS = 8
_MOST_CHECKS = 4


class Threads:
    """A few threads, started when they are needed. Call `close` at the end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="depotlab-storage")
        self._checks = asyncio.Semaphore(_MOST_CHECKS)
        self._closing = threading.Event()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await what blocks. When the waiting is cancelled the work goes on, and nobody hears of it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))

    async def check(
        self, opened: Callable[[], BinaryIO], *, max_bytes: int, max_unpacked_bytes: int
    ) -> ContextFacts:
        """Look through an archive; see `check_archive`. Cancelling stops the reading as well.

        Args:
            opened: Called in a thread; what it returns is closed there.
        """
        unwanted = threading.Event()

        def look() -> ContextFacts:
            with contextlib.closing(opened()) as file:
                return check_archive(
                    file,
                    max_bytes=max_bytes,
                    max_unpacked_bytes=max_unpacked_bytes,
                    should_stop=lambda: unwanted.is_set() or self._closing.is_set(),
                )

        async with self._checks:
            try:
                return await self.run(look)
            finally:
                unwanted.set()

    async def close(self) -> None:
        """Stop what is read, wait for it, and end the threads. Idempotent."""
        self._closing.set()
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
