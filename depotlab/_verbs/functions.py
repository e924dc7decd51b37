"""A build whose frontend is a Python function.

The function runs on a thread of its own, never on the I/O thread: it may compute for minutes while the daemon asks for
our health every five seconds. What it asks of its gateway is done on the I/O thread. `Return` is sent once: the
result, or that the function failed.

Directories of this machine are offered to the daemon as the function comes to need them, so the session's shared key is
random: see `Session.offer`. They are sent in full to each build.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from depotlab._rpc import InnerServer, RpcFailed, Status
from depotlab._session import Session
from depotlab._verbs.commands import command_runner
from depotlab._verbs.graphs import GraphBuild, Made, finish
from depotlab._verbs.request import BuildRequest, check_locals
from depotlab._verbs.serving import Offer
from depotlab.buildkit import (
    Bridge,
    Files,
    ResolvedImage,
    Tunnel,
    from_failure,
    guest_path,
    open_session,
)
from depotlab.errors import BuildCanceled, DepotlabError, UsageError
from depotlab.frontend import Dockerfile, FrontendCall
from depotlab.llb import Definition, ImageConfig, Platform, State, load

if TYPE_CHECKING:
    from depotlab._inside import Completed
    from depotlab._verbs.builder import Builder

__all__ = ["FunctionBuild", "OnFailure", "Workshop"]

T = TypeVar("T")
OnFailure = Callable[[RpcFailed], Awaitable[None]]


@dataclass(slots=True)
class FunctionBuild:
    """The build of a call of a frontend function.

    Attributes:
        call: The function and its arguments.
        request: The build.
        builder: The daemon.
        platforms: That were asked for, or the builder's own; never empty.
        hide: Texts to leave out of what is shown and sent of the user's code.
        sent: What was sent for the result at last.
    """

    call: FrontendCall
    request: BuildRequest
    builder: Builder
    platforms: Sequence[Platform]
    hide: Sequence[str] = field(default=(), repr=False)
    sent: dict[Platform, Definition] = field(default_factory=dict)
    _session: Session | None = None

    def grows(self, session: Session) -> None:
        """Take the session of an attempt."""
        session.shared_key = secrets.token_hex(16)
        self._session = session

    async def run(self, bridge: Bridge) -> None:
        """Let the function decide, solve what it returns, and return that to the daemon."""
        await finish(bridge, await self.solve(bridge))

    async def solve(
        self, bridge: Bridge, *, on_failure: OnFailure | None = None
    ) -> dict[Platform, Made]:
        """Let the function decide, and solve what it returns.

        Args:
            bridge: The gateway of the build.
            on_failure: Awaited with what the daemon refused, before the build is ended for it.

        Raises:
            DepotlabError: What it asked for, or returned, cannot be built.
            Exception: Whatever the function raises. In all cases the build has been failed on the daemon.
        """
        assert self._session is not None
        workshop = Workshop(self, bridge, self._session)
        try:
            returned = await _in_thread(self.call, workshop)
            return await workshop.ask(workshop.solve_all(self._checked(returned)))
        except Exception as error:
            # The daemon keeps this text in its history, and the error's own may hold a secret.
            said = f"the frontend {self.call.name} raised {type(error).__name__}"
            failure = workshop.failure_of(error) or RpcFailed(Status.UNKNOWN, said)
            if on_failure is not None:
                await on_failure(failure)
            with contextlib.suppress(RpcFailed):  # the daemon is gone: the error says more
                await bridge.fail(failure)
            raise
        finally:
            await workshop.close()

    def _checked(self, returned: object) -> State | Dockerfile | dict[Platform, State]:
        name = self.call.name
        if isinstance(returned, State | Dockerfile):
            return returned
        if isinstance(returned, Mapping) and returned:
            states: dict[Platform, State] = {}
            for key, value in returned.items():
                if not isinstance(value, State):
                    break
                states[key if isinstance(key, Platform) else Platform.parse(str(key))] = value
            else:
                missing = [p for p in self.platforms if p not in states]
                if self.request.platforms and missing:
                    raise UsageError(
                        f"{name}() returned nothing for {missing[0]}, which the build was asked for.",
                        hint="return a state for each of gw.platforms",
                    )
                asked = self.platforms if self.request.platforms else tuple(states)
                return {platform: states[platform] for platform in asked}
        raise UsageError(
            f"{name}() returned {returned!r}, which cannot be built.",
            hint="return a state, a Dockerfile, or a state for each platform: {'linux/arm64': state}",
        )


class Workshop:
    """What a function can ask of its build. All coroutines here run on the I/O thread.

    Args:
        build: The build.
        bridge: Its gateway.
        session: Its session.
    """

    def __init__(self, build: FunctionBuild, bridge: Bridge, session: Session) -> None:
        self.build = build
        self._bridge = bridge
        self._session = session
        self._offered: dict[str, Path] = {}
        # One for all graphs, so that what is read of a directory is the same for all of them.
        self._unique_id = secrets.token_hex(13)
        self._solved: dict[tuple[State | int, Platform], Made] = {}
        self._kept: list[Dockerfile] = []
        self._beside_tasks: list[asyncio.Task[None]] = []
        self._tunnels: list[Tunnel] = []
        self._failures: list[tuple[DepotlabError, RpcFailed]] = []
        self._is_open = True

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """What the build is for."""
        return tuple(self.build.platforms)

    async def close(self) -> None:
        """Answer nothing any more, and end the sessions beside that of the build."""
        self._is_open = False
        for task in self._beside_tasks:
            task.cancel()
        await asyncio.gather(*self._beside_tasks, return_exceptions=True)
        for tunnel in self._tunnels:
            await tunnel.close()

    def ask(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Return work of the function's that fails when the build has ended, with a typed error."""
        return self._asked(work)

    def failure_of(self, error: BaseException) -> RpcFailed | None:
        """Return the daemon's failure that an error of ours was made of."""
        return next((failure for told, failure in self._failures if told is error), None)

    async def solve(self, target: State | Dockerfile, platform: Platform | None) -> Made:
        """Build a target inside this build, once."""
        wanted = platform or self.build.platforms[0]
        if not isinstance(target, State | Dockerfile):
            raise UsageError(
                f"the gateway cannot solve {target!r}.",
                hint="give a state, such as llb.image('busybox'), or depotlab.dockerfile(...)",
            )
        key = (target if isinstance(target, State) else id(target), wanted)
        if key not in self._solved:
            if isinstance(target, State):
                self._solved[key] = (await self._graph(target, [wanted]).solve(self._bridge))[
                    wanted
                ]
            else:
                self._kept.append(target)  # its id is in the key
                self._solved[key] = (await self._dockerfile(target, [wanted]))[wanted]
        return self._solved[key]

    async def solve_all(
        self, target: State | Dockerfile | dict[Platform, State]
    ) -> dict[Platform, Made]:
        """Build what the function returned, for all platforms."""
        if isinstance(target, Dockerfile):
            return await self._dockerfile(target, list(self.build.platforms))
        if isinstance(target, State):
            graph = self._graph(target, list(self.build.platforms))
        else:
            graph = self._graph(next(iter(target.values())), list(target), target)
        made = await graph.solve(self._bridge)
        self.build.sent.update(graph.sent)
        return made

    async def run(
        self, target: State | Dockerfile, platform: Platform | None, prepared: Any
    ) -> Completed:
        """Build a target, and run a command in it."""
        made = await self.solve(target, platform)
        where = platform or self.build.platforms[0]
        return await command_runner().run(self._bridge, made, where, prepared)

    async def files(self, target: State | Dockerfile, platform: Platform | None) -> Files:
        """Build a target, and return its files."""
        made = await self.solve(target, platform)
        config = ImageConfig.from_json(made.config) if made.config else ImageConfig()
        return Files(self._bridge, made.ref, base=guest_path(config.working_dir or "/"))

    async def resolve_image(self, ref: str, platform: Platform | None) -> ResolvedImage:
        """Ask the registry for an image."""
        return await self._bridge.resolve_image(ref, str(platform or self.build.platforms[0]))

    async def warn(self, digest: str, text: str, detail: Sequence[str], url: str) -> None:
        """Attach a remark to a step."""
        await self._bridge.warn(digest, text, detail=detail, url=url)

    def _graph(
        self,
        state: State,
        platforms: list[Platform],
        states: Mapping[Platform, State] | None = None,
    ) -> GraphBuild:
        request = self.build.request
        graph = GraphBuild(
            state,
            platforms,
            request.no_cache,
            self.build.hide,
            states=dict(states or {}),
            unique_id=self._unique_id,
        )
        graph.check_needs(secret_ids=list(request.secrets), ssh_ids=list(request.ssh))
        check_locals(graph.folders)
        self._offer(graph.folders)
        return graph

    def _offer(self, folders: Mapping[str, Path]) -> None:
        for name, host_path in folders.items():
            if self._offered.setdefault(name, host_path) != host_path:
                raise UsageError(
                    f"Two directories of the build are both called {name!r}.",
                    hint="give one of them another name: llb.local(..., name='…')",
                )
            if name not in self._session.moved:
                self._session.offer({name: host_path})

    async def _dockerfile(
        self, target: Dockerfile, platforms: list[Platform]
    ) -> dict[Platform, Made]:
        words = tuple(map(str, platforms))
        asked = await self.build.builder.aim(
            replace(self.build.request, target=target, platforms=words)
        )
        # Every Dockerfile calls its context the same, so each is served by a session of its own.
        served = await self._beside(asked.offer)
        attrs = {
            **asked.spec.attrs,
            **{f"local-sessionid:{name}": served.id for name in asked.offer.folders},
        }
        result = await self._bridge.solve_frontend(asked.spec.frontend, attrs, asked.spec.inputs)
        made: dict[Platform, Made] = {}
        for name, ref in result.refs.items():
            state = load(ref.definition) if ref.definition else None
            platform = Platform.parse(name) if name else platforms[0]
            definition = None if state is None else state.marshal(platform)
            made[platform] = Made(ref.id, result.config(name), state, definition)
        return made

    async def _beside(self, offer: Offer) -> Session:
        """Open one more session of the build, which lives as long as it."""
        if offer.uploads or offer.stores:
            raise UsageError(
                f"{self.build.call.name}(): a frontend function cannot build a Dockerfile with an archive or a layout.",
                hint="give it as a state, or build it beside the function",
            )
        session = self.build.builder.session(self.build.request, offer)
        tunnel = await open_session(self._bridge.channel, session.metadata())
        self._tunnels.append(tunnel)
        work = InnerServer(session.handlers).serve(tunnel)
        self._beside_tasks.append(asyncio.create_task(work, name="depotlab session beside"))
        return session

    async def _asked(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._is_open:
            work.close()
            raise BuildCanceled("The build that this gateway belongs to has ended.")
        try:
            return await work
        except RpcFailed as failure:
            address = self._bridge.channel.endpoint.address
            # What our side of the session could not give, the daemon only repeats.
            quoted = (p for p in self._session.problems if p.message in failure.message)
            error = next(quoted, None) or from_failure(failure, address=address, building=True)
            self._failures.append((error, failure))
            raise error from failure


async def _in_thread(call: FrontendCall, workshop: Workshop) -> Any:
    """Run the function on a thread of its own; when the build is cancelled, nobody waits for it."""
    from depotlab._verbs.gatewayclient import AwaitingGateway, BlockingGateway

    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(value: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)

    def work() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            if call.frontend.is_async:
                value = asyncio.run(call.run(AwaitingGateway(workshop)))
            else:
                value = call.run(BlockingGateway(workshop))
        except StopIteration as stopped:  # no future takes one
            error = RuntimeError(f"{call.name}() raised StopIteration")
            error.__cause__ = stopped
        except BaseException as raised:  # noqa: BLE001 - handed to who waits
            error = raised
        loop.call_soon_threadsafe(tell, value, error)

    threading.Thread(target=work, name="depotlab frontend", daemon=True).start()
    return await done
