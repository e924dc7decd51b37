"""A build service elsewhere with the verbs of one that is here: the same values, the same errors.

What runs here is only the asking: a log that is followed is resumed when its connection breaks, a build that was asked
for is made once however often the request had to be sent, and an upload goes straight to the store.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from depotlab._portal import portal
from depotlab._values import Value
from depotlab.service._asking.checks import check_offset
from depotlab.service._asking.reading import AwaitingLogs, BlockingLogs
from depotlab.service._asking.tokens import AwaitingTokens, Tokens
from depotlab.service._remote.verbs import Remote, RemoteLog, RemoteTokenBook
from depotlab.service._remote.wire import RemoteWire
from depotlab.service._values import LogLine

__all__ = ["TOKEN_VARIABLE", "AwaitingRemoteBuildService", "RemoteBuildService"]

P = ParamSpec("P")
T = TypeVar("T")

TOKEN_VARIABLE: Final = "DEPOTLAB_SERVICE_TOKEN"  # noqa: S105 - the name of a variable


class RemoteLogs(BlockingLogs):
    """The lines of a build elsewhere, for one `for`; a connection that breaks is made again where it broke."""

    def __init__(self, wire: RemoteWire, build_id: str, offset: int, *, follow: bool) -> None:
        self._log = RemoteLog(wire)
        super().__init__(self._log.more, build_id, offset, follow=follow)

    def close(self) -> None:
        """Give no more lines, and close the connection."""
        super().close()
        portal().run(self._log.close())


class AwaitingRemoteLogs(AwaitingLogs):
    """The lines of a build elsewhere, for one `async for`; a connection that breaks is made again where it broke."""

    def __init__(self, wire: RemoteWire, build_id: str, offset: int, *, follow: bool) -> None:
        self._log = RemoteLog(wire)
        super().__init__(self._next_there, build_id, offset, follow=follow)

    async def _next_there(self, build_id: str, offset: int, follow: bool) -> list[LogLine]:
        return await portal().wait_for(self._log.more(build_id, offset, follow))

    async def aclose(self) -> None:
        """Give no more lines, and close the connection."""
        await super().aclose()
        await portal().wait_for(self._log.close())


# ------------------------------------------------------------------------------------- the faces


class _RemoteFace(Value):
    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        ca: str | os.PathLike[str] | None = None,
    ) -> None:
        found = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
        self._remote = Remote(RemoteWire(url, found, ca=ca))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._remote.wire.url}>"

    async def _close(self) -> None:
        self._remote.wire.close()


def _awaited(
    method: Callable[Concatenate[Remote, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[_RemoteFace, P], Coroutine[Any, Any, T]]:
    @functools.wraps(method)
    async def call(self: _RemoteFace, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await portal().wait_for(method(self._remote, *args, **kwargs))

    return call


def _waited(
    method: Callable[Concatenate[Remote, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[_RemoteFace, P], T]:
    @functools.wraps(method)
    def call(self: _RemoteFace, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return portal().run(method(self._remote, *args, **kwargs))

    return call


class RemoteBuildService(_RemoteFace):
    """A build service elsewhere: verbs, values and errors are those of `BuildService`, without `health` and `drain`.

    Requests that come to the same when they are obeyed twice are sent again when an answer is lost or the service is
    down for a moment; that goes for `create_build` too, which always carries an idempotency key. A log that is
    followed goes on where it was when its connection breaks.

    Args:
        url: Of the service: `server.url`, or what `depotlab serve` prints.
        token: A bearer token of it; left out, `DEPOTLAB_SERVICE_TOKEN`. It is not shown.
        ca: File with the authority of its certificate, such as `server.ca`; left out, the system's roots.

    Raises:
        UsageError: An argument cannot be used, or there is no token.

    Example:
        >>> service = RemoteBuildService("https://builds.example.com")  # doctest: +SKIP
        >>> context = service.upload("shop", "./app")  # doctest: +SKIP
        >>> service.build(context, project="shop", deployment="d1").check().image  # doctest: +SKIP
    """

    generate_upload_url = _waited(Remote.generate_upload_url)
    upload = _waited(Remote.upload)
    create_build = _waited(Remote.create_build)
    build = _waited(Remote.build)
    get_build = _waited(Remote.get_build)
    list_builds = _waited(Remote.list_builds)
    cancel_build = _waited(Remote.cancel_build)
    projects = _waited(Remote.projects)

    def get_build_logs(self, build_id: str, offset: int = 0, follow: bool = True) -> RemoteLogs:
        """Return the lines of a build's log, for one `for` loop. See `BuildService.get_build_logs`.

        Raises:
            ServiceError: `not_found`; `permission_denied`.
            Unreachable: The service cannot be reached, also while lines are read.
        """
        self.get_build(build_id)
        return RemoteLogs(self._remote.wire, build_id, check_offset(offset), follow=follow)

    @property
    def tokens(self) -> Tokens:
        """The bearer tokens of the service; for a token that may `admin`."""
        return Tokens(RemoteTokenBook(self._remote.wire))

    def close(self) -> None:
        """Close the connections. Harmless when called twice."""
        portal().run(self._close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AwaitingRemoteBuildService(_RemoteFace):
    """A build service elsewhere, to await. See `RemoteBuildService`, whose arguments and verbs these are."""

    generate_upload_url = _awaited(Remote.generate_upload_url)
    upload = _awaited(Remote.upload)
    create_build = _awaited(Remote.create_build)
    build = _awaited(Remote.build)
    get_build = _awaited(Remote.get_build)
    list_builds = _awaited(Remote.list_builds)
    cancel_build = _awaited(Remote.cancel_build)
    projects = _awaited(Remote.projects)

    def get_build_logs(
        self,
        build_id: str,
        offset: int = 0,
        follow: bool = True,
    ) -> AwaitingRemoteLogs:
        """Return the lines of a build's log, for one `async for`. See `RemoteBuildService.get_build_logs`."""
        return AwaitingRemoteLogs(self._remote.wire, build_id, check_offset(offset), follow=follow)

    @property
    def tokens(self) -> AwaitingTokens:
        """The bearer tokens of the service; for a token that may `admin`."""
        return AwaitingTokens(RemoteTokenBook(self._remote.wire))

    async def close(self) -> None:
        """Close the connections. Harmless when called twice."""
        await portal().wait_for(self._close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
