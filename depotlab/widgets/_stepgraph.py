"""The graph of a build that runs: the picture of `state.graph()`, made of steps, coloured by their states.

Finding places costs more than painting, so it is done again only when steps are added.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from depotlab._graph import Edge, Graph, Layout, Node, condense, layout, to_svg
from depotlab.errors import GraphError
from depotlab.progress import Snapshot, Step
from depotlab.widgets._frame import matters
from depotlab.widgets._text import one_line

__all__ = ["StepGraph"]

_TAG = re.compile(r"\[([^\]]{1,60}?)(?: \d+/\d+)?\] ")
# What the frontends of BuildKit begin the names of steps with.
_KINDS = (
    (re.compile(r"FROM |docker-image://"), "image"),
    (re.compile(r"RUN "), "exec"),
    (re.compile(r"COPY |ADD |WORKDIR |copy |mkfile |mkdir "), "file"),
    (re.compile(r"local://"), "local"),
    (re.compile(r"git://|https?://\S+\.git"), "git"),
    (re.compile(r"https?://"), "http"),
)


@dataclass(slots=True)
class StepGraph:
    """Draws moments of one build."""

    _drawn: tuple[tuple[str, tuple[str, ...]], ...] = ()
    _plan: Layout | None = None

    def svg(self, snapshot: Snapshot) -> str:
        """Return the picture of this moment as SVG, or an empty string if there is nothing to draw."""
        steps = [step for step in snapshot.steps if matters(step, snapshot)]
        shape = tuple(sorted((step.digest, step.inputs) for step in steps))
        if shape != self._drawn:
            self._drawn = shape
            self._plan = _plan(steps)
        if self._plan is None:
            return ""
        return to_svg(self._plan, {step.digest: str(step.state) for step in steps})


def _plan(steps: list[Step]) -> Layout | None:
    by_digest = {member: step.digest for step in steps for member in (step.digest, *step.members)}
    edges = {
        (by_digest[i], step.digest): None
        for step in steps
        for i in step.inputs
        if i in by_digest and by_digest[i] != step.digest
    }
    try:
        graph = Graph(tuple(_node(step) for step in steps), tuple(Edge(*ends) for ends in edges))
    except GraphError:
        # Groups are drawn as one step, and two of them may need each other's members.
        return None
    return layout(condense(graph, calm_boxes=30, full_boxes=50, max_boxes=80)) if steps else None


def _node(step: Step) -> Node:
    name = one_line(step.name, 200)
    tag = _TAG.match(name)
    words = name[tag.end() :] if tag else name
    kind = next((kind for begins, kind in _KINDS if begins.match(words)), "")
    return Node(step.digest, words, kind, title=name, group=tag[1] if tag else "")
