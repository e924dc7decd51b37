"""A build at one moment, as frozen values. Views are functions of these; nothing here changes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from depotlab._values import Value
from depotlab.errors import SourceLocation, UsageError
from depotlab.progress._events import Phase
from depotlab.progress._lines import LogLine
from depotlab.progress._logs import LogStore, LogTail

__all__ = ["BuildWarning", "Counts", "Interval", "Snapshot", "Step", "StepState", "Transfer"]

_S = 1e-9
_PLATFORM = re.compile(r"\[((?:linux|windows|darwin|freebsd|wasip1|wasi)/[^\s\]]+)[\s\]]")


class StepState(StrEnum):
    """What became of one step. The value is the word that views show."""

    WAITING = "waiting"
    RUNNING = "running"
    CACHED = "cached"
    RAN = "ran"
    NOT_NEEDED = "not needed"
    """Announced, never started, and the build succeeded without it."""
    NOT_REACHED = "not reached"
    """Announced, never started, because the build ended before its turn."""
    CANCELED = "canceled"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Nothing more will happen to the step, as far as is known now."""
        return self not in (StepState.WAITING, StepState.RUNNING)


class Interval(NamedTuple):
    """One stretch of work on a step, by our clock. `end_ns` None: still going on."""

    start_ns: int
    end_ns: int | None


class Transfer(NamedTuple):
    """A labelled piece of work inside a step: a layer that is pulled, a context that is sent.

    `current` and `total` are bytes in all senders known; `total` 0 means that nobody knows.
    """

    id: str
    name: str
    current: int
    total: int
    started_ns: int | None
    completed_ns: int | None

    @property
    def is_done(self) -> bool:
        """The sender said that it has completed."""
        return self.completed_ns is not None

    @property
    def fraction(self) -> float | None:
        """How much is done, 0 to 1, or None when that cannot be known."""
        if self.is_done:
            return 1.0
        return min(1.0, self.current / self.total) if self.total > 0 else None


