"""One daemon and the builds on it. Every coroutine here runs on the I/O thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from depotlab import export
from depotlab._contexts import Directory, Files
from depotlab._docker import DockerEngine, EnginePlan, RegistryLogin, plan_for_engine
from depotlab._past import Store, find_store
from depotlab._rpc import Channel, Endpoint
from depotlab._session import Credentials, Session, find_credentials
from depotlab._verbs.depotfacts import DepotFacts
from depotlab._verbs.dockerfile import (
    DockerfileRequest,
    dockerfile_request,
    images_of,
    wants_platform,
)
from depotlab._verbs.ended import told
from depotlab._verbs.failures import failed_build, keeper, remember_failure
from depotlab._verbs.functions import FunctionBuild
from depotlab._verbs.graphs import GraphBuild, parse_platforms
from depotlab._verbs.loading import Loading, engine_to_load
from depotlab._verbs.remember import Memory, Traces, remember, settle
from depotlab._verbs.request import BuildRequest, check_locals
from depotlab._verbs.serving import Offer, Served
from depotlab._verbs.watched import Feed, watched
from depotlab.buildkit import (
    Attempt,
    Bridge,
    DaemonInfo,
    DiskUsage,
    Pruned,
    SolveSpec,
    Workers,
    daemon_info,
    disk_usage,
    list_workers,
    new_ref,
    prune,
    solve,
    solve_with_retry,
)
from depotlab.cache import Note
from depotlab.errors import (
    ConnectionLost,
    DepotlabError,
    StepFailed,
    UsageError,
)
from depotlab.export import Artifact, Output
from depotlab.frontend import Dockerfile, FrontendCall
from depotlab.llb import Definition, ImageConfig, Platform, State, load, parse_reference
from depotlab.progress import Fold, WarningRaised

__all__ = ["Aim", "Answer", "BeforeClose", "Builder", "OnSession", "given_back", "given_in_code"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a build came to.

    Attributes:
        ref: The name of the build on the daemon.
        response: The daemon's answer by key.
        definition: The graph that was sent (for the first platform), None for a Dockerfile.
        artifacts: What outputs became that came to this machine, by their position.
        loaded: Names, or the id, of the image in the engine that it was loaded into.
        depot: What Depot knows of the build, when it was built there.
        traces: What says what the build was.
        memory: What is kept of it on this computer.
    """

    ref: str
    response: Mapping[str, str]
    definition: Definition | None
    artifacts: Mapping[int, Artifact] = field(default_factory=dict)
    loaded: tuple[str, ...] = ()
    depot: DepotFacts | None = None
    traces: Traces | None = field(default=None, repr=False)
    memory: Memory | None = field(default=None, repr=False)

    def remembered(self, request: BuildRequest, fold: Fold, *, builder: str = "") -> Answer:
        """Begin to keep what the build was; returns at once. On the I/O thread.

        Args:
            request: What was asked for.
            fold: Its progress.
            builder: Who built it, when that is not the daemon itself.
        """
        if self.traces is None:
            return self
        traces = replace(self.traces, builder=builder or self.traces.builder)
        memory = remember(request, self.ref, traces, fold, time.time_ns())
        return replace(self, traces=None, memory=memory)


BeforeClose = Callable[[Any], Awaitable[None]]
"""Ends what others keep open on a builder; it is called with the builder, before that is closed."""


OnSession = Callable[[Session, Iterable[bytes]], None]
"""Is told of each session before it begins, with the secrets that were given in code."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What to ask of a daemon for a target.

    Attributes:
        spec: Without a name and without outputs.
        offer: What it reads from this machine.
        graph: The graph, when the target is one.
        function: The build of a frontend function, when the target is a call of one.
    """

    spec: SolveSpec
    offer: Offer
    graph: GraphBuild | None = None
    function: FunctionBuild | None = None

    @property
    def sent(self) -> Mapping[Platform, Definition]:
        """The graphs that were sent; none for a Dockerfile."""
        build = self.graph or self.function
        return {} if build is None else build.sent


def given_back(again: str) -> UsageError:
    """Say that a client was closed, and cannot be opened again like one of a daemon that somebody else runs."""
    return UsageError(
        "This client is closed, and has given back what it built on.",
        hint=f"make another one: bk = {again}; in a `with` block it is closed at the block's end",
    )


