"""Words, numbers and symbols that all views share. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from depotlab._values import bytes_text
from depotlab.progress import Phase, Snapshot, Step, StepState
from depotlab.widgets._ansi import plain

__all__ = [
    "PHASE_SYMBOLS",
    "SYMBOLS",
    "bytes_text",
    "counts_text",
    "facts_text",
    "headline",
    "label_text",
    "one_line",
    "platforms",
    "seconds_text",
    "steps_text",
    "transfer_text",
    "where_text",
]

_TAG = re.compile(r"\[([^\]]{1,60})\] ")

SYMBOLS = {
    StepState.WAITING: "○",
    StepState.RUNNING: "●",
    StepState.CACHED: "⊙",
    StepState.RAN: "✔",
    StepState.NOT_NEEDED: "-",
    StepState.NOT_REACHED: "-",
    StepState.CANCELED: "⊘",
    StepState.FAILED: "✖",
}
PHASE_SYMBOLS = {
    Phase.RUNNING: "●",
    Phase.SUCCEEDED: "✔",
    Phase.FAILED: "✖",
    Phase.CANCELED: "⊘",
}


def one_line(text: str, limit: int) -> str:
    """Return the text on one line of at most `limit` characters, free of control characters."""
    text = plain(" ".join(text.split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def seconds_text(seconds: float, *, is_open: bool = False) -> str:
    """Return a duration: `0.4 s`, `12.3 s`, `4m 05s`, `2h 03m`.

    A duration that is still growing has no decimals, so that it changes once a second.
    """
    if seconds < 59.95:
        return f"{int(seconds)} s" if is_open else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}m"


def headline(snapshot: Snapshot) -> str:
    """Return the one line that says what is built and how it stands."""
    target = one_line(snapshot.target, 60) or "image"
    is_open = snapshot.phase is Phase.RUNNING
    time = seconds_text(snapshot.duration_s, is_open=is_open)
    return {
        Phase.RUNNING: f"Building {target} · {time}",
        Phase.SUCCEEDED: f"Built {target} in {time}",
        Phase.FAILED: f"{target} failed after {time}",
        Phase.CANCELED: f"{target} canceled after {time}",
    }[snapshot.phase]


def counts_text(snapshot: Snapshot) -> str:
    """Return how many steps are in which state, such as `9 cached · 4 ran · 1 waiting`."""
    words = snapshot.counts._asdict().items()
    order = ("failed", "canceled", "running", "cached", "ran")
    ranked = sorted(words, key=lambda kv: order.index(kv[0]) if kv[0] in order else len(order))
    return " · ".join(f"{n} {name.replace('_', ' ')}" for name, n in ranked if n)


def steps_text(snapshot: Snapshot) -> str:
    """Return how far a build is: `7 of 14 steps`, or `14 steps` once it is over."""
    counts = snapshot.counts
    plural = "" if counts.total == 1 else "s"
    if snapshot.phase is Phase.RUNNING:
        return f"{counts.over} of {counts.total} step{plural}"
    return f"{counts.total} step{plural}"


def platforms(steps: Iterable[Step]) -> tuple[str, ...]:
    """Return the platforms that steps are for, each once, in an order that does not change."""
    return tuple(sorted({step.platform for step in steps if step.platform}))


def facts_text(snapshot: Snapshot) -> str:
    """Return the second line: how far, which states, platforms, bytes sent and received, warnings."""
    parts = [steps_text(snapshot), counts_text(snapshot), *platforms(snapshot.steps)]
    if snapshot.up_bytes or snapshot.down_bytes:
        parts.append(f"↑ {bytes_text(snapshot.up_bytes)} ↓ {bytes_text(snapshot.down_bytes)}")
    if snapshot.warnings:
        n = len(snapshot.warnings)
        parts.append(f"{n} warning{'s' if n > 1 else ''}")
    return " · ".join(part for part in parts if part)


def where_text(snapshot: Snapshot) -> str:
    """Return ` · ` and the machine, to stand after the headline, or nothing."""
    where = one_line(snapshot.where, 60)
    return f" · {where}" if where else ""


def label_text(step: Step, limit: int) -> str:
    """Return a short label for lines of a step: `web 3/3` of `[web 3/3] RUN make`, or the name.

    Of a platform what distinguishes it: `arm64 web 3/3` of `[linux/arm64 web 3/3] RUN make`.
    """
    tag = _TAG.match(step.name)
    return one_line(tag[1].removeprefix("linux/") if tag else step.name, limit)


def transfer_text(step: Step) -> tuple[str, float | None]:
    """Return what a step moves now in a few words, and how far it is (0 to 1) if that is known.

    Layers of an image are many transfers of one step; their bytes are added up.
    """
    sized = [t for t in step.transfers if t.total > 0]
    if sized:
        current = sum(t.total if t.is_done else min(t.current, t.total) for t in sized)
        total = sum(t.total for t in sized)
        return f"{bytes_text(current)} of {bytes_text(total)}", current / total
    going = [t for t in step.transfers if not t.is_done]
    for transfer in reversed(going or step.transfers):
        if transfer.current > 0:
            return bytes_text(transfer.current), None
        if going:
            return one_line(transfer.id.removesuffix(":"), 40), None
    return "", None
