"""One holder at a time, across processes: a lock on a file that the kernel frees with its holder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from depotlab.errors import EngineError

from . import _forks

_POLL_S = 0.05


@contextmanager
def held(
    path: Path,
    *,
    timeout_s: float,
    waiting_for: str,
    on_wait: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Hold the lock file while the body runs. Blocks until it is free.

    Two threads of one process exclude each other as well, since each opens the file anew.
    The file stays: removing it would let a third process lock a name that is gone.

    Args:
        path: The lock file; created when it is missing.
        timeout_s: How long to wait for another holder.
        waiting_for: What the other holder does, for the error message.
        on_wait: Called once when there is something to wait for.

    Raises:
        EngineError: It was not free in time.
    """
    import fcntl  # not on Windows, where this room is imported only to say that it needs Linux

    # flock and not fcntl locks: those belong to the process, and any close() of the file drops them.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _forks.keep_from_children(handle)
    try:
        deadline = time.monotonic() + timeout_s
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pass
            if not told and on_wait is not None:
                on_wait()
            told = True
            if time.monotonic() > deadline:
                raise EngineError(
                    f"Another process is still {waiting_for} after {timeout_s:.0f} s ({path}).",
                    hint="wait for it, or end it, and try again",
                )
            time.sleep(_POLL_S)
        yield
    finally:
        _forks.close(handle)
