"""The build service to call from anywhere: every verb waits for its answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from depotlab._portal import portal
from depotlab.service._asking.checks import check_offset
from depotlab.service._asking.reading import BlockingLogs
from depotlab.service._core.core import Core
from depotlab.service._faces.face import ServiceFace

if TYPE_CHECKING:
    from depotlab.service._asking.tokens import Tokens
    from depotlab.service._http.server import Server, Tls

__all__ = ["BuildService"]

P = ParamSpec("P")
T = TypeVar("T")


def _called(
    method: Callable[Concatenate[Core, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[ServiceFace, P], T]:
    """Return a verb of the service as one that waits."""

    @functools.wraps(method)
    def call(self: ServiceFace, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return portal().run(method(self._core, *args, **kwargs))

    return call


class BuildService(ServiceFace):
    """Runs builds for others on Depot: takes their uploads, queues fairly, keeps logs, images and telemetry.

    It is used in a `with` block. What waits or runs when it ends, or when the process is killed, is kept in the state
    folder, and the next service with that folder goes on with it: a build that ran is tried again. Builds with secrets
    cannot be, and fail as `interrupted`. It can be shared between threads.

    Args:
        depot: Where builds run: `depotlab.service.Depot(...)`. Left out, Depot with the token of the environment.
        storage: Where uploads wait: `LocalStorage` or `S3Storage`. Left out, a folder in the state folder.
        telemetry: Where rows of builds, steps and log lines go: a path of a DuckDB file, a sink of
            `depotlab.telemetry`, or None for nowhere. True is a file in the state folder.
        registry: Where images are pushed: `depotlab.service.Registry(...)`. Left out, Depot's own.
        platform: Of builds that do not say another.
        state: Folder of the service's own; left out, one of this user. One service at a time uses it.
        limits: How much is taken on: `depotlab.service.Limits(...)`.
        git_tokens: Called for a git context that is not public and came without a token; returns one that may read
            that repository, or an awaitable of it.
        error_rules: What customers are told of failures, `depotlab.service.Rule(...)`, before our own rules.

    Raises:
        ServiceError: `invalid_argument`, with the argument's name.

    Example:
        >>> with BuildService(depot=Depot(local=True)) as service:  # doctest: +SKIP
        ...     context = service.upload("shop", "./app")
        ...     service.build(context, project="shop", deployment="d1").check().image
    """

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

    def get_build_logs(self, build_id: str, offset: int = 0, follow: bool = True) -> BlockingLogs:
        """Return the lines of a build's log, for one `for` loop.

        They come as they are printed, those of all tries in one log, and words of the service among them. The loop
        ends when the build has ended; Ctrl-C ends it sooner. A reader that is slow costs nothing, there may be many,
        and one that was interrupted goes on from the `offset` of this iterator, also after a restart.

        Args:
            build_id: Of the build.
            offset: Of the first line that is wanted.
            follow: Wait for lines as long as the build has not ended.

        Raises:
            ServiceError: `not_found`; `unavailable` when the service is closed while it is followed.

        Example:
            >>> for line in service.get_build_logs(build.build_id):  # doctest: +SKIP
            ...     print(line)
        """
        self.get_build(build_id)
        return BlockingLogs(self._core.next_lines, build_id, check_offset(offset), follow=follow)

    @property
    def tokens(self) -> Tokens:
        """The bearer tokens for `serve`."""
        from depotlab.service._asking.tokens import Tokens

        return Tokens(self._made_access())

    def serve(self, host: str = "127.0.0.1", port: int = 0, *, tls: Tls = None) -> Server:
        """Answer clients on a port, in JSON, Connect and gRPC, until it is closed or the service is.

        Args:
            host: Where to listen. What is not loopback is served with TLS only.
            port: 0 takes a free one.
            tls: True for a certificate of the service's own authority, or the paths of a certificate and its key.

        Raises:
            UsageError: An argument cannot be used.
            EngineError: The port cannot be had.

        Example:
            >>> server = service.serve()  # doctest: +SKIP
            >>> token = service.tokens.create("CI", projects="*").secret  # doctest: +SKIP
        """
        from depotlab.service._http.server import Server

        return Server(portal().run(self._serving(host, port, tls)))

    def open(self) -> Self:
        """Get ready, and go on with what an earlier service left; what `with` does."""
        portal().run(self._core.open())
        return self

    def close(self) -> None:
        """Stop what runs, and let go of everything. Idempotent. `drain` first lets builds end."""
        portal().run(self._core.close())

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
