"""Processes on this machine, found by what they were told, and waiting for something to be so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest


def sleeping(mark: str) -> list[int]:
    """Return the processes that have this word in their command: what a build left behind."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(int(pid))
    return found


def wait_until(true: Callable[[], object], *, timeout_s: float = 15.0, what: str = "") -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(0.05)
