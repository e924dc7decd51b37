"""The build service on the event loop: its parts, put together, and its verbs. Both faces are made of it.

It is to be used on the loop on which it was opened: the I/O thread's, and in tests any other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets as random_secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from depotlab.errors import ServiceError
from depotlab.service._boundary import (
    BuildContext,
    BuildState,
    RunsBuilds,
    Storage,
    Upload,
)
from depotlab.service._building import Builds
from depotlab.service._checks import (
    asked_for,
    check_id,
    check_listing,
    check_offset,
    check_platform,
    make_order,
)
from depotlab.service._depotsettings import Depot
from depotlab.service._housekeeping import keep_house
from depotlab.service._limits import Limits
from depotlab.service._logs import Logs
from depotlab.service._packing import Packable, pack_and_put
from depotlab.service._parts import (
    GitTokens,
    check_parts,
    chosen_sink,
    depot_runner,
    ended,
    held_folder,
    state_folder,
)
from depotlab.service._reading import AwaitingLogs
from depotlab.service._state import State
from depotlab.service._tables import open_database
from depotlab.service._uploads import Uploads
from depotlab.service._values import BuildInfo, BuildInfos, Health, LogLine, ProjectInfos
from depotlab.service._watched import WatchedStorage
from depotlab.telemetry import Sink, Writer

if TYPE_CHECKING:
    from depotlab._serving import Database
    from depotlab.service._registry import Registry
    from depotlab.service._usererrors import Rule

__all__ = ["Core"]

_ID_LETTERS = "0123456789bcdfghjklmnpqrstvwxz"  # no vowels, so that no words appear
_ID_LENGTH = 16
_CLOSE_S = 10.0


class Core:
    """See `BuildService`, whose arguments are these.

    Attributes:
        folder: Of the state.
        limits: How much is taken on.
        make_runner: Makes what makes builds happen; tests give another.
    """

    def __init__(
        self,
        depot: Depot | None,
        storage: Storage | None,
        telemetry: str | Path | Sink | bool | None,
        registry: Registry | None,
        platform: str,
        state: str | Path | None,
        limits: Limits | None,
        git_tokens: GitTokens | None,
        error_rules: Sequence[Rule],
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        check_parts(depot, storage, registry, limits, git_tokens, error_rules)
        self.folder = state_folder(state)
        self.limits = limits or Limits()
        self.sink = chosen_sink(telemetry, self.folder)
        self.make_runner: Callable[[Core], Awaitable[RunsBuilds]] = depot_runner
        self.depot = depot
        self.registry = registry
        self.git_tokens = git_tokens
        self.error_rules = tuple(error_rules)
        self._platform = check_platform(platform)
        self._given_storage = storage
        self._now_ns = now_ns
        self._stack: AsyncExitStack | None = None
        self._is_draining = False
        self.writer: Writer | None = None

    # ------------------------------------------------------------------------ opening and closing

    async def open(self) -> None:
        """Get ready, and go on with what an earlier service left.

        Raises:
            ServiceError: `failed_precondition`: another service uses the state folder, or this one is open already.
            EngineError: The state folder cannot be used.
            TelemetryError: The settings of telemetry are wrong.
            NoToken: There is none for Depot.
        """
        if self._stack is not None:
            raise ServiceError(
                "This build service is in use already.",
                code="failed_precondition",
                hint="use the one that is open, or make another with a state folder of its own",
            )
        async with AsyncExitStack() as stack:
            held = held_folder(self.folder)
            await asyncio.to_thread(stack.enter_context, held)
            stack.callback(self._forget)
            self.database: Database = open_database(
                self._place("service.sqlite3"), now_ns=self._now_ns
            )
            stack.callback(self.database.close)
            self._uploads = Uploads(self.database)
            self._state = State(self.database, self._uploads)
            self._logs = Logs(self.database, max_bytes=self.limits.max_log_bytes_per_build)
            if self.sink is not None:
                spool = self._place("spool")
                self.writer = await asyncio.to_thread(Writer, self.sink, spool_dir=spool)
                stack.push_async_callback(asyncio.to_thread, self.writer.close, _CLOSE_S)
            self.storage = WatchedStorage(self._storage(), self._storage_is_up)
            stack.push_async_callback(self.storage.close)
            await self.storage.open()
            runner = await self.make_runner(self)
            stack.push_async_callback(runner.close)
            self._builds = Builds(
                self._state,
                self._logs,
                self.limits,
                runner,
                writer=self.writer,
                now_ns=self._now_ns,
                storage_problem=lambda: self.storage.problem,
            )
            stack.push_async_callback(self._builds.close)
            house = asyncio.create_task(
                keep_house(self._state, self._uploads, self.storage, self.limits, self._now_ns)
            )
            stack.push_async_callback(ended, house)
            self._builds.resume()
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Stop what runs, and let go of everything. Idempotent."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def _forget(self) -> None:
        self.writer, self._is_draining = None, False

    def closes_first(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed before everything else, such as a port."""
        self.need_open().push_async_callback(close)

    def need_open(self) -> AsyncExitStack:
        """Return what is closed with the service.

        Raises:
            ServiceError: `failed_precondition`: it is not open.
        """
        if self._stack is None:
            raise ServiceError(
                "This build service is not open.",
                code="failed_precondition",
                hint="call open(), which close() ends, or use it in a block: with BuildService(...) as service:",
            )
        return self._stack

    def _place(self, name: str) -> Path:
        return self.folder / name

    def _storage(self) -> Storage:
        if self._given_storage is not None:
            return self._given_storage
        from depotlab.service._localstore import LocalStorage

        return LocalStorage(self._place("contexts"))

    def _storage_is_up(self) -> None:
        self._builds.start_some()

    # ------------------------------------------------------------------------------------- verbs

    async def generate_upload_url(self, project: str) -> Upload:
        """Allow one upload of an archive: where to PUT it, and what to give to `create_build` afterwards.

        Args:
            project: The customer's project; it need not exist yet.

        Raises:
            ServiceError: `invalid_argument`; `resource_exhausted` when the project has too many that it did not use.
            StorageError: The store does not answer, or refuses.
        """
        self.need_open()
        check_id("project", project)
        self._refuse_when_draining()
        limits = self.limits
        expires_s = limits.upload_expires_s
        key = self._uploads.add(project, expires_s=expires_s, most=limits.max_uploads_per_project)
        try:
            return await self.storage.upload(
                key, expires_s=expires_s, max_bytes=limits.max_context_bytes
            )
        except BaseException:
            self._uploads.forget(key)
            raise

    async def upload(
        self, project: str, source: Packable, *, dockerfile_path: str = "Dockerfile"
    ) -> str:
        """Pack a folder or some files and upload them; return what to give to `create_build`.

        Args:
            project: The customer's project.
            source: A folder (without what its `.dockerignore` leaves out), files by their paths as in
                `{"Dockerfile": "FROM busybox"}`, or the path or the bytes of an archive: tar, plain or packed
                with gzip, zstd, bzip2 or xz.
            dockerfile_path: In the folder; it is packed whatever the ignore file says.

        Raises:
            ServiceError: As of `generate_upload_url`; or the store refused the archive.
            ContextError: The folder or archive cannot be read.
            StorageError: The store does not answer.
        """
        upload = await self.generate_upload_url(project)
        await pack_and_put(upload, source, dockerfile_path=dockerfile_path)
        return upload.build_context_path

    async def create_build(
        self,
        context: str | BuildContext,
        *,
        project: str,
        deployment: str,
        workspace: str = "",
        dockerfile_path: str = "Dockerfile",
        target: str = "",
        platform: str | None = None,
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        git_token: str = "",
        idempotency_key: str = "",
    ) -> BuildInfo:
        """Ask for a build, and return at once; it is `queued`.

        Args:
            context: The `build_context_path` of an upload, or `depotlab.service.git(...)`.
            project: The customer's project. Each has a cache and a machine of its own.
            deployment: What the build is for; the image is tagged `PROJECT-DEPLOYMENT`.
            workspace: Whose project it is; for telemetry.
            dockerfile_path: In the context.
            target: Stage to stop at; the last when left out.
            platform: `linux/amd64` or `linux/arm64`; the service's own when left out.
            args: Build arguments. They are kept, and can be read in the image: not for secrets.
            labels: For the image.
            env: The customer's environment, for steps that mount the secret `env`. It is not kept: should the service
                stop before the build has ended, the build fails as `interrupted`. That goes for `git_token` too.
            git_token: May read the repository of a git context.
            idempotency_key: A call with the same key and arguments returns the build that the first one made. Of
                `env` the names count; `git_token` may differ.

        Raises:
            ServiceError: `invalid_argument`, with the argument's name; `not_found` for an upload that was not handed
                out to this project; `already_exists` for a key that stands for another build; `resource_exhausted`
                when too much is queued; `unavailable` while the service is being drained.
            UsageError: A part of a git context cannot be one.
        """
        build_id, _ = self._create(
            context,
            project=project,
            deployment=deployment,
            workspace=workspace,
            dockerfile_path=dockerfile_path,
            target=target,
            platform=self._platform if platform is None else platform,
            args=args,
            labels=labels,
            env=env,
            git_token=git_token,
            idempotency_key=idempotency_key,
        )
        return self._info(build_id)

    async def build(
        self,
        context: str | BuildContext,
        *,
        project: str,
        deployment: str,
        workspace: str = "",
        dockerfile_path: str = "Dockerfile",
        target: str = "",
        platform: str | None = None,
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        git_token: str = "",
        idempotency_key: str = "",
    ) -> BuildInfo:
        """Ask for a build, and wait until it has ended. One that failed is returned; its `.check()` raises.

        Ctrl-C, or cancelling the task, cancels the build, unless it was there already under `idempotency_key`.
        Arguments and errors are those of `create_build`.
        """
        build_id, is_new = self._create(
            context,
            project=project,
            deployment=deployment,
            workspace=workspace,
            dockerfile_path=dockerfile_path,
            target=target,
            platform=self._platform if platform is None else platform,
            args=args,
            labels=labels,
            env=env,
            git_token=git_token,
            idempotency_key=idempotency_key,
        )
        try:
            while not self._info(build_id).has_ended:
                await self._logs.bells.wait(build_id)
                self.need_open()  # it may have been closed meanwhile
        except asyncio.CancelledError:
            if is_new and self._stack is not None:
                self._builds.ask_to_cancel(build_id)
            raise
        return self._info(build_id)

    async def get_build(self, build_id: str) -> BuildInfo:
        """Return a build as it stands.

        Raises:
            ServiceError: `not_found`.
        """
        self.need_open()
        return self._info(build_id)

    async def list_builds(
        self,
        project: str | None = None,
        state: BuildState | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> BuildInfos:
        """Return a page of builds, the newest first.

        Args:
            project: Only of this one.
            state: Only those that are so.
            page_size: At most so many, up to 500.
            page_token: `next_page_token` of the page before; empty for the first.

        Raises:
            ServiceError: `invalid_argument`.
        """
        self.need_open()
        check_listing(project=project, state=state, page_size=page_size, page_token=page_token)
        page = self._state.infos(
            project=project, state=state, page_size=page_size, page_token=page_token
        )
        return BuildInfos(map(self._now, page), page.next_page_token)

    def get_build_logs(self, build_id: str, offset: int = 0, follow: bool = True) -> AwaitingLogs:
        """Return the lines of a build's log, as they come. See the faces."""
        self.need_open()
        return AwaitingLogs(self.next_lines, build_id, check_offset(offset), follow=follow)

    async def next_lines(self, build_id: str, offset: int, follow: bool) -> list[LogLine]:
        """Return the next lines of a log from an offset on; none at its end."""
        self.need_open()
        return await self._logs.next(build_id, offset, follow=follow, is_open=self._is_open)

    async def cancel_build(self, build_id: str) -> BuildInfo:
        """Cancel a build, and return it when its machine is let go. One that has ended is left as it is.

        Raises:
            ServiceError: `not_found`.
        """
        self.need_open()
        self._info(build_id)
        await self._builds.cancel(build_id)
        return self._info(build_id)

    async def drain(self, timeout_s: float = 600.0) -> bool:
        """Take no more builds, start none, and wait until those that run have ended.

        What waits is left to the next service with the same state folder.

        Args:
            timeout_s: How long to wait.

        Returns:
            Whether all have ended by then; those that have not go on.
        """
        self.need_open()
        self._is_draining = self._builds.is_draining = True
        return await self._builds.all_ended(timeout_s)

    async def projects(self) -> ProjectInfos:
        """Return the customers' projects, by name."""
        self.need_open()
        return self._state.projects()

    async def health(self) -> Health:
        """Return how the service is: what waits and runs, and whether store and telemetry work."""
        self.need_open()
        stats = {} if self.writer is None else dataclasses.asdict(self.writer.stats)
        why_not = self._builds.why_not()
        return Health(
            takes_builds=not self._is_draining,
            starts_builds=not why_not,
            why_not=why_not,
            n_queued=self._builds.n_queued,
            n_running=self._builds.n_running,
            n_waiting=self._builds.n_waiting,
            projects=self._builds.projects,
            storage=self.storage.problem,
            telemetry=stats,
        )

    # ------------------------------------------------------------------------------------ pieces

    def _create(self, context: object, **given: object) -> tuple[str, bool]:
        """Check and keep a build; return its id, and whether it is new."""
        self.need_open()
        build_id = "".join(random_secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
        order, secrets = make_order(context, build_id=build_id, **given)
        if self.registry is not None:
            self.registry.image(
                order.project, order.deployment
            )  # refuses names that it cannot take
        key = str(given["idempotency_key"])
        asked = asked_for(order, secrets)
        if key and (known := self._state.known(order.project, key, asked)) is not None:
            return known, False
        self._refuse_when_draining()
        self._refuse_when_full(order.project)
        self._state.add(order, has_secrets=bool(secrets), idempotency_key=key, asked=asked)
        self._builds.add(build_id, order.project, secrets)
        return build_id, True

    def _refuse_when_draining(self) -> None:
        if self._is_draining:
            raise ServiceError(
                "This build service is about to stop, and takes no more builds.",
                code="unavailable",
                hint="ask again when it has been started anew",
            )

    def _refuse_when_full(self, project: str) -> None:
        limits, builds = self.limits, self._builds
        n_queued = builds.n_queued_of(project)
        if n_queued >= limits.max_queued_per_project:
            what = f"the project {project!r} has {n_queued} builds"
        elif builds.n_queued >= limits.max_queued:
            what = f"there are {builds.n_queued} builds"
        else:
            return
        raise ServiceError(
            f"No build is taken now: {what} that wait for their turn.",
            code="resource_exhausted",
            hint="ask again when some have ended",
        )

    def _info(self, build_id: object) -> BuildInfo:
        if not isinstance(build_id, str):
            raise ServiceError(
                f"build_id cannot be {build_id!r:.60}.",
                code="invalid_argument",
                hint="give the build_id of a BuildInfo",
            )
        self._logs.flush(build_id)
        return self._now(self._state.info(build_id))

    def _now(self, info: BuildInfo) -> BuildInfo:
        """Add what is not kept on disk each time that it changes: how long the present stage took so far."""
        took_s = self._builds.took_s(info.build_id)
        return info if took_s is None else dataclasses.replace(info, stages=took_s)

    def __repr__(self) -> str:
        if self._stack is None:
            return f"not open, state in {self.folder}"
        builds = self._builds
        return (
            f"{builds.n_queued} builds queued, {builds.n_running} running, state in {self.folder}"
        )

    def facts(self) -> Iterable[tuple[str, object]]:
        """Return what a table shows of it."""
        yield "state", str(self.folder)
        yield "open", self._stack is not None
        if self._stack is not None:
            yield "queued", self._builds.n_queued
            yield "running", self._builds.n_running
            yield "projects", self._builds.projects
            yield "why not", self._builds.why_not()

    def _is_open(self) -> bool:
        return self._stack is not None
