"""What is known of a step beyond its progress: its op, the user's line, its files. Looked up when asked for."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from depotlab._graph import Node
from depotlab.errors import SourceLocation
from depotlab.progress import Step

__all__ = ["Details"]


class Details(Protocol):
    """Answers questions about the steps of one build, on any thread."""

    def node(self, step: Step) -> Node | None:
        """Return the step as the graph that was sent draws it; None when no graph has it."""

    def place(self, step: Step) -> SourceLocation | None:
        """Return the user's line that asked for the step, when it is known."""

    def code(self, step: Step) -> str:
        """Return what to type to see the step's files; empty when it leaves none."""

    def has_files(self, step: Step) -> bool:
        """Say whether the step leaves files that can be listed now."""

    def list_files(self, step: Step) -> Future[str]:
        """Begin to list the step's files on the builder; the future has HTML, or what went wrong."""
