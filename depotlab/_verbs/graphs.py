"""A build of a graph: we are its frontend.

Source: moby/buildkit `client/build.go`; the shape of a result for several platforms is that of
`exporter/containerimage/exptypes`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depotlab.buildkit import Bridge
from depotlab.errors import UsageError
from depotlab.llb import Definition, ImageConfig, Platform, State, check_needs, unresolved

__all__ = ["GraphBuild"]


@dataclass(slots=True)
class GraphBuild:
    """A graph, marshalled for the platforms it is built for.

    Attributes:
        state: The graph.
        platforms: Never empty.
        no_cache: Run every step again.
        hide: Texts to leave out of what is shown and sent of the user's code.
        plans: What is known before the build runs, by platform, in the order of `platforms`.
        sent: What was sent at last, with base images resolved.
    """

    state: State
    platforms: Sequence[Platform]
    no_cache: bool = False
    hide: Sequence[str] = field(default=(), repr=False)
    plans: dict[Platform, Definition] = field(default_factory=dict)
    sent: dict[Platform, Definition] = field(default_factory=dict)
    _unique_id: str = field(default_factory=lambda: secrets.token_hex(13))

    def __post_init__(self) -> None:
        # What is impossible is found here, before anything is sent.
        self.plans = {platform: self._marshal(self.state, platform) for platform in self.platforms}

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
        results = await asyncio.gather(*(self._solve(bridge, p) for p in self.platforms))
        if len(self.platforms) == 1:
            ref, config = results[0]
            await bridge.finish(ref, {"containerimage.config": config})
            return
        found = dict(zip(map(str, self.platforms), results, strict=True))
        await bridge.finish_all(
            {name: ref for name, (ref, _) in found.items()},
            {f"containerimage.config/{name}": config for name, (_, config) in found.items()},
        )

    async def _solve(self, bridge: Bridge, platform: Platform) -> tuple[str, bytes]:
        wanted = unresolved(self.state, platform)
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
        graph = self.state.resolved(configs, platform=platform, digests=digests)
        definition = self.sent[platform] = self._marshal(graph, platform)
        ref = await bridge.solve(definition.to_bytes()) if definition.head else ""
        return ref, graph.image_config().to_json(platform)

    def _marshal(self, graph: State, platform: Platform) -> Definition:
        return graph.marshal(
            platform,
            local_unique_id=self._unique_id,
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
        platform = Platform.parse(text)
        if platform in found:
            raise UsageError(
                f"platform= has {text} and {found[platform]}, which are the same.",
                hint="leave one of them out",
            )
        found[platform] = text
    return tuple(found)
