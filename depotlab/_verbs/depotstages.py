"""How a machine of Depot comes to be: steps of the build for its views, and for the API."""

from __future__ import annotations

from depotlab._depot import Stage, StatusMirror
from depotlab.progress import Event, Fold, VertexUpdated, WarningRaised

__all__ = ["Stages"]

# What is waited for when a stage was reached, and what has ended then.
_BEGINS = {"waiting for machine": "launch {}", "connecting": "connect to {}"}
_ENDS = {
    "connecting": "launch {}",
    "ready": "connect to {}",
    "retry": "connect to {}",
    "released": "connect to {}",
}


class Stages:
    """Shows how a machine comes to be as steps of the build.

    Attributes:
        mirror: Is told them too; None tells nobody.
    """

    def __init__(self, fold: Fold) -> None:
        self.mirror: StatusMirror | None = None
        self._fold = fold
        self._begun: dict[str, int] = {}

    def take(self, stage: Stage) -> None:
        """Take a stage."""
        if self.mirror is not None:
            self.mirror.stage(stage)
            if stage.name == "ready":
                self.mirror.flush()
        machine = f"{stage.machine} machine"
        events: list[Event] = []
        ended = _ENDS.get(stage.name, "").format(machine)
        if ended in self._begun:
            began_ns = self._begun.pop(ended)
            events.append(_step(ended, began_ns, stage.at_ns))
        begun = _BEGINS.get(stage.name, "").format(machine)
        if begun:
            self._begun[begun] = stage.at_ns
            events.append(_step(begun, stage.at_ns))
        if stage.name == "retry":
            events.append(WarningRaised("", 1, f"asking for another {machine}: {stage.detail}"))
        if events:
            self._fold.feed(events)


def _step(name: str, began_ns: int, ended_ns: int | None = None) -> VertexUpdated:
    return VertexUpdated(
        digest=f"depot:{name}",
        name=f"[depot] {name}",
        started_ns=began_ns,
        completed_ns=ended_ns,
        is_local=True,
    )
