"""What differs between two builds: their graphs, the files that were sent, and what was asked for beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from depotlab._past.build import PastBuild, PastGraph
from depotlab._past.fields import own_fields
from depotlab._past.listing import FileChange, differences
from depotlab._values import Tabular, safe_html
from depotlab.llb import Comparison, Field
from depotlab.llb import compare as compare_graphs

__all__ = ["Difference", "compare_builds", "graph_like"]

_SHOWN_FILES = 20


@dataclass(frozen=True, slots=True, repr=False)
class Difference(Tabular):
    """What differs between build a and build b.

    Attributes:
        graphs: By platform of b; `.changes` has the operations and their fields. Empty when the graphs are not known.
        files: What differs in what was sent, by context.
        options: What differs in what was asked for beside the graph.
    """

    graphs: Mapping[str, Comparison]
    files: Mapping[str, tuple[FileChange, ...]]
    options: tuple[Field, ...]

    _columns: ClassVar = ("kind", "where", "name", "what", "field", "a", "b", "detail")

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each field of an operation, file and option that differs, for tables of any kind."""
        return [dict(zip(self._columns, row, strict=True)) for row in self._values()]

    def _values(self) -> Iterator[tuple[str | None, ...]]:
        for platform, compared in self.graphs.items():
            for row in compared.rows():
                said = (row["op"], row["what"], row["field"], row["a"], row["b"], "")
                yield "operation", platform, *said
        for context, files in self.files.items():
            for file in files:
                yield "file", context, file.path, file.what, "", None, None, file.detail
        for option in self.options:
            yield "option", "", option.name, "changed", option.name, option.a, option.b, ""

    @property
    def same(self) -> bool:
        """Whether nothing differs, as far as is known."""
        graphs = all(not one.changes for one in self.graphs.values())
        return graphs and not any(self.files.values()) and not self.options

    def __bool__(self) -> bool:
        raise TypeError("write difference.same: whether a difference is true says nothing")

    def _headline(self) -> str:
        if self.same:
            return "nothing differs"
        counts = {
            "operation": sum(len(one.changes) for one in self.graphs.values()),
            "file": sum(map(len, self.files.values())),
            "option": len(self.options),
        }
        return ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for word, n in counts.items() if n)

    def _lines(self) -> Iterator[str]:
        for platform, compared in self.graphs.items():
            if compared.changes and len(self.graphs) > 1:
                yield f"graph for {platform}:"
            for change in compared.changes:
                view = change.op_b or change.op_a
                name = "" if view is None else view.name
                yield f"{change.what}: {name}"
                yield from (f"    {field}" for field in own_fields(change.fields))
        for context, files in self.files.items():
            if files:
                yield f"files of {context}:"
            yield from (f"    {file}" for file in files[:_SHOWN_FILES])
            if len(files) > _SHOWN_FILES:
                yield f"    and {len(files) - _SHOWN_FILES} more"
        for field in self.options:
            yield f"option {field}"

    def __repr__(self) -> str:
        return f"<Difference {self._headline()}>"

    def __str__(self) -> str:
        return "\n".join([self._headline(), *(f"  {line}" for line in self._lines())])

    def _repr_html_(self) -> str:
        body = "".join(
            f'<div style="margin-left:{2 if line.startswith(" ") else 1}em">'
            f"{safe_html(line.strip())}</div>"
            for line in self._lines()
        )
        return f"<div><b>{safe_html(self._headline())}</b>{body}</div>"


def graph_like(graph: PastGraph, before: PastBuild | None) -> PastGraph | None:
    """Return the graph of an earlier build for the same platform; without one, its first."""
    if before is None:
        return None
    same = next((one for one in before.graphs if one.platform == graph.platform), None)
    return same or next(iter(before.graphs), None)


def compare_builds(a: PastBuild, b: PastBuild, *, listings: Mapping[str, bytes]) -> Difference:
    """Return what differs between two builds.

    Args:
        a: The first.
        b: The second.
        listings: What was sent for both, by the digests that they name.
    """
    graphs = {}
    for graph in b.graphs:
        earlier = graph_like(graph, a)
        if earlier is not None:
            graphs[graph.platform] = compare_graphs(earlier.definition(), graph.definition())
    empty = b""
    files = {
        name: differences(
            listings.get(a.listings.get(name, ""), empty),
            listings.get(b.listings.get(name, ""), empty),
        )
        for name in sorted(a.listings.keys() | b.listings.keys())
    }
    options = tuple(
        Field(name, a.options.get(name), b.options.get(name))
        for name in sorted(a.options.keys() | b.options.keys())
        if a.options.get(name) != b.options.get(name)
    )
    return Difference(graphs, files, options)
