"""Builds with services of the test's own in their session, and what their steps printed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from depotlab._rpc import Channel, Endpoint
from depotlab._session import MemoryTree, Service, Session
from depotlab.buildkit import Bridge, SolveSpec, new_ref, solve
from depotlab.errors import DepotlabError
from depotlab.llb import ImageConfig, Platform, State
from depotlab.progress import Event, Fold, Snapshot

__all__ = ["ServiceBuild"]

_PLATFORM = Platform.parse("linux/amd64")


@dataclass
class ServiceBuild:
    """One build on one daemon.

    Attributes:
        address: Of the daemon.
        services: In its session. They report to `problems`, if they are made with `problems.append`.
        folders: Directories and trees that its session offers, by name.
        events: What the daemon said, also after a failure.
        problems: What went wrong on our side.
    """

    address: str
    services: Iterable[Service] = ()
    folders: Mapping[str, Path | MemoryTree] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    problems: list[DepotlabError] = field(default_factory=list)

    def dockerfile(self, **attrs: str) -> None:
        """Build what the session or the attributes offer as context, without any cache."""
        options = {"no-cache": "", **attrs}
        self._solve(SolveSpec(new_ref(), frontend="dockerfile.v0", attrs=options))

    def graph(self, state: State) -> None:
        """Build a graph, as its own frontend."""
        definition = state.marshal(_PLATFORM).to_bytes()

        async def run(bridge: Bridge) -> None:
            config = ImageConfig().to_json(_PLATFORM)
            ref = await bridge.solve(definition)
            await bridge.finish(ref, {"containerimage.config": config})

        self._solve(SolveSpec(new_ref(), run=run))

    @property
    def snapshot(self) -> Snapshot:
        fold = Fold()
        fold.feed(self.events)
        return fold.snapshot(at_ns=0)

    @property
    def printed(self) -> str:
        """What all steps printed."""
        steps = self.snapshot.steps
        return "\n".join(line.text for step in steps for line in step.log.lines(1000))

    def state_of(self, name: str) -> str:
        return str(self.snapshot.step(name).state)

    def _solve(self, spec: SolveSpec) -> None:
        async def main() -> None:
            channel = Channel(Endpoint(self.address))
            session = Session(self.folders, services=self.services, problems=self.problems)
            try:
                async with asyncio.timeout(120):
                    await solve(channel, spec, session, self.events.extend)
            finally:
                await channel.close()

        asyncio.run(main())
