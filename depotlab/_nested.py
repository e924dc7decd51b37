"""Opt-in: let script code that calls `asyncio.run(...)` work when it is pasted into a notebook cell."""

from __future__ import annotations

import asyncio

from depotlab.errors import MissingExtra, UsageError

__all__ = ["allow_asyncio_run"]


def allow_asyncio_run() -> None:
    """Make `asyncio.run(...)` and `loop.run_until_complete(...)` work inside a running event loop.

    The library itself never needs this and never does it: its blocking verbs work in any cell, and its
    awaitable ones can be awaited there. It changes asyncio for the whole process. The maintained package
    nest-asyncio2 is used, because the original one loses queued cells on ipykernel 7.1 and later.

    Raises:
        MissingExtra: nest-asyncio2 is not installed.
        UsageError: The running loop is not asyncio's own (uvloop), which cannot be nested.
    """
    try:
        import nest_asyncio2
    except ImportError as error:
        raise MissingExtra("allow_asyncio_run()", extra="notebook") from error
    try:
        loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is not None and not isinstance(loop, asyncio.BaseEventLoop):
        raise UsageError(
            f"{type(loop).__name__} loops cannot be nested.",
            hint="await the verbs of depotlab.aio instead of calling asyncio.run()",
        )
    nest_asyncio2.apply()
