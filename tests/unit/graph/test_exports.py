from __future__ import annotations

import html
import json
import re

from hypothesis import given, settings

from depotlab._graph import Edge, Graph, Node, condense, to_dot, to_json, to_mermaid
from depotlab._graph.text import clean
from tests.unit.graph import examples
from tests.unit.graph.examples import HOSTILE
from tests.unit.graph.strategies import graphs

HOSTILE_GRAPH = Graph(
    tuple(Node(str(i), text, "exec", text) for i, text in enumerate(HOSTILE)),
    tuple(Edge("0", str(i), text) for i, text in enumerate(HOSTILE) if i),
)
SAFE = r"(?:[\w _\-./:,=+]|#\d+;|<br/>)*"
MERMAID_LINES = (
    r"flowchart TD",
    rf'    n\d+\["({SAFE})"\]',
    rf'    (n\d+) -->(?:\|"({SAFE})"\|)? (n\d+)',
    r"    n\d+ -\.-> n\d+",
    r"    classDef kind_\w+ stroke:#[0-9a-f]{6},stroke-width:2px",
    r"    class n\d+(?:,n\d+)* kind_\w+",
)
QUOTED = r'"((?:[^"\\\n]|\\[\\"n])*)"'
DOT_LINES = (
    r"digraph build \{",
    rf"    (?:graph|node|edge) \[\w+={QUOTED}(?:, \w+={QUOTED})*\];",
    rf"    n\d+ \[label={QUOTED}, color=\"#[0-9a-f]{{6}}\"(?:, tooltip={QUOTED})?\];",
    rf"    (n\d+) -> (n\d+)(?: \[(?:label|style)={QUOTED}\])?;",
    r"\}",
)


def matched(text: str, grammar: tuple[str, ...]) -> list[re.Match[str]]:
    lines = []
    for line in text.removesuffix("\n").split("\n"):
        found = [m for m in (re.fullmatch(rule, line) for rule in grammar) if m]
        assert found, f"no rule of the grammar allows {line!r}"
        lines.append(found[0])
    return lines


def test_mermaid_reads_as_expected():
    assert (
        to_mermaid(examples.tiny())
        == """\
flowchart TD
    n0["docker.io/library/python:3.12-slim"]
    n1["local ."]
    n2["copy pyproject.toml"]
    n3["pip install ."]
    n4["copy app app"]
    n0 --> n2
    n1 -->|"/pyproject.toml"| n2
    n2 --> n3
    n3 --> n4
    n1 -->|"/app"| n4
    classDef kind_image stroke:#3579c0,stroke-width:2px
    class n0 kind_image
    classDef kind_local stroke:#b07d10,stroke-width:2px
    class n1 kind_local
    classDef kind_file stroke:#5f8d33,stroke-width:2px
    class n2,n4 kind_file
    classDef kind_exec stroke:#66788f,stroke-width:2px
    class n3 kind_exec
"""
    )


def test_dot_reads_as_expected():
    nodes = (Node("a", 'say "hi"', "exec", "line 1\nline 2"), Node("b", "b\\c & d"))
    text = to_dot(Graph(nodes, (Edge("a", "b", "/x"),)))
    assert (
        text
        == """\
digraph build {
    graph [rankdir="TB"];
    node [shape="box", style="rounded", fontname="sans-serif", fontsize="11"];
    edge [fontname="sans-serif", fontsize="9"];
    n0 [label="say \\"hi\\"", color="#66788f", tooltip="line 1\\nline 2"];
    n1 [label="b\\\\c &amp; d", color="#78818e"];
    n0 -> n1 [label="/x"];
}
"""
    )


def test_hostile_labels_survive_mermaid():
    labels = [m[1] for m in matched(to_mermaid(HOSTILE_GRAPH), MERMAID_LINES) if '["' in m[0]]
    for node, label in zip(HOSTILE_GRAPH.nodes, labels, strict=True):
        decoded = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), label)
        assert decoded == (clean(node.label)[:200] or node.id)


def test_hostile_labels_survive_dot():
    labels = [
        m[1]
        for m in matched(to_dot(HOSTILE_GRAPH), DOT_LINES)
        if " [label=" in m[0] and "->" not in m[0].split("[")[0]
    ]
    for node, label in zip(HOSTILE_GRAPH.nodes, labels, strict=True):
        decoded = html.unescape(re.sub(r'\\([\\"])', r"\1", label))
        assert decoded == html.unescape(clean(node.label)[:200].replace("&", "&amp;") or node.id)


def test_json_has_everything_and_can_stand_in_a_page():
    text = to_json(HOSTILE_GRAPH)
    assert "<" not in text
    assert text.isascii()
    value = json.loads(text)
    assert [n["label"] for n in value["nodes"]] == list(HOSTILE)
    assert [e["target"] for e in value["edges"]] == [e.target for e in HOSTILE_GRAPH.edges]


def test_json_of_a_condensed_graph_lists_members_badges_and_shared_sources():
    value = json.loads(to_json(condense(examples.services(42))))
    assert [n["label"] for n in value["shared"]] == ["local ./monorepo"]
    assert sum(len(n.get("members", [n])) for n in value["nodes"]) == 340
    assert value["nodes"][-2]["badges"][0]["source"] == value["shared"][0]["id"]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_any_graph_is_exported_with_all_of_its_edges(graph):
    pairs = [(e.source, e.target) for e in graph.edges]
    index = {node.id: f"n{i}" for i, node in enumerate(graph.nodes)}
    expected = [(index[a], index[b]) for a, b in pairs]
    assert [
        (m[1], m[3]) for m in matched(to_mermaid(graph), MERMAID_LINES) if " -->" in m[0][:12]
    ] == expected
    assert [
        (m[1], m[2]) for m in matched(to_dot(graph), DOT_LINES) if re.match(r"    n\d+ -> ", m[0])
    ] == expected
    assert len(json.loads(to_json(graph))["nodes"]) == len(graph.nodes)


def test_badges_become_edges_again():
    after = condense(examples.forty())
    n_badges = sum(len(node.badges) for node in after.nodes)
    assert to_mermaid(after).count("-.->") == n_badges == 7
    assert to_dot(after).count('[style="dashed"]') == n_badges
