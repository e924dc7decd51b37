"""What this process has of the computer's memory, as Linux counts it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["forget_peak", "memory_mb"]


def memory_mb(name: Literal["VmRSS", "VmHWM"] = "VmHWM") -> float:
    """Return what it has now (`VmRSS`), or had at most (`VmHWM`).

    `ru_maxrss` is not it: that begins with what the process had that started this one.
    Source: Linux, proc(5), `/proc/pid/status`; getrusage(2).
    """
    status = Path("/proc/self/status").read_text()
    return next(
        int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{name}:")
    )


def forget_peak() -> None:
    """Let `VmHWM` begin anew with what it has now. Source: Linux, proc(5), `/proc/pid/clear_refs`."""
    Path("/proc/self/clear_refs").write_text("5")
