"""One build at Depot that is registered, and the word how it ended.

The server gives a registered build an id, a token that is good for this build only, and what goes with saving the
image: more names for it, and what opens their registry. In the end it is told once what the build came to. Who does
not tell it (a crash, a kernel that was killed) is given up by the server when it has not heard of his health for a
while; see `health`.

A finish that was begun is completed, even if who waits for it is interrupted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from depotlab._depot import methods
from depotlab._depot.connect import Connect
from depotlab._depot.errors import DepotError, ResourceExhausted, Unavailable
from depotlab._depot.options import DaggerEngine
from depotlab._depot.outcome import Outcome
from depotlab._depot.stages import Report, Stage
from depotlab._session import Credentials

__all__ = [
    "REGISTRY_HOST",
    "REGISTRY_USER",
    "DepotBuild",
    "ImageTag",
    "RegistryUse",
    "through_cancellation",
]

REGISTRY_HOST: Final = "registry.depot.dev"
"""Where images are saved when the server does not say where. Source: depot/cli `pkg/helpers/registry.go`."""

REGISTRY_USER: Final = "x-token"

# The I/O thread grants an interrupted call five seconds for its clean-up.
_FINISH_S: Final = 10.0
_FINISH_TRY_S: Final = 3.0
_FINISH_PAUSE_S: Final = 0.2

_log = logging.getLogger("depotlab.depot")


@dataclass(frozen=True, slots=True)
class ImageTag:
    """A name that the server wants the image to have.

    Attributes:
        name: Whole, with registry.
        push: Whether the server asks to push it.
    """

    name: str
    push: bool = True


@dataclass(frozen=True, slots=True)
class RegistryUse:
    """How the server wants images to be loaded into an engine.

    Attributes:
        load_using_registry: Save the image, then let the engine pull it.
        can_use_local_registry: The machine can serve it itself.
        proxy_image: The image of a proxy that helps with that, or empty.
    """

    load_using_registry: bool = False
    can_use_local_registry: bool = False
    proxy_image: str = ""


class DepotBuild:
    """A build that is registered. Made by `register` or `resume`; `async with` tells the server how it ended.

    To be used on one event loop.

    Attributes:
        id: Of the build.
        project_id: Where it builds; the server may have chosen it.
        url: Its page at Depot, or empty.
        registry: How images are loaded.
        additional_tags: What the server wants the image to be called when it is saved.
        credentials: What opens their registries, by host.
        engine: What runs on its machines; None is BuildKit.
        is_new: False if somebody else has registered it.
        connect: The API with the build's own token, over the connections of who registered it.
        report: Is told each stage.
        outcome: What the server was told, or None before that.

    Example:
        >>> async with await register(connect, BuildOptions(), project_id="krt0wtn195") as build:  # doctest: +SKIP
        ...     async with Machine(build, "linux/arm64", probe=probe) as machine:
        ...         await machine.guard(solve_at(machine.endpoint))
    """

    def __init__(
        self,
        connect: Connect,
        token: str,
        *,
        build_id: str,
        project_id: str = "",
        url: str = "",
        registry: RegistryUse | None = None,
        additional_tags: tuple[ImageTag, ...] = (),
        credentials: Mapping[str, Credentials] | None = None,
        engine: DaggerEngine | None = None,
        is_new: bool = True,
        report: Report | None = None,
    ) -> None:
        self.id = build_id
        self.project_id = project_id
        self.url = url
        self.registry = registry or RegistryUse()
        self.additional_tags = additional_tags
        self.credentials = dict(credentials or {})
        self.engine = engine
        self.is_new = is_new
        self.connect = connect.with_token(token)
        self.report: Report = report or _say_nothing
        self.outcome: Outcome | None = None
        self._parent = connect
        self._loop = asyncio.get_running_loop()
        self._registered_s = self._loop.time()
        self._finishing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        how = self.outcome.kind if self.outcome else "open"
        where = f" in project {self.project_id}" if self.project_id else ""
        return f"<Depot build {self.id}{where}: {how}>"

    @property
    def age_s(self) -> float:
        """Seconds since we registered it; endless for one that somebody else has registered."""
        return self._loop.time() - self._registered_s if self.is_new else float("inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.finish(Outcome.of(error))

    def tags_to_save(self, save_tags: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the names under which the image is to be pushed so that Depot keeps it.

        They are what the server said when the build was registered. For a build that somebody else has registered
        they are not known, and are made as the official command line makes them.

        Args:
            save_tags: Bare tags that were asked for in `BuildOptions.save_tags`; only used for such a build.

        Raises:
            DepotError: The server named none, so that nothing would be saved.
        """
        if not self.is_new:
            repository = f"{REGISTRY_HOST}/{self.project_id}"
            return tuple(f"{repository}:{tag}" for tag in dict.fromkeys((self.id, *save_tags)))
        names = tuple(dict.fromkeys(tag.name for tag in self.additional_tags))
        if not names:
            raise DepotError(
                f"The image of build {self.id} cannot be saved: Depot named no place for it.",
                hint="check that the project's organization has the registry, and that save=True was registered",
                code="failed_precondition",
                method="CreateBuild",
            )
        return names

    async def finish(self, outcome: Outcome) -> None:
        """Tell the server what the build came to, once; later calls wait for the first and change nothing.

        It is completed even if the caller is cancelled meanwhile, and takes ten seconds at most. That the server could
        not be told is only logged: it will notice that no health comes any more.
        """
        if self._finishing is None:
            self.outcome = Outcome(outcome.kind, self._masked(outcome.error))
            work = self._tell(self.outcome)
            self._finishing = asyncio.create_task(work, name="depotlab finish")
        await through_cancellation(self._finishing)

    async def _tell(self, outcome: Outcome) -> None:
        request = outcome.request(self.id)
        loop = asyncio.get_running_loop()
        until = loop.time() + _FINISH_S
        pause_s = _FINISH_PAUSE_S
        try:
            while True:
                left_s = until - loop.time()
                try:
                    await self.connect.unary(
                        methods.FINISH_BUILD, request, timeout_s=min(_FINISH_TRY_S, left_s)
                    )
                except DepotError as error:
                    if not _may_pass(error) or loop.time() + pause_s >= until:
                        _log.warning(
                            "build %s ended with %s, which Depot could not be told: %s",
                            self.id,
                            outcome.kind,
                            self._masked(error.message),
                        )
                        return
                else:
                    return
                await asyncio.sleep(pause_s)
                pause_s *= 2
        finally:
            self.report(Stage("finished", detail=outcome.kind))

    def _masked(self, text: str) -> str:
        """What a user's own error may say is told to the server, and must not tell a secret."""
        for one in self.credentials.values():
            text = text.replace(one.password, "•••") if one.password else text
        return self._parent.masked(self.connect.masked(text))


async def through_cancellation(task: asyncio.Task[None]) -> None:
    """Wait for a task to its end even if we are cancelled meanwhile; then pass the cancellation on."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    await task


def _may_pass(error: DepotError) -> bool:
    """Whether telling it again may help: it may always be told twice."""
    if isinstance(error, ResourceExhausted):
        return error.http_status == 429
    late = isinstance(error, TimeoutError | Unavailable)
    return late or error.http_status >= 500


def _say_nothing(_: Stage) -> None:
    return None
