"""Accumulates events into snapshots.

The rules, as the daemon's own client follows them (moby/buildkit client/graph.go and
util/progress/progressui), with what was seen on the wire of v0.32.2:

- A vertex update is the whole state that is known, and replaces by digest; a name or inputs left
  out are kept. A step is worked on in intervals, keyed by their start: the same digest completes
  and starts again (first its cache key, then its execution), so the first completion is not the
  end. What became of a step is what became of the interval that ended last: one that is loaded from an
  imported cache has intervals of its loading inside the one that says that it was cached.
- States may be collapsed: a completion may come with no start before it, or none at all, as for
  inputs that turned out to be cached when something that needs them was started.
- An error that ends in "context canceled" is a cancellation.
- Members of a progress group are one step. It shows once a member that is not weak has started,
  or an error came; it is cached if all members that started are.
- Warnings come again when the stream is read again: kept once, by content.
- Transfers replace by (vertex, id); the newer timestamp wins.

So an event that is fed twice changes nothing, in any order; only logs have no identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from depotlab._values import Value
from depotlab.progress._events import (
    BuildEnded,
    BuildStarted,
    BytesMoved,
    ClockRead,
    Event,
    LogWritten,
    Phase,
    ProgressGroup,
    TransferUpdated,
    VertexUpdated,
    WarningRaised,
)
from depotlab.progress._logs import LogStore, StepLog
from depotlab.progress._snapshot import (
    BuildWarning,
    Counts,
    Interval,
    Snapshot,
    Step,
    StepState,
    Transfer,
)

__all__ = ["Fold", "fold"]

_CANCELED = "context canceled"
_STATES = tuple(StepState)
_COUNT_INDEX = {state: index for index, state in enumerate(_STATES)}


class _Run:
    """One interval of a vertex and how it ended."""

    __slots__ = ("end_ns", "error", "is_cached")

    def __init__(self) -> None:
        self.end_ns: int | None = None
        self.is_cached = False
        self.error = ""


class _Vertex:
    """What has been said about one vertex."""

    __slots__ = ("digest", "inputs", "is_local", "is_weak", "name", "owner", "runs")

    def __init__(self, digest: str, *, is_weak: bool, is_local: bool) -> None:
        self.digest = digest
        self.name = ""
        self.inputs: tuple[str, ...] = ()
        self.runs: dict[int, _Run] = {}
        self.is_weak = is_weak
        self.is_local = is_local
        self.owner: _Slot

    def intervals(self, offset_ns: int) -> list[Interval]:
        shift = 0 if self.is_local else offset_ns
        starts = sorted(self.runs)
        found = []
        for index, start in enumerate(starts, 1):
            end = self.runs[start].end_ns
            if end is None and index < len(starts):
                end = starts[index]  # its completion was never told, but it is not running twice
            found.append(Interval(start + shift, None if end is None else end + shift))
        return found

    @property
    def newest(self) -> _Run | None:
        """The interval that ends last, or has not ended; of those that end together the last to start."""
        if len(self.runs) < 2:
            return next(iter(self.runs.values()), None)
        return max(self.runs.items(), key=_end_and_start)[1]


def _end_and_start(item: tuple[int, _Run]) -> tuple[bool, int, int]:
    start_ns, run = item
    return run.end_ns is None, run.end_ns or 0, start_ns


class _Standing(NamedTuple):
    """The parts of a step that only vertex updates change; most updates are of other parts."""

    name: str
    state: StepState
    inputs: tuple[str, ...]
    intervals: tuple[Interval, ...]
    error: str
    members: tuple[str, ...]


class _Slot:
    """One step to be: a vertex, or a group of them, and the frozen step made of it last."""

    __slots__ = (
        "digest",
        "frozen",
        "group",
        "is_dirty",
        "is_shown",
        "log",
        "members",
        "number",
        "shown_transfers",
        "standing",
        "start_order",
        "transfers",
    )

    def __init__(self, digest: str, group: ProgressGroup | None, log: StepLog) -> None:
        self.digest = digest
        self.group = group
        self.members: list[_Vertex] = []
        self.transfers: dict[tuple[str, str], TransferUpdated] = {}
        self.log = log
        self.number = 0
        self.frozen: Step | None = None
        self.is_dirty = False
        self.is_shown = False
        self.start_order = 0  # breaks ties: cached steps that follow each other start together
        # Made anew when they are None, which says that they have changed.
        self.shown_transfers: tuple[Transfer, ...] | None = None
        self.standing: _Standing | None = None

    @property
    def first_start_ns(self) -> int:
        return min(start for member in self.members for start in member.runs)

    @property
    def has_shown_start(self) -> bool:
        """A member that is not weak has started, or one has failed."""
        return any(
            (not member.is_weak) or any(run.error for run in member.runs.values())
            for member in self.members
            if member.runs
        )


class Fold(Value):
    """Feed it events on one thread, take snapshots on another.

    A snapshot costs in proportion to the steps that changed since the last one, whatever the
    size of the logs. `version` grows with every event that was fed.

    Args:
        logs: Where output is kept; a new store by default. `close()` closes it.

    Attributes:
        on_output: Called with the output among the events that were fed, on the thread that feeds; usually `None`.

    Example:
        >>> build = Fold()
        >>> build.feed([VertexUpdated("sha256:1", "compile", started_ns=5)])
        >>> build.snapshot(at_ns=9).steps[0].state
        <StepState.RUNNING: 'running'>
    """

    def __init__(self, *, logs: LogStore | None = None) -> None:
        self.logs = logs if logs is not None else LogStore()
        self.version = 0
        self.on_output: Callable[[list[LogWritten]], None] | None = None
        self._lock = self.logs.lock
        self._vertices: dict[str, _Vertex] = {}
        self._slots: dict[str, _Slot] = {}
        self._started: list[_Slot] = []  # in order of first start; all others are in `_waiting`
        self._waiting: dict[str, _Slot] = {}
        self._dirty: list[_Slot] = []
        self._counts = [0] * len(_STATES)
        self._warnings: dict[BuildWarning, None] = {}
        self._start = BuildStarted(0)
        self._end: BuildEnded | None = None
        self._bytes = BytesMoved(0, 0)
        self._offset_ns = 0
        self._n_runs = 0

    def __repr__(self) -> str:
        return f"<Fold version {self.version}: {len(self._slots)} steps, {self.logs!r}>"

    def close(self) -> None:
        """Remove the temporary file of the logs. Snapshots keep all but the oldest output."""
        self.logs.close()

    def feed(self, events: Iterable[Event]) -> None:
        """Take in events in the order they came. Never raises for what a daemon may send."""
        if self.on_output is not None:
            events = list(events)
            self.on_output([event for event in events if type(event) is LogWritten])
        with self._lock:
            for event in events:
                if type(event) is LogWritten:  # nine of ten events of a chatty build
                    slot = self._slot_of(event.vertex)
                    self.logs.append(slot.log, event)
                    if not slot.is_dirty:
                        self._touch(slot)
                else:
                    self._feed_one(event)
            self.version += 1

    def snapshot(self, *, at_ns: int) -> Snapshot:
        """Return the build as it is now. `at_ns` is the caller's clock; steps do not read one."""
        with self._lock:
            self._number()
            for slot in self._dirty:
                self._freeze(slot)
            self._dirty = []
            steps = [slot.frozen for slot in self._started]
            steps += [slot.frozen for slot in self._waiting.values() if slot.is_shown]
            end = self._end
            return Snapshot(
                at_ns=at_ns,
                target=self._start.target,
                where=self._start.where,
                phase=end.phase if end else Phase.RUNNING,
                started_ns=self._start.at_ns,
                ended_ns=end.at_ns if end else None,
                error=end.error if end else "",
                steps=tuple(step for step in steps if step is not None),
                counts=Counts(*self._counts),
                warnings=tuple(self._warnings),
                up_bytes=self._bytes.up_bytes,
                down_bytes=self._bytes.down_bytes,
                recent=self.logs.recent(),
                locations=end.locations if end else (),
                logs=self.logs,
            )

    # ------------------------------------------------------------------------------- taking in

    def _feed_one(self, event: Event) -> None:
        match event:
            case VertexUpdated():
                self._vertex(event)
            case TransferUpdated():
                self._transfer(event)
            case LogWritten():
                raise AssertionError("fed in feed()")
            case WarningRaised():
                self._warnings.setdefault(BuildWarning(*event))
            case BuildStarted():
                self._start = event
            case BuildEnded():
                self._end = event
                self._touch_all()
            case BytesMoved():
                self._bytes = event
            case ClockRead():
                self._offset_ns = self.logs.offset_ns = event.local_ns - event.daemon_ns
                self._touch_all()

    def _vertex(self, event: VertexUpdated) -> None:
        vertex = self._vertices.get(event.digest)
        if vertex is None:
            vertex = self._announce(event)
        vertex.name = event.name or vertex.name
        vertex.inputs = event.inputs or vertex.inputs
        start_ns = event.started_ns if event.started_ns is not None else event.completed_ns
        if start_ns is not None:
            run = vertex.runs.get(start_ns)
            if run is None:
                run = vertex.runs[start_ns] = _Run()
                self._n_runs += 1
                vertex.owner.start_order = vertex.owner.start_order or self._n_runs
            if event.completed_ns is not None:
                run.end_ns = max(run.end_ns or 0, event.completed_ns)
                # A step that begins anew, after a build that was cancelled, still has the error of before.
                run.error = event.error or run.error
            run.is_cached = run.is_cached or event.is_cached
        vertex.owner.standing = None
        self._touch(vertex.owner)

    def _announce(self, event: VertexUpdated) -> _Vertex:
        group = event.group
        vertex = _Vertex(
            event.digest, is_weak=bool(group and group.is_weak), is_local=event.is_local
        )
        key = group.id if group and group.id else event.digest
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._waiting[key] = _Slot(
                key, group, self.logs.step_log(key)
            )
        slot.members.append(vertex)
        slot.standing = None
        vertex.owner = slot
        self._vertices[event.digest] = vertex
        return vertex

    def _slot_of(self, digest: str) -> _Slot:
        vertex = self._vertices.get(digest)
        if vertex is None:  # a late reader: output of a vertex that is announced afterwards
            vertex = self._announce(VertexUpdated(digest))
        return vertex.owner

    def _transfer(self, event: TransferUpdated) -> None:
        slot = self._slot_of(event.vertex)
        key = (event.vertex, event.id)
        known = slot.transfers.get(key)
        if known is None or event.at_ns >= known.at_ns:
            slot.transfers[key] = event
            slot.shown_transfers = None
            self._touch(slot)

    def _touch(self, slot: _Slot) -> None:
        if not slot.is_dirty:
            slot.is_dirty = True
            self._dirty.append(slot)

    def _touch_all(self) -> None:
        for slot in self._slots.values():
            slot.shown_transfers = slot.standing = None
            self._touch(slot)

    # -------------------------------------------------------------------------------- giving out

    def _number(self) -> None:
        """Give the steps that have started since the last snapshot their numbers."""
        new = [slot for slot in self._dirty if not slot.number and slot.has_shown_start]
        for slot in sorted(new, key=lambda slot: (slot.first_start_ns, slot.start_order)):
            self._started.append(slot)
            slot.number = len(self._started)
            del self._waiting[slot.digest]

    def _freeze(self, slot: _Slot) -> None:
        slot.is_dirty = False
        standing = slot.standing
        if standing is None:
            standing = slot.standing = self._standing(slot)
            if slot.is_shown and slot.frozen is not None:
                self._counts[_COUNT_INDEX[slot.frozen.state]] -= 1
            slot.is_shown = slot.group is None or slot.has_shown_start
            if slot.is_shown:
                self._counts[_COUNT_INDEX[standing.state]] += 1
        if slot.shown_transfers is None:
            slot.shown_transfers = tuple(
                _as_transfer(t, self._offset_ns) for t in slot.transfers.values()
            )
        last = slot.frozen
        log = last.log if last is not None else None
        if log is None or (log.n_bytes, log.offset_ns) != (slot.log.n_bytes, self._offset_ns):
            log = slot.log.tail(self._offset_ns)
        slot.frozen = Step(
            slot.digest,
            standing.name,
            standing.state,
            slot.number,
            standing.inputs,
            standing.intervals,
            standing.error,
            slot.shown_transfers,
            log,
            slot.group.id if slot.group else "",
            standing.members,
        )

    def _standing(self, slot: _Slot) -> _Standing:
        members = slot.members
        own = tuple(member.digest for member in members)
        inputs = members[0].inputs
        intervals = members[0].intervals(self._offset_ns)
        for member in members[1:]:
            inputs += member.inputs
            intervals += member.intervals(self._offset_ns)
        if len(members) > 1:
            inputs = tuple(dict.fromkeys(digest for digest in inputs if digest not in own))
            intervals.sort(key=lambda interval: interval.start_ns)
        state, error = self._outcome(members)
        if self._end is not None:
            end_ns = self._end.at_ns
            intervals = [
                Interval(start, max(start, end_ns) if end is None else end)
                for start, end in intervals
            ]
        name = (slot.group.name if slot.group else "") or members[0].name or slot.digest
        return _Standing(name, state, inputs, tuple(intervals), error, own)

    def _outcome(self, members: list[_Vertex]) -> tuple[StepState, str]:
        newest = [run for member in members if (run := member.newest) is not None]
        if not newest:
            if self._end is None:
                return StepState.WAITING, ""
            if self._end.phase is Phase.SUCCEEDED:
                return StepState.NOT_NEEDED, ""
            return StepState.NOT_REACHED, ""
        error = next((run.error for run in newest if run.error), "")
        if error:
            return (StepState.CANCELED if _is_cancel(error) else StepState.FAILED), error
        if any(run.end_ns is None for run in newest):
            if self._end is None:
                return StepState.RUNNING, ""
            if self._end.phase is not Phase.SUCCEEDED:
                return StepState.CANCELED, ""
        return (StepState.CACHED if all(run.is_cached for run in newest) else StepState.RAN), ""


def fold(events: Iterable[Event], *, at_ns: int = 0) -> Snapshot:
    """Return the snapshot after these events, for builds that are over or scripted."""
    whole = Fold()
    whole.feed(events)
    return whole.snapshot(at_ns=at_ns)


def _is_cancel(error: str) -> bool:
    return error.rstrip().endswith(_CANCELED)


def _as_transfer(event: TransferUpdated, offset_ns: int) -> Transfer:
    started, completed = event.started_ns, event.completed_ns
    return Transfer(
        event.id,
        event.name,
        event.current,
        event.total,
        None if started is None else started + offset_ns,
        None if completed is None else completed + offset_ns,
    )
