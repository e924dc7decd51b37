"""The awaitable face: the verbs of `depotlab`, to await from any event loop.

The work itself runs on the library's I/O thread, so a loop that is busy for a while loses no build.

Example:
    >>> from depotlab import aio
    >>> async with await aio.connect() as bk:  # doctest: +SKIP
    ...     result = await bk.build(llb.image("busybox").run("echo hi"))
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Self

from depotlab import _inside, _verbs, export
from depotlab._inside import (
    AnyMount,
    AwaitingLooks,
    BreakAt,
    BuildInspection,
    Completed,
    OnOutput,
    Runnable,
    Shell,
    Stdin,
    Writer,
)
from depotlab._inside import (
    AwaitingCacheMount as CacheMount,
)
from depotlab._inside import (
    AwaitingDebugger as Debugger,
)
from depotlab._portal import portal
from depotlab._rpc import TLS
from depotlab._verbs import (
    AllBuilt,
    Attest,
    Auth,
    AwaitingDepotApi,
    AwaitingGateway,
    AwaitingRecording,
    Build,
    BuildResult,
    Caches,
    DepotConfig,
    Login,
    OciLayouts,
    Opened,
    Outputs,
    Platforms,
    Pulled,
    Reproducibility,
    Save,
    Secrets,
    SshAgents,
    Target,
    Targets,
    begin_recording_async,
    find_depot,
    open_api,
    open_builder,
    open_depot,
    open_local,
    open_recorded,
    prepare,
    prepare_pull,
    start,
)
from depotlab.buildkit import (
    BuildRecord,
    DaemonInfo,
    DiskUsage,
    History,
    Lint,
    Outline,
    Pruned,
    Stages,
    Trace,
    Workers,
)
from depotlab.export import Output
from depotlab.frontend import Dockerfile
from depotlab.llb import State
from depotlab.widgets import ProgressMode

__all__ = [
    "Client",
    "DepotApi",
    "Gateway",
    "Recording",
    "build_all",
    "connect",
    "depot",
    "depot_api",
    "depot_config",
    "depot_login",
    "depot_logout",
    "local",
    "pull",
    "record",
    "recorded",
    "verify_reproducible",
]

DepotApi = AwaitingDepotApi
Gateway = AwaitingGateway
Recording = AwaitingRecording


class Client(AwaitingLooks):
    """A connection to one builder. Made by `connect`, `depot` or `local` of this module.

    It can be shared between event loops and used for many builds, one after another or at the same time. Close it,
    or use it in an `async with` block; the process's exit closes it too, and one that nobody holds any more is
    closed for you.
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
        """`HOST:PORT` of the registry that runs beside the embedded engine, or a Depot on this computer; else None.

        That of a Depot takes images from builds with `save=` only, as Depot's own does.
        """
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
            target: A graph made with `depotlab.llb`, one for each platform (`{"linux/arm64": app}`),
                `depotlab.dockerfile(...)`, or a call of a `depotlab.frontend.function`.
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

    async def workers(self) -> Workers:
        """List the daemon's workers with their platforms, the default one first.

        Raises:
            LinkError: The daemon cannot be reached.
        """
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

    async def outline(self, dockerfile: Dockerfile) -> Outline:
        """Say what a Dockerfile's target can be given: arguments, secrets, agents, cache mounts, with their lines.

        Nothing is built. The target is that of the Dockerfile value, or its last stage.

        Args:
            dockerfile: Made with `depotlab.dockerfile`.

        Raises:
            DockerfileError: It cannot be read; `.locations` has the line.
            UsageError: It is no Dockerfile build.

        Example:
            >>> await bk.outline(dl.dockerfile("."))  # doctest: +SKIP
            <Outline app: 2 arguments, 1 secret>
        """
        return await portal().wait_for(_inside.outline(self._builder, dockerfile))

    async def targets(self, dockerfile: Dockerfile) -> Stages:
        """List the stages of a Dockerfile, with what they start from, and their lines. Nothing is built.

        Raises:
            DockerfileError: It cannot be read; `.locations` has the line.
            UsageError: It is no Dockerfile build.
        """
        return await portal().wait_for(_inside.stages(self._builder, dockerfile))

    async def lint(self, dockerfile: Dockerfile) -> Lint:
        """Check a Dockerfile by BuildKit's rules: what is wrong, in which line, and how it could be. Nothing is built.

        What keeps it from being built is a finding too, of the rule `BuildError`.

        Raises:
            UsageError: It is no Dockerfile build.

        Example:
            >>> (await bk.lint(dl.dockerfile(text="FROM busybox as base")))[0].fix  # doctest: +SKIP
            'FROM busybox AS base'
        """
        return await portal().wait_for(_inside.lint(self._builder, dockerfile))

    async def to_state(self, dockerfile: Dockerfile, *, platform: str | None = None) -> State:
        """Return the graph that a Dockerfile is, as a state that can be drawn, compared, extended and built.

        Nothing is built, but base images are looked up: their digests are in the graph. Settings and image config
        are those of the target. Operations have the digests that the frontend gave them, except for those that read
        directories of this machine: the frontend binds them to one session.

        Args:
            dockerfile: Made with `depotlab.dockerfile`.
            platform: For this platform; the builder's own when left out.

        Raises:
            DockerfileError: It cannot be read; `.locations` has the line.
            UsageError: It is no Dockerfile build, or its result is empty.
        """
        return await portal().wait_for(
            _inside.to_state(self._builder, dockerfile, platform=platform)
        )

    async def history(
        self,
        *,
        status: str | Sequence[str] | None = None,
        ref: str | None = None,
        repository: str | None = None,
        max_age_s: float | None = None,
        limit: int | None = None,
    ) -> History:
        """List the builds that the daemon remembers, the newest first, as a table in a notebook.

        A daemon keeps the newest (usually 50, for two days). Builds that run now are among them, whoever started them.

        Args:
            status: Only these: `running`, `completed`, `error`, `canceled`; one or several.
            ref: Only builds whose name begins so.
            repository: Only builds of this Git repository; a part of its address is enough.
            max_age_s: Only builds that began within so many seconds.
            limit: At most so many.

        Raises:
            UsageError: An argument that cannot work, a daemon without a history, or a builder at Depot, which keeps its
                builds itself.
            LinkError: The daemon cannot be reached.
        """
        return await portal().wait_for(
            _inside.history(
                self._builder,
                status=status,
                ref=ref,
                repository=repository,
                max_age_s=max_age_s,
                limit=limit,
            )
        )

    async def inspect(self, build: str | BuildRecord) -> BuildInspection:
        """Read all that the daemon still has of a past build: steps, logs, error, provenance, SBOM.

        Args:
            build: One of `history()`, or the name of a build (`result.ref`).

        Raises:
            UsageError: The daemon has no such build.
            LinkError: The daemon cannot be reached.
        """
        return await portal().wait_for(_inside.inspect_build(self._builder, build))

    async def trace(self, build: str | BuildRecord) -> Trace:
        """Read what the daemon did for a past build: its OpenTelemetry spans, along the time in a notebook.

        The calls of a build belong to one trace: to that of your own span, when OpenTelemetry is used around the build.

        Args:
            build: One of `history()`, or the name of a build (`result.ref`).

        Raises:
            UsageError: The daemon has no such build, it runs, or its trace is not kept.
            LinkError: The daemon cannot be reached.
        """
        return await portal().wait_for(_inside.trace_of(self._builder, build))

    async def replay(
        self,
        build: str | BuildRecord,
        *,
        speed: float = 1.0,
        progress: ProgressMode = "auto",
    ) -> None:
        """Show the progress of a past build again, in the views of a build that runs. Cancelling ends the show.

        Args:
            build: One of `history()`, or the name of a build.
            speed: 1 is as it was, 10 is ten times as fast.
            progress: As of `build`.

        Raises:
            UsageError: There is no such build, or no progress of it any more.
        """
        replayed = await portal().wait_for(_inside.replay_of(self._builder, build, speed=speed))
        ticker = replayed.start(progress)
        try:
            await asyncio.sleep(replayed.duration_s)
        finally:
            replayed.skip()
            ticker.stop()

    async def pin(self, build: str | BuildRecord, *, pinned: bool = True) -> None:
        """Let the daemon keep the record of a build for ever, or with `pinned=False` only as long as others.

        The result of the build and the cache are not kept by that.

        Raises:
            UsageError: The daemon has no such build.
        """
        await portal().wait_for(_inside.pin(self._builder, build, pinned=pinned))

    async def remove_record(self, build: str | BuildRecord) -> None:
        """Delete the record of a past build from the daemon's history, with its logs and attestations.

        What it made stays, and so does the cache. A record that is pinned is to be unpinned first.

        Raises:
            UsageError: There is no such build, it runs, or its record is pinned.
        """
        await portal().wait_for(_inside.remove_record(self._builder, build))

    async def run(
        self,
        target: Runnable,
        command: str | Sequence[str],
        *,
        mounts: Iterable[AnyMount] = (),
        env: Mapping[str, str | int] | None = None,
        cwd: str | PurePath = "",
        user: str = "",
        network: str = "",
        stdin: Stdin = None,
        tty: bool = False,
        timeout_s: float | None = None,
        check: bool = False,
        on_output: OnOutput | None = None,
        stdout: Writer | None = None,
        max_output_bytes: int = 16 << 20,
        before: bool = False,
        platform: str | None = None,
        secrets: Secrets = None,
        ssh: SshAgents = None,
        allow: str | Sequence[str] = (),
        auth: Auth = None,
        progress: ProgressMode = "auto",
    ) -> Completed:
        """Run a command in what a target makes, or where a step failed, and return what it wrote.

        The target is built first if the cache does not have it. The command runs in a container of its own on the
        builder: what it writes is gone afterwards, except in cache mounts. Cancelling the
        task stops it within two seconds.

        Args:
            target: A graph, a Dockerfile, a step of a build as `ls` takes it, or the `StepFailed` of a build: there, a
                command finds the files as the failed one left them, and the same mounts, secrets and variables.
            command: One text is a shell command (`/bin/sh -c`), a list is an argv.
            mounts: Made by `depotlab.mount`, as for a step of a graph.
            env: Variables, after those of the target.
            cwd: Working directory; a relative one continues the target's.
            user: Such as `app` or `1000:1000`.
            network: `sandbox`, `host` (with `allow="network.host"`) or `none`.
            stdin: What the command reads: bytes, text, or an open file. Nothing when left out.
            tty: Give it a terminal; both outputs come as one then.
            timeout_s: Kill it after so many seconds; they count from its start.
            check: Raise `CommandFailed` when it ends with another code than 0.
            on_output: Called with every line as it comes, such as `print`; a slow one holds the command up.
            stdout: An open binary file that takes the standard output instead of the result.
            max_output_bytes: The most output that is kept; the oldest is dropped first.
            before: Of a failed step: the files as its command found them.
            platform: To run for, as `linux/arm64`; the builder's own when left out.
            secrets: As of `build`.
            ssh: As of `build`.
            allow: As of `build`.
            auth: As of `build`.
            progress: How a build of the target is shown that takes longer than a second, as of `build`.

        Raises:
            UsageError: An argument that cannot work; nothing was sent.
            CommandFailed: There is no such program, or it cannot be run; or `check` is set and it failed.
            CommandTimeout: `timeout_s` is over.
            StepFailed: A step of the target failed.
            LinkError: The daemon cannot be reached, or went away.

        Example:
            >>> await bk.run(llb.image("busybox"), "uname -m")  # doctest: +SKIP
            <Completed 'uname -m': exit code 0 in 0.05 s, 7 B out, 0 B err>
        """
        job = _inside.prepare_run(
            target,
            command,
            mounts=mounts,
            env=env,
            cwd=cwd,
            user=user,
            network=network,
            stdin=stdin,
            tty=tty,
            timeout_s=timeout_s,
            check=check,
            on_output=on_output,
            stdout=stdout,
            max_output_bytes=max_output_bytes,
            before=before,
            platform=platform,
            secrets=secrets,
            ssh=ssh,
            allow=allow,
            auth=auth,
            progress=progress,
        )
        return await _inside.run_async(self._builder, job)

    async def shell(
        self,
        target: Runnable,
        command: str | Sequence[str] | None = None,
        *,
        mounts: Iterable[AnyMount] = (),
        env: Mapping[str, str | int] | None = None,
        cwd: str | PurePath = "",
        user: str = "",
        network: str = "",
        before: bool = False,
        height_px: int = 320,
        platform: str | None = None,
        secrets: Secrets = None,
        ssh: SshAgents = None,
        allow: str | Sequence[str] = (),
        auth: Auth = None,
    ) -> Shell:
        """Open a shell in what a target makes, or where a step failed.

        In a notebook it is a terminal below the cell, and the call returns at once: the terminal lives on while other
        cells run, and leaves a transcript. (Needs the extra `terminal`; without it there is a line to type into.) In a
        program that has a terminal, it takes that terminal until it ends. Elsewhere nobody is there to type but code:
        see `Shell.send`. What is written in it is gone afterwards, as with `run`.

        Args:
            target: As of `run`.
            command: What to run instead of bash, ash or sh, whichever is there.
            mounts: As of `run`.
            env: As of `run`.
            cwd: As of `run`.
            user: As of `run`.
            network: As of `run`.
            before: As of `run`.
            height_px: Of the terminal in a notebook.
            platform: As of `run`.
            secrets: As of `build`.
            ssh: As of `build`.
            allow: As of `build`.
            auth: As of `build`.

        Raises:
            UsageError: An argument that cannot work; nothing was sent.

        Example:
            >>> await bk.shell(llb.image("busybox"))  # doctest: +SKIP
            <Shell /bin/ash: open>
        """
        return await asyncio.to_thread(
            _inside.shell,
            self._builder,
            target,
            command,
            mounts=mounts,
            env=env,
            cwd=cwd,
            user=user,
            network=network,
            before=before,
            height_px=height_px,
            platform=platform,
            secrets=secrets,
            ssh=ssh,
            allow=allow,
            auth=auth,
        )

    async def debug(
        self,
        target: Target,
        *,
        break_at: BreakAt = None,
        platform: str | None = None,
        secrets: Secrets = None,
        ssh: SshAgents = None,
        no_cache: bool = False,
        allow: str | Sequence[str] = (),
        auth: Auth = None,
    ) -> Debugger:
        """Go through what a target does, step by step, and look at the files, the variables and a shell at each.

        Args:
            target: A graph or a Dockerfile; of a mapping of platforms the one that `platform` names. Of a frontend
                function what it returned: `llb.load(result.definition.to_bytes())` of its build.
            break_at: Run until this step first: a part of its name, its digest, or the line of the source that made
                it. Without it, nothing has run yet. When a step on the way fails, it stops there.
            platform: As of `run`.
            secrets: As of `build`.
            ssh: As of `build`.
            no_cache: Run every step again; cache mounts start empty.
            allow: As of `build`.
            auth: As of `build`.

        Returns:
            To be closed, or used in a `async with` block: `.next()`, `.run_to(...)`, `.stop`, `.ls .read .run .shell`.

        Raises:
            UsageError: There is no such step, or an argument that cannot work.

        Example:
            >>> async with await bk.debug(app, break_at="pip install") as steps:  # doctest: +SKIP
            ...     await steps.run("python -V"), await steps.next()
        """
        request = prepare(
            target,
            platform=platform,
            secrets=secrets,
            ssh=ssh,
            no_cache=no_cache,
            allow=allow,
            auth=auth,
        )
        return Debugger(await portal().wait_for(_inside.debug(self._builder, request, break_at)))

    def cache_mount(
        self,
        id: str | PurePath,  # noqa: A002 - BuildKit's word
        *,
        sharing: str = "shared",
        dockerfile: bool = False,
    ) -> CacheMount:
        """Return a directory that builds keep between them: `.ls .du .read .seed .extract .clear`.

        Sends nothing. Looking into it needs no image; `seed` and `extract` need one with `sh` and `cp`.

        Args:
            id: As in `mount.cache`; the target of the mount when that has none.
            sharing: As in `mount.cache`. A `locked` one waits for the build that uses it, also to look.
            dockerfile: The cache is that of a `RUN --mount=type=cache` in a Dockerfile, whose ids are others.

        Raises:
            UsageError: An argument that cannot work.

        Example:
            >>> pip = bk.cache_mount("/root/.cache/pip")  # doctest: +SKIP
            >>> pip.seed("wheels"), pip.du(), pip.extract("saved"), pip.clear()  # doctest: +SKIP
        """
        return CacheMount(
            self._builder, *_inside.check_cache_mount(id, sharing=sharing, dockerfile=dockerfile)
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
        return f"<depotlab client of {self._builder.described}>"


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
    """Build many targets, some at a time, and show them as one: a step for each, with all that its own steps print.

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
    given: Any = getattr(builder, "_builder", builder)  # what is no client is refused there
    return await _verbs.build_all_async(
        given,
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
    create: bool = False,
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
        project: Id of the project to build in; with `create=True` its name.
        local: Build on a Depot on this computer, with no account and no network: the one that `depotlab up` runs, or
            one that runs as long as this process needs it. A path is the folder of its state. Needs the extra `plane`.
        token: Of an organization, a user or the project.
        organization: Id; owns projects that are made.
        build: Id of a build that somebody else has registered, to be continued; `token` is then that build's.
        create: `project` is a name, and the project is made if there is none of that name. Whoever asks in this
            process gets the same one; two processes that ask at the same moment may make two.
        machine: Build everything on this architecture, as `linux/arm64`; that of the platform when left out.
        timeout_s: For getting a machine.
        url: Address of the API.
        auth: Registry credentials for all builds, `{host: (user, password)}`.

    Raises:
        NoToken: There is no token; the message says the three ways to get one.
        UsageError: A value cannot be used.

    Example:
        >>> async with await aio.depot() as bk:  # doctest: +SKIP
        ...     await bk.build(dl.dockerfile("."), save="v1")
    """
    return Client(
        await portal().wait_for(
            open_depot(
                token=token,
                project=project,
                organization=organization,
                build=build,
                create=create,
                url=url,
                machine=machine,
                timeout_s=timeout_s,
                auth=auth,
                local=local,
            )
        )
    )


async def depot_api(
    *,
    local: bool | str | Path = False,
    token: str | None = None,
    organization: str | None = None,
    url: str | None = None,
    timeout_s: float = 30.0,
) -> DepotApi:
    """Make a client of the Depot API: projects, builds and their logs, saved images, usage, organizations.

    Nothing is sent before it is asked something. Token and address are found as for `depot`. Values and errors are
    those of `depotlab.api`.

    Args:
        local: Ask a Depot on this computer, as `depot(local=...)` means it.
        token: Of a user or an organization; a project's own may only build.
        organization: Id; owns projects that are made.
        url: Address of the API.
        timeout_s: For each call, with its tries.

    Raises:
        NoToken: There is no token; the message says the three ways to get one.
        UsageError: A value cannot be used.

    Example:
        >>> api = await aio.depot_api()  # doctest: +SKIP
        >>> [project.name async for project in api.projects.list()]  # doctest: +SKIP
    """
    return DepotApi(
        await portal().wait_for(
            open_api(
                local=local, token=token, organization=organization, url=url, timeout_s=timeout_s
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


async def depot_login(
    *, organization: str | None = None, url: str | None = None, timeout_s: float = 600.0
) -> Login:
    """Log in to Depot with a browser, and keep the token where the official command line keeps it.

    Shows a link, and waits until its page was approved. The token goes into a file that only this user may read (its
    path is in the answer) and nowhere else: it is never shown. From then on `depot()`, `depot_api()` and
    the `depot` command find it.

    Args:
        organization: Id of the one to use; left out, the only one if there is only one.
        url: Address of the API.
        timeout_s: How long the person may take.

    Raises:
        DeadlineExceeded: Nobody approved it in time.
        UsageError: The person does not belong to this organization.
        ContextError: The file cannot be written.
    """
    return await _verbs.login_async(organization=organization, url=url, timeout_s=timeout_s)


async def depot_logout() -> bool:
    """Forget the login that is kept for this user, and return whether there was one.

    The token itself stays good until it is deleted on depot.dev.

    Raises:
        ContextError: The file cannot be changed.
    """
    return await _verbs.logout_async()


async def pull(
    image: str,
    *,
    output: Output | None = None,
    load: bool | str = False,
    tags: str | Sequence[str] | None = None,
    project: str | None = None,
    target: str | None = None,
    platform: str | None = None,
    local: bool | str | Path = False,
    token: str | None = None,
    organization: str | None = None,
    url: str | None = None,
    timeout_s: float = 30.0,
    progress: ProgressMode = "auto",
) -> Pulled:
    """Pull an image that Depot keeps, without a Docker command: what a build with `save=` has left there.

    It is streamed to where it goes: memory holds a chunk at a time. Every part is checked against its digest, and what
    is not right is not kept. A connection that breaks is taken up again where it broke. A layout directory
    (`export.oci(dir, tar=False)`) gets only the parts that it does not have, so that a pull that failed goes on there.

    Args:
        image: Id of a build, `PROJECT:TAG`, or a tag with `project=`; `result.depot` of a build has them.
        output: Where it goes on this computer: `export.oci(...)` (all platforms, also as a layout with `tar=False`) or
            `export.docker(...)` (one). Only destination and names count: the image is as it is.
        load: Load it into the Docker Engine (or podman) of this computer instead; text is the address of another.
        tags: Names for it here; those that its build gave it, or the one that it has at Depot, when left out.
        project: Id of the project that `image` is a tag of.
        target: Of a build with several targets, as a bake file calls it.
        platform: Only the image for this one, as `linux/arm64`. Without it all, or where only one has room that of
            the Docker Engine or of this computer.
        local: Pull from a Depot on this computer, as `depot(local=...)` means it.
        token: As of `depot_api`; one of the project does too.
        organization: Id.
        url: Address of the API.
        timeout_s: For each wait, for Depot or its registry; not for the whole.
        progress: As of `Client.build`.

    Raises:
        NotFound: There is no such build or project, or it has saved nothing; this and the next are of `depotlab.api`.
        Unauthenticated: The token is not known.
        RegistryError: The registry refused, broke off too often, or gave another content than its digest says.
        SessionError: The archive cannot be written.
        Unreachable: `load=True`, and there is no Docker Engine on this computer.
        UsageError: An argument cannot work.

    Example:
        >>> await aio.pull(r.depot.build_id, output=export.oci("app.tar"))  # doctest: +SKIP
    """
    request = prepare_pull(
        image,
        output=output,
        load=load,
        tags=tags,
        project=project,
        target=target,
        platform=platform,
        timeout_s=timeout_s,
    )
    return await _verbs.pull_async(
        request, local=local, token=token, organization=organization, url=url, progress=progress
    )


async def record(path: str | Path, builder: Client | None = None) -> Recording[Client]:
    """Begin to record what a client builds and looks at, into a file that `recorded` plays without an engine.

    In an `async with` block it is the client itself, and the file is written at the end of the block; when an
    exception leaves the block nothing is written. Without a block: `.save()`. A file that is there is replaced. What is
    recorded is what the daemon said: progress and logs, files that were read, outputs that came here. Values given as
    secrets and passwords are taken out of it.

    Args:
        path: Of the file; its directory is there.
        builder: What to record, from `connect`, `local` or `depot` of this module; that of `connect()` when left out.

    Raises:
        UsageError: The path cannot be one, or the client plays a recording itself.
        LinkError: The daemon cannot be reached.

    Example:
        >>> async with await aio.record("lesson.depotlab", bk):  # doctest: +SKIP
        ...     await bk.build(llb.image("busybox").run("echo hi"))
    """
    client = await connect() if builder is None else builder
    return await begin_recording_async(path, client, client._builder, client.registry)  # noqa: SLF001 - its own class


async def recorded(path: str | Path, *, speed: float | None = None) -> Client:
    """Make a client that answers from a recording: the same verbs and views, without an engine or a network.

    What was asked while it was recorded is answered as it was then; the same question twice gets the answers in their
    order, and then the last one again. Anything else raises `NotRecorded`. Files of this computer that a build reads
    are compared with those that were recorded. Past builds, for `result.why()`, are those of the recording.

    Args:
        path: Of the file that `record` has written.
        speed: 1 plays it as it was, 10 ten times faster, 0 at once. Left out: as it was, but a build takes
            ten seconds at most. Views and results show the times of the recording, however fast it is played.

    Raises:
        RecordingError: There is no such file, it is damaged, or a newer depotlab has made it.
        UsageError: `speed` is no speed.

    Example:
        >>> bk = await aio.recorded("lesson.depotlab", speed=10)  # doctest: +SKIP
    """
    return Client(await asyncio.to_thread(open_recorded, path, speed=speed))


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
    usual reason for a difference; the answer names the first file that differs, and what made its layer. The second
    build begins two seconds after the first has ended, so that a clock shows another time in it.

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


def __dir__() -> list[str]:
    return sorted(__all__)
