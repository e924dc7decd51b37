"""A graph cut into the stages of a Dockerfile: chains of operations on one file system.

It is cut at what several operations go on from, and at what is copied or mounted from. An image needs no stage of its
own to be copied from: its name says it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from depotlab.errors import SourceLocation
from depotlab.llb._decode import fields
from depotlab.llb._fields import _Values as Values
from depotlab.llb._meta import CUSTOM_NAME
from depotlab.llb._reference import parse_reference
from depotlab.llb._view import OpView, op_name, split_op

if TYPE_CHECKING:
    from depotlab.llb._definition import Definition

__all__ = ["Edge", "Reason", "Stages"]

Edge = tuple[str, int]
"""An output of an op: its digest and the number of the output."""

Reason = tuple[str, str, SourceLocation | None]
"""What has no words: the name of the op, why, and the line that made it."""

_NAME = re.compile(r"[a-z][a-z0-9_.-]*")


class Stages:
    """The stages of one graph.

    Attributes:
        views: The ops by digest, inputs before users.
        head: What the graph makes.
        bases: What each op goes on from; None is scratch.
        names: Of the stages, by what they end in; the last one has none.
        ends: What the stages end in, in the order in which they can be written.
        reasons: What has no words, so far.
    """

    def __init__(self, definition: Definition) -> None:
        self.views = {view.digest: view for view in definition.ops if view.kind != "final"}
        self.head: Edge = (definition.head, definition.head_output)
        self.bases: dict[Edge, Edge | None] = {}
        self.names: dict[Edge, str] = {}
        self.ends: list[Edge] = []
        self.reasons: list[Reason] = []
        self._places = definition.locations
        self._cut(used=set(definition.locals))

    def because(self, view: OpView, why: str) -> None:
        """Note that something has no words."""
        self.reasons.append((view.name, why, self._places.get(view.digest)))

    def is_source(self, edge: Edge) -> bool:
        """Whether it comes from outside of the graph."""
        return self.views[edge[0]].kind == "source"

    def is_image(self, edge: Edge) -> bool:
        """Whether it is an image of a registry."""
        return self.identifier(edge).startswith("docker-image://")

    def identifier(self, edge: Edge) -> str:
        """Return the address of a source, or nothing."""
        _, kind, payload = split_op(self.views[edge[0]].data)
        return op_name(kind, payload, ()) if kind == "source" else ""

    def image(self, edge: Edge) -> str:
        """Return the name of an image as people write it."""
        reference = parse_reference(self.identifier(edge).removeprefix("docker-image://"))
        return reference.familiar()

    def platform(self, edge: Edge) -> str:
        """Return the platform of an op, or nothing."""
        values = Values(self.views[edge[0]].data).inner(10)
        return "/".join(filter(None, (values.text(2), values.text(1), values.text(3))))

    def _cut(self, used: set[str]) -> None:
        n_above: dict[Edge, int] = {}
        cuts: dict[str, set[Edge]] = {}
        waiting = [self.head]
        while waiting:
            edge = waiting.pop()
            if edge in self.bases:
                continue
            base, read = self._reads(edge)
            self.bases[edge] = base
            if base is not None:
                n_above[base] = n_above.get(base, 0) + 1
                waiting.append(base)
            for each in read:
                if not self.is_source(each):
                    cuts.setdefault(each[0], set()).add(each)
                waiting.append(each)
        for edge, n in n_above.items():
            if n > 1 and not self.is_source(edge):
                cuts.setdefault(edge[0], set()).add(edge)
        for digest in self.views:
            for edge in sorted(cuts.get(digest, ())):
                if edge != self.head:
                    self.ends.append(edge)
                    self.names[edge] = self._name(edge, used)
        self.ends.append(self.head)

    def _name(self, edge: Edge, used: set[str]) -> str:
        view = self.views[edge[0]]
        wanted = view.description.get(CUSTOM_NAME, "").lower()
        name = wanted if _NAME.fullmatch(wanted) and wanted != "scratch" else "stage"
        number, found = 2, name
        while found in used:
            found, number = f"{name}-{number}", number + 1
        used.add(found)
        return found

    def _reads(self, edge: Edge) -> tuple[Edge | None, list[Edge]]:
        """Return what an op changes, and what else it reads. What has no words is noted here."""
        view = self.views[edge[0]]
        inputs = view.inputs
        _, kind, payload = split_op(view.data)
        if kind == "source":
            return None, []
        if kind == "exec":
            return self._exec_reads(view, edge, [Values(v) for n, v in fields(payload) if n == 2])
        if kind == "file":
            actions = [Values(v) for n, v in fields(payload) if n == 2]
            first = actions[0].integer(1) if actions else -1
            read = []
            for number, action in enumerate(actions):
                at = action.integer(1)
                if number and at != len(inputs) + number - 1:
                    self.because(view, "file operations that are no chain")
                if 0 <= action.integer(2) < len(inputs) and action.has(4):
                    read.append(inputs[action.integer(2)])
                elif action.has(4):
                    self.because(view, "a copy from what the same operation makes")
            base = inputs[first] if 0 <= first < len(inputs) else None
            return base, read
        if kind == "merge" and inputs:
            if any(self.views[digest].kind == "diff" for digest, _ in inputs):
                self.because(view, "a merge of differences, which also deletes")
            return inputs[0], list(inputs[1:])
        self.because(view, f"an operation of the kind {kind}")
        return None, []

    def _exec_reads(
        self, view: OpView, edge: Edge, mounts: list[Values]
    ) -> tuple[Edge | None, list[Edge]]:
        base: Edge | None = None
        read = []
        for mount in mounts:
            given = mount.integer(1)
            source = view.inputs[given] if 0 <= given < len(view.inputs) else None
            if mount.text(3) == "/":
                base = source
                if mount.integer(4) != edge[1]:
                    self.because(view, "what was written to a mount, not to the root")
                if mount.flag(5):
                    self.because(view, "a root that is read-only")
            elif source is not None:
                read.append(source)
        return base, read