@dataclass(frozen=True, slots=True, repr=False)
class BuildWarning(Value):
    """A remark that did not fail the build.

    Attributes:
        step: Digest of the step it concerns, or empty.
        level: As sent; linters send 1.
        short: One sentence, often `RuleName: text (line N)`.
        detail: More lines, or none.
        url: Where the rule is explained, or empty.
        locations: Places in sources.
    """

    step: str
    level: int
    short: str
    detail: tuple[str, ...] = ()
    url: str = ""
    locations: tuple[SourceLocation, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class Step(Value):
    """One step: a vertex of the graph, or a progress group of several.

    Attributes:
        digest: Of the vertex; of a group, the group's id.
        name: As the frontend or the user called it. Anybody's text: escape it.
        state: What became of it.
        number: Its place in the order of first starts, from 1; 0 while it has not started.
        inputs: Digests of the steps that it needs.
        intervals: When it was worked on, in order. A step that starts again has several: the
            first is often the computation of its cache key and the second its execution.
        error: What the daemon said, or empty.
        transfers: Pieces of work inside, in order of appearance.
        log: Its newest output and how much there was.
        group: Id of the progress group that it stands for, or empty.
        members: Digests that it stands for: the group's members, else its own.
    """

    digest: str
    name: str
    state: StepState
    number: int = 0
    inputs: tuple[str, ...] = ()
    intervals: tuple[Interval, ...] = ()
    error: str = ""
    transfers: tuple[Transfer, ...] = ()
    log: LogTail = field(default_factory=LogTail)
    group: str = ""
    members: tuple[str, ...] = ()

    def __repr__(self) -> str:
        seconds = f", {self.duration_s:.1f} s" if self.intervals else ""
        return f"<Step {self.number or '-'} {_short(self.name, 80)!r}: {self.state}{seconds}>"

    @property
    def is_internal(self) -> bool:
        """The frontend made it for itself, such as loading the Dockerfile."""
        return self.name.startswith("[internal]")

    @property
    def platform(self) -> str:
        """The platform that the name of a multi-platform step begins with, or empty."""
        match = _PLATFORM.match(self.name)
        return match[1] if match else ""

    @property
    def started_ns(self) -> int | None:
        """When it was first worked on."""
        return self.intervals[0].start_ns if self.intervals else None

    @property
    def duration_s(self) -> float:
        """Seconds of work in all finished intervals; where they overlap, once."""
        return self.elapsed_s(0)

    def elapsed_s(self, at_ns: int) -> float:
        """Return `duration_s` with the interval that is still open counted up to `at_ns`."""
        total = 0
        covered_to = 0
        for start_ns, end_ns in self.intervals:
            first = max(start_ns, covered_to)
            last = end_ns if end_ns is not None else at_ns
            if last > first:
                total += last - first
                covered_to = last
        return total * _S

    @property
    def log_tail(self) -> tuple[LogLine, ...]:
        """The newest lines of its output. Decoded at each call."""
        return self.log.lines()

    @property
    def n_log_lines(self) -> int:
        """How many lines it has written, whether they are in `log_tail` or not."""
        return self.log.n_lines


_STATE_INDEX = {state: index for index, state in enumerate(StepState)}


class Counts(NamedTuple):
    """How many steps are in which state, in the order of `StepState`."""

    waiting: int = 0
    running: int = 0
    cached: int = 0
    ran: int = 0
    not_needed: int = 0
    not_reached: int = 0
    canceled: int = 0
    failed: int = 0

    def of(self, state: StepState) -> int:
        """How many steps are in this state."""
        return self[_STATE_INDEX[state]]

    @property
    def total(self) -> int:
        """All steps."""
        return sum(self)

    @property
    def over(self) -> int:
        """Steps that nothing more will happen to."""
        return self.total - self.waiting - self.running


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Snapshot(Value):
    """A build at one moment.

    Attributes:
        at_ns: The moment, ns since 1970 UTC by our clock.
        target: What is built, in a word or two.
        where: On what machine, in a few words.
        phase: Running, succeeded, failed or canceled.
        started_ns: When the build began, or 0.
        ended_ns: When it ended, or None.
        error: Why it failed, in the words of the daemon, or empty.
        locations: Places in the user's sources that asked for what failed.
        steps: In the order in which they first started; then those that have not.
        counts: How many steps are in which state.
        warnings: Each once, in the order they came.
        up_bytes: Sent to the daemon through the session so far.
        down_bytes: Received from it through the session so far.
        recent: The newest output of all steps together.
        logs: All output; reading it may read a temporary file.
    """

    at_ns: int
    target: str = ""
    where: str = ""
    phase: Phase = Phase.RUNNING
    started_ns: int = 0
    ended_ns: int | None = None
    error: str = ""
    steps: tuple[Step, ...] = ()
    counts: Counts = field(default_factory=Counts)
    warnings: tuple[BuildWarning, ...] = ()
    up_bytes: int = 0
    down_bytes: int = 0
    recent: LogTail = field(default_factory=LogTail)
    locations: tuple[SourceLocation, ...] = ()
    logs: LogStore | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        counts = self.counts
        words = [f"{n} {name.replace('_', ' ')}" for name, n in counts._asdict().items() if n]
        target = f" {_short(self.target, 60)}" if self.target else ""
        return (
            f"<Snapshot{target}: {self.phase} for {self.duration_s:.1f} s, "
            f"{counts.over}/{counts.total} steps ({', '.join(words) or 'none yet'})>"
        )

    def _facts(self) -> Iterable[tuple[str, object]]:
        counts = self.counts._asdict().items()
        return [
            ("target", self.target),
            ("where", self.where),
            ("phase", self.phase),
            ("steps", ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts if n)),
            ("duration_s", self.duration_s),
            ("up_bytes", self.up_bytes),
            ("down_bytes", self.down_bytes),
            ("warnings", tuple(warning.short for warning in self.warnings)),
            ("error", self.error),
        ]

    @property
    def started_at(self) -> datetime:
        """When the build began."""
        return datetime.fromtimestamp(self.started_ns * _S, UTC)

    @property
    def ended_at(self) -> datetime | None:
        """When the build ended, None while it runs."""
        return None if self.ended_ns is None else datetime.fromtimestamp(self.ended_ns * _S, UTC)

    @property
    def duration_s(self) -> float:
        """Seconds since the build began, or that it took."""
        if not self.started_ns:
            return 0.0
        return max(0, (self.ended_ns or self.at_ns) - self.started_ns) * _S

    @property
    def failed(self) -> tuple[Step, ...]:
        """The steps that failed, in order of start."""
        return self.of(StepState.FAILED)

    def of(self, *states: StepState) -> tuple[Step, ...]:
        """Return the steps in any of these states, in order."""
        return tuple(step for step in self.steps if step.state in states)

    def step(self, name: str) -> Step:
        """Return the step with this digest (or the start of one), name, or part of a name.

        Raises:
            UsageError: No step matches, or several do; the message lists them.
        """
        for matches in _readings(name, self.steps):
            if len(matches) == 1:
                return matches[0]
            if matches:
                listed = "; ".join(_short(step.name, 60) for step in matches[:5])
                raise UsageError(
                    f"{len(matches)} steps match {name!r}: {listed}",
                    hint="give more of the name, or the step's digest",
                )
        raise UsageError(
            f"No step matches {name!r}.", hint="see .steps for the names and digests there are"
        )

    def log_text(self, name: str) -> str:
        """Return the whole output of a step, named as for `step`. May read a temporary file."""
        step = self.step(name)
        if self.logs is None:
            return "\n".join(line.text for line in step.log_tail)
        return "\n".join(line.text for line in self.logs.lines(step.digest))


def _readings(name: str, steps: Iterable[Step]) -> Iterable[list[Step]]:
    """Yield the steps that `name` may mean, from the strictest reading to the loosest."""
    steps = list(steps)
    yield [step for step in steps if name == step.digest or name in step.members]
    yield [step for step in steps if step.name == name]
    if len(name) >= 6:
        bare = name.removeprefix("sha256:")
        yield [s for s in steps if s.digest.removeprefix("sha256:").startswith(bare)]
    yield [step for step in steps if name in step.name]


def _short(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
