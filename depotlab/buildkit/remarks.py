"""What a build says of its caches in the errors of steps, told as what it is.

A cache that cannot be read fails no build: its step `importing cache manifest from …` ends with an error, and the
build goes on without. The first build with a new cache always looks like that, so the error becomes
a warning here. A cache that may fail to be written (`ignore-error`) is the same at the end of the build.
Source: moby/buildkit `solver/llbsolver/bridge.go`, `solver/llbsolver/solver.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from depotlab.progress import Event, VertexUpdated, WarningRaised

__all__ = ["Remarks"]

_IMPORT = "importing cache manifest from "
_EXPORT = "exporting cache"
_CONFIGURED = re.compile(r"failed to configure \S+ cache importer: ")
_HASHED = re.compile(r"(\w+):\d{6,}")
_ABSENT = re.compile(r": not found$|no such key|NoSuchKey|404", re.IGNORECASE)


class Remarks:
    """Reads the events of one build as they pass."""

    def __init__(self) -> None:
        self._failed: dict[str, VertexUpdated] = {}

    def read(self, events: Iterable[Event]) -> list[Event]:
        """Return the events with cache misses as warnings."""
        out: list[Event] = []
        for event in events:
            if type(event) is not VertexUpdated or not event.error:
                out.append(event)
            elif event.name.startswith(_IMPORT) and not event.error.endswith("context canceled"):
                out += (event._replace(error=""), _missed(event))
            else:
                self._failed[event.digest] = event
                out.append(event)
        return out

    def step_of(self, error: str) -> str:
        """Return the name of the step that failed with these words, or an empty string."""
        return next((e.name for e in self._failed.values() if e.error == error), "")

    def ignored(self) -> list[Event]:
        """Return what a build that succeeded did not manage to write."""
        return [
            WarningRaised(
                event.digest,
                1,
                f"The cache was not exported: {event.error}",
                ("The build succeeded, since this cache may fail (ignore_error=True).",),
            )
            for event in self._failed.values()
            if event.name.startswith(_EXPORT)
        ]


def _missed(event: VertexUpdated) -> WarningRaised:
    where = event.name.removeprefix(_IMPORT)
    if found := _HASHED.fullmatch(
        where
    ):  # caches without a reference are named by a hash of their attributes
        where = f"of type {found[1]}"
    reason = _CONFIGURED.sub("", event.error)
    if _ABSENT.search(reason):
        short = f"There is no cache {where} to start from."
        detail = "After the first build that exports to it there will be."
    else:
        short = f"The cache {where} could not be read: {reason}"
        detail = "The build went on without it."
    return WarningRaised(event.digest, 1, short, (detail,))
