"""What a service of a session is, and what it has in common with the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from depotlab._rpc import Handler
from depotlab.errors import DepotlabError

__all__ = ["Report", "Service"]

Report = Callable[[DepotlabError], None]
"""Takes an error of our side. The daemon only hears a text; a build raises this as the cause."""


class Service(Protocol):
    """A group of methods that the daemon may call."""

    @property
    def methods(self) -> Mapping[str, Handler]:
        """Handlers by full method name, such as `/moby.filesync.v1.FileSync/DiffCopy`."""
