"""What Depot knows of a build that was built there."""

from __future__ import annotations

from dataclasses import dataclass

from depotlab._values import Value

__all__ = ["DepotFacts"]


@dataclass(frozen=True, slots=True, repr=False)
class DepotFacts(Value):
    """A build as Depot knows it.

    Attributes:
        build_id: Of the build.
        project_id: Where it was built.
        url: Its page at Depot, or empty.
        saved: Names under which Depot keeps the image; `depotlab.pull` takes each of them, and the build's id.
    """

    build_id: str
    project_id: str
    url: str = ""
    saved: tuple[str, ...] = ()

    def __repr__(self) -> str:
        kept = f"; pull it with depotlab.pull({self.build_id!r}, load=True)" if self.saved else ""
        page = self.url or "no page"
        return f"<Depot build {self.build_id} in project {self.project_id}: {page}{kept}>"
