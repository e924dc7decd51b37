"""Builds on Depot: each is registered, gets a machine, runs there, and is finished with what it came to.

Nothing is held between builds. A machine costs while a build has it, and Depot keeps it warm for the next one; so a
client can stay open in a notebook for a day.

A build that is continued (`DEPOT_BUILD_ID`) is finished by its first build here: its token is worth nothing afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from depotlab import export
from depotlab._depot import (
    BuildOptions,
    DepotBuild,
    DepotConfig,
    Fleet,
    Machine,
    Setting,
    Stage,
    emulated,
    find_config,
    machines_for,
    register,
    resume,
)
from depotlab._plane import PlaneLease
from depotlab._rpc import Endpoint
from depotlab._session import Credentials
from depotlab._verbs.builder import Answer, Builder
from depotlab._verbs.depotfacts import DepotFacts
from depotlab._verbs.request import BuildRequest
from depotlab._verbs.split import Lanes, can_be_split, is_plain, part_of, push_index
from depotlab._verbs.watched import watched
from depotlab.buildkit import DaemonInfo, DiskUsage, Pruned, Worker
from depotlab.errors import UsageError
from depotlab.export import Output
from depotlab.frontend import Dockerfile
from depotlab.progress import Event, Fold, VertexUpdated, WarningRaised

__all__ = ["DepotBuilder", "find_depot"]

_PROBE_S = 5.0

# What is waited for when a stage was reached, and what has ended then.
_BEGINS = {"waiting for machine": "launch {}", "connecting": "connect to {}"}
_ENDS = {
    "connecting": "launch {}",
    "ready": "connect to {}",
    "retry": "connect to {}",
    "released": "connect to {}",
}


async def find_depot(
    *,
    token: str | None = None,
    project: str | None = None,
    organization: str | None = None,
    build: str | None = None,
    url: str | None = None,
    context: str | Path | None = None,
) -> DepotConfig:
    """Find out which token, project and address are used; see `DepotConfig`."""
    return await find_config(
        token=token or "",
        project=project or "",
        organization=organization or "",
        build=build or "",
        base_url=url or "",
        host_context=None if context is None else Path(context),
    )


def depot_here(plane: PlaneLease, project: str | None) -> DepotConfig:
    """Say how to reach a Depot on this computer. What the environment and files say is about another one."""
    source = "the Depot on this computer"
    return DepotConfig(
        token=Setting(plane.token, source, secret=True),
        project=Setting(project, "argument") if project else Setting(plane.project, source),
        organization=Setting(plane.organization, source),
        build=Setting(),
        base_url=Setting(plane.url, source),
    )


class DepotBuilder:
    """Builds on Depot machines, as `Builder` does on one daemon.

    Args:
        config: Token, project, address.
        auth: Registry credentials given in code, for all builds.
        machine: All builds on this architecture, such as `linux/arm64`; empty takes that of the platform.
        timeout_s: For getting a machine.
    """

    def __init__(
        self,
        config: DepotConfig,
        auth: Mapping[str, Credentials],
        *,
        machine: str = "",
        timeout_s: float = 300.0,
    ) -> None:
        self.where = "Depot"
        self.address = config.base_url.value
        self._config = config
        self._auth = auth
        self._machine = machine
        self._timeout_s = timeout_s
        self._connect = config.connect()

    def check(self, request: BuildRequest) -> None:
        """Depot can do all that a request says."""

    async def connect(self) -> None:
        """Nothing is connected before there is a build."""

    async def info(self) -> DaemonInfo:
        """Ask a machine for its version."""
        async with self._borrowed() as builder:
            return await builder.info()

    async def workers(self) -> tuple[Worker, ...]:
        """List the workers of a machine."""
        async with self._borrowed() as builder:
            return await builder.workers()

    async def disk_usage(self, filters: Sequence[str]) -> DiskUsage:
        """List what the project's cache holds."""
        async with self._borrowed() as builder:
            return await builder.disk_usage(filters)

    async def prune(self, **options: Any) -> Pruned:
        """Remove what the project's cache holds; the options are those of `buildkit.prune`."""
        async with self._borrowed() as builder:
            return await builder.prune(**options)

    async def close(self) -> None:
        """Close the connections to the API."""
        self._connect.close()

    async def build(self, request: BuildRequest, fold: Fold) -> Answer:
        """Run one build, feeding `fold`; the fold always gets its end event, and Depot always hears how it ended.

        Raises:
            DepotError: Depot refused.
            BuildCanceled: Depot canceled it.
            DepotlabError: The build failed.
        """
        return await watched(self._build(request, fold), request, fold, where=self.where)

    async def _build(self, request: BuildRequest, fold: Fold) -> Answer:
        stages = _Stages(fold)
        async with await self._register(_options(request), stages) as build:
            saved = build.tags_to_save(request.save_tags) if request.save else ()
            if saved:
                request = replace(
                    request,
                    outputs=_with_saved(request.outputs, saved),
                    auth={**request.auth, **build.credentials},
                )
            machines = machines_for(request.platforms, forced=self._machine)
            if len(machines) > 1 and can_be_split(request):
                answer = await self._on_several(build, machines, request, fold)
            else:
                answer = await self._on_one(build, machines, request, fold)
        facts = DepotFacts(build.id, build.project_id, build.url, saved)
        return replace(answer, depot=facts)

    async def _on_one(
        self,
        build: DepotBuild,
        machines: Mapping[str, Sequence[str]],
        request: BuildRequest,
        fold: Fold,
    ) -> Answer:
        name = next(iter(machines))
        fold.feed(_remarks([p for group in machines.values() for p in group], name))
        builders = _Builders(self._auth)
        try:
            async with Machine(
                build, name, probe=builders.probe, timeout_s=self._timeout_s
            ) as machine:
                return await machine.guard(builders.at(machine).run(request, fold.feed))
        finally:
            await builders.close()

    async def _on_several(
        self,
        build: DepotBuild,
        machines: Mapping[str, Sequence[str]],
        request: BuildRequest,
        fold: Fold,
    ) -> Answer:
        """Build for each architecture on its own machine, at the same time, and push the index of all."""
        for name, group in machines.items():
            fold.feed(_remarks(group, name))
        builders, lanes = _Builders(self._auth), Lanes(fold.feed)

        async def work(machine: Machine, platforms: tuple[str, ...]) -> Answer:
            part = part_of(request, platforms)
            lane = lanes.lane(machine.machine)
            return await builders.at(machine).run(part, lane)

        try:
            async with Fleet(
                build, request.platforms, probe=builders.probe, timeout_s=self._timeout_s
            ) as fleet:
                answers = await fleet.each(work)
        finally:
            await builders.close()
        first = next(iter(answers.values()))
        if not request.outputs:
            return first
        digests = {m: a.response.get("containerimage.digest", "") for m, a in answers.items()}
        auth = {**self._auth, **request.auth}
        digest = await push_index(request, digests, machines, auth)
        return replace(first, response={"containerimage.digest": digest})

    async def _register(self, options: BuildOptions, stages: _Stages | None = None) -> DepotBuild:
        config, report = self._config, stages.take if stages else None
        if config.build:
            return await resume(
                self._connect, config.build.value, config.require_token(), report=report
            )
        return await register(self._connect, options, config.project.value, report=report)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Builder]:
        """A machine for a question, as a build of its own.

        Raises:
            UsageError: The client continues a build, which the question would finish as a success.
        """
        if self._config.build:
            raise UsageError(
                f"This client continues build {self._config.build.value}, which a question would finish.",
                hint="ask with a client of its own: depot(project, token=...) without a build",
            )
        name = next(iter(machines_for((), forced=self._machine)))
        builders = _Builders(self._auth)
        try:
            async with (
                await self._register(BuildOptions()) as build,
                Machine(build, name, probe=builders.probe, timeout_s=self._timeout_s) as machine,
            ):
                yield builders.at(machine)
        finally:
            await builders.close()