class Builder:
    """A connection to one daemon that builds over it.

    Args:
        endpoint: Where the daemon is.
        auth: Credentials given in code, for all builds.
        where: What views call the daemon; its address when left out.
        keeps_history: The daemon is to keep a record of each build, which takes it some milliseconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        auth: Mapping[str, Credentials],
        *,
        where: str = "",
        keeps_history: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self.where = where or endpoint.address
        self._auth = auth
        self._keeps_history = keeps_history
        self._channel: Channel | None = None
        self._dead: list[Channel] = []  # other builds may still be finding out
        self._ended = ""
        self._workers: Workers | None = None
        self.before_close: list[BeforeClose] = []
        self.before_prune: list[BeforeClose] = []
        self.on_session: list[OnSession] = []
        self.find_past: Callable[[], Store | None] = find_store

    async def connect(self, *, fresh: bool = False, timeout_s: float | None = None) -> Channel:
        """Return the open connection, made or repaired when needed.

        Args:
            fresh: Make a new one: the one that was there is dead.
            timeout_s: For hosts that do not answer; 10 s, and 30 s where a program connects, when left out.

        Raises:
            Unreachable: With the reason.
            UsageError: The client was closed, and its daemon was lent to it.
        """
        if self._ended:
            raise given_back(self._ended)
        if fresh and self._channel is not None:
            self._dead.append(self._channel)
            self._channel = None
        if self._channel is None:
            self._channel = Channel(self.endpoint)
        usual_s = 10.0 if self.endpoint.dialer is None else 30.0
        await self._channel.ready(timeout_s=usual_s if timeout_s is None else timeout_s)
        return self._channel

    def end(self, again: str) -> None:
        """Refuse all that follows: the daemon was lent to this client, and stops when nobody else has it.

        Args:
            again: The call that makes another client, such as `depotlab.local()`.
        """
        self._ended = again

    @property
    def is_connected(self) -> bool:
        """There is a connection; false before the first verb, and after `close`."""
        return self._channel is not None

    @property
    def described(self) -> str:
        """What a client says that it is a client of."""
        return self.address

    def new_fold(self) -> Fold:
        """Return what gathers the progress of a build."""
        return Fold()

    @property
    def address(self) -> str:
        """Where the daemon is."""
        return self.endpoint.address

    def check(self, request: BuildRequest) -> None:
        """Refuse what only other builders can do.

        Raises:
            UsageError: `save=` is asked for.
        """
        if request.save:
            raise UsageError(
                "save= keeps an image at Depot, and this builder is not there.",
                hint="build with depotlab.depot(), or push the image: tags=..., push=True",
            )

    async def info(self) -> DaemonInfo:
        """Ask for the version."""
        return await daemon_info(await self.connect())

    async def workers(self) -> Workers:
        """List the workers, the default one first."""
        self._workers = await list_workers(await self.connect())
        return self._workers

    async def disk_usage(self, filters: Sequence[str]) -> DiskUsage:
        """List what the cache holds."""
        return await disk_usage(await self.connect(), filters=filters)

    async def prune(self, **options: object) -> Pruned:
        """Remove what the cache holds; the options are those of `buildkit.prune`."""
        for end in self.before_prune:
            await end(self)
        return await prune(await self.connect(), **options)  # type: ignore[arg-type]  # the faces have the types

    async def close(self) -> None:
        """Close the connection; running builds end."""
        for end in self.before_close:
            await end(self)
        await settle(self.address)
        channels = [*self._dead, *([self._channel] if self._channel else [])]
        self._dead.clear()
        self._channel = None
        for channel in channels:
            await channel.close()

    async def build(self, request: BuildRequest, fold: Fold) -> Answer:
        """Run one build, feeding `fold`; the fold always gets its end event.

        Raises:
            BuildTimeout: `timeout_s` is over; the build was cancelled on the daemon.
            DepotlabError: The build failed.
        """
        try:
            work = watched(self.run(request, fold.feed), request, fold, where=self.where)
            hide = partial(given_in_code, request, {**self._auth, **request.auth})
            answer = await told(work, request, fold, hide)
            return answer.remembered(request, fold)
        except StepFailed as error:
            if failed_build(error) is None:
                remember_failure(error, self, request)
            raise

    async def run(self, request: BuildRequest, feed: Feed) -> Answer:
        """Run one build without its first and last event, for who tells them himself."""
        auth = {**self._auth, **request.auth}
        plan = await self._plan(request)
        aim = await self.aim(request)
        request.sent.append(aim.sent)
        spec = aim.spec
        spec = replace(
            spec,
            attrs={**plan.frontend_attrs, **spec.attrs} if spec.frontend else spec.attrs,
            cache_exports=request.cache_exports.entries,
            attests=request.attests,
            source_date_epoch=request.source_date_epoch,
            is_internal=not self._keeps_history,
        )
        _remark(feed, request.cache_imports.notes)
        kept: list[object] = []
        if aim.graph is not None:
            aim.graph.keep = self._keep(request, aim.graph, kept)
        attempts = _Attempts(
            request, spec, aim.offer, plan.outputs, auth, self._engine_to_load(request), self._serve
        )
        try:
            solved = await solve_with_retry(self.connect, attempts.make, feed)
            loaded = await attempts.loaded()
            artifacts, notes = await attempts.commit(solved.response)
        except BaseException as error:
            if kept and isinstance(error, StepFailed):
                remember_failure(error, self, request, kept[0])
            refused = await attempts.discard(error)
            if refused is not None:
                raise refused from error
            raise
        _remark(feed, notes)
        _remark(feed, [Note(w) for a in artifacts.values() for w in a.warnings])
        response = dict(solved.response)
        if plan.pushes:
            pushed = await self._push(plan.pushes, auth)
            response["containerimage.digest"] = pushed or response.get("containerimage.digest", "")
        return Answer(
            ref=solved.ref,
            response=response,
            definition=next(iter(aim.sent.values()), None),
            artifacts=artifacts,
            loaded=loaded or (request.load_names if request.load else ()),
            traces=Traces(
                self.address,
                {str(p): one for p, one in aim.sent.items()},
                attempts.served.session.moved,
                self._channel if self._keeps_history else None,
                given_in_code(request, auth),
                self.find_past,
            ),
        )

    def _keep(
        self, request: BuildRequest, graph: GraphBuild, kept: list[object]
    ) -> Callable[[Definition], Awaitable[None]] | None:
        """Return what holds on to a failed step; None where nothing is held: a machine of Depot ends with its build."""
        keep = keeper()
        if keep is None or not self._keeps_history or len(graph.platforms) != 1:
            return None

        async def hold(definition: Definition) -> None:
            # The very ops that were sent: the daemon then knows them for those that it has just run.
            same = load(definition.to_bytes(), locals=definition.locals)
            found = await keep(self, replace(request, target=same, no_cache=False))
            if found is not None:
                kept.append(found)

        return hold

    async def aim(self, request: BuildRequest) -> Aim:
        """Say what to ask of this daemon for the target of a request, and what it reads from this machine.

        Raises:
            GraphError: The graph asks for a secret or an agent that the request does not have.
            ContextError: A directory is not there.
        """
        auth = {**self._auth, **request.auth}
        graph: GraphBuild | None = None
        function: FunctionBuild | None = None
        target = request.target
        if isinstance(target, FrontendCall):
            platforms = request.platforms or (await self.platform(),)
            hide = given_in_code(request, auth)
            function = FunctionBuild(target, request, self, parse_platforms(platforms), hide)
            stores = {f"oci:{name}": layout for name, layout in request.stores.items()}
            offer = Offer({}, {}, stores, function.grows)
            attrs = {"platform": request.platform} if request.platforms else {}
            spec = SolveSpec(ref="", run=function.run, attrs=attrs)
        elif isinstance(target, Dockerfile):
            asked = await self._dockerfile(request, target, auth)
            offer = Offer(asked.folders, asked.uploads, asked.stores)
            spec = SolveSpec(
                ref="", frontend="dockerfile.v0", attrs=asked.attrs, inputs=asked.inputs
            )
        else:
            platforms = request.platforms or (await self.platform(),)
            hide = given_in_code(request, auth)
            states = dict(target) if isinstance(target, Mapping) else {}
            state = target if isinstance(target, State) else next(iter(states.values()))
            graph = GraphBuild(
                state,
                parse_platforms(platforms),
                request.no_cache,
                hide,
                states={Platform.parse(word): each for word, each in states.items()},
            )
            graph.check_needs(secret_ids=list(request.secrets), ssh_ids=list(request.ssh))
            check_locals(graph.folders)
            stores = {f"oci:{name}": layout for name, layout in request.stores.items()}
            offer = Offer(graph.folders, {}, stores)
            # The daemon compares it with what the result says, and would else warn of any but its own.
            attrs = {"platform": request.platform} if request.platforms else {}
            spec = SolveSpec(ref="", run=graph.run, plan=graph.plan, attrs=attrs)
        spec = replace(
            spec, cache_imports=request.cache_imports.entries, entitlements=request.allow
        )
        for also in request.also:
            beside = GraphBuild(
                also, parse_platforms(request.platforms or (await self.platform(),))
            )
            beside.check_needs(secret_ids=list(request.secrets), ssh_ids=list(request.ssh))
            check_locals(beside.folders)
            offer = replace(offer, folders={**offer.folders, **beside.folders})
        return Aim(spec, offer, graph, function)

    @asynccontextmanager
    async def borrowed(self, platforms: Sequence[str] = ()) -> AsyncIterator[Builder]:
        """Lend the builder itself; that of Depot lends one on a machine.

        Args:
            platforms: What is going to be built for.
        """
        yield self

    def session(self, request: BuildRequest, offer: Offer) -> Session:
        """Return what a build without outputs may ask of this machine."""
        return self._serve(request, offer, (), {**self._auth, **request.auth}).session

    def _serve(
        self,
        request: BuildRequest,
        offer: Offer,
        outputs: Sequence[Output],
        auth: Mapping[str, Credentials],
    ) -> Served:
        served = Served(request, offer, outputs, auth)
        if self.on_session:
            secrets = [one.read() for one in request.secrets.values()]
            secrets += [word.encode() for word in given_in_code(request, auth)]
            for tell in self.on_session:
                tell(served.session, secrets)
        return served

    async def platform(self) -> str:
        """The platform that the daemon builds for when nobody says: its first worker's native one."""
        workers = self._workers or await self.workers()
        return next(iter(workers[0].platforms), "linux/amd64")

    async def _dockerfile(
        self, request: BuildRequest, target: Dockerfile, auth: Mapping[str, Credentials]
    ) -> DockerfileRequest:
        """Say what a Dockerfile build needs; graphs among its contexts may want to know their base images first."""
        platform = await self.platform() if wants_platform(target) else ""
        wanted = images_of(target, request, platform=platform)
        configs: dict[tuple[str, Platform | None], ImageConfig] = {}
        digests: dict[tuple[str, Platform | None], str] = {}
        if wanted:

            async def look(bridge: Bridge) -> None:
                for image in wanted:
                    found = await bridge.resolve_image(image.ref, str(image.platform))
                    configs[image] = ImageConfig.from_json(found.config)
                    if found.digest:  # an engine's own image may have none
                        digests[image] = found.digest
                await bridge.finish("", {})

            spec = SolveSpec(ref=new_ref(), run=look, is_internal=True)
            await solve(await self.connect(), spec, Session(auth=auth), lambda _: None)
        ask = partial(
            dockerfile_request, target, request, platform=platform, configs=configs, digests=digests
        )
        if isinstance(target.main.where, Directory | Files) and not target.contexts:
            return ask()  # two small files
        return await asyncio.to_thread(ask)

    async def _plan(self, request: BuildRequest) -> EnginePlan[Output]:
        """Fit the outputs to what a Docker Engine can do, when the daemon is one."""
        outputs = request.outputs
        if self.endpoint.docker is None:
            return EnginePlan(outputs)
        here = self._loads_into_itself(request)
        if here:
            outputs = _with_image(outputs, request.load_names)
        workers = self._workers or await self.workers()
        return plan_for_engine(
            [worker.labels for worker in workers],
            outputs,
            n_platforms=max(1, len(request.platforms)),
            attestations=bool(request.attests),
            cache_exports=[kind for kind, _ in request.cache_exports.entries],
            cache_imports=[kind for kind, _ in request.cache_imports.entries],
            loads_elsewhere=bool(request.load) and not here,
        )

    def _loads_into_itself(self, request: BuildRequest) -> bool:
        """Say whether the image is to end in the very Docker Engine that builds it."""
        docker = self.endpoint.docker
        if docker is None or not request.load:
            return False
        return request.load is True or engine_to_load(request.load).address == docker.address

    def _engine_to_load(self, request: BuildRequest) -> Callable[[], Loading] | None:
        """Return what begins to load the image, or None when nothing is to be loaded from here."""
        if not request.load or self._loads_into_itself(request):
            return None
        host = engine_to_load(request.load)
        return lambda: Loading(host, request.load_names, beside=request.outputs)

    async def _push(self, names: Iterable[str], auth: Mapping[str, Credentials]) -> str:
        """Push by the engine's own API, as engines with the classic image store do; return the last digest."""
        assert self.endpoint.docker is not None
        engine = DockerEngine(self.endpoint.docker)
        digest = ""
        for name in names:
            login = await asyncio.to_thread(_login, name, auth)
            pushing = asyncio.ensure_future(asyncio.to_thread(engine.push, name, login))
            try:
                digest = await asyncio.shield(pushing) or digest
            except asyncio.CancelledError:
                engine.abort()
                await asyncio.gather(pushing, return_exceptions=True)
                raise
        return digest


