"""A real kernel without a page: cells are run in it, and all that it says to pages is counted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

from tests.support.lab import kernel_path

FIRST_CELL = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import inkernel
"""
# What a front end gets whether or not anything is shown.
_ALWAYS = frozenset({"status", "execute_input", "stream"})


@dataclass(frozen=True, slots=True)
class Said:
    """What a kernel published while it ran a cell.

    Attributes:
        printed: By the cell.
        shown_at_s: When each message came that has to do with what is shown, by `time.monotonic`.
    """

    printed: str
    shown_at_s: tuple[float, ...]

    def per_s(self, *, edge_s: float) -> float:
        """Return messages a second, without those of so many seconds at the beginning and the end."""
        first_s, last_s = self.shown_at_s[0] + edge_s, self.shown_at_s[-1] - edge_s
        return sum(first_s <= at_s <= last_s for at_s in self.shown_at_s) / (last_s - first_s)


class Kernel:
    """A kernel that is told that somebody watches."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.run(FIRST_CELL)

    def run(self, cell: str, *, timeout_s: float = 600.0) -> Said:
        """Run a cell to its end.

        Raises:
            RuntimeError: The cell did.
        """
        request = self._client.execute(cell, allow_stdin=True)
        printed: list[str] = []
        shown_at_s: list[float] = []
        give_up_s = time.monotonic() + timeout_s
        while time.monotonic() < give_up_s:
            message = self._client.get_iopub_msg(timeout=timeout_s)
            kind, content = message["msg_type"], message["content"]
            if kind not in _ALWAYS:
                shown_at_s.append(time.monotonic())
            if kind == "stream":
                printed.append(content["text"])
            elif kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            is_ours = message["parent_header"].get("msg_id") == request
            if kind == "status" and content["execution_state"] == "idle" and is_ours:
                return Said("".join(printed), tuple(shown_at_s))
        raise RuntimeError(f"the cell took longer than {timeout_s:.0f} s")


@contextmanager
def running_kernel() -> Iterator[Kernel]:
    manager, client = start_new_kernel(
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # it warns of TCP without encryption, on loopback
        env={**os.environ, "PYTHONPATH": kernel_path()},
    )
    try:
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
