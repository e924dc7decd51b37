"""The steps of a build as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from depotlab._values import Tabular, table_html
from depotlab.progress._snapshot import Step, StepState

__all__ = ["Steps"]

_SHOWN_ROWS = 60


class Steps(Tabular, tuple[Step, ...]):
    """Steps of a build, in the order in which they began. A notebook shows them as a table."""

    __slots__ = ()

    _columns = (
        "number",
        "name",
        "state",
        "duration_s",
        "started_at",
        "ended_at",
        "n_log_lines",
        "platform",
        "digest",
        "error",
    )

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each step, for tables of any kind."""
        return [
            {
                "number": step.number,
                "name": step.name,
                "state": str(step.state),
                "duration_s": step.duration_s,
                "started_at": _moment(step.started_ns),
                "ended_at": _moment(step.intervals[-1].end_ns) if step.intervals else None,
                "n_log_lines": step.n_log_lines,
                "platform": step.platform,
                "digest": step.digest,
                "error": step.error,
            }
            for step in self
        ]

    def _headline(self) -> str:
        counts = [
            f"{n} {state}" for state in StepState if (n := sum(s.state is state for s in self))
        ]
        steps = "step" if len(self) == 1 else "steps"
        return f"{len(self)} {steps}" + (f": {', '.join(counts)}" if counts else "")

    def __repr__(self) -> str:
        return f"<Steps {self._headline()}>"

    def __str__(self) -> str:
        return "\n".join([self._headline(), *(f"  {step!r}" for step in self)])

    def _repr_html_(self) -> str:
        seen = [step for step in self if not step.is_internal]
        rest, internal = len(seen) - _SHOWN_ROWS, len(self) - len(seen)
        notes = [f"and {rest} more"] if rest > 0 else []
        if internal:
            notes.append(f"and {internal} that the frontend made for itself")
        rows = [
            (
                str(step.number or ""),
                step.name,
                str(step.state),
                f"{step.duration_s:.1f}" if step.intervals else "",
                str(step.n_log_lines or ""),
            )
            for step in seen[:_SHOWN_ROWS]
        ]
        heads = ("", "name", "state", "s", "lines")
        right = frozenset({"", "s", "lines"})
        return table_html(self._headline(), heads, rows, notes=notes, right=right)


def _moment(at_ns: int | None) -> datetime | None:
    return None if at_ns is None else datetime.fromtimestamp(at_ns / 1e9, UTC)
