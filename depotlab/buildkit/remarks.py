"""What a build says of its caches in the errors of steps, told as what it is.

A cache that cannot be read fails no build: its step `importing cache manifest from …` ends with an error, and the
build goes on without. The first build with a new cache always looks like that, so the error becomes
a warning here. A cache that may fail to be written (`ignore-error`) is the same at the end of the build.

Of a cache that was read and holds nothing the daemon says nothing: an image without an inline cache looks like that,
and so does a name that is not there in S3, Azure or GitHub Actions. So when no step of a build came from a cache, and
one was read, that is a warning too.
Source: moby/buildkit `solver/llbsolver/bridge.go`, `solver/llbsolver/solver.go`, `cache/remotecache/import.go`.
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
        self._caches: dict[str, str] = {}  # those that were read
        self._any_ran = False
        self._any_cached = False

    def read(self, events: Iterable[Event]) -> list[Event]:
        """Return the events with cache misses as warnings."""
        out: list[Event] = []
        for event in events:
            if type(event) is not VertexUpdated or not event.error:
                if type(event) is VertexUpdated and event.completed_ns is not None:
                    self._note(event)
                out.append(event)
            elif event.name.startswith(_IMPORT) and not event.error.endswith("context canceled"):
                out += (event._replace(error=""), _missed(event))
            else:
                self._failed[event.digest] = event
                out.append(event)
        return out

    def _note(self, event: VertexUpdated) -> None:
        if event.name.startswith(_IMPORT):
            self._caches[event.digest] = _named(event)
        elif event.inputs:  # base images, and files of a context, come from no cache
            self._any_cached |= event.is_cached
            self._any_ran |= not event.is_cached

    def step_of(self, error: str) -> str:
        """Return the name of the step that failed with these words, or an empty string.

        Daemons before 0.9 put more words before those of the step.
        """
        return next(
            (e.name for e in self._failed.values() if e.error and error.endswith(e.error)), ""
        )

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

    def unhelpful(self) -> list[Event]:
        """Return, at the end of a build, which caches were read for nothing."""
        if not self._caches or self._any_cached or not self._any_ran:
            return []
        names = " or ".join(f"the cache {name}" for name in dict.fromkeys(self._caches.values()))
        detail = (
            "It was read, and has none of these steps: it is empty or of another name, what they read has changed, or "
            "it was left with mode='min', which keeps the steps of the result alone."
        )
        return [WarningRaised("", 1, f"No step was taken from {names}.", (detail,))]


def _named(event: VertexUpdated) -> str:
    where = event.name.removeprefix(_IMPORT)
    # Caches without a reference are named by a hash of their attributes.
    found = _HASHED.fullmatch(where)
    return f"of type {found[1]}" if found else where


def _missed(event: VertexUpdated) -> WarningRaised:
    where = _named(event)
    reason = _CONFIGURED.sub("", event.error)
    if _ABSENT.search(reason):
        short = f"There is no cache {where} to start from."
        detail = "After the first build that exports to it there will be."
    else:
        short = f"The cache {where} could not be read: {reason}"
        detail = "The build went on without it."
    return WarningRaised(event.digest, 1, short, (detail,))