class _Builders:
    """The connections to the machines of one build."""

    def __init__(self, auth: Mapping[str, Credentials]) -> None:
        self._auth = auth
        self._answering: dict[Endpoint, Builder] = {}

    async def probe(self, endpoint: Endpoint) -> None:
        """Find out whether a machine answers, and keep the connection if it does."""
        # Depot keeps the steps of its builds itself.
        builder = Builder(endpoint, self._auth, keeps_history=False)
        try:
            await builder.connect(timeout_s=_PROBE_S)
            await builder.workers()
        except BaseException:
            await builder.close()
            raise
        self._answering[endpoint] = builder

    def at(self, machine: Machine) -> Builder:
        """Return the builder on a machine that answered."""
        assert machine.endpoint is not None
        return self._answering[machine.endpoint]

    async def close(self) -> None:
        """Let go of all."""
        for builder in self._answering.values():
            await builder.close()


class _Stages:
    """Shows how a machine comes to be as steps of the build."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._begun: dict[str, int] = {}

    def take(self, stage: Stage) -> None:
        """Take a stage."""
        machine = f"{stage.machine} machine"
        events: list[Event] = []
        ended = _ENDS.get(stage.name, "").format(machine)
        if ended in self._begun:
            began_ns = self._begun.pop(ended)
            events.append(_step(ended, began_ns, stage.at_ns))
        begun = _BEGINS.get(stage.name, "").format(machine)
        if begun:
            self._begun[begun] = stage.at_ns
            events.append(_step(begun, stage.at_ns))
        if stage.name == "retry":
            events.append(WarningRaised("", 1, f"asking for another {machine}: {stage.detail}"))
        if events:
            self._fold.feed(events)


def _step(name: str, began_ns: int, ended_ns: int | None = None) -> VertexUpdated:
    return VertexUpdated(
        digest=f"depot:{name}",
        name=f"[depot] {name}",
        started_ns=began_ns,
        completed_ns=ended_ns,
        is_local=True,
    )


def _options(request: BuildRequest) -> BuildOptions:
    """Say what is built, as far as Depot asks."""
    target = request.target
    return BuildOptions(
        tags=tuple(dict.fromkeys(n for o in request.outputs for n in o.names)),
        outputs=request.outputs,
        push=any(output.push for output in request.outputs),
        load=bool(request.load),
        target_name=(target.target or "") if isinstance(target, Dockerfile) else "",
        save=request.save,
        save_tags=request.save_tags,
    )


def _with_saved(outputs: tuple[Output, ...], names: tuple[str, ...]) -> tuple[Output, ...]:
    """Push the image under these names too; by the same exporter as others, since old daemons have room for one.

    Not by one that pushes without tags, nor by one that need not check whom it talks to: Depot's login goes with it.
    """
    for number, one in enumerate(outputs):
        if one.type == "image" and one.push and one.names and is_plain(one):
            together = tuple(dict.fromkeys([*one.names, *names]))
            attrs = {**one.attrs, "name": ",".join(together)}
            image = replace(one, names=together, attrs=attrs)
            return (*outputs[:number], image, *outputs[number + 1 :])
    return (*outputs, export.image(*names, push=True))


def _remarks(platforms: Sequence[str], machine: str) -> list[Event]:
    slow = [platform for platform in platforms if emulated(platform, machine)]
    if not slow:
        return []
    text = f"commands for {', '.join(slow)} are emulated on the {machine} machine, which is much slower"
    return [WarningRaised("", 1, text)]
