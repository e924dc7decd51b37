"""A service's file that cannot be written, because the disk is full, or is damaged: told by its verbs in our words."""

from __future__ import annotations

import functools
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from depotlab.errors import ServiceError

__all__ = ["tells_disk_errors"]

_LOG = logging.getLogger("depotlab.service")

P = ParamSpec("P")
T = TypeVar("T")


def tells_disk_errors(
    verb: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return a verb that raises `ServiceError` where SQLite says that its file is out of order."""

    @functools.wraps(verb)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await verb(*args, **kwargs)
        except sqlite3.DatabaseError as error:
            is_disk = isinstance(error, sqlite3.OperationalError)
            if not is_disk and type(error) is not sqlite3.DatabaseError:
                raise  # a mistake of ours
            _LOG.error("the database of the build service cannot be used: %s", error)
            raise ServiceError(
                f"The build service cannot use its database: {error}.",
                code="unavailable" if is_disk else "internal",
                hint="see that the disk of its state folder is well and has room, then ask again",
            ) from error

    return call