class _Attempts:
    """The attempts of one build: each has a name, a session, and outputs of its own."""

    def __init__(
        self,
        request: BuildRequest,
        spec: SolveSpec,
        offer: Offer,
        outputs: Sequence[Output],
        auth: Mapping[str, Credentials],
        load: Callable[[], Loading] | None,
        serve: Callable[..., Served],
    ) -> None:
        self._request = request
        self._spec = spec
        self._offer = offer
        self._outputs = tuple(outputs)
        # What comes here first, what is pushed last: the daemon's answer has one digest, that of the last image, and
        # is asked for what was pushed. What comes here has its own. Source: moby/buildkit issue 4532.
        self._order = sorted(
            range(len(outputs)), key=lambda at: (outputs[at].destination is None, outputs[at].push)
        )
        self._n_here = sum(output.destination is not None for output in outputs)
        self._auth = auth
        self._load = load
        self._serve = serve
        self._made: list[Served] = []
        self._loading: list[Loading] = []

    @property
    def served(self) -> Served:
        """Of the last attempt."""
        return self._made[-1]

    def make(self) -> Attempt:
        """Return a new attempt.

        Raises:
            ConnectionLost: The first one has read what can be read only once.
        """
        if self._made and not self.served.can_be_repeated:
            raise ConnectionLost(
                "The connection broke while the context was sent, and it can be read only once.",
                hint="build again with a new stream, or give the archive as a path",
            )
        outputs = [self._outputs[position] for position in self._order]
        if self._load is not None:
            self._loading.append(self._load())
            outputs.insert(self._n_here, self._loading[-1].output)
        self._made.append(self._serve(self._request, self._offer, outputs, self._auth))
        spec = replace(self._spec, ref=new_ref(), exporters=tuple(outputs))
        return Attempt(spec, self.served.session)

    async def commit(
        self, response: Mapping[str, str]
    ) -> tuple[dict[int, Artifact], tuple[Note, ...]]:
        """Put what arrived in its place; return what outputs became, by their position in the request, and remarks."""
        artifacts, notes = await self.served.commit(response)
        # The one after these is what was loaded, which the user did not ask for.
        mine = {self._order[at]: one for at, one in artifacts.items() if at < self._n_here}
        return mine, notes

    async def loaded(self) -> tuple[str, ...]:
        """Wait until the image is where it was to be loaded."""
        for loading in self._loading[:-1]:
            await loading.abort()
        return await self._loading[-1].finish() if self._loading else ()

    async def discard(self, error: BaseException) -> Exception | None:
        """Remove what arrived; return the error of a Docker Engine that refused the image."""
        refused: Exception | None = None
        for served in self._made:
            await served.discard(error)
        for loading in self._loading:
            refused = await loading.abort() or refused
        return refused if isinstance(error, Exception) else None


