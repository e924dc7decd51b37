"""One step of a build that has ended, as a place to look at."""

from __future__ import annotations

from dataclasses import dataclass, field

from depotlab._verbs.request import BuildRequest
from depotlab.frontend import Dockerfile
from depotlab.llb import State

__all__ = ["BuiltStep"]


@dataclass(frozen=True, slots=True, repr=False)
class BuiltStep:
    """One step of a build: what it left behind can be looked at. Made by `BuildResult.at`.

    Attributes:
        target: What the step is part of: the graph as it was sent, or the Dockerfile.
        digest: Of the step.
        name: Of the step, as the progress shows it.
        platform: That the step was built for, when the build had several; else empty.
        request: Of the build: secrets, agents and credentials are asked of it again, if the step has to run again.
    """

    target: State | Dockerfile
    digest: str
    name: str
    platform: str = ""
    request: BuildRequest = field(repr=False, kw_only=True)

    def __repr__(self) -> str:
        return f"<BuiltStep {self.name!r}, {self.digest[:19]}>"
