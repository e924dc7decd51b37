"""What the end of a build waited for: its critical path. Pure."""

from __future__ import annotations

from bisect import bisect_right

from depotlab.progress._snapshot import Snapshot, Step

__all__ = ["critical_path", "idle_s"]

_SLACK_NS = 50_000_000  # between the end of a step and the start of what waited for it


def critical_path(snapshot: Snapshot) -> tuple[Step, ...]:
    """Return the chain of steps that the end of the build waited for, first to last.

    Walks back from the step that ended last, each time to the input that ended last, looking through
    inputs that took no time. Steps that name no inputs waited for whatever ended last before they
    began: an export for all that is built, a source for what the client and the frontend do themselves.
    Of a build that runs it is the path so far.
    """
    at_ns = snapshot.at_ns
    by_digest = {member: step for step in snapshot.steps for member in (step.digest, *step.members)}
    used = {by_digest[i].digest for step in snapshot.steps for i in step.inputs if i in by_digest}
    ended_ns = {s.digest: _ended_ns(s, at_ns) for s in snapshot.steps if s.elapsed_s(at_ns) > 0}
    in_order = sorted(ended_ns, key=lambda digest: ended_ns[digest])
    loose = [d for d in in_order if d not in used and not by_digest[d].inputs]
    path: list[Step] = []
    on_path: set[str] = set()
    last = in_order[-1] if in_order else None
    while last is not None:
        step = by_digest[last]
        path.append(step)
        on_path.add(last)
        limit_ns = ended_ns[last] - 1
        needed = [s.digest for s in _inputs(step, by_digest) if s.digest in ended_ns]
        if needed:
            before = sorted(needed, key=lambda digest: ended_ns[digest])
        else:
            limit_ns = min(limit_ns, (step.started_ns or 0) + _SLACK_NS)
            before = loose if last in used else in_order
        n_before = bisect_right(before, limit_ns, key=lambda digest: ended_ns[digest])
        last = next((d for d in reversed(before[:n_before]) if d not in on_path), None)
    return tuple(reversed(path))


def idle_s(snapshot: Snapshot) -> float:
    """Return the seconds of a build in which no step was worked on."""
    end_ns = snapshot.ended_ns or snapshot.at_ns
    idle_ns = 0
    covered_to = snapshot.started_ns
    intervals = [interval for step in snapshot.steps for interval in step.intervals]
    for start_ns, stop_ns in sorted(intervals, key=lambda interval: interval.start_ns):
        idle_ns += max(0, min(start_ns, end_ns) - covered_to)
        covered_to = max(covered_to, end_ns if stop_ns is None else stop_ns)
    return (idle_ns + max(0, end_ns - covered_to)) * 1e-9


def _inputs(step: Step, by_digest: dict[str, Step]) -> list[Step]:
    """Return the steps that it needs; instead of those that nobody worked on, what they need."""
    found: dict[str, Step] = {}
    seen = {step.digest}
    stack = [step]
    while stack:
        for digest in stack.pop().inputs:
            needed = by_digest.get(digest)
            if needed is None or needed.digest in seen:
                continue
            seen.add(needed.digest)
            if any(start_ns != end_ns for start_ns, end_ns in needed.intervals):
                found[needed.digest] = needed
            else:
                stack.append(needed)
    return list(found.values())


def _ended_ns(step: Step, at_ns: int) -> int:
    return max(at_ns if end_ns is None else end_ns for _, end_ns in step.intervals)
