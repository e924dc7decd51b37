"""The methods by which states and definitions show their graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depotlab.llb._definition import Definition
    from depotlab.llb._picture import Picture


class Drawn:
    """What has a graph to look at."""

    __slots__ = ()

    def _drawable(self) -> Definition:
        raise NotImplementedError

    def graph(self) -> Picture:
        """Return the graph as a picture, which a notebook draws.

        Example:
            >>> from depotlab import llb
            >>> len(llb.image("busybox").run("make").graph().svg) > 1000
            True
        """
        from depotlab.llb._picture import Picture, graph_of

        return Picture(graph_of(self._drawable()))

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flow chart."""
        return self.graph().to_mermaid()

    def to_dot(self) -> str:
        """Return the graph in the language of Graphviz."""
        return self.graph().to_dot()

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the graph as JSON: `nodes` with digest, label, kind and title, and `edges`."""
        return self.graph().to_json(indent=indent)
