"""Looking at a failed step: what `StepFailed.ls`, `.read`, `.run` and `.shell` do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from depotlab._inside.completed import Completed
from depotlab._inside.failed import failure_place
from depotlab._inside.processes import Place
from depotlab._inside.running import failed_builder, prepare_run, run, shell
from depotlab._inside.shell import Shell
from depotlab._portal import portal
from depotlab._verbs import StepDetails, failed_build, failed_steps
from depotlab.buildkit import Container, Files, Listing, guest_path
from depotlab.errors import StepFailed, UsageError
from depotlab.progress import Snapshot
from depotlab.widgets import StepViews

__all__ = ["FailedStep", "failed_ls", "failed_read", "files_at"]


@asynccontextmanager
async def files_at(place: Place, path: str | PurePath) -> AsyncIterator[tuple[Files, str]]:
    """Find the mount of a place that has a path, and the path in it; mounted for the length of a block.

    Raises:
        UsageError: What is there is not shown: secrets, sockets and memory.
    """
    full = guest_path(path, place.plan.cwd)
    found = max(
        (
            (len(mount.target.rstrip("/")), number)
            for number, mount in enumerate(place.plan.mounts)
            if (full + "/").startswith(mount.target.rstrip("/") + "/")
        ),
    )
    mount = place.plan.mounts[found[1]]
    if mount.kind not in ("bind", "cache"):
        raise UsageError(
            f"{full} is in a {mount.kind} mount, whose files are not shown.",
            hint="run a command there, such as error.run(['ls', ...])",
        )
    container: Container = await place.container()
    try:
        yield (
            Files(place.bridge, container.id, mount=found[1]),
            "/" + full[found[0] :].lstrip("/"),
        )
    finally:
        await container.release()


async def failed_ls(error: StepFailed, path: str | PurePath, *, before: bool) -> Listing:
    """List a directory as the failed command left it."""
    async with (
        failure_place(error, before=before) as place,
        files_at(place, path) as (files, inner),
    ):
        return await files.list(inner)


async def failed_read(
    error: StepFailed, path: str | PurePath, *, offset: int, length: int | None, before: bool
) -> bytes:
    """Return a file as the failed command left it."""
    async with (
        failure_place(error, before=before) as place,
        files_at(place, path) as (files, inner),
    ):
        return await files.read(inner, offset=offset, length=length)


@dataclass(frozen=True, slots=True)
class FailedStep(StepViews):
    """What an error asks when somebody looks at its step, or at the build around it. Blocks.

    Attributes:
        error: Whose step.
    """

    error: StepFailed

    @property
    def snapshot(self) -> Snapshot:
        """See `StepFailed.snapshot`."""
        found = failed_steps(self.error)
        if found is None:
            raise UsageError(
                "This error does not know the steps of its build: it was copied, or comes from another process.",
                hint="look where the build failed, or build again here",
            )
        return found

    def _steps_now(self) -> Snapshot:
        return self.snapshot

    def _step_details(self) -> StepDetails | None:
        found = failed_build(self.error)
        return StepDetails(found.request, found.builder) if found is not None else None

    def ls(self, path: str | PurePath, *, before: bool) -> Listing:
        """See `StepFailed.ls`."""
        return portal().run(failed_ls(self.error, path, before=before))

    def read(self, path: str | PurePath, *, offset: int, length: int | None, before: bool) -> bytes:
        """See `StepFailed.read`."""
        look = failed_read(self.error, path, offset=offset, length=length, before=before)
        return portal().run(look)

    def run(self, command: str | Sequence[str], options: dict[str, Any]) -> Completed:
        """See `StepFailed.run`."""
        job = prepare_run(self.error, command, **options)
        return run(failed_builder(self.error), job)

    def shell(self, command: str | Sequence[str] | None, options: dict[str, Any]) -> Shell:
        """See `StepFailed.shell`."""
        return shell(failed_builder(self.error), self.error, command, **options)


StepFailed._looker = FailedStep  # noqa: SLF001 - `errors` imports nothing, so it is told
