"""The graph of a build, made of its steps and coloured by their states; what `state.graph()` draws, as it went.

Finding places costs more than painting, so a live picture does it again only when steps are added.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from depotlab._graph import Buttons, Edge, Graph, Layout, Node, condense, layout, themed, to_svg
from depotlab.errors import GraphError
from depotlab.progress import Snapshot, Step
from depotlab.widgets._details import Details
from depotlab.widgets._frame import matters
from depotlab.widgets._text import one_line

__all__ = ["StepGraph", "step_graph", "step_states"]

_TAG = re.compile(r"\[([^\]]{1,60}?)(?: \d+/\d+)?\] ")
# The name of a base image in full: its box has room for what tells images apart.
_PINNED = re.compile(
    r"^(FROM )?(?:docker-image://)?(?:docker\.io/(?:library/)?)?|@sha256:[0-9a-f]{64}"
)
# What the frontends of BuildKit begin the names of steps with.
_KINDS = (
    (re.compile(r"FROM |docker-image://"), "image"),
    (re.compile(r"RUN |(/bin/)?sh -c "), "exec"),
    (re.compile(r"COPY |ADD |WORKDIR |copy |mkfile |mkdir |rm |symlink "), "file"),
    (re.compile(r"local://"), "local"),
    (re.compile(r"git://|https?://\S+\.git"), "git"),
    (re.compile(r"https?://"), "http"),
    (re.compile(r"merge \("), "merge"),
    (re.compile(r"diff "), "diff"),
)


def step_graph(snapshot: Snapshot, details: Details | None = None) -> Graph:
    """Return the steps that matter as a graph; ids are their digests.

    Args:
        snapshot: The moment.
        details: Tells of the graph that was sent, whose ops say more than the names of steps.

    Raises:
        GraphError: Progress groups, which are drawn as one step, need each other's members.
    """
    steps = [step for step in snapshot.steps if matters(step, snapshot)]
    by_digest = {member: step.digest for step in steps for member in (step.digest, *step.members)}
    edges = {
        (by_digest[i], step.digest): None
        for step in steps
        for i in step.inputs
        if i in by_digest and by_digest[i] != step.digest
    }
    nodes = tuple(_node(step, details) for step in steps)
    return Graph(nodes, tuple(Edge(*ends) for ends in edges))


def step_states(snapshot: Snapshot) -> dict[str, str]:
    """Return the state of each step by its digest, in the words that pictures know."""
    return {step.digest: str(step.state) for step in snapshot.steps}


@dataclass(slots=True)
class StepGraph:
    """Draws moments of one build.

    Attributes:
        details: See `step_graph`.
    """

    details: Details | None = None
    _drawn: tuple[tuple[str, tuple[str, ...]], ...] = ()
    _plan: Layout | None = None

    def svg(self, snapshot: Snapshot, *, picked: str | None = None) -> str:
        """Return the picture of this moment as SVG, or an empty string if there is nothing to draw.

        Args:
            snapshot: The moment.
            picked: Digest of the step that was picked, or empty; None for a picture that cannot be clicked.
        """
        shape = tuple(sorted((s.digest, s.inputs) for s in snapshot.steps if matters(s, snapshot)))
        if shape != self._drawn:
            self._drawn = shape
            self._plan = _plan(snapshot, self.details)
        if self._plan is None:
            return ""
        numbers = {step.digest: step.number for step in snapshot.steps if step.number}
        buttons = None if picked is None else Buttons(numbers, picked)
        svg = to_svg(self._plan, step_states(snapshot), buttons=buttons)
        return svg if picked is None else themed(svg)


def _plan(snapshot: Snapshot, details: Details | None) -> Layout | None:
    try:
        graph = step_graph(snapshot, details)
    except GraphError:
        return None
    if not graph.nodes:
        return None
    return layout(condense(graph, calm_boxes=30, full_boxes=50, max_boxes=80))


def _node(step: Step, details: Details | None) -> Node:
    known = details.node(step) if details is not None else None
    if known is not None:
        group = f"{step.platform} {known.group}".strip()
        return replace(known, id=step.digest, group=group)
    name = one_line(step.name, 200)
    tag = _TAG.match(name)
    words = name[tag.end() :] if tag else name
    kind = next((kind for begins, kind in _KINDS if begins.match(words)), "")
    if kind == "image":
        words = _PINNED.sub(r"\1", words)
    place = details.place(step) if details is not None else None
    title = f"{name}\n{place.filename}, line {place.line}" if place is not None else name
    return Node(step.digest, words, kind, title=title, group=tag[1] if tag else "")
