"""The Depot API to await, from any event loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from depotlab import _depot
from depotlab._portal import portal
from depotlab._verbs.apiface import ApiFace, Face, OpenedApi

__all__ = ["Builds", "DepotApi", "Images", "Projects", "Usages"]

P = ParamSpec("P")
T = TypeVar("T")
CoreT = TypeVar("CoreT")


def _called(
    method: Callable[Concatenate[CoreT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Face[CoreT], P], Coroutine[Any, Any, T]]:
    """Return a method of the API as one that is awaited here and runs on the I/O thread."""

    @functools.wraps(method)
    async def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await portal().wait_for(method(self._core, *args, **kwargs))

    return call


def _listed(
    method: Callable[Concatenate[CoreT, P], _depot.Pages[T]],
) -> Callable[Concatenate[Face[CoreT], P], _depot.Pages[T]]:
    """Return a method of the API that lists, with the pages fetched on the I/O thread."""

    @functools.wraps(method)
    def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> _depot.Pages[T]:
        return method(self._core, *args, **kwargs).through(lambda page: portal().wait_for(page))

    return call


class Projects(Face[_depot.Projects]):
    """Projects: caches with machines; their tokens, and whose CI jobs they trust."""

    list = _listed(_depot.Projects.list)
    get = _called(_depot.Projects.get)
    create = _called(_depot.Projects.create)
    update = _called(_depot.Projects.update)
    delete = _called(_depot.Projects.delete)
    reset = _called(_depot.Projects.reset)
    get_or_create = _called(_depot.Projects.get_or_create)
    tokens = _called(_depot.Projects.tokens)
    create_token = _called(_depot.Projects.create_token)
    update_token = _called(_depot.Projects.update_token)
    delete_token = _called(_depot.Projects.delete_token)
    trust_policies = _called(_depot.Projects.trust_policies)
    add_trust_policy = _called(_depot.Projects.add_trust_policy)
    remove_trust_policy = _called(_depot.Projects.remove_trust_policy)


class Builds(Face[_depot.Builds]):
    """Builds that were registered, by whatever client; their steps and logs."""

    list = _listed(_depot.Builds.list)
    get = _called(_depot.Builds.get)
    steps = _listed(_depot.Builds.steps)
    logs = _listed(_depot.Builds.logs)
    share = _called(_depot.Builds.share)
    stop_sharing = _called(_depot.Builds.stop_sharing)


class Images(Face[_depot.Images]):
    """Images that were saved, and how they are pulled."""

    list = _listed(_depot.Images.list)
    delete = _called(_depot.Images.delete)
    pull_info = _called(_depot.Images.pull_info)
    pull_token = _called(_depot.Images.pull_token)
    docker_login = _called(_depot.Images.docker_login)


class Usages(Face[_depot.Usages]):
    """What was used. Times are from `start_at` on, up to and without `end_at`, and have a time zone."""

    organization = _called(_depot.Usages.organization)
    project = _called(_depot.Usages.project)
    list = _listed(_depot.Usages.list)


class DepotApi(ApiFace):
    """The Depot API with one token. Made by `depotlab.aio.depot_api`.

    It can be shared between event loops. Up to a few connections stay open between calls; close it, use it in an
    `async with` block, or forget it.

    Attributes:
        projects: Projects, their tokens and trust policies.
        builds: Builds, their steps and logs.
        images: Images that were saved, and how they are pulled.
        usage: What was used.
    """

    def __init__(self, opened: OpenedApi) -> None:
        super().__init__(opened)
        self.projects = Projects(opened.api.projects)
        self.builds = Builds(opened.api.builds)
        self.images = Images(opened.api.images)
        self.usage = Usages(opened.api.usage)

    organizations = _called(_depot.Api.organizations)

    async def close(self) -> None:
        """Close the connections. Harmless when called twice."""
        if self._forgotten.detach() is not None:
            await portal().wait_for(self._opened.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
