"""A store of contexts that is watched: while it is down, builds are not started, and it is asked until it answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from depotlab.errors import ContextRefused, StorageError
from depotlab.service._boundary import ContextFacts, Storage, Upload

__all__ = ["WatchedStorage"]

_LOG = logging.getLogger("depotlab.service")

_FIRST_S = 1.0
_MOST_S = 30.0
# Nobody is given this key: its time is the year 1970.
_NOBODYS = "storage-probe/1.tar.gz"


class WatchedStorage:
    """A store, as `Storage` says, whose failures are noticed.

    Args:
        storage: The store itself.
        on_up: Called when it answers again.

    Attributes:
        problem: What it said when it was last asked; empty if it answered.
    """

    def __init__(self, storage: Storage, on_up: Callable[[], None]) -> None:
        self._storage = storage
        self._on_up = on_up
        self._asking: asyncio.Task[None] | None = None
        self.problem = ""

    async def open(self) -> None:
        """See `Storage`."""
        await self._storage.open()

    async def close(self) -> None:
        """See `Storage`."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._storage.close()

    async def upload(self, key: str, *, expires_s: int, max_bytes: int) -> Upload:
        """See `Storage`."""
        async with self._noticing():
            return await self._storage.upload(key, expires_s=expires_s, max_bytes=max_bytes)

    async def check(self, key: str, *, max_bytes: int, max_unpacked_bytes: int) -> ContextFacts:
        """See `Storage`."""
        async with self._noticing():
            return await self._storage.check(
                key, max_bytes=max_bytes, max_unpacked_bytes=max_unpacked_bytes
            )

    async def download_url(self, key: str, *, expires_s: int) -> str:
        """See `Storage`."""
        async with self._noticing():
            return await self._storage.download_url(key, expires_s=expires_s)

    async def delete(self, key: str) -> None:
        """See `Storage`."""
        async with self._noticing():
            await self._storage.delete(key)

    @contextlib.asynccontextmanager
    async def _noticing(self) -> AsyncIterator[None]:
        try:
            yield
        except StorageError as error:
            if error.is_transient:
                self.problem = error.message
                if self._asking is None:
                    self._asking = asyncio.create_task(self._ask_until_it_answers())
            raise

    async def _ask_until_it_answers(self) -> None:
        pause_s = _FIRST_S
        while True:
            await asyncio.sleep(pause_s)
            if not await self._is_down():
                break
            pause_s = min(pause_s * 2, _MOST_S)
        self._asking, self.problem = None, ""
        self._on_up()

    async def _is_down(self) -> bool:
        """Look for an archive that is not there: that needs the right to read, and costs nothing."""
        try:
            await self._storage.check(_NOBODYS, max_bytes=1, max_unpacked_bytes=1)
        except ContextRefused:
            return False
        except StorageError as error:
            self.problem = error.message
            # Some forbid to look for what is not there: that is an answer, too.
            return error.is_transient
        except Exception as error:  # noqa: BLE001 - a store may be anybody's code; what asks has to go on
            _LOG.error("the store of contexts failed by a mistake: %s", type(error).__name__)
        return False
