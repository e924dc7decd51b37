"""Solving a target inside a build that we run: a graph, a Dockerfile, or one step of either."""

from __future__ import annotations

from dataclasses import dataclass

from depotlab._session import Session
from depotlab._verbs.builder import Aim, Builder
from depotlab._verbs.functions import OnFailure
from depotlab._verbs.graphs import Made
from depotlab._verbs.steps import BuiltStep
from depotlab.buildkit import Bridge
from depotlab.errors import UsageError
from depotlab.llb import Definition, Platform, load, step_state

__all__ = ["Solving"]


@dataclass(frozen=True, slots=True)
class Solving:
    """A target that is being solved.

    Attributes:
        aim: What to ask of the daemon.
        builder: The daemon.
        session: What the build may ask of this machine.
    """

    aim: Aim
    builder: Builder
    session: Session

    async def platform(self) -> str:
        """The platform that the daemon builds for when nobody says."""
        return await self.builder.platform()

    async def one(
        self,
        bridge: Bridge,
        platform: Platform,
        *,
        step: BuiltStep | None = None,
        on_failure: OnFailure | None = None,
    ) -> Made:
        """Solve for one platform.

        Args:
            bridge: The gateway of the build.
            platform: The platform.
            step: The step whose files are wanted; those of the target itself when left out.
            on_failure: Awaited with a failure inside a frontend function, before the build is ended for it.

        Raises:
            RpcFailed: The daemon refused, or a step failed.
            UsageError: The target has no such step.
        """
        graph = self.aim.graph
        if self.aim.function is not None:
            results = await self.aim.function.solve(bridge, on_failure=on_failure)
            if platform not in results:
                raise UsageError(
                    f"The frontend function returned nothing for {platform}.",
                    hint=f"say which one with platform=: {', '.join(map(str, results))}",
                )
            made = results[platform]
            if step is None:
                return made
            if made.definition is None:
                raise UsageError("What the frontend function returned does not say its steps.")
            return await _solve_step(bridge, made.definition, step)
        if graph is not None and step is None:
            return (await graph.solve(bridge))[platform]
        if graph is not None and step is not None:
            return await _solve_step(
                bridge, graph.marshal(await graph.resolve(bridge, platform), platform), step
            )
        spec = self.aim.spec
        result = await bridge.solve_frontend(
            spec.frontend, spec.attrs, spec.inputs, evaluate=step is None
        )
        name, ref = next(iter(result.refs.items()))
        config = result.config(name)
        state = load(ref.definition) if ref.definition else None
        definition = None if state is None else state.marshal(platform)
        if step is None:
            return Made(ref.id, config, state, definition)
        if definition is None:
            raise UsageError(
                "The frontend of this build does not say which steps it made.",
                hint="look at the Dockerfile's target instead: dockerfile(..., target='NAME')",
            )
        return await _solve_step(bridge, definition, step)


async def _solve_step(bridge: Bridge, whole: Definition, step: BuiltStep) -> Made:
    digest = step.digest
    if digest not in whole.digests:
        # What reads files of this machine has other digests in every build, but the same name.
        named = [op.digest for op in whole.ops if op.name == step.name]
        digest = named[0] if len(named) == 1 else digest
    found = step_state(whole, digest)
    definition = found.marshal()
    return Made(await bridge.solve(definition.to_bytes()), b"", found, definition)
