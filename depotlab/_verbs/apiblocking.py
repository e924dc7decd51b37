"""The Depot API to call from anywhere: every method waits for its answer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, overload

from depotlab import _depot
from depotlab._depot import Listed, counted
from depotlab._portal import portal
from depotlab._verbs.apiface import ApiFace, Face, OpenedApi

__all__ = ["Builds", "DepotApi", "Images", "Pages", "Projects", "Usages"]

P = ParamSpec("P")
T = TypeVar("T")
CoreT = TypeVar("CoreT")


class Pages(Listed[T], Sequence[T]):
    """A list that the server gives page by page. A notebook shows what is here of it as a table.

    The first page is asked for at once, each other one when it is first read, by whatever reads this far: a loop,
    an index, `len`. What was read stays, so that a second loop asks nothing.
    """

    def __init__(self, pages: _depot.Pages[T]) -> None:
        self._noun = pages.noun
        self._reading = pages.begin()
        self._here: list[T] = []
        self._lock = threading.Lock()
        self._read_to(1)

    def _read_to(self, n_items: int | None) -> None:
        with self._lock:
            while not self._reading.done and (n_items is None or len(self._here) < n_items):
                self._here += portal().run(self._reading.more())

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if isinstance(index, slice):
            stop = index.stop
            known = stop is not None and stop >= 0 and (index.start or 0) >= 0
            self._read_to(stop if known else None)
            return tuple(self._here[index])
        self._read_to(index + 1 if index >= 0 else None)
        return self._here[index]

    def __len__(self) -> int:
        self._read_to(None)
        return len(self._here)

    def __bool__(self) -> bool:
        self._read_to(1)
        return bool(self._here)

    def __iter__(self) -> Iterator[T]:
        at = 0
        while True:
            self._read_to(at + 1)
            if at >= len(self._here):
                return
            yield self._here[at]
            at += 1

    def _items(self) -> tuple[T, ...]:
        return tuple(self._here)

    def _headline(self) -> str:
        more = "" if self._reading.done else " so far, and more"
        return counted(len(self._here), self._noun) + more


def _called(
    method: Callable[Concatenate[CoreT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Face[CoreT], P], T]:
    """Return a method of the API as one that waits."""

    @functools.wraps(method)
    def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return portal().run(method(self._core, *args, **kwargs))

    return call


def _listed(
    method: Callable[Concatenate[CoreT, P], _depot.Pages[T]],
) -> Callable[Concatenate[Face[CoreT], P], Pages[T]]:
    """Return a method of the API that lists as one that waits for the pages."""

    @functools.wraps(method)
    def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> Pages[T]:
        return Pages(method(self._core, *args, **kwargs))

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
    """The Depot API with one token. Made by `depotlab.depot_api`.

    It can be shared between threads. Up to a few connections stay open between calls; close it, use it in a `with`
    block, or forget it.

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

    def close(self) -> None:
        """Close the connections. Harmless when called twice."""
        if self._forgotten.detach() is not None:
            portal().run(self._opened.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
