"""Builds on Depot: each is registered, gets a machine, runs there, and is finished with what it came to.

Nothing is held between builds. A machine costs while a build has it, and Depot keeps it warm for the next one; so a
client can stay open in a notebook for a day.

A build that is continued (`DEPOT_BUILD_ID`) is finished by its first build here: its token is worth nothing afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
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
    StatusMirror,
    emulated,
    find_config,
    machines_for,
    register,
    resume,
    through_cancellation,
)
from depotlab._plane import PlaneLease
from depotlab._rpc import Endpoint
from depotlab._session import Credentials
from depotlab._verbs.builder import (
    Answer,
    BeforeClose,
    Builder,
    OnSession,
    given_back,
    given_in_code,
)
from depotlab._verbs.depotfacts import DepotFacts
from depotlab._verbs.depotstages import Stages
from depotlab._verbs.ended import told
from depotlab._verbs.failures import remember_failure
from depotlab._verbs.request import BuildRequest
from depotlab._verbs.split import Lanes, can_be_split, is_plain, part_of, push_index
from depotlab._verbs.watched import watched
from depotlab.buildkit import DaemonInfo, DiskUsage, Pruned, Workers
from depotlab.errors import StepFailed, UsageError
from depotlab.export import Output
from depotlab.frontend import Dockerfile
from depotlab.progress import Event, Fold, WarningRaised

__all__ = ["DepotBuilder", "MachineBuilders", "find_depot"]

_PROBE_S = 5.0

# What a build waits for at its end, should its status still be on the way to the API. It is sent when the machine is
# ready, while the build runs, so normally nothing is.
_STATUS_S = 0.5


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
        self.before_close: list[BeforeClose] = []
        self.before_prune: list[BeforeClose] = []
        self.on_session: list[OnSession] = []
        self._status_wanted = True
        self._ended = ""

    def end(self, again: str) -> None:
        """Refuse all that follows, as a `Builder` does: the Depot on this computer was lent to this client."""
        self._ended = again

    def check(self, request: BuildRequest) -> None:
        """Depot can do all that a request says."""

    @property
    def described(self) -> str:
        """What a client says that it is a client of."""
        return self.address

    def new_fold(self) -> Fold:
        """Return what gathers the progress of a build."""
        return Fold()

    async def connect(self) -> None:
        """Nothing is connected before there is a build."""

    async def info(self) -> DaemonInfo:
        """Ask a machine for its version."""
        async with self.borrowed() as builder:
            return await builder.info()

    async def workers(self) -> Workers:
        """List the workers of a machine."""
        async with self.borrowed() as builder:
            return await builder.workers()

    async def disk_usage(self, filters: Sequence[str]) -> DiskUsage:
        """List what the project's cache holds."""
        async with self.borrowed() as builder:
            return await builder.disk_usage(filters)

    async def prune(self, **options: Any) -> Pruned:
        """Remove what the project's cache holds; the options are those of `buildkit.prune`."""
        for end in self.before_prune:
            await end(self)
        async with self.borrowed() as builder:
            return await builder.prune(**options)

    async def close(self) -> None:
        """Close the connections to the API."""
        for end in self.before_close:
            await end(self)
        self._connect.close()

    async def build(self, request: BuildRequest, fold: Fold) -> Answer:
        """Run one build, feeding `fold`; the fold always gets its end event, and Depot always hears how it ended.

        Raises:
            DepotError: Depot refused.
            BuildCanceled: Depot canceled it.
            DepotlabError: The build failed.
        """
        try:
            work = watched(self._build(request, fold), request, fold, where=self.where)
            hide = partial(given_in_code, request, {**self._auth, **request.auth})
            answer = await told(work, request, fold, hide)
            project = answer.depot.project_id if answer.depot else ""
            return answer.remembered(request, fold, builder=f"Depot project {project}".strip())
        except StepFailed as error:
            remember_failure(error, self, request)
            raise

    async def _build(self, request: BuildRequest, fold: Fold) -> Answer:
        stages = Stages(fold)
        async with (
            await self._register(_options(request), stages) as build,
            self._mirrored(build, stages),
        ):
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
        builders = MachineBuilders(self._auth, self.on_session)
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
        builders, lanes = MachineBuilders(self._auth, self.on_session), Lanes(fold.feed)

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

    async def _register(self, options: BuildOptions, stages: Stages | None = None) -> DepotBuild:
        if self._ended:
            raise given_back(self._ended)
        config, report = self._config, stages.take if stages else None
        if config.build:
            return await resume(
                self._connect, config.build.value, config.require_token(), report=report
            )
        return await register(self._connect, options, config.project.value, report=report)

    @asynccontextmanager
    async def _mirrored(self, build: DepotBuild, stages: Stages) -> AsyncIterator[None]:
        """Tell the API our own steps of a build, unless it has said that it does not know what they are."""
        if not self._status_wanted:
            yield
            return
        stages.mirror = mirror = StatusMirror(build, close_s=_STATUS_S)
        try:
            async with mirror:
                yield
        finally:
            self._status_wanted = self._status_wanted and not mirror.unwanted

    @asynccontextmanager
    async def borrowed(self, platforms: Sequence[str] = ()) -> AsyncIterator[Builder]:
        """Lend a machine for a question, as a build of its own.

        Args:
            platforms: What is going to be built for; the machine is that of the first.

        Raises:
            UsageError: The client continues a build, which the question would finish as a success.
        """
        if self._config.build:
            raise UsageError(
                f"This client continues build {self._config.build.value}, which a question would finish.",
                hint="ask with a client of its own: depot(project, token=...) without a build",
            )
        name = next(iter(machines_for(platforms, forced=self._machine)))
        builders = MachineBuilders(self._auth, self.on_session)
        try:
            async with (
                await self._register(BuildOptions()) as build,
                Machine(build, name, probe=builders.probe, timeout_s=self._timeout_s) as machine,
            ):
                yield builders.at(machine)
        finally:
            await builders.close()


class MachineBuilders:
    """The connections to the machines of one build.

    Args:
        auth: Registry credentials given in code.
        on_session: See `Builder.on_session`.
    """

    def __init__(self, auth: Mapping[str, Credentials], on_session: Sequence[OnSession]) -> None:
        self._auth = auth
        self._on_session = on_session
        self._answering: dict[Endpoint, Builder] = {}

    async def probe(self, endpoint: Endpoint) -> None:
        """Find out whether a machine answers, and keep the connection if it does."""
        # Depot keeps the steps of its builds itself.
        builder = Builder(endpoint, self._auth, keeps_history=False)
        builder.on_session += self._on_session
        try:
            await builder.connect(timeout_s=_PROBE_S)
            await builder.workers()
        except BaseException:
            await through_cancellation(asyncio.create_task(builder.close()))
            raise
        self._answering[endpoint] = builder

    def at(self, machine: Machine) -> Builder:
        """Return the builder on a machine that answered."""
        assert machine.endpoint is not None
        return self._answering[machine.endpoint]

    async def close(self) -> None:
        """Let go of all, even if we are interrupted once more meanwhile."""
        for builder in self._answering.values():
            await through_cancellation(asyncio.create_task(builder.close()))


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
