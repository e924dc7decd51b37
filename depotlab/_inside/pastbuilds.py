"""Past builds as their daemon remembers them: list, look into, play again, keep, forget."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from depotlab._values import Value
from depotlab._verbs import AnyBuilder, Builder
from depotlab.buildkit import (
    Attestation,
    BuildRecord,
    History,
    Provenance,
    Sbom,
    Trace,
    attestation,
    find_record,
    list_history,
    read_blob,
    read_error,
    read_events,
    read_trace,
    update_record,
)
from depotlab.errors import DepotlabError, UsageError
from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Event,
    Fold,
    Phase,
    Snapshot,
    Steps,
    VertexUpdated,
)
from depotlab.widgets import ProgressMode, StepViews, Ticker, choose, final_html

__all__ = [
    "BuildInspection",
    "Recording",
    "Replay",
    "history",
    "inspect_build",
    "pin",
    "remove_record",
    "replay_of",
    "trace_of",
]

_PHASES = {
    "completed": Phase.SUCCEEDED,
    "error": Phase.FAILED,
    "canceled": Phase.CANCELED,
    "running": Phase.RUNNING,
}

A = TypeVar("A", bound=Attestation)


@dataclass(frozen=True, slots=True, repr=False)
class BuildInspection(StepViews, Value):
    """A past build with all that its daemon still has of it.

    Attributes:
        record: What `history()` lists.
        snapshot: The final state of all steps, with what they wrote; without steps when the daemon has deleted that.
        attestations: What was attested. The daemon keeps a provenance of each build, whether it was asked for or not.
        error: How the build failed, with exit code and source line where the daemon knows them; else None.
    """

    record: BuildRecord
    snapshot: Snapshot
    attestations: tuple[Attestation, ...] = ()
    error: DepotlabError | None = field(default=None, compare=False)

    def _steps_now(self) -> Snapshot:
        return self.snapshot

    @property
    def steps(self) -> Steps:
        """All steps, in the order in which they began: a tuple, and a table with `.to_pandas()`."""
        return Steps(self.snapshot.steps)

    def logs(self, step: str | None = None) -> str:
        """Return what steps wrote, as text.

        Args:
            step: Name or digest of a step, or a part of it that no other has; None gives all.

        Raises:
            UsageError: No step, or several, match.
        """
        if step is not None:
            return self.snapshot.log_text(step)
        written = (self.snapshot.log_text(s.digest) for s in self.steps if s.log.n_bytes)
        return "\n".join(written)

    @property
    def provenance(self) -> Provenance | None:
        """How it was made, of the first platform."""
        return next(iter(self._of(Provenance)), None)

    @property
    def sboms(self) -> tuple[Sbom, ...]:
        """What is in it, by platform; only when `sbom=` was asked for."""
        return tuple(self._of(Sbom))

    def _of(self, kind: type[A]) -> list[A]:
        return [one for one in self.attestations if isinstance(one, kind)]

    def __repr__(self) -> str:
        return (
            f"<BuildInspection {self.record.ref} {self.record.title}: {self.record.status}, "
            f"{len(self.steps)} steps, {len(self.attestations)} attestations>"
        )

    def _repr_html_(self) -> str:
        parts = [self.record._repr_html_(), final_html(self.snapshot)]
        if self.error is not None:
            parts.append(f"<pre>{html.escape(str(self.error))}</pre>")
        parts += [one._repr_html_() for one in self.attestations]
        return f"<div>{''.join(parts)}</div>"


@dataclass(frozen=True, slots=True)
class Recording:
    """The progress of a past build: what was told, and when.

    Attributes:
        record: The build.
        told: Moment (ns since 1970 UTC, the daemon's clock) and events, in order.
    """

    record: BuildRecord
    told: Sequence[tuple[int, Sequence[Event]]] = field(repr=False)

    @property
    def began_ns(self) -> int:
        """When the build began."""
        return int(self.record.created_at.timestamp() * 1e9)

    @property
    def ended_ns(self) -> int:
        """When it ended, or was last heard of."""
        end = self.record.completed_at
        last_ns = self.told[-1][0] if self.told else self.began_ns
        return max(last_ns, int(end.timestamp() * 1e9) if end else 0, self.began_ns)

    def start(self) -> BuildStarted:
        return BuildStarted(self.began_ns, self.record.title, "the daemon's history")

    def end(self) -> BuildEnded | None:
        phase = _PHASES[self.record.status]
        if phase is Phase.RUNNING:
            return None
        failed = any(
            isinstance(event, VertexUpdated) and event.error
            for _, events in self.told
            for event in events
        )
        return BuildEnded(self.ended_ns, phase, "" if failed else self.record.error)

    def final(self) -> Snapshot:
        """Return the state of all steps at the end."""
        fold = Fold()
        fold.feed([self.start()])
        for _, events in self.told:
            fold.feed(list(events))
        if (end := self.end()) is not None:
            fold.feed([end])
        return fold.snapshot(at_ns=self.ended_ns)


class Replay:
    """Shows a recording as if it were a build that runs: a source for a `Ticker`, with a clock of its own.

    Args:
        recording: What to show.
        speed: Seconds of the build in a second of yours.
    """

    def __init__(self, recording: Recording, *, speed: float) -> None:
        self._recording = recording
        self._speed = speed
        self._fold = Fold()
        self._next = 0
        self._began_s: float | None = None
        self._skipped = False
        self._lock = threading.Lock()

    @property
    def duration_s(self) -> float:
        """How long it takes to show it."""
        length_ns = self._recording.ended_ns - self._recording.began_ns
        return length_ns / 1e9 / self._speed

    def skip(self) -> None:
        """Go to the end at once."""
        self._skipped = True

    @property
    def version(self) -> int:
        """See `widgets.Source`."""
        self._advance()
        return self._fold.version

    def snapshot(self, *, at_ns: int) -> Snapshot:
        """Return the build as it was; `at_ns` is our clock and counts only through what has passed."""
        return self._fold.snapshot(at_ns=self._advance())

    def _advance(self) -> int:
        """Feed what has been told by now; return the moment of the build, ns."""
        with self._lock:
            told, began_ns = self._recording.told, self._recording.began_ns
            if self._began_s is None:
                self._began_s = time.monotonic()
                self._fold.feed([self._recording.start()])
            passed_s = (time.monotonic() - self._began_s) * self._speed
            now_ns = began_ns + int(passed_s * 1e9)
            is_over = self._skipped or now_ns >= self._recording.ended_ns
            while self._next < len(told) and (is_over or told[self._next][0] <= now_ns):
                self._fold.feed(list(told[self._next][1]))
                self._next += 1
            if not is_over:
                return now_ns
            if self._next == len(told):
                self._next += 1  # once
                if (end := self._recording.end()) is not None:
                    self._fold.feed([end])
            return self._recording.ended_ns

    def start(self, progress: ProgressMode) -> Ticker:
        """Show it, in the view that `progress` says, and return what drives it."""
        return Ticker(self, choose(progress)).start()


def _daemon(builder: AnyBuilder) -> Builder:
    if not isinstance(builder, Builder):
        raise UsageError(
            "Builds on Depot leave no record on their machine, so there is no history to ask.",
            hint="Depot has their steps and logs: see the page of the build, result.depot.url",
        )
    return builder


def record_of(build: str | BuildRecord) -> str:
    """Return the name of a build.

    Raises:
        UsageError: It is neither a name nor a record.
    """
    ref = build.ref if isinstance(build, BuildRecord) else build
    if not isinstance(ref, str) or not ref:
        raise UsageError(
            f"{build!r} is neither a record nor the name of a build.",
            hint="give one of history(), or result.ref",
        )
    return ref


def check_speed(speed: float) -> None:
    """Refuse what is no speed.

    Raises:
        UsageError: It is not above zero.
    """
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < 1e9:
        raise UsageError(
            f"speed={speed!r} must be above zero.",
            hint="1 is as it was, 10 is ten times as fast",
        )


async def history(
    builder: AnyBuilder,
    *,
    status: str | Sequence[str] | None,
    ref: str | None,
    repository: str | None,
    max_age_s: float | None,
    limit: int | None,
) -> History:
    """List past builds; see `Client.history`."""
    channel = await _daemon(builder).connect()
    return await list_history(
        channel,
        status=status,
        ref=ref,
        repository=repository,
        max_age_s=max_age_s,
        limit=limit,
    )


async def inspect_build(builder: AnyBuilder, build: str | BuildRecord) -> BuildInspection:
    """Read all that the daemon has of a build; see `Client.inspect`."""
    found = await recording(builder, build)
    record = found.record
    channel = await _daemon(builder).connect()
    attested = [
        attestation(blob.predicate, platform, await read_blob(channel, blob))
        for platform, blobs in record.attestations.items()
        for blob in blobs
    ]
    error = await read_error(channel, record)
    return BuildInspection(record, found.final(), tuple(attested), error)


async def trace_of(builder: AnyBuilder, build: str | BuildRecord) -> Trace:
    """Read what the daemon did for a build; see `Client.trace`."""
    ref = record_of(build)
    return await read_trace(await _daemon(builder).connect(), ref)


async def recording(builder: AnyBuilder, build: str | BuildRecord) -> Recording:
    """Read the progress of a build."""
    ref = record_of(build)
    channel = await _daemon(builder).connect()
    record = await find_record(channel, ref)
    told = await read_events(channel, record.logs) if record.logs is not None else []
    return Recording(record, told)


async def replay_of(builder: AnyBuilder, build: str | BuildRecord, *, speed: float) -> Replay:
    """Read the progress of a build, to be shown.

    Raises:
        UsageError: It still runs, or the daemon no longer has its progress.
    """
    check_speed(speed)
    found = await recording(builder, build)
    if found.record.status == "running":
        raise UsageError(
            f"Build {found.record.ref} still runs.", hint="what has ended can be played again"
        )
    if not found.told:
        raise UsageError(
            f"The daemon has no progress of build {found.record.ref}.",
            hint="it is written a moment after the end, and deleted when the daemon needs the room",
        )
    return Replay(found, speed=speed)


async def pin(builder: AnyBuilder, build: str | BuildRecord, *, pinned: bool) -> None:
    """Keep the record of a build, or let it go with time."""
    ref = record_of(build)
    channel = await _daemon(builder).connect()
    await find_record(channel, ref)
    await update_record(channel, ref, pinned=pinned)


async def remove_record(builder: AnyBuilder, build: str | BuildRecord) -> None:
    """Delete the record of a build.

    Raises:
        UsageError: There is none, it runs, or it is pinned.
    """
    ref = record_of(build)
    channel = await _daemon(builder).connect()
    record = await find_record(channel, ref)
    if record.status == "running":
        raise UsageError(
            f"Build {ref} still runs; its record cannot be deleted.", hint="cancel it first"
        )
    if record.pinned:
        raise UsageError(
            f"The record of build {ref} is pinned.", hint=f"first pin({ref!r}, pinned=False)"
        )
    await update_record(channel, ref, delete=True)