def given_in_code(request: BuildRequest, auth: Mapping[str, Credentials]) -> list[str]:
    """What may stand beside the graph in a cell, and must not be shown or sent with it."""
    values = [one.read().decode("utf-8", "ignore") for one in request.secrets.values()]
    for one in auth.values():
        values += [one.password, one.identity_token, one.registry_token]
    return values


def _with_image(outputs: tuple[Output, ...], names: tuple[str, ...]) -> tuple[Output, ...]:
    """Keep the image in the engine under these names too. One exporter: BuildKit before 0.13 refuses two."""
    for number, one in enumerate(outputs):
        if one.type == "image":
            together = tuple(dict.fromkeys([*one.names, *names]))
            attrs = {**one.attrs, "name": ",".join(together)} if together else one.attrs
            image = one if one.push else replace(one, names=together, attrs=attrs)
            return (*outputs[:number], image, *outputs[number + 1 :])
    return (*outputs, export.image(*names))


def _login(name: str, auth: Mapping[str, Credentials]) -> RegistryLogin:
    host = parse_reference(name).name.partition("/")[0]
    problems: list[DepotlabError] = []
    found = find_credentials(host, auth, report=problems.append)
    if problems:
        raise problems[0]
    return RegistryLogin(found.username, found.password, found.identity_token, found.registry_token)


def _remark(feed: Feed, notes: Iterable[Note]) -> None:
    warnings = [
        WarningRaised("", 1, note.message, (note.hint,) if note.hint else ()) for note in notes
    ]
    if warnings:
        feed(warnings)
