"""The service as clients elsewhere may use it: each verb with a caller, and every error as one refusal.

Connect, gRPC and plain JSON stand on this, so that a rule is written once. What a token is not for is not found.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from depotlab._depot import Listing
from depotlab._serving import Fault, FaultCode
from depotlab.errors import (
    ContextRefused,
    DepotlabError,
    ServiceError,
    StorageError,
    TelemetryError,
    UsageError,
)
from depotlab.service._access.access import Access, Caller
from depotlab.service._asking.checks import check_id, check_offset
from depotlab.service._boundary import BuildContext, Upload, UploadedContext
from depotlab.service._values import (
    BuildInfo,
    BuildInfos,
    Health,
    LogLine,
    MadeToken,
    ProjectInfos,
    TokenInfo,
)

if TYPE_CHECKING:
    from depotlab.service._core.core import Core

__all__ = ["DOWN_RETRY_S", "Guarded", "refusals"]

_LOG = logging.getLogger("depotlab.service")

DOWN_RETRY_S: Final = 5.0
"""A store that is down is asked again by then; whoever waits less only adds to its work."""


class Guarded:
    """What callers may do with a service. To be used on the event loop of the service.

    Args:
        service: Does it.
        access: Counts, and has the tokens.
        stopping: Set when the port is closed: logs that are followed end then.
    """

    def __init__(self, service: Core, access: Access, stopping: asyncio.Event) -> None:
        self._service = service
        self._access = access
        self._stopping = stopping

    async def generate_upload_url(self, caller: Caller, project: str) -> Upload:
        """Allow one upload; needs `build`.

        Raises:
            Fault: As for all of these: the token is not for that, or the service does not do it.
        """
        with refusals("generate_upload_url"):
            caller.need("build")
            caller.need_project(project)
            return await self._service.generate_upload_url(project)

    async def create_build(
        self, caller: Caller, context: BuildContext, *, project: str, **order: Any
    ) -> BuildInfo:
        """Queue a build; needs `build`. `order` is what `create_build` of the service takes besides.

        Raises:
            Fault: See `generate_upload_url`.
        """
        with refusals("create_build"):
            caller.need("build")
            caller.need_project(project)
            check_id("project", project)  # a counter is kept for each name
            if isinstance(context, UploadedContext) and not context.key.startswith(f"{project}/"):
                raise Fault(
                    "invalid_argument",
                    f"build_context_path={context.key[:120]!r} is not of the project {project!r}",
                    hint="give the build_context_path that came with an upload URL of this project",
                )
            # What is there already is told, however many were asked for: its first answer may have been lost.
            is_new = not await self._service.has_key(project, order.get("idempotency_key", ""))
            if is_new:
                self._access.count_build(project)
            try:
                return await self._service.create_build(context, project=project, **order)
            except BaseException:
                if is_new:
                    self._access.forget_build(project)
                raise

    async def get_build(self, caller: Caller, build_id: str) -> BuildInfo:
        """Return a build; needs `read`, or `build`: who starts builds may ask how they are.

        Raises:
            Fault: See `generate_upload_url`.
        """
        with refusals("get_build"):
            if "build" not in caller.may:
                caller.need("read")
            return await self._seen(caller, build_id)

    async def list_builds(
        self,
        caller: Caller,
        *,
        project: str | None,
        state: str | None,
        page_size: int,
        page_token: str,
    ) -> BuildInfos:
        """Return a page of builds; needs `read`. A token of one project lists that one unless it names another.

        Raises:
            Fault: See `generate_upload_url`.
        """
        with refusals("list_builds"):
            caller.need("read")
            if project:
                caller.need_project(project)
            elif caller.projects is not None:
                if len(caller.projects) > 1:
                    names = ", ".join(sorted(caller.projects))
                    raise Fault(
                        "invalid_argument",
                        "project is missing, and this token is for several",
                        hint=f"name one of {names}",
                    )
                (project,) = caller.projects
            return await self._service.list_builds(
                project or None,
                cast("Any", state or None),
                page_size=page_size,
                page_token=page_token,
            )

    async def open_log(self, caller: Caller, build_id: str) -> None:
        """Pass if the caller may read the log of a build, which takes `read`; `next_lines` reads it.

        Raises:
            Fault: See `generate_upload_url`.
        """
        with refusals("get_build_logs"):
            caller.need("read")
            await self._seen(caller, build_id)

    async def next_lines(self, build_id: str, offset: int, *, follow: bool) -> list[LogLine]:
        """Return the next lines of a log from an offset on, at least one; none at its end.

        Args:
            build_id: Of the build, after `open_log`.
            offset: Of the first line that is wanted.
            follow: Wait for lines as long as the build has not ended.

        Raises:
            Fault: See `generate_upload_url`; `unavailable` when the port is closed.
        """
        with refusals("get_build_logs"):
            lines = self._service.next_lines(build_id, check_offset(offset), follow)
            coming = asyncio.ensure_future(lines)
            stops = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait((coming, stops), return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    raise Fault("unavailable", "the service stops", hint="ask again later")
                return coming.result()
            finally:
                for task in (coming, stops):
                    task.cancel()
                await asyncio.wait((coming, stops))

    async def cancel_build(self, caller: Caller, build_id: str) -> BuildInfo:
        """Cancel a build; needs `build`.

        Raises:
            Fault: See `generate_upload_url`.
        """
        with refusals("cancel_build"):
            caller.need("build")
            await self._seen(caller, build_id)
            return await self._service.cancel_build(build_id)

    async def projects(self, caller: Caller) -> ProjectInfos:
        """Return those of the token's projects that there are; needs `read`.

        Raises:
            Fault: See `generate_upload_url`.
        """
        with refusals("projects"):
            caller.need("read")
            return await self._service.projects_of(caller.projects)

    async def health(self) -> Health:
        """Return how the service is; asks for no token."""
        with refusals("health"):
            return await self._service.health()

    # ------------------------------------------------------------------------------- the tokens

    async def create_token(
        self, caller: Caller, description: str, *, projects: Iterable[str] | str, **more: Any
    ) -> MadeToken:
        """Make a token for projects of this one; needs `admin`. `more` is what `Access.create` takes besides.

        Raises:
            Fault: See `generate_upload_url`.
        """
        with refusals("create_token"):
            caller.need("admin")
            named = [projects] if isinstance(projects, str) else list(projects)
            for project in named:
                caller.need_project(project)
            return await self._access.create(description, projects=named, **more)

    async def list_tokens(self, caller: Caller) -> Listing[TokenInfo]:
        """Return the tokens that are for projects of this one only; needs `admin`.

        Raises:
            Fault: See `generate_upload_url`.
        """
        with refusals("list_tokens"):
            caller.need("admin")
            found = await self._access.list()
            return Listing((one for one in found if _is_within(one, caller)), found.noun)

    async def revoke_token(self, caller: Caller, token_id: str) -> None:
        """Make a token useless that is for projects of this one only; needs `admin`.

        Raises:
            Fault: See `generate_upload_url`.
        """
        with refusals("revoke_token"):
            caller.need("admin")
            found = await self._access.list()
            if not any(one.token_id == token_id and _is_within(one, caller) for one in found):
                raise Fault("not_found", f"token {token_id[:60]!r} was not found")
            await self._access.revoke(token_id)

    async def _seen(self, caller: Caller, build_id: str) -> BuildInfo:
        """Return a build that the caller may know of; there is no telling one that is hidden from one that is not."""
        unknown = Fault(
            "not_found",
            f"build {build_id[:60]!r} was not found",
            hint="list_builds shows what there is",
        )
        try:
            found = await self._service.get_build(build_id)
        except ServiceError as error:
            if error.code == "not_found":
                raise unknown from None
            raise
        if not caller.sees(found.project):
            raise unknown
        return found


def _is_within(token: TokenInfo, caller: Caller) -> bool:
    """Whether a token opens nothing that the caller's does not."""
    if caller.projects is None:
        return True
    return bool(token.projects) and caller.projects.issuperset(token.projects)


