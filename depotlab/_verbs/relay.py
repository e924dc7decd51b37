"""What the steps of one build write, handed on to the overview of many."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Self

from depotlab.progress import Fold, LogWritten

__all__ = ["OutputRelay"]

_LONGEST_LINE_BYTES = 64 << 10


class OutputRelay:
    """Hands on whole lines, because steps that run side by side write into one log there; the rest when it is left.

    Args:
        overview: Of many builds.
        name: The step of this build there.

    Attributes:
        has_written: Whether anything was handed on.
    """

    def __init__(self, overview: Fold, name: str) -> None:
        self.has_written = False
        self._overview = overview
        self._name = name
        self._begun: dict[tuple[str, int], bytes] = {}

    def __call__(self, written: Iterable[LogWritten]) -> None:
        """Take what was written; the moment is now, for the daemon may have another clock than the overview."""
        events = []
        for chunk in written:
            begun = (chunk.vertex, chunk.stream)
            whole, line_break, rest = (self._begun.pop(begun, b"") + chunk.data).rpartition(b"\n")
            if len(rest) > _LONGEST_LINE_BYTES:  # a bar that is drawn over itself, and never ends
                whole, line_break, rest = whole + line_break + rest, b"", b""
            if rest:
                self._begun[begun] = rest
            if whole or line_break:
                events.append(self._event(chunk.stream, whole + line_break))
        self._feed(events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._feed([self._event(stream, rest + b"\n") for (_, stream), rest in self._begun.items()])
        self._begun = {}

    def _event(self, stream: int, data: bytes) -> LogWritten:
        return LogWritten(self._name, time.time_ns(), stream, data)

    def _feed(self, events: list[LogWritten]) -> None:
        if events:
            self.has_written = True
            self._overview.feed(events)
