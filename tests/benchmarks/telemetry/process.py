"""A process for each thing that is measured: its memory and its processor time are those of nothing else.

python -m tests.benchmarks.telemetry.MODULE     a JSON value on each line in, one on each line out
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.memory import forget_peak, memory_mb

__all__ = ["Process", "peak_above_mb", "process", "serve"]

_MOST_S = 60


class Process:
    """One that is running. `ask` returns what it answers."""

    def __init__(self, running: subprocess.Popen[str]) -> None:
        self._running = running

    def ask(self, *words: Any) -> Any:
        """Have it do one thing, and wait for it.

        Raises:
            RuntimeError: It has ended; why, it has said on standard error.
        """
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.write(json.dumps(words) + "\n")
        self._running.stdin.flush()
        line = self._running.stdout.readline()
        if not line:
            raise RuntimeError(f"what was to measure {words[0]!r} has ended")
        return json.loads(line)


@contextlib.contextmanager
def process(module: str) -> Iterator[Process]:
    """Run a module of this folder for as long as a block lasts."""
    command = [sys.executable, "-m", f"{__package__}.{module}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield Process(running)
        finally:
            assert running.stdin is not None
            running.stdin.close()
            try:
                running.wait(_MOST_S)
            except subprocess.TimeoutExpired:
                running.kill()


def serve(verbs: dict[str, Callable[..., Any]]) -> None:
    """Answer until standard input ends: of each line the first word is the verb, the others what it is given."""
    for line in sys.stdin:
        verb, *given = json.loads(line)
        print(json.dumps(verbs[verb](*given)), flush=True)


@contextlib.contextmanager
def peak_above_mb() -> Iterator[list[float]]:
    """Put into a list by how much memory grew at most during a block."""
    forget_peak()
    before_mb = memory_mb("VmRSS")
    found: list[float] = []
    yield found
    found.append(memory_mb() - before_mb)
