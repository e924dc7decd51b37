"""Pictures of graphs: a definition becomes a `_graph.Graph`, and that an SVG. Nothing is run or sent."""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depotlab import _graph
from depotlab.errors import SourceLocation, UsageError
from depotlab.llb._definition import Definition
from depotlab.llb._facts import Facts, Read, facts_of, short_hashes
from depotlab.llb._fields import metadata_fields, op_fields
from depotlab.llb._op import reads_all
from depotlab.llb._view import OpView

if TYPE_CHECKING:
    from depotlab.llb._state import State

__all__ = ["Picture", "graph_of", "state_bundle"]

# Up to here one glance is enough; a larger graph can be searched and opened box by box.
_MAX_PLAIN_NODES = 150
_MAX_VALUE = 160
_MAX_ASIDE = 40
_MAX_BADGES = 4
# What BuildKit adds to every run (client/llb/exec.go); it tells nothing about one.
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Fields that the first line of a hover text says already, or that no reader looks for.
_SAID = frozenset({"command", "source", "merged", "local.unique", "description llb.customname"})
_LOUD = {
    ("network", "host"): "host network",
    ("network", "none"): "no network",
    ("security", "insecure"): "insecure",
}


class Picture:
    """A graph to look at. In a notebook it is drawn; hovering over a box shows the op.

    Attributes:
        graph: Every op as a node, its id being the digest.
        states: What became of the ops when they were built, by digest, in the words of `progress.StepState`; None of
            a graph that is only drawn.

    Example:
        >>> from depotlab import llb
        >>> llb.image("busybox").run("make").graph()
        Picture(2 steps; .svg, .html, .save("graph.svg"))
    """

    def __init__(self, graph: _graph.Graph, states: Mapping[str, str] | None = None) -> None:
        self.graph = graph
        self.states = states

    @functools.cached_property
    def svg(self) -> str:
        """The picture as SVG, at most about 300 kB; of a large graph one box stands for several steps."""
        return _graph.picture(self.graph, self.states)

    @functools.cached_property
    def html(self) -> str:
        """The picture with a search field and a list of the steps, for notebooks and web pages."""
        return _graph.to_html(self.graph, self.states)

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flow chart."""
        return _graph.to_mermaid(self.graph)

    def to_dot(self) -> str:
        """Return the graph in the language of Graphviz."""
        return _graph.to_dot(self.graph)

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the graph as JSON: `nodes` with digest, label, kind and title, and `edges`."""
        return _graph.to_json(self.graph, indent=indent)

    def save(self, host_path: str | os.PathLike[str]) -> Path:
        """Write the picture into a file and return its path.

        Args:
            host_path: Ends in `.svg`, `.html`, `.mmd` (Mermaid), `.dot` or `.json`. Overwritten if it exists.

        Raises:
            UsageError: The name ends in something else.
        """
        path = Path(host_path)
        writers: dict[str, Callable[[], str]] = {
            ".svg": lambda: self.svg,
            ".html": lambda: f'<!doctype html><meta charset="utf-8">{self.html}',
            ".mmd": self.to_mermaid,
            ".dot": self.to_dot,
            ".json": lambda: self.to_json(indent=1),
        }
        writer = writers.get(path.suffix.lower())
        if writer is None:
            raise UsageError(
                f"A picture cannot be saved as {path.name!r}.",
                hint=f"let the name end in one of {', '.join(writers)}",
            )
        path.write_text(writer(), encoding="utf-8")
        return path

    def __repr__(self) -> str:
        return f'Picture({_steps(len(self.graph.nodes))}; .svg, .html, .save("graph.svg"))'

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        bundle = {"text/plain": repr(self), "image/svg+xml": self.svg}
        if len(self.graph.nodes) > _MAX_PLAIN_NODES:
            bundle["text/html"] = self.html
        return bundle


def state_bundle(state: State) -> dict[str, Any]:
    """Return what a notebook shows of a state: the picture, and one line.

    A state with lazy parts stays a line: to show something must not call a user's function.
    """
    bundle = {"text/plain": repr(state)}
    if state._edge is not None and not _has_lazy(state):
        picture = Picture(graph_of(state.marshal(local_unique_id="")))
        bundle = {**picture._repr_mimebundle_(), **bundle}
    return bundle