@contextmanager
def refusals(verb: str) -> Iterator[None]:
    """Turn what the service raises into what clients are told.

    Args:
        verb: What was asked, for the log.
    """
    try:
        yield
    except DepotlabError as error:
        raise _fault(error, verb) from error


def _fault(error: DepotlabError, verb: str) -> Fault:
    """What a client is told of an error. Names of stores and machines are ours, and go to the log only."""
    if isinstance(error, ContextRefused):
        return Fault("invalid_argument", error.message, hint=error.hint, reason=error.reason)
    if isinstance(error, ServiceError) and error.code in get_args(FaultCode):
        again_s = DOWN_RETRY_S if error.code in ("resource_exhausted", "unavailable") else None
        code = cast("FaultCode", error.code)
        return Fault(code, error.message, hint=error.hint, retry_after_s=again_s)
    if isinstance(error, UsageError):
        return Fault("invalid_argument", error.message, hint=error.hint)
    _LOG.warning("%s: %s", verb, error.message)
    if isinstance(error, StorageError | TelemetryError) and error.is_transient:
        return Fault(
            "unavailable",
            "a store of the service does not answer now",
            hint="ask again later",
            retry_after_s=DOWN_RETRY_S,
        )
    return Fault("internal", f"{verb} failed here; the log of the server has more")
