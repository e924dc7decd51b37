"""What a plane does once an hour: forgets old builds, and clears the registry while nobody uses it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from depotlab._plane.boundary import AnyRegistry
from depotlab._plane.history import History, Keep
from depotlab.errors import EngineError

__all__ = ["keep_house"]

_EACH_S = 3600.0

_log = logging.getLogger("depotlab.plane")


async def keep_house(
    history: History, registry: AnyRegistry, keep: Keep, *, each_s: float = _EACH_S
) -> None:
    """Keep house until cancelled; the first time at once.

    Args:
        history: Where old builds are forgotten.
        registry: Is asked to tidy itself while no build runs.
        keep: How much of the past stays.
        each_s: Between two times.
    """
    while True:
        try:
            history.prune(keep)
        except sqlite3.Error as error:
            _log.error("old builds cannot be forgotten: %s", error)
        if not history.running():
            try:
                await registry.tidy()
            except EngineError as error:
                _log.error("the registry does not come up again: %s", error)
        await asyncio.sleep(each_s)
