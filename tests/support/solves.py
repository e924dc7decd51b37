"""Builds asked for below the verbs: one Solve with every field of its spec in the test's hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from depotlab import export
from depotlab._portal import portal
from depotlab._rpc import Channel, Endpoint
from depotlab._session import Session
from depotlab._session.filesend import FileSend
from depotlab._session.service import Service
from depotlab.buildkit import Bridge, SolveSpec, new_ref, solve
from depotlab.errors import DepotlabError
from depotlab.llb import ImageConfig, Platform, State
from depotlab.progress import Event, Fold, Snapshot

PLATFORM = "linux/amd64"


@dataclass
class Solved:
    """What one build came to."""

    response: dict[str, str]
    events: list[Event] = field(default_factory=list)

    @property
    def snapshot(self) -> Snapshot:
        return snapshot_of(self.events)


def snapshot_of(events: Iterable[Event]) -> Snapshot:
    fold = Fold()
    fold.feed(events)
    return fold.snapshot(at_ns=0)


def graph_spec(state: State, *, no_cache: bool = False, **fields: Any) -> SolveSpec:
    """A spec whose frontend is ours: it solves the graph, and returns an empty image configuration."""
    platform = Platform.parse(PLATFORM)
    plan = state.marshal(platform, source="calls", ignore_cache=no_cache)

    async def run(bridge: Bridge) -> None:
        ref = await bridge.solve(plan.to_bytes())
        await bridge.finish(ref, {"containerimage.config": ImageConfig().to_json(platform)})

    return SolveSpec(new_ref(), run=run, plan=plan, **fields)


def run_solve(
    address: str,
    spec: SolveSpec,
    *,
    services: Iterable[Service] = (),
    on_events: Callable[[list[Event]], None] | None = None,
) -> Solved:
    """Run one build to its end on a connection of its own; archives that it sends are put in place."""
    seen: list[Event] = []
    problems: list[DepotlabError] = []

    def take(events: list[Event]) -> None:
        seen.extend(events)
        if on_events is not None:
            on_events(events)

    async def main() -> Solved:
        received = FileSend(export.destinations(spec.exporters), report=problems.append)
        channel = Channel(Endpoint(address))
        try:
            session = Session(services=[received, *services], problems=problems)
            response = await solve(channel, spec, session, take)
            await received.commit()
            return Solved(response, seen)
        except BaseException as error:
            await received.discard(error)
            raise
        finally:
            await channel.close()

    return portal().run(main())
