"""How far a build on Depot has come, outside of its own steps: what a progress view shows before the first one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

__all__ = ["STAGES", "Report", "Stage", "StageName"]

StageName = Literal[
    "registered", "waiting for machine", "connecting", "ready", "retry", "released", "finished"
]

STAGES: Final[tuple[StageName, ...]] = get_args(StageName)
"""In their order; after `retry` the machine is waited for again. `registered` and `finished` are the whole build's, the
others each machine's."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Something was reached.

    Attributes:
        name: One of `STAGES`.
        machine: `amd64` or `arm64`, or empty for the whole build.
        detail: What a reader may want to know: the URL of the build, why there is a retry, what it came to.
        at_ns: When, in nanoseconds since 1970 UTC.
    """

    name: StageName
    machine: str = ""
    detail: str = ""
    at_ns: int = field(default_factory=time.time_ns)

    def __str__(self) -> str:
        text = f"{self.machine} {self.name}".strip()
        return f"{text}: {self.detail}" if self.detail else text


Report = Callable[[Stage], None]
"""Is told each stage, on the event loop; must not block."""
