"""What a build waited for: its critical path, and a sentence about it. Pure."""

from __future__ import annotations

from depotlab.progress import Snapshot, Step
from depotlab.widgets._text import one_line, seconds_text

__all__ = ["critical_path", "slow_text"]

_SLACK_NS = 50_000_000  # between the end of a step and the start of what waited for it
_NAMED = 3
_LEAST_SHARE = 0.1
_LEAST_S = 0.5


def critical_path(snapshot: Snapshot) -> tuple[Step, ...]:
    """Return the chain of steps that the end of the build waited for, first to last.

    Walks back from the step that ended last, each time to the input that ended last. Steps that
    name no inputs (an export) waited for whatever ended last before they began.
    """
    worked = [step for step in snapshot.steps if step.duration_s > 0]
    by_digest = {member: step for step in worked for member in (step.digest, *step.members)}
    path: list[Step] = []
    step = max(worked, key=_ended_ns, default=None)
    while step is not None:
        path.insert(0, step)
        began_ns = step.started_ns or 0
        before = [by_digest[i] for i in step.inputs if i in by_digest]
        if not step.inputs:
            before = [s for s in worked if _ended_ns(s) <= began_ns + _SLACK_NS]
        before = [s for s in before if s not in path and _ended_ns(s) < _ended_ns(step)]
        step = max(before, key=_ended_ns, default=None)
    return tuple(path)


def slow_text(snapshot: Snapshot) -> str:
    """Return what the build waited for most, such as `Waited for RUN make 4.9 s, …`, or nothing.

    Nothing for builds of less than half a second, and where no step stands out.
    """
    total_s = snapshot.duration_s
    if total_s < _LEAST_S:
        return ""
    path = sorted(critical_path(snapshot), key=lambda step: -step.duration_s)
    named = [step for step in path if step.duration_s >= total_s * _LEAST_SHARE][:_NAMED]
    if not named:
        return ""
    listed = ", ".join(f"{one_line(s.name, 50)} ({seconds_text(s.duration_s)})" for s in named)
    return f"Waited mostly for {listed}."


def _ended_ns(step: Step) -> int:
    return max((end_ns or 0) for _, end_ns in step.intervals)
