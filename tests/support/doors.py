"""Builds below the verbs, over a connection to any endpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from depotlab._docker import plan_for_engine
from depotlab._rpc import Channel, Endpoint
from depotlab._session import MemoryTree, Moved, Session
from depotlab._session.filesend import FileSend
from depotlab.buildkit import SolveSpec, list_workers, new_ref, solve
from depotlab.errors import DepotlabError
from depotlab.export import Output, destinations
from depotlab.llb import Platform, State
from depotlab.progress import Event, LogWritten

T = TypeVar("T")
Work = Callable[[Channel], Awaitable[T]]
PLATFORM = Platform.parse("linux/amd64")


def on(endpoint: Endpoint, work: Work[T], *, timeout_s: float = 90) -> T:
    """Run `work(channel)` on a loop of its own, with a connection to an endpoint."""

    async def main() -> T:
        channel = Channel(endpoint)
        try:
            async with asyncio.timeout(timeout_s):
                await channel.ready()
                return await work(channel)
        finally:
            await channel.close()

    return asyncio.run(main())


def dockerfile(
    text: str,
    files: Mapping[str, str] | None = None,
    *,
    outputs: Sequence[Output] = (),
    on_events: Callable[[list[Event]], None] = lambda _: None,
) -> Work[tuple[dict[str, str], Mapping[str, Moved]]]:
    """Return the work of building a Dockerfile: the daemon's answer, and what it was sent."""

    async def work(channel: Channel) -> tuple[dict[str, str], Mapping[str, Moved]]:
        folders = {"dockerfile": MemoryTree({"Dockerfile": text})}
        if files is not None:
            folders["context"] = MemoryTree(files)
        spec = await _fitted(channel, outputs, frontend="dockerfile.v0")
        session = Session(folders)
        return await solve(channel, spec, session, on_events), session.moved

    return work


def graph(state: State, *, outputs: Sequence[Output] = ()) -> Work[dict[str, str]]:
    """Return the work of building a graph with a frontend of ours, and receiving its outputs."""

    async def work(channel: Channel) -> dict[str, str]:
        definition = state.marshal(PLATFORM)

        async def run(bridge: Any) -> None:
            ref = await bridge.solve(definition.to_bytes())
            config = state.image_config().to_json(PLATFORM)
            await bridge.finish(ref, {"containerimage.config": config})

        spec = await _fitted(channel, outputs, run=run, plan=definition)
        problems: list[DepotlabError] = []
        received = FileSend(destinations(spec.exporters), report=problems.append)
        session = Session(services=[received], problems=problems)
        try:
            answer = await solve(channel, spec, session, lambda _: None)
        except BaseException as error:
            await received.discard(error)
            raise
        await received.commit()
        return answer

    return work


async def begin(channel: Channel) -> asyncio.Task[Any]:
    """Start a build that takes a minute; return its task once the step runs."""
    runs = asyncio.Event()

    def on_events(events: list[Event]) -> None:
        if any(isinstance(event, LogWritten) and b"up" in event.data for event in events):
            runs.set()

    text = f"FROM busybox\nRUN echo up; sleep 60; echo {time.time_ns()}\n"
    building = asyncio.ensure_future(dockerfile(text, on_events=on_events)(channel))
    waiting = asyncio.create_task(runs.wait())
    await asyncio.wait([building, waiting], return_when=asyncio.FIRST_COMPLETED)
    assert runs.is_set(), f"the build ended before the step ran: {building}"
    return building


async def _fitted(channel: Channel, outputs: Sequence[Output], **fields: Any) -> SolveSpec:
    """Return a spec that suits the daemon, as the verbs do it."""
    if channel.endpoint.docker is None:
        return SolveSpec(new_ref(), exporters=outputs, **fields)
    workers = await list_workers(channel)
    plan = plan_for_engine([worker.labels for worker in workers], outputs)
    attrs = plan.frontend_attrs if "frontend" in fields else {}
    return SolveSpec(new_ref(), exporters=plan.outputs, attrs=attrs, **fields)
