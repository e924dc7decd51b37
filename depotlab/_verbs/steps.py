"""One step of a build that has ended, as a place to look at."""

from __future__ import annotations

from dataclasses import dataclass, field

from depotlab._values import Value
from depotlab._verbs.request import BuildRequest
from depotlab.errors import UsageError
from depotlab.frontend import Dockerfile
from depotlab.llb import State, load
from depotlab.progress import Step

__all__ = ["BuiltStep", "step_at"]


@dataclass(frozen=True, slots=True, repr=False)
class BuiltStep(Value):
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


def step_at(request: BuildRequest, step: Step) -> BuiltStep:
    """Return a step of a build as a place to look at.

    Raises:
        UsageError: It has no files, as loading a Dockerfile has none.
    """
    several = request.platforms if len(request.platforms) > 1 else ()
    platform = step.platform or (several[0] if several else "")
    target = request.target
    if isinstance(target, Dockerfile):
        return BuiltStep(target, step.members[-1], step.name, platform, request=request)
    for definition in (each for sent in tuple(request.sent) for each in tuple(sent.values())):
        # A group is shown as one step; what its last op made is what it leaves behind.
        digests = [digest for digest in definition.digests if digest in step.members]
        if digests:
            whole = load(definition.to_bytes(), locals=dict(definition.locals))
            return BuiltStep(whole, digests[-1], step.name, platform, request=request)
    raise UsageError(
        f"The step {step.name!r} has no files to look at.",
        hint="only steps of the graph have: runs, copies, images and other sources",
    )
