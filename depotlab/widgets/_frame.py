"""Decides which steps a view has room for, and in which order they stand. Pure.

A table that jumps cannot be read, so the order is that of the graph (what is needed stands above
what needs it) and does not depend on what runs when. While everything fits, everything is shown.
When it does not: what failed, what runs, what has just ended, in this order of importance.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from depotlab.progress import Phase, Snapshot, Step, StepState

__all__ = ["Frame", "graph_order", "matters", "to_frame"]

_SLOW_INTERNAL_S = 2.0


@dataclass(frozen=True, slots=True)
class Frame:
    """The steps that are shown and what is said of the others.

    Attributes:
        rows: At most as many as were asked for, in graph order.
        more: What was left out, such as `12 more: 9 cached, 3 waiting`, or empty.
    """

    rows: tuple[Step, ...]
    more: str = ""


def to_frame(snapshot: Snapshot, *, max_rows: int) -> Frame:
    """Return the rows that matter most at this moment."""
    ordered = graph_order(snapshot.steps)
    shown = [step for step in ordered if matters(step, snapshot)]
    if len(shown) > max_rows:
        ranked = sorted(shown, key=lambda step: _rank(step, snapshot))
        chosen = {step.digest for step in ranked[:max_rows]}
        shown = [step for step in shown if step.digest in chosen]
    kept = {step.digest for step in shown}
    left = Counter(
        "internal" if not matters(step, snapshot) else str(step.state)
        for step in ordered
        if step.digest not in kept
    )
    if not left:
        return Frame(tuple(shown))
    if len(left) == 1:
        ((word, n),) = left.items()
        more = (
            f"{n} internal step{'s' if n > 1 else ''}" if word == "internal" else f"{n} more {word}"
        )
        return Frame(tuple(shown), more)
    words = ", ".join(f"{n} {word}" for word, n in left.most_common())
    return Frame(tuple(shown), f"{left.total()} more: {words}")


def graph_order(steps: tuple[Step, ...]) -> list[Step]:
    """Return the steps with inputs before what needs them, branches kept together."""
    by_digest = {member: step for step in steps for member in (step.digest, *step.members)}
    needed = {by_digest[i].digest for step in steps for i in step.inputs if i in by_digest}
    # Ends of the graph first, in order of start; those in a cycle (which no daemon sends) after.
    roots = [s for s in steps if s.digest not in needed] + list(steps)
    done: dict[str, Step] = {}
    entered: set[str] = set()
    for root in roots:
        stack = [root]
        while stack:
            step = stack[-1]
            if step.digest in entered:
                stack.pop()
                done.setdefault(step.digest, step)
                continue
            entered.add(step.digest)
            inputs = [by_digest[i] for i in step.inputs if i in by_digest]
            stack += [s for s in reversed(inputs) if s.digest not in entered]
    return list(done.values())


def matters(step: Step, snapshot: Snapshot) -> bool:
    """Say whether a step is worth a row: what a frontend does for itself only if it is slow."""
    if not step.is_internal or step.state in (StepState.FAILED, StepState.CANCELED):
        return True
    return step.elapsed_s(snapshot.at_ns) >= _SLOW_INTERNAL_S


def _rank(step: Step, snapshot: Snapshot) -> tuple[int, float]:
    """Return a key that puts the most important step first."""
    if step.state is StepState.FAILED:
        return 0, step.number
    if snapshot.phase is not Phase.RUNNING:
        is_canceled = step.state is StepState.CANCELED
        return (1 if is_canceled else 2), -step.duration_s
    if step.state is StepState.RUNNING:
        return 1, step.number
    if step.state.is_over:
        return 2, -(step.intervals[-1].end_ns or 0) if step.intervals else 0
    return 3, 0
