"""A graph as text for other tools: Mermaid, Graphviz and JSON. Labels may hold anything."""

from __future__ import annotations

import json
from typing import Any

from depotlab._graph.kinds import KINDS, kind_look
from depotlab._graph.model import Graph, Node
from depotlab._graph.text import clean

__all__ = ["to_dot", "to_json", "to_mermaid"]

_MAX_LABEL = 200


def to_mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flow chart, from top to bottom."""
    names = {node.id: f"n{i}" for i, node in enumerate((*graph.nodes, *graph.shared))}
    lines = ["flowchart TD"]
    kinds: dict[str, list[str]] = {}
    for node in (*graph.nodes, *graph.shared):
        label = "<br/>".join(_mermaid_text(line) for line in _label_lines(node))
        lines.append(f'    {names[node.id]}["{label}"]')
        if node.kind in KINDS:
            kinds.setdefault(node.kind, []).append(names[node.id])
    for edge in graph.edges:
        label = f'|"{_mermaid_text(edge.label)}"|' if clean(edge.label) else ""
        lines.append(f"    {names[edge.source]} -->{label} {names[edge.target]}")
    lines += [f"    {names[source]} -.-> {names[target]}" for source, target in _by_badge(graph)]
    for kind, members in kinds.items():
        lines.append(f"    classDef kind_{kind} stroke:{kind_look(kind).color},stroke-width:2px")
        lines.append(f"    class {','.join(members)} kind_{kind}")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    # Inside quotes Mermaid still acts on quotes, HTML, back quotes (Markdown), `%%{` (directives) and
    # `#`, which begins an entity. Numbered entities are its way to write any character.
    # Source: mermaid.js.org, flowchart syntax, "Entity codes to escape characters".
    return "".join(
        c if c.isalnum() or c in " _-./:,=+" else f"#{ord(c)};" for c in clean(text)[:_MAX_LABEL]
    )


def to_dot(graph: Graph) -> str:
    """Return the graph in the language of Graphviz."""
    names = {node.id: f"n{i}" for i, node in enumerate((*graph.nodes, *graph.shared))}
    lines = [
        "digraph build {",
        '    graph [rankdir="TB"];',
        '    node [shape="box", style="rounded", fontname="sans-serif", fontsize="11"];',
        '    edge [fontname="sans-serif", fontsize="9"];',
    ]
    for node in (*graph.nodes, *graph.shared):
        label = "\\n".join(_dot_text(line) for line in _label_lines(node))
        title = "\\n".join(_dot_text(line) for line in clean(node.title, lines=True).split("\n"))
        tooltip = f', tooltip="{title}"' if title else ""
        lines.append(
            f'    {names[node.id]} [label="{label}", color="{kind_look(node.kind).color}"{tooltip}];'
        )
    for edge in graph.edges:
        label = f' [label="{_dot_text(edge.label)}"]' if clean(edge.label) else ""
        lines.append(f"    {names[edge.source]} -> {names[edge.target]}{label};")
    for source, target in _by_badge(graph):
        lines.append(f'    {names[source]} -> {names[target]} [style="dashed"];')
    return "\n".join([*lines, "}"]) + "\n"


def _dot_text(text: str) -> str:
    # In a quoted string Graphviz acts on quotes, on backslashes (line breaks, `\N` for the name of the
    # node) and on HTML entities. Source: graphviz.org/docs/attr-types/escString.
    escaped = clean(text)[:_MAX_LABEL].replace("\\", "\\\\").replace('"', '\\"')
    return escaped.replace("&", "&amp;")


def _by_badge(graph: Graph) -> list[tuple[str, str]]:
    """Return the edges, source and target, that badges stand for."""
    return [(b.source, node.id) for node in graph.nodes for b in node.badges if b.source]


def _label_lines(node: Node) -> list[str]:
    lines = [node.label, *node.lines]
    return [line for line in lines if clean(line)] or [node.id]


def to_json(graph: Graph, *, indent: int | None = None) -> str:
    """Return the graph as JSON: `nodes`, `edges` and `shared`, without fields that are empty.

    The text is pure ASCII and has no `<`, so it can stand in an HTML page as it is.
    """
    value = {
        "nodes": [_json_node(node) for node in graph.nodes],
        "edges": [
            {"source": e.source, "target": e.target} | ({"label": e.label} if e.label else {})
            for e in graph.edges
        ],
    }
    if graph.shared:
        value["shared"] = [_json_node(node) for node in graph.shared]
    return json.dumps(value, indent=indent).replace("<", "\\u003c")


def _json_node(node: Node) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": node.id,
        "label": node.label,
        "kind": node.kind,
        "title": node.title,
        "group": node.group,
        "lines": list(node.lines),
        "badges": [
            {k: v for k, v in (("label", b.label), ("kind", b.kind), ("source", b.source)) if v}
            for b in node.badges
        ],
        "members": [_json_node(member) for member in node.members],
    }
    return {name: value for name, value in fields.items() if value or name in ("id", "label")}
