"""The machines of one build: one for each architecture, all at the same time.

What happens to one happens to all: if one cannot be had, or what is done on it fails, the others are stopped. The first
failure is the one that is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from depotlab._depot.build import DepotBuild
from depotlab._depot.machine import ACQUIRE_S, Machine, Probe
from depotlab._depot.platforms import machines_for
from depotlab._depot.stages import Report

__all__ = ["Fleet"]

T = TypeVar("T")


class Fleet:
    """Machines for all platforms of a build. `async with` acquires and releases them.

    Args:
        build: Whose machines.
        platforms: Of the image; none is this computer's.
        forced: All of it on this one architecture; see `machines_for`.
        probe: How to find out that a machine answers.
        timeout_s: For getting all of them.
        report: Is told each stage of each.

    Attributes:
        platforms: What each machine builds, by `amd64` or `arm64`.
        machines: By the same.

    Example:
        >>> async with Fleet(build, ["linux/amd64", "linux/arm64"], probe=probe) as fleet:  # doctest: +SKIP
        ...     digests = await fleet.each(lambda machine, platforms: push_by_digest(machine, platforms))
    """

    def __init__(
        self,
        build: DepotBuild,
        platforms: Iterable[str] = (),
        *,
        probe: Probe,
        forced: str = "",
        timeout_s: float = ACQUIRE_S,
        report: Report | None = None,
    ) -> None:
        self.platforms: Mapping[str, tuple[str, ...]] = machines_for(platforms, forced=forced)
        self.machines: Mapping[str, Machine] = {
            name: Machine(build, name, probe=probe, timeout_s=timeout_s, report=report)
            for name in self.platforms
        }

    def __repr__(self) -> str:
        return f"<{' and '.join(map(repr, self.machines.values()))}>"

    async def __aenter__(self) -> Self:
        try:
            await _together({name: m.acquire() for name, m in self.machines.items()})
        except BaseException:
            await self.release()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()

    async def release(self) -> None:
        """Let all machines go. Harmless when called twice."""
        await asyncio.gather(*(machine.release() for machine in self.machines.values()))

    async def each(
        self, work: Callable[[Machine, tuple[str, ...]], Coroutine[Any, Any, T]]
    ) -> dict[str, T]:
        """Do something on every machine, at the same time, and return what came of it by machine.

        Args:
            work: Is given the machine and its platforms.

        Raises:
            BuildCanceled: The server canceled the build.
            Exception: Whatever the first work that failed raised; the others were cancelled, and are over.
        """
        return await _together(
            {
                name: machine.guard(work(machine, self.platforms[name]))
                for name, machine in self.machines.items()
            }
        )


async def _together(works: Mapping[str, Coroutine[Any, Any, T]]) -> dict[str, T]:
    tasks = {name: asyncio.create_task(work) for name, work in works.items()}
    waiting = set(tasks.values())
    failed: asyncio.Task[T] | None = None
    try:
        while waiting and failed is None:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            failed = next((t for t in done if t.cancelled() or t.exception() is not None), None)
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    if failed is not None:
        failed.result()
    return {name: task.result() for name, task in tasks.items()}
