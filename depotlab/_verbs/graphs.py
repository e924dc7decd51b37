"""A build of a graph: we are its frontend.

Source: moby/buildkit `client/build.go`; the shape of a result for several platforms is that of
`exporter/containerimage/exptypes`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depotlab._rpc import RpcFailed
from depotlab.buildkit import Bridge, parse_details
from depotlab.errors import UsageError
from depotlab.llb import Definition, ImageConfig, Platform, State, check_needs, unresolved

__all__ = ["GraphBuild", "Made", "finish", "parse_platforms"]


@dataclass(frozen=True, slots=True)
class Made:
    """What was made for one platform, inside a running build.

    Attributes:
        ref: The gateway's reference of the files; empty for scratch.
        config: The OCI image configuration, as JSON; empty when there is none.
        state: The graph with its base images resolved; None when a frontend of the daemon made it and does not say.
        definition: The graph as it was sent, or as the frontend made it; None when that is not known.
    """

    ref: str
    config: bytes = b""
    state: State | None = None
    definition: Definition | None = None


async def finish(bridge: Bridge, made: Mapping[Platform, Made]) -> None:
    """Return the result of a build, for one platform or for several."""
    if len(made) == 1:
        only = next(iter(made.values()))
        await bridge.finish(only.ref, {"containerimage.config": only.config})
        return
    await bridge.finish_all(
        {str(platform): one.ref for platform, one in made.items()},
        {f"containerimage.config/{platform}": one.config for platform, one in made.items()},
    )


@dataclass(slots=True)
class GraphBuild:
    """A graph, marshalled for the platforms it is built for.

    Attributes:
        state: The graph.
        platforms: Never empty.
        no_cache: Run every step again.
        hide: Texts to leave out of what is shown and sent of the user's code.
        states: Graphs of platforms that have another one than `state`.
        plans: What is known before the build runs, by platform, in the order of `platforms`.
        sent: What was sent at last, with base images resolved.
        unique_id: Tells its local directories from those of other builds.
        keep: Is given the graph when a step of it has failed, before the build ends.
    """

    state: State
    platforms: Sequence[Platform]
    no_cache: bool = False
    hide: Sequence[str] = field(default=(), repr=False)
    states: Mapping[Platform, State] = field(default_factory=dict)
    plans: dict[Platform, Definition] = field(default_factory=dict)
    sent: dict[Platform, Definition] = field(default_factory=dict)
    unique_id: str = field(default_factory=lambda: secrets.token_hex(13), repr=False)
    keep: Callable[[Definition], Awaitable[None]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # What is impossible is found here, before anything is sent.
        self.plans = {
            platform: self.marshal(self.of(platform), platform) for platform in self.platforms
        }

    def of(self, platform: Platform) -> State:
        """Return the graph of a platform."""
        return self.states.get(platform, self.state)

    @property
    def plan(self) -> Definition:
        """The graph for the first platform: what it needs of the daemon is what all need."""
        return next(iter(self.plans.values()))

    @property
    def folders(self) -> dict[str, Path]:
        """Directories of this machine that the graph reads, by name."""
        return {name: path for plan in self.plans.values() for name, path in plan.locals.items()}

    def check_needs(self, *, secret_ids: Sequence[str], ssh_ids: Sequence[str]) -> None:
        """Refuse a graph that asks for a secret or an agent which the build was not given.

        Raises:
            GraphError: At the line of the step.
        """
        for plan in self.plans.values():
            check_needs(plan, secrets=secret_ids, ssh=ssh_ids)

    async def run(self, bridge: Bridge) -> None:
        """Resolve image configurations, solve for all platforms at the same time, return the result."""
        await finish(bridge, await self.solve(bridge))

    async def solve(self, bridge: Bridge) -> dict[Platform, Made]:
        """Resolve image configurations and solve for all platforms at the same time."""
        results = await asyncio.gather(*(self._solve(bridge, p) for p in self.platforms))
        return dict(zip(self.platforms, results, strict=True))

    async def resolve(self, bridge: Bridge, platform: Platform) -> State:
        """Return the graph with what registries know of its base images."""
        wanted = unresolved(self.of(platform), platform)
        found = await asyncio.gather(
            *(bridge.resolve_image(image.ref, str(image.platform)) for image in wanted)
        )
        configs: dict[tuple[str, Platform | None], ImageConfig] = {
            image: ImageConfig.from_json(answer.config)
            for image, answer in zip(wanted, found, strict=True)
        }
        # Pinned, so that the layers are those that the configuration belongs to.
        digests: dict[tuple[str, Platform | None], str] = {
            image: answer.digest
            for image, answer in zip(wanted, found, strict=True)
            if answer.digest  # an engine's own image may have none
        }
        return self.of(platform).resolved(configs, platform=platform, digests=digests)

    async def _solve(self, bridge: Bridge, platform: Platform) -> Made:
        graph = await self.resolve(bridge, platform)
        definition = self.sent[platform] = self.marshal(graph, platform)
        try:
            ref = await bridge.solve(definition.to_bytes()) if definition.head else ""
        except RpcFailed as failure:
            if self.keep is not None and parse_details(failure.details).failed is not None:
                await self.keep(definition)
            raise
        return Made(ref, graph.image_config().to_json(platform), graph, definition)

    def marshal(self, graph: State, platform: Platform) -> Definition:
        """Return what is sent for a graph, such as the resolved one."""
        return graph.marshal(
            platform,
            local_unique_id=self.unique_id,
            ignore_cache=self.no_cache,
            source="calls",
            hide=self.hide,
        )


def parse_platforms(given: Sequence[str]) -> tuple[Platform, ...]:
    """Return platforms as values, each once.

    Raises:
        UsageError: Two of them are one, such as `linux/arm64` and `linux/arm64/v8`.
    """
    found: dict[Platform, str] = {}
    for text in given:
        same = Platform.parse(text).normalized()
        if same in found:
            raise UsageError(
                f"platform= has {text} and {found[same]}, which are the same.",
                hint="leave one of them out",
            )
        found[same] = text
    return tuple(Platform.parse(text) for text in found.values())
