"""The blocking face: what a notebook uses. Every verb here exists in `depotlab.aio` under the same name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from depotlab._portal import portal
from depotlab._rpc import TLS
from depotlab._verbs import (
    Auth,
    Build,
    BuildResult,
    Opened,
    Outputs,
    Target,
    check_auth,
    open_builder,
    open_local,
    prepare,
    start,
)
from depotlab.buildkit import DaemonInfo, Worker
from depotlab.widgets import ProgressMode

__all__ = ["Client", "connect", "local"]


class Client:
    """A connection to one builder. Made by `depotlab.connect` or `depotlab.local`.

    It can be shared between threads and used for many builds, one after another or at the same time. Close it,
    or use it in a `with` block; the process's exit closes it too.
    """

    def __init__(self, opened: Opened) -> None:
        self._builder = opened.builder
        self._engine = opened.engine

    @property
    def address(self) -> str:
        """Where the daemon is, such as `unix:///run/buildkit/buildkitd.sock`."""
        return self._builder.endpoint.address

    @property
    def registry(self) -> str | None:
        """`localhost:PORT` of the registry that runs beside the embedded engine, else None."""
        return self._engine.registry if self._engine is not None else None

    def build(
        self,
        target: Target,
        *,
        output: Outputs = None,
        tags: str | Sequence[str] | None = None,
        push: bool = False,
        platform: str | None = None,
        no_cache: bool = False,
        auth: Auth = None,
        name: str | None = None,
        timeout_s: float | None = None,
        progress: ProgressMode = "auto",
    ) -> BuildResult:
        """Build a graph or a Dockerfile, show the progress, and return the result.

        Blocks until the build is over. Ctrl-C, or the notebook's stop button, cancels it on the daemon and raises
        KeyboardInterrupt within about two seconds.

        Args:
            target: A graph made with `depotlab.llb`, or `depotlab.dockerfile(...)`.
            output: What to make of the result, from `depotlab.export`; a list makes several. With none the
                result stays in the builder's cache.
            tags: Short for `output=export.image(...)`: one or more image names.
            push: With `tags`: push them to their registries.
            platform: To build for, as `linux/arm64`. The builder's own when left out.
            no_cache: Run every step again.
            auth: Registry credentials for this build, `{host: (user, password)}`. What
                `~/.docker/config.json` has is used without asking.
            name: Title for the progress.
            timeout_s: Cancel the build after so many seconds.
            progress: `auto` takes what fits: the widget in a notebook, a live view on a terminal,
                plain text elsewhere. `notebook`, `tty`, `plain`, `json` (lines for machines) and `quiet` insist.

        Raises:
            UsageError: An argument that cannot work; nothing was sent.
            StepFailed: A command ended with a non-zero exit code.
            DockerfileError: The Dockerfile cannot be used; `.locations` has the line.
            ImageNotFound: A base image does not exist.
            RegistryError: A registry refused a pull or a push.
            LinkError: The daemon cannot be reached, or went away.
            BuildTimeout: `timeout_s` is over.

        Example:
            >>> bk.build(llb.image("busybox").run("echo hi"))  # doctest: +SKIP
        """
        request = prepare(
            target,
            output=output,
            tags=tags,
            push=push,
            platform=platform,
            no_cache=no_cache,
            auth=check_auth(auth),
            name=name,
            timeout_s=timeout_s,
        )
        return start(self._builder, request, progress=progress).wait()

    def submit(
        self,
        target: Target,
        *,
        output: Outputs = None,
        tags: str | Sequence[str] | None = None,
        push: bool = False,
        platform: str | None = None,
        no_cache: bool = False,
        auth: Auth = None,
        name: str | None = None,
        timeout_s: float | None = None,
        progress: ProgressMode = "auto",
    ) -> Build:
        """Start a build and return at once; the arguments are those of `build`.

        Returns:
            A handle: `.result()` waits, `.cancel()` stops it, `await` works too.
        """
        request = prepare(
            target,
            output=output,
            tags=tags,
            push=push,
            platform=platform,
            no_cache=no_cache,
            auth=check_auth(auth),
            name=name,
            timeout_s=timeout_s,
        )
        return start(self._builder, request, progress=progress, can_cancel=True)

    def info(self) -> DaemonInfo:
        """Ask the daemon for its version.

        Raises:
            Unreachable: Nothing answers at the address.
        """
        return portal().run(self._builder.info())

    def workers(self) -> tuple[Worker, ...]:
        """List the daemon's workers with their platforms, the default one first."""
        return portal().run(self._builder.workers())

    def close(self) -> None:
        """Close the connection; running builds end. An embedded engine stops when nobody uses it any more."""
        portal().run(self._builder.close())
        if self._engine is not None:
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<depotlab client of {self.address}>"


def connect(address: str | None = None, *, tls: TLS | None = None, auth: Auth = None) -> Client:
    """Make a client of a BuildKit daemon.

    Args:
        address: `unix:///path/to/socket` or `tcp://host:port`. Without one: `BUILDKIT_HOST`, then the
            usual sockets, then the engine on this computer (`local`).
        tls: Certificates, for `tcp`.
        auth: Registry credentials for all builds, `{host: (user, password)}`.

    Raises:
        Unreachable: Nothing answers there, or it refuses us; the message says why.
    """
    client = Client(open_builder(address, tls=tls, auth=auth))
    try:
        portal().run(client._builder.connect())  # noqa: SLF001 - its own class
    except BaseException:
        client.close()
        raise
    return client


def local(*, state_dir: str | Path | None = None, auth: Auth = None) -> Client:
    """Make a client of the engine on this computer, started when needed.

    The engine (a `buildkitd` of our own and a registry) listens only on a private socket and on loopback. Kernels
    share it; it stops a moment after the last one has left.

    Args:
        state_dir: Where the engine keeps its cache; a folder of the user when left out.
        auth: Registry credentials for all builds, `{host: (user, password)}`.

    Raises:
        EngineError: It is not installed and cannot be, or does not start; `depotlab doctor` says more.
    """
    client = Client(open_local(auth=auth, state_dir=state_dir))
    try:
        portal().run(client._builder.connect())  # noqa: SLF001 - its own class
    except BaseException:
        client.close()
        raise
    return client
