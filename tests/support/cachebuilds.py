"""Builds with caches and image layouts, driven step by step, so that a test can look at all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depotlab import cache
from depotlab._oci import Layout, read_archive
from depotlab._rpc import Channel, Endpoint
from depotlab._session import MemoryTree, Session
from depotlab._session.content import ContentStores
from depotlab.buildkit import Bridge, SolveSpec, new_ref, solve
from depotlab.errors import DepotlabError
from depotlab.export import Output
from depotlab.llb import State
from depotlab.progress import Fold, Snapshot

__all__ = ["Built", "build"]

Caches = cache.Cache | Sequence[cache.Cache] | None


@dataclass
class Built:
    """What came of a build.

    Attributes:
        response: The daemon's answer.
        snapshot: All steps.
        notes: Remarks on local caches, before and after.
        problems: What our side of the session reported.
        stores: The content service of the session.
    """

    response: Mapping[str, str]
    snapshot: Snapshot
    notes: list[cache.Note]
    problems: list[DepotlabError]
    stores: ContentStores

    @property
    def states(self) -> dict[str, str]:
        """States of the steps by name, without what a frontend does for itself."""
        return {s.name: str(s.state) for s in self.snapshot.steps if not s.is_internal}

    @property
    def warnings(self) -> list[str]:
        return [f"{one.short} {' '.join(one.detail)}" for one in self.snapshot.warnings]

    def state(self, part: str) -> str:
        return str(self.snapshot.step(part).state)


@dataclass
class _Plan:
    address: str
    spec: SolveSpec
    stores: dict[str, Layout]
    locals: dict[str, MemoryTree | Path]
    to: cache.Exports
    frm: cache.Imports
    fold: Fold = field(default_factory=Fold)

    async def run(self, timeout_s: float) -> Built:
        problems: list[DepotlabError] = []
        channel = Channel(Endpoint(self.address))
        service = ContentStores(
            {**self.frm.stores, **self.to.stores, **self.stores}, report=problems.append
        )
        session = Session(self.locals, services=[service], problems=problems)
        try:
            async with asyncio.timeout(timeout_s):
                response = await solve(channel, self.spec, session, self.fold.feed)
        finally:
            await channel.close()
        snapshot = self.fold.snapshot(at_ns=time.time_ns())
        notes = [*self.frm.notes, *self.to.finish(response, service.last_written)]
        return Built(response, snapshot, notes, problems, service)


def build(
    address: str,
    target: str | State,
    *,
    files: Mapping[str, str] | None = None,
    attrs: Mapping[str, str] | None = None,
    outputs: Sequence[Output] = (),
    cache_to: Caches = None,
    cache_from: Caches = None,
    stores: Mapping[str, Layout] | None = None,
    image: Path | None = None,
    timeout_s: float = 120.0,
) -> Built:
    """Build a Dockerfile, given as text with the files of its context, or a graph.

    Args:
        image: Directory into which the result is written as an image layout.
    """
    served = dict(stores or {})
    outputs = list(outputs)
    if image is not None:
        outputs.append(Output("oci", {"tar": "false", "name": "test/app:1"}))
        served["export"] = Layout(image)
        served["export"].create()
    to, frm = cache.as_exports(cache_to), cache.as_imports(cache_from)
    common = {
        "exporters": outputs,
        "cache_exports": to.entries,
        "cache_imports": frm.entries,
    }
    if isinstance(target, str):
        tree = MemoryTree({"Dockerfile": target, **(files or {})})
        spec = SolveSpec(new_ref(), frontend="dockerfile.v0", attrs=dict(attrs or {}), **common)
        plan = _Plan(address, spec, served, {"context": tree, "dockerfile": tree}, to, frm)
    else:
        definition = target.marshal("linux/amd64")

        async def run(bridge: Bridge) -> None:
            await bridge.finish(await bridge.solve(definition.to_bytes()), {})

        plan = _Plan(address, SolveSpec(new_ref(), run=run, **common), served, {}, to, frm)
    built = asyncio.run(plan.run(timeout_s))
    if image is not None:
        layout = served["export"]
        layout.add_to_index(
            layout.describe(built.response["containerimage.digest"]), names=["test/app:1"]
        )
    return built


def files_of(image: Path) -> dict[str, str]:
    """Return the digests of all files of an image in a layout, upper layers over lower ones."""
    found = read_archive(image)
    (one,) = found.images
    return {
        entry.path: entry.digest
        for layer in one.layers
        for entry in found.files(layer)
        if entry.kind == "file"
    }
