"""The verbs of a build service on the event loop. Both faces are made of them.

It is to be used on the loop on which it was opened: the I/O thread's, and in tests any other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets as random_secrets
from collections.abc import Collection, Mapping

from depotlab.errors import ServiceError
from depotlab.service._asking.checks import (
    asked_for,
    check_id,
    check_listing,
    check_offset,
    make_order,
)
from depotlab.service._asking.packing import Packable, pack_and_put
from depotlab.service._asking.reading import AwaitingLogs
from depotlab.service._boundary import (
    BuildContext,
    BuildState,
    Upload,
)
from depotlab.service._core.opened import Opened
from depotlab.service._diskerrors import tells_disk_errors
from depotlab.service._values import BuildInfo, BuildInfos, Health, LogLine, ProjectInfos

__all__ = ["Core"]

_ID_LETTERS = "0123456789bcdfghjklmnpqrstvwxz"  # no vowels, so that no words appear
_ID_LENGTH = 16


class Core(Opened):
    """A build service on the event loop. See `BuildService`, whose arguments and verbs these are."""

    @tells_disk_errors
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

    @tells_disk_errors
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

    @tells_disk_errors
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

    @tells_disk_errors
    async def get_build(self, build_id: str) -> BuildInfo:
        """Return a build as it stands.

        Raises:
            ServiceError: `not_found`.
        """
        self.need_open()
        return self._info(build_id)

    @tells_disk_errors
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

    @tells_disk_errors
    async def next_lines(self, build_id: str, offset: int, follow: bool) -> list[LogLine]:
        """Return the next lines of a log from an offset on; none at its end."""
        self.need_open()
        return await self._logs.next(build_id, offset, follow=follow, is_open=self._is_open)

    @tells_disk_errors
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
        return await self.projects_of(None)

    @tells_disk_errors
    async def projects_of(self, names: Collection[str] | None) -> ProjectInfos:
        """Return those of these names that there are; None is all. A few take no longer when there are many more."""
        self.need_open()
        return self._state.projects(names)

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

    @tells_disk_errors
    async def has_key(self, project: str, idempotency_key: str) -> bool:
        """Return whether `create_build` with this key makes no new build of the project."""
        self.need_open()
        return self._state.has_key(project, idempotency_key)

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
        self._logs.catch_up(build_id)
        return self._now(self._state.info(build_id))

    def _now(self, info: BuildInfo) -> BuildInfo:
        """Add what is not kept on disk each time that it changes: how long the present stage took so far."""
        took_s = self._builds.took_s(info.build_id)
        return info if took_s is None else dataclasses.replace(info, stages=took_s)
