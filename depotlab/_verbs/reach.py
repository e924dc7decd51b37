"""How Depot is reached: with what is configured, or on this computer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from depotlab._depot import DepotConfig
from depotlab._plane import PlaneLease, lease_plane
from depotlab._verbs.depot import depot_here, find_depot
from depotlab.errors import UsageError

__all__ = ["Reach", "reach"]


@dataclass(frozen=True, slots=True)
class Reach:
    """How Depot is reached, and the lease on the one of this computer when it is that.

    Attributes:
        config: Token and address.
        plane: Depot's API on this computer, or None.
    """

    config: DepotConfig
    plane: PlaneLease | None = None

    async def release(self) -> None:
        """Give up what is ours."""
        if self.plane is not None:
            await asyncio.to_thread(self.plane.close)


async def reach(
    *,
    token: str | None = None,
    project: str | None = None,
    organization: str | None = None,
    build: str | None = None,
    url: str | None = None,
    local: bool | str | Path = False,
) -> Reach:
    """Find out how to reach Depot, or start one here. Nothing is sent yet.

    Raises:
        NoToken: There is none.
        UsageError: A value cannot be used.
        EngineError: The one here does not start.
    """
    if not local:
        config = await find_depot(
            token=token, project=project, organization=organization, build=build, url=url
        )
        config.require_token()
        return Reach(config)
    if token or url or build:
        raise UsageError(
            "local= brings a token and an address of its own.",
            hint="leave token=, url= and build= out, or leave local= out",
        )
    plane = await asyncio.to_thread(lease_plane, None if local is True else local)
    return Reach(depot_here(plane, project), plane)