def _has_lazy(state: State) -> bool:
    roots = [op for op in (state._op, state._origin) if op is not None]
    seen, stack = set(roots), roots
    while stack:
        op = stack.pop()
        if op.lazy:
            return True
        for other in reads_all(op):
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return False


def graph_of(definition: Definition) -> _graph.Graph:
    """Return the ops of a definition as a graph; inputs come before users."""
    nodes: list[_graph.Node] = []
    edges: list[_graph.Edge] = []
    targets: dict[str, Mapping[int, str]] = {}
    for view in definition.ops[:-1]:
        facts = facts_of(view)
        fields = op_fields(view.data)
        targets[view.digest] = facts.targets
        nodes.append(_node(view, facts, fields, definition.locations.get(view.digest)))
        edges += [
            _graph.Edge(read.digest, view.digest, _edge_label(read, targets[read.digest], facts))
            for read in facts.reads
        ]
    return _graph.Graph(tuple(nodes), tuple(edges))


def _node(
    view: OpView, facts: Facts, fields: dict[str, str], location: SourceLocation | None
) -> _graph.Node:
    label, aside = _box_words(facts)
    return _graph.Node(
        view.digest,
        label,
        facts.kind,
        _title(view, facts, fields, location),
        (aside,) if aside else (),
        _badges(fields),
        facts.stage,
    )


def _box_words(facts: Facts) -> tuple[str, str]:
    """Return the label of a box and a small line, or none: what tells boxes apart comes first."""
    if facts.name:
        aside = facts.words if facts.words != facts.name and len(facts.words) <= _MAX_ASIDE else ""
        return facts.name, aside
    if facts.kind in ("image", "oci", "git", "http"):
        # Names of images and repositories end in what tells most; a digest may follow.
        path, at, rest = facts.words.partition("@" if facts.kind in ("image", "oci") else "#")
        where, _, last = path.rpartition("/")
        if where and last:
            return f"{last}{at}{rest}", where.removeprefix("https://")
    return facts.words, ""


def _badges(fields: dict[str, str]) -> tuple[_graph.Badge, ...]:
    """Return what changes how a step runs and is no input of it: caches, secrets, agents, loud settings."""
    found: list[str] = []
    for name, value in fields.items():
        if (name, value) in _LOUD:
            found.append(_LOUD[name, value])
        elif name.startswith("mount "):
            kind = value.split(" ", 1)[0]
            if kind in ("cache", "secret", "tmpfs"):
                found.append(f"{kind} {name.rstrip('/').rpartition('/')[2]}")
            elif kind == "ssh":
                found.append("ssh")
        elif name.startswith("env ") and value.startswith("secret "):
            found.append(f"secret {name[4:]}")
    caches = [label for label in found if label.startswith("cache ")]
    if len(caches) > 1:
        found = [f"{len(caches)} caches", *(label for label in found if label not in caches)]
    labels = list(dict.fromkeys(found))
    if len(labels) > _MAX_BADGES:
        labels[_MAX_BADGES - 1 :] = [f"+{len(labels) - _MAX_BADGES + 1}"]
    return tuple(_graph.Badge(label) for label in labels)


def _title(
    view: OpView, facts: Facts, fields: dict[str, str], location: SourceLocation | None
) -> str:
    command = fields.get("command")
    lines = [facts.name] if facts.name else []
    lines.append(facts.sentence if command is None else f"run {command.strip()}")
    shown = {**fields, **metadata_fields(view.metadata)}
    for name, value in shown.items():
        if name in _SAID or (name == "env PATH" and value == _DEFAULT_PATH):
            continue
        lines.append(f"{name}: {_cut(short_hashes(value))}")
    if location is not None:
        lines.append(f"{location.filename}, line {location.line}")
    lines.append(view.digest[:19])
    return "\n".join(lines)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_VALUE else line[: _MAX_VALUE - 1] + "…"


def _edge_label(read: Read, targets: Mapping[int, str], facts: Facts) -> str:
    """Return how an input comes in, as far as its box does not say it.

    A copy names its paths, so only of several sources it must be said which path is whose.
    """
    role = read.role.replace("bind /", "/")
    if facts.kind == "passthrough" or (facts.kind == "file" and len(facts.reads) <= 2):
        role = ""
    if read.output == 0:
        return role
    what = f"from {targets.get(read.output, f'output {read.output}')}"
    return f"{what}, {role}" if role else what


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"
