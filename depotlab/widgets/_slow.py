"""What made a build slow, in a sentence. Pure."""

from __future__ import annotations

from depotlab.progress import Phase, Snapshot, critical_path, idle_s
from depotlab.widgets._text import one_line, seconds_text

__all__ = ["slow_text", "why_slow"]

_NAMED = 3
_LEAST_SHARE = 0.1
_LEAST_S = 0.5


def slow_text(snapshot: Snapshot) -> str:
    """Return what the build waited for most, such as `Waited mostly for RUN make (4.9 s), …`, or nothing.

    Nothing for builds of less than half a second, and where nothing stands out.
    """
    total_s = snapshot.duration_s
    if total_s < _LEAST_S or not snapshot.steps:
        return ""
    least_s = total_s * _LEAST_SHARE
    path = sorted(critical_path(snapshot), key=lambda step: -step.elapsed_s(snapshot.at_ns))
    named = [step for step in path if step.elapsed_s(snapshot.at_ns) >= least_s][:_NAMED]
    listed = [
        f"{one_line(step.name, 50)} ({seconds_text(step.elapsed_s(snapshot.at_ns))})"
        for step in named
    ]
    waited = f"Waited mostly for {', '.join(listed)}." if listed else ""
    between_s = idle_s(snapshot)
    if between_s < max(least_s, _LEAST_S):
        return waited
    idle = f"In {seconds_text(between_s)} of {seconds_text(total_s)} no step was worked on."
    return f"{waited} {idle}" if waited else idle


def why_slow(snapshot: Snapshot) -> str:
    """Return what took a build its time, in a sentence or two, also where nothing stands out."""
    said = slow_text(snapshot)
    if said:
        return said
    path = critical_path(snapshot)
    total = seconds_text(snapshot.duration_s, is_open=snapshot.phase is Phase.RUNNING)
    if not path:
        return f"No step took any time; {total} in all."
    longest = max(path, key=lambda step: step.elapsed_s(snapshot.at_ns))
    took = seconds_text(longest.elapsed_s(snapshot.at_ns))
    return f"Nothing stands out: {total} in all, the longest {one_line(longest.name, 50)} ({took})."
