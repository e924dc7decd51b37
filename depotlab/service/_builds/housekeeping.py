"""What a service does once an hour: it forgets builds, logs, contexts and keys that are older than it keeps them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable

from depotlab.errors import StorageError
from depotlab.service._boundary import Storage
from depotlab.service._builds.state import State
from depotlab.service._builds.uploads import Uploads
from depotlab.service._settings.limits import Limits

__all__ = ["forget_old", "keep_house"]

_LOG = logging.getLogger("depotlab.service")

_EACH_S = 3600.0
_DAY_NS = 86400 * 10**9
# Some milliseconds of the event loop.
_LINES_AT_ONCE = 2000
_AT_ONCE = 100


async def keep_house(
    state: State, uploads: Uploads, storage: Storage, limits: Limits, now_ns: Callable[[], int]
) -> None:
    """Keep house until cancelled; the first time at once."""
    while True:
        try:
            await forget_old(state, uploads, storage, now_ns=now_ns(), keep_days=limits.keep_days)
        except (sqlite3.Error, StorageError) as error:
            _LOG.error("old builds and contexts cannot be forgotten: %s", error)
        except Exception as error:  # noqa: BLE001 - a store may be anybody's code; it is tried again
            _LOG.error("old contexts cannot be forgotten, by a mistake: %s", type(error).__name__)
        await asyncio.sleep(_EACH_S)


async def forget_old(
    state: State, uploads: Uploads, storage: Storage, *, now_ns: int, keep_days: int
) -> None:
    """Forget what is older than it is kept, and uploads that nobody used. Others get their turn in between.

    Args:
        state: Builds that ended so long ago, their logs, and idempotency keys.
        uploads: Those that were handed out so long ago, or expired a day ago without a build.
        storage: Where their archives are.
        now_ns: Nanoseconds since 1970.
        keep_days: For how long.

    Raises:
        StorageError: A context cannot be removed now.
    """
    before_ns = now_ns - keep_days * _DAY_NS
    unused_before_ns = now_ns - _DAY_NS
    state.forget_keys(before_ns=before_ns)
    while builds := state.old_builds(before_ns=before_ns, n_most=_AT_ONCE):
        for build_id in builds:
            is_gone = False
            while not is_gone:
                is_gone = state.forget_some(build_id, n_lines=_LINES_AT_ONCE)
                await asyncio.sleep(0)
    while keys := uploads.old(
        before_ns=before_ns, unused_before_ns=unused_before_ns, n_most=_AT_ONCE
    ):
        for key in keys:
            await storage.delete(key)
            uploads.forget(key)
