"""The awaitable face: the verbs of `depotlab`, to await from any event loop.

The work itself runs on the library's I/O thread, so a loop that is busy for a while loses no build.

Example:
    >>> from depotlab import aio
    >>> async with await aio.connect() as bk:  # doctest: +SKIP
    ...     result = await bk.build(llb.image("busybox").run("echo hi"))
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from depotlab import _verbs, export
from depotlab._portal import portal
from depotlab._rpc import TLS
from depotlab._verbs import (
    AllBuilt,
    Attest,
    Auth,
    Build,
    BuildResult,
    Caches,
    DepotConfig,
    OciLayouts,
    Opened,
    Outputs,
    Platforms,
    Reproducibility,
    Save,
    Secrets,
    SshAgents,
    Target,
    Targets,
    find_depot,
    open_builder,
    open_depot,
    open_local,
    prepare,
    start,
)
from depotlab.buildkit import DaemonInfo, DiskUsage, Pruned, Worker
from depotlab.widgets import ProgressMode

__all__ = [
    "Client",
    "build_all",
    "connect",
    "depot",
    "depot_config",
    "local",
    "verify_reproducible",
]


class Client:
    """A connection to one builder. Made by `connect`, `depot` or `local` of this module.

    It can be shared between event loops and used for many builds, one after another or at the same time. Close it,
    or use it in an `async with` block; the process's exit closes it too.
    """

    def __init__(self, opened: Opened) -> None:
        self._builder = opened.builder
        self._opened = opened

    @property
    def address(self) -> str:
        """Where the daemon is, such as `unix:///run/buildkit/buildkitd.sock`; of Depot, where its API is."""
        return self._builder.address

    @property
    def registry(self) -> str | None:
        """`HOST:PORT` of the registry that runs beside the embedded engine, or a Depot on this computer; else None."""
        return self._opened.registry

    async def build(
        self,
        target: Target,
        *,
        output: Outputs = None,
        tags: str | Sequence[str] | None = None,
        push: bool = False,
        load: bool | str = False,
        save: Save = False,
        platform: Platforms = None,
        no_cache: bool = False,
        secrets: Secrets = None,
        ssh: SshAgents = None,
        cache_from: Caches = None,
        cache_to: Caches = None,
        oci_layouts: OciLayouts = None,
        provenance: Attest = None,
        sbom: Attest = None,
        source_date_epoch: int | None = None,
        reproducible: bool = False,
        allow: str | Sequence[str] = (),
        auth: Auth = None,
        name: str | None = None,
        timeout_s: float | None = None,
        progress: ProgressMode = "auto",
    ) -> BuildResult:
        """Build a graph or a Dockerfile, show the progress, and return the result.

        Cancelling the awaiting task (the notebook's stop button does) cancels the build on the daemon.

        Args:
            target: A graph made with `depotlab.llb`, or `depotlab.dockerfile(...)`.
            output: What to make of the result, from `depotlab.export`; a list makes several. With none the
                result stays in the builder's cache.
            tags: Short for `output=export.image(...)`: one or more image names.
            push: With `tags`: push them to their registries.
            load: Load the image into the Docker Engine (or podman) of this computer, called `tags`; text is
                the address of another engine, such as `tcp://10.0.0.7:2375`.
            save: Keep the image at Depot, under the id of the build; text or a list are more tags for it there. Only
                with builders of `depotlab.depot`.
            platform: To build for, as `linux/arm64`; several make one image for all. The builder's own when left out.
            no_cache: Run every step again; cache mounts start empty.
            secrets: By id: `depotlab.secret.env("TOKEN")`, `.file(path)`, or the value itself.
            ssh: `depotlab.ssh.agent()` or `.keys(path)`, or several of them by id.
            cache_from: Where to look for finished steps, from `depotlab.cache`; one or several.
            cache_to: Where to leave them.
            oci_layouts: Image layouts on this machine (a path or `depotlab.OciLayout`), by the name in
                `llb.oci_layout("NAME@sha256:…")`.
            provenance: Attest how the image was made: True, `"min"`, `"max"`, or BuildKit's own keys.
            sbom: Attest what is in the image: True, the name of a scanner image, or its settings.
            source_date_epoch: Date the image and what it holds by this time, seconds since 1970 UTC.
            reproducible: Date everything by `source_date_epoch` (0 when left out), files in layers too.
            allow: Rights the build asks the daemon for: `network.host`, `security.insecure`, `device=NAME`.
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
            >>> await bk.build(llb.image("busybox").run("echo hi"))  # doctest: +SKIP
        """
        request = prepare(
            target,
            output=output,
            tags=tags,
            push=push,
            load=load,
            save=save,
            platform=platform,
            no_cache=no_cache,
            secrets=secrets,
            ssh=ssh,
            cache_from=cache_from,
            cache_to=cache_to,
            oci_layouts=oci_layouts,
            provenance=provenance,
            sbom=sbom,
            source_date_epoch=source_date_epoch,
            reproducible=reproducible,
            allow=allow,
            auth=auth,
            name=name,
            timeout_s=timeout_s,
        )
        return await start(self._builder, request, progress=progress)

    def submit(
        self,
        target: Target,
        *,
        output: Outputs = None,
        tags: str | Sequence[str] | None = None,
        push: bool = False,
        load: bool | str = False,
        save: Save = False,
        platform: Platforms = None,
        no_cache: bool = False,
        secrets: Secrets = None,
        ssh: SshAgents = None,
        cache_from: Caches = None,
        cache_to: Caches = None,
        oci_layouts: OciLayouts = None,
        provenance: Attest = None,
        sbom: Attest = None,
        source_date_epoch: int | None = None,
        reproducible: bool = False,
        allow: str | Sequence[str] = (),
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
            load=load,
            save=save,
            platform=platform,
            no_cache=no_cache,
            secrets=secrets,
            ssh=ssh,
            cache_from=cache_from,
            cache_to=cache_to,
            oci_layouts=oci_layouts,
            provenance=provenance,
            sbom=sbom,
            source_date_epoch=source_date_epoch,
            reproducible=reproducible,
            allow=allow,
            auth=auth,
            name=name,
            timeout_s=timeout_s,
        )
        return start(self._builder, request, progress=progress, can_cancel=True)

    async def info(self) -> DaemonInfo:
        """Ask the daemon for its version.

        Raises:
            Unreachable: Nothing answers at the address.
        """
        return await portal().wait_for(self._builder.info())

    async def workers(self) -> tuple[Worker, ...]:
        """List the daemon's workers with their platforms, the default one first."""
        return await portal().wait_for(self._builder.workers())

    async def disk_usage(self, *, filters: str | Sequence[str] = ()) -> DiskUsage:
        """List what the builder's cache holds, as a table in a notebook.

        The daemon measures records that it has not measured yet, which may take a while.

        Args:
            filters: Keep only what matches one of these. A filter is one or more terms, joined by commas, that
                must all hold: `type==exec.cachemount`, `description~=pip`, `inuse`, `mutable`, `private`.

        Raises:
            UsageError: A filter that the daemon would not understand.
            LinkError: The daemon cannot be reached.
        """
        return await portal().wait_for(self._builder.disk_usage(filters))

    async def prune(
        self,
        *,
        all: bool = False,  # noqa: A002 - BuildKit's word
        keep_for_s: float | None = None,
        keep_bytes: int | None = None,
        max_used_bytes: int | None = None,
        min_free_bytes: int | None = None,
        filters: str | Sequence[str] = (),
        dry_run: bool = False,
    ) -> Pruned:
        """Delete from the builder's cache what no build uses, or only say what would go.

        Args:
            all: Also what is kept by default: records of frontends, internal ones, and what images share.
            keep_for_s: Keep what was used within so many seconds.
            keep_bytes: Stop when no more than so many bytes are left.
            max_used_bytes: Delete until the cache takes no more than so many bytes.
            min_free_bytes: Delete until so many bytes of the daemon's disk are free.
            filters: Delete only what matches one of these; see `disk_usage`.
            dry_run: Delete nothing, and return what would go as far as can be told; see `.notes`.

        Returns:
            The records that are gone, in the order in which they went; `.freed_bytes` is their sum.

        Raises:
            UsageError: An argument that cannot work, or that needs a newer daemon.
            LinkError: The daemon cannot be reached, or went away meanwhile.
        """
        return await portal().wait_for(
            self._builder.prune(
                all=all,
                keep_for_s=keep_for_s,
                keep_bytes=keep_bytes,
                max_used_bytes=max_used_bytes,
                min_free_bytes=min_free_bytes,
                filters=filters,
                dry_run=dry_run,
            )
        )

    async def close(self) -> None:
        """Close the connection; running builds end. An embedded engine stops when nobody uses it any more."""
        await portal().wait_for(self._builder.close())
        await asyncio.to_thread(self._opened.release)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<depotlab client of {self.address}>"


async def connect(
    address: str | None = None, *, tls: TLS | None = None, auth: Auth = None
) -> Client:
    """Make a client of a BuildKit daemon.

    Args:
        address: `unix:///path/to/socket`; `tcp://host:port`; `docker://` or `docker://CONTEXT` for the BuildKit
            inside a Docker Engine; `ssh://[user@]host`; `docker-container://NAME`, `podman-container://NAME`,
            `nerdctl-container://NAME` or `kube-pod://POD?namespace=N`. Without one, the first of: `BUILDKIT_HOST`,
            a BuildKit at its usual socket, the Docker Engine at hand if it builds with BuildKit (Docker 23 and
            newer), the engine on this computer (`local`). The progress says which it became.
        tls: Certificates, for `tcp`.
        auth: Registry credentials for all builds, `{host: (user, password)}`.

    Raises:
        Unreachable: Nothing answers there, or it refuses us; the message says why.
    """
    client = Client(await asyncio.to_thread(open_builder, address, tls=tls, auth=auth))
    try:
        await portal().wait_for(client._builder.connect())  # noqa: SLF001 - its own class
    except BaseException:
        await client.close()
        raise
    return client


async def local(*, state_dir: str | Path | None = None, auth: Auth = None) -> Client:
    """Make a client of the engine on this computer, started when needed.

    The engine (a `buildkitd` of our own and a registry) listens only on a private socket and on loopback. Kernels
    share it; it stops a moment after the last one has left.

    Args:
        state_dir: Where the engine keeps its cache; a folder of the user when left out.
        auth: Registry credentials for all builds, `{host: (user, password)}`.

    Raises:
        EngineError: It is not installed and cannot be, or does not start; `depotlab doctor` says more.
    """
    client = Client(await asyncio.to_thread(open_local, auth=auth, state_dir=state_dir))
    try:
        await portal().wait_for(client._builder.connect())  # noqa: SLF001 - its own class
    except BaseException:
        await client.close()
        raise
    return client


async def build_all(
    targets: Targets,
    builder: Client,
    *,
    at_once: int = 8,
    keep_going: bool = False,
    progress: ProgressMode = "auto",
    **shared: Any,
) -> AllBuilt:
    """Build many targets, some at a time, and show them as one: a step for each.

    Args:
        targets: By name: a target, or the arguments of `Client.build` for it, with `target` among them.
        builder: Where to build. On Depot the builds of a project share its machine.
        at_once: How many run at the same time.
        keep_going: Build the others too when one fails; else they are stopped.
        progress: As of `Client.build`.
        shared: Arguments of `Client.build` for all.

    Raises:
        UsageError: An argument of one of them cannot work; nothing was sent.
        BuildsFailed: At least one failed; `.errors` has them all, `.results` those that succeeded.

    Example:
        >>> apps = {name: dl.dockerfile(name) for name in ("api", "web")}  # doctest: +SKIP
        >>> (await aio.build_all(apps, bk))["api"].digest  # doctest: +SKIP
    """
    return await _verbs.build_all_async(
        builder._builder,  # noqa: SLF001 - its own class
        targets,
        at_once=at_once,
        keep_going=keep_going,
        progress=progress,
        shared=shared,
    )


async def depot(
    project: str | None = None,
    *,
    local: bool | str | Path = False,
    token: str | None = None,
    organization: str | None = None,
    build: str | None = None,
    machine: str | None = None,
    timeout_s: float = 300.0,
    url: str | None = None,
    auth: Auth = None,
) -> Client:
    """Make a client that builds on Depot machines.

    Each build is registered, gets a machine, and is finished with what it came to; between builds nothing is held
    and nothing costs. Token, project and address are found as the `depot` command line finds them;
    `depotlab.depot_config()` shows what was found where.

    Args:
        project: Id of the project to build in.
        local: Build on a Depot on this computer, with no account and no network: the one that `depotlab up` runs, or
            one that runs as long as this process needs it. A path is the folder of its state. Needs the extra `plane`.
        token: Of an organization, a user or the project.
        organization: Id; owns projects that are made.
        build: Id of a build that somebody else has registered, to be continued; `token` is then that build's.
        machine: Build everything on this architecture, as `linux/arm64`; that of the platform when left out.
        timeout_s: For getting a machine.
        url: Address of the API.
        auth: Registry credentials for all builds, `{host: (user, password)}`.

    Raises:
        NoToken: There is no token; the message says the three ways to get one.
        UsageError: A value cannot be used.

    Example:
        >>> async with await aio.depot() as bk:  # doctest: +SKIP
        ...     await bk.build(dl.dockerfile("."), tags="ghcr.io/me/app:1", push=True)
    """
    return Client(
        await portal().wait_for(
            open_depot(
                token=token,
                project=project,
                organization=organization,
                build=build,
                url=url,
                machine=machine,
                timeout_s=timeout_s,
                auth=auth,
                local=local,
            )
        )
    )


async def depot_config(context: str | Path | None = None) -> DepotConfig:
    """Find the token, project, organization and address that a build on Depot would use, and where each was found.

    A notebook shows it as a table. The token is never shown.

    Args:
        context: Folder where the search for a project's file begins; the working directory when left out.

    Raises:
        UsageError: A value cannot be used.
        ContextError: A file that is there and cannot be read.
    """
    return await portal().wait_for(find_depot(context=context))


async def verify_reproducible(
    target: Target,
    builder: Client,
    *,
    platform: Platforms = None,
    secrets: Secrets = None,
    ssh: SshAgents = None,
    source_date_epoch: int = 0,
    keep: str | Path | None = None,
    progress: ProgressMode = "auto",
) -> Reproducibility[BuildResult]:
    """Build twice without the cache, and say whether both gave the same image.

    Both are built as `reproducible=True` builds. What a step takes from outside (the network, the clock) is the
    usual reason for a difference; the answer names the first file that differs, and what made its layer.

    Args:
        target: A graph or a Dockerfile.
        builder: Where to build, from `connect` or `local`.
        platform: As of `Client.build`.
        secrets: As of `Client.build`.
        ssh: As of `Client.build`.
        source_date_epoch: The time that everything is dated by, seconds since 1970 UTC.
        keep: An existing directory for the archives `first.tar` and `second.tar`. A temporary one when left out,
            which needs room for the image twice.
        progress: As of `Client.build`.

    Returns:
        True in a condition when both are the same; `.difference` is the first place where they are not.

    Raises:
        UsageError: `keep` is not a directory, or an argument cannot work.
        DepotlabError: A build failed.

    Example:
        >>> await verify_reproducible(app, bk)  # doctest: +SKIP
        <reproducible: two uncached builds gave the same image>
    """

    async def build(host_path: Path) -> BuildResult:
        return await builder.build(
            target,
            output=export.oci(host_path),
            platform=platform,
            no_cache=True,
            secrets=secrets,
            ssh=ssh,
            source_date_epoch=source_date_epoch,
            reproducible=True,
            progress=progress,
        )

    return await _verbs.verify_reproducible_async(
        build, source_date_epoch=source_date_epoch, host_folder=None if keep is None else Path(keep)
    )
