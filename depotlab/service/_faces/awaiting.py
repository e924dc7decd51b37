"""The build service to await, from any event loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from depotlab._portal import portal
from depotlab.service._asking.checks import check_offset
from depotlab.service._asking.reading import AwaitingLogs
from depotlab.service._core.core import Core
from depotlab.service._faces.face import ServiceFace
from depotlab.service._values import LogLine

if TYPE_CHECKING:
    from depotlab.service._asking.tokens import AwaitingTokens
    from depotlab.service._http.server import AwaitingServer, Tls

__all__ = ["AwaitingBuildService"]

P = ParamSpec("P")
T = TypeVar("T")


def _called(
    method: Callable[Concatenate[Core, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[ServiceFace, P], Coroutine[Any, Any, T]]:
    """Return a verb of the service as one that is awaited here and runs on the I/O thread."""

    @functools.wraps(method)
    async def call(self: ServiceFace, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await portal().wait_for(method(self._core, *args, **kwargs))

    return call


class AwaitingBuildService(ServiceFace):
    """Builds for others, to await. See `depotlab.service.BuildService`, whose arguments and verbs these are."""

    generate_upload_url = _called(Core.generate_upload_url)
    upload = _called(Core.upload)
    create_build = _called(Core.create_build)
    build = _called(Core.build)
    get_build = _called(Core.get_build)
    list_builds = _called(Core.list_builds)
    cancel_build = _called(Core.cancel_build)
    drain = _called(Core.drain)
    projects = _called(Core.projects)
    health = _called(Core.health)

    def get_build_logs(self, build_id: str, offset: int = 0, follow: bool = True) -> AwaitingLogs:
        """Return the lines of a build's log, for one `async for`. See `BuildService.get_build_logs`."""
        self._core.need_open()
        return AwaitingLogs(self._next_lines, build_id, check_offset(offset), follow=follow)

    async def _next_lines(self, build_id: str, offset: int, follow: bool) -> list[LogLine]:
        return await portal().wait_for(self._core.next_lines(build_id, offset, follow))

    @property
    def tokens(self) -> AwaitingTokens:
        """The bearer tokens for `serve`."""
        from depotlab.service._asking.tokens import AwaitingTokens

        return AwaitingTokens(self._made_access())

    async def serve(
        self, host: str = "127.0.0.1", port: int = 0, *, tls: Tls = None
    ) -> AwaitingServer:
        """Answer clients on a port. See `BuildService.serve`."""
        from depotlab.service._http.server import AwaitingServer

        return AwaitingServer(await portal().wait_for(self._serving(host, port, tls)))

    async def open(self) -> Self:
        """Get ready, and go on with what an earlier service left; what `async with` does."""
        await portal().wait_for(self._core.open())
        return self

    async def close(self) -> None:
        """Stop what runs, and let go of everything. Idempotent. `drain` first lets builds end."""
        await portal().wait_for(self._core.close())

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
