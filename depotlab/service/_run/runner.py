"""Runs one build at Depot: its context is looked at, its project found, a machine asked for, and its rows are written.

One client of Depot's API serves all builds. A machine is asked for only when the context is known to be good, and what
a build leaves on this computer is its log, its rows and nothing else.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from depotlab._depot import Api, Connect, NotFound
from depotlab._serving import Database
from depotlab._verbs import Reach, reach
from depotlab.errors import BuildCanceled, DepotlabError, StorageError, UsageError
from depotlab.service._boundary import (
    BuildContext,
    Canceled,
    EndUserError,
    Failed,
    GitContext,
    Journal,
    Line,
    Order,
    Outcome,
    Secrets,
    Storage,
    Succeeded,
    UploadedContext,
)
from depotlab.service._reasons.masking import Mask
from depotlab.service._reasons.rules import Rule
from depotlab.service._reasons.scrubbing import scrubbed
from depotlab.service._reasons.usererrors import (
    ContextStep,
    is_transient,
    last_words,
    user_error,
)
from depotlab.service._run.buildrequest import FETCH_STEP, UNPACK_STEP, Given, build_request
from depotlab.service._run.depotrun import Built, DepotRun
from depotlab.service._run.environment import env_file, env_hash
from depotlab.service._run.hearing import Hearing
from depotlab.service._run.projects import Projects, find_or_make
from depotlab.service._settings.depot import Depot
from depotlab.service._settings.limits import Limits
from depotlab.service._settings.registry import Registry, is_here

if TYPE_CHECKING:
    from depotlab.telemetry._writer import Writer

__all__ = ["GitTokens", "Runner"]

GitTokens = Callable[[GitContext], str | Awaitable[str]]
"""Returns a token that may read a repository, or an empty text for none; called in a thread unless it is a coroutine
function."""

# After the machine was had, which is waited for `Depot.machine_timeout_s` at most.
_DOWNLOAD_S = 900


@dataclass(frozen=True, slots=True)
class _Opened:
    """Depot as it was found."""

    reach: Reach
    connect: Connect
    api: Api


class Runner:
    """Runs builds at Depot. To be used on the I/O thread.

    Args:
        depot: Which Depot, and what its projects are like.
        registry: Where images go; None is the registry of Depot.
        storage: Where uploaded contexts are.
        database: The service's file, with the table `projects`.
        writer: Takes the rows of steps and logs; None for none.
        limits: How much a build may take.
        git_tokens: Asked for a token where a build of a repository that is not public brings none.
        error_rules: What customers are told, before our own rules.

    Attributes:
        projects: Which Depot project builds for which project.
    """

    def __init__(
        self,
        depot: Depot,
        registry: Registry | None,
        storage: Storage,
        *,
        database: Database,
        writer: Writer | None,
        limits: Limits,
        git_tokens: GitTokens | None = None,
        error_rules: Sequence[Rule] = (),
    ) -> None:
        self.projects = Projects(database)
        self._depot = depot
        self._registry = registry
        self._storage = storage
        self._writer = writer
        self._limits = limits
        self._git_tokens = git_tokens
        self._error_rules = tuple(error_rules)
        self._opening = asyncio.Lock()
        self._opened: _Opened | None = None
        self._closed = False

    async def open(self) -> None:
        """Find the token and the address of Depot, or start the one of this computer. Nothing is sent yet.

        The first build does it, too; a service that does it when it starts hears of a wrong setting at once.

        Raises:
            NoToken: There is none.
            UsageError: A setting cannot be used.
            EngineError: The Depot of this computer does not start.
        """
        await self._depot_api()

    async def close(self) -> None:
        """Let go of connections, and of the Depot of this computer. Idempotent."""
        self._closed = True
        await self.projects.close()
        async with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.api.close()
            await opened.reach.release()

    async def run(self, order: Order, secrets: Secrets, journal: Journal) -> Outcome:
        """Make one attempt, from checking the context to Depot having been told how it ended.

        Cancelling the task cancels the build on the machine and finishes it as canceled at Depot, then raises
        `CancelledError`. Any exception is a mistake of ours.
        """
        attempt = _Attempt(order, secrets, journal)
        journal.stage("context")
        try:
            attempt.git_token = await self._git_token(order.context, secrets)
        except Exception as error:  # noqa: BLE001 - `git_tokens` is the platform's code, and may raise anything
            told = f"{type(error).__name__}: {error}"
            return Failed(
                EndUserError("git_access", _UNREADABLE, scrubbed(told)), is_transient=True
            )
        try:
            built = await self._run(attempt)
        except BuildCanceled as error:
            if attempt.called_off:
                return Canceled(attempt.called_off)
            return self._failed(error, attempt)
        except DepotlabError as error:
            return self._failed(error, attempt)
        finally:
            attempt.close()
        return Succeeded(built.image, built.digest, attempt.cached_steps, attempt.total_steps)

    async def _run(self, attempt: _Attempt) -> Built:
        order, journal = attempt.order, attempt.journal
        if isinstance(order.context, UploadedContext):
            found = await self._storage.check(
                order.context.key,
                max_bytes=self._limits.max_context_bytes,
                max_unpacked_bytes=self._limits.max_unpacked_bytes,
            )
            attempt.context_digest = found.digest
        journal.stage("project")
        opened = await self._depot_api()
        make = partial(
            find_or_make,
            opened.api.projects,
            self._depot,
            order.project,
            organization_id=opened.reach.config.organization.value,
        )
        project_id = await self.projects.depot_project(order.project, order.workspace, make)
        try:
            return await self._build(attempt, opened, project_id)
        except NotFound as error:
            if error.method != "CreateBuild":
                raise
        # It was deleted at Depot since. What was kept of it is of no use, and so is a second try of ours.
        self.projects.forget(order.project, project_id)
        journal.stage("project")
        project_id = await self.projects.depot_project(order.project, order.workspace, make)
        return await self._build(attempt, opened, project_id)

    async def _build(self, attempt: _Attempt, opened: _Opened, project_id: str) -> Built:
        order, journal = attempt.order, attempt.journal
        journal.depot(project_id=project_id)
        given = await self._given(attempt, opened)
        attempt.mask = self._mask(attempt.secrets, given, opened)
        request = build_request(
            order, given, self._registry, timeout_s=self._limits.build_timeout_s
        )
        hearing = attempt.hear(self._writer)
        run = DepotRun(
            opened.connect,
            order,
            request,
            hearing,
            journal,
            machine_timeout_s=self._depot.machine_timeout_s,
            mask=attempt.mask,
        )
        try:
            return await run.run(project_id)
        finally:
            attempt.called_off = run.called_off

    async def _given(self, attempt: _Attempt, opened: _Opened) -> Given:
        context, env = attempt.order.context, attempt.secrets.env
        url = ""
        if isinstance(context, UploadedContext):
            expires_s = round(self._depot.machine_timeout_s) + _DOWNLOAD_S
            url = await self._storage.download_url(context.key, expires_s=expires_s)
            if is_here(url) and not is_here(opened.reach.config.base_url.value):
                raise StorageError(
                    "The machines of Depot cannot reach the store of contexts: its address is one of this computer.",
                    is_transient=False,
                    hint="use S3Storage(...), LocalStorage(build_url=...), or Depot(local=True)",
                )
        data = env_file(env) if env else b""
        named = env_hash(data, key=opened.reach.config.require_token()) if data else ""
        return Given(
            context_url=url,
            context_digest=attempt.context_digest,
            git_token=attempt.git_token,
            env=data,
            env_hash=named,
            logins=self._depot.auth(),
        )

    def _mask(self, secrets: Secrets, given: Given, opened: _Opened) -> Mask:
        words = [given.git_token, opened.reach.config.token.value, *secrets.env.values()]
        words += [login.password for login in given.logins.values()]
        if self._registry is not None:
            words.append(self._registry.password)
        return Mask(words, [given.context_url])

    async def _git_token(self, context: BuildContext, secrets: Secrets) -> str:
        if not isinstance(context, GitContext) or context.is_public:
            return ""
        ask = self._git_tokens
        if secrets.git_token or ask is None:
            return secrets.git_token
        if inspect.iscoroutinefunction(ask):
            token = await ask(context)
        else:
            found = await asyncio.to_thread(ask, context)
            token = await found if inspect.isawaitable(found) else found
        if not isinstance(token, str):
            raise TypeError(f"git_tokens returned {type(token).__name__}, not a text")
        return token

    async def _depot_api(self) -> _Opened:
        async with self._opening:
            if self._closed:
                raise UsageError("The service was closed.", hint="make a new one")
            if self._opened is None:
                depot = self._depot
                reached = await reach(
                    token=depot.token,
                    organization=depot.organization,
                    url=depot.url,
                    local=depot.local,
                )
                config = reached.config
                connect = config.connect()
                api = Api(connect, organization_id=config.organization.value)
                self._opened = _Opened(reached, connect, api)
            return self._opened

    def _failed(self, error: DepotlabError, attempt: _Attempt) -> Failed:
        mask = attempt.mask
        told = user_error(error, extra=self._error_rules, failed=attempt.failed)
        told = replace(told, message=mask(told.message), raw=mask(told.raw))
        if words := mask(last_words(error, told)).splitlines():
            now = datetime.now(UTC)
            attempt.journal.lines([Line("", "", 0, now, text) for text in words])
        return Failed(
            told,
            is_transient=is_transient(error),
            cached_steps=attempt.cached_steps,
            total_steps=attempt.total_steps,
        )


class _Attempt:
    """One try while it goes on."""

    def __init__(self, order: Order, secrets: Secrets, journal: Journal) -> None:
        self.order = order
        self.secrets = secrets
        self.journal = journal
        self.mask = Mask([secrets.git_token, *secrets.env.values()])
        self.git_token = ""
        self.context_digest = ""
        self.called_off = ""
        self._hearing: Hearing | None = None

    def hear(self, writer: Writer | None) -> Hearing:
        """Return what hears the progress; there is one at a time."""
        self.close()
        self._hearing = Hearing(self.order, self.journal, writer, self.mask)
        return self._hearing

    def close(self) -> None:
        """Remove the temporary file of a long log."""
        if self._hearing is not None:
            self._hearing.close()

    @property
    def failed(self) -> ContextStep:
        """Which of our own steps failed, as far as the daemon told."""
        if self._hearing is None:
            return ""
        told = self._hearing.told
        if told.has_failed(FETCH_STEP):
            return "fetch"
        return "unpack" if told.has_failed(UNPACK_STEP) else ""

    @property
    def cached_steps(self) -> int:
        return self._hearing.told.cached_steps if self._hearing is not None else 0

    @property
    def total_steps(self) -> int:
        return self._hearing.told.total_steps if self._hearing is not None else 0


_UNREADABLE = (
    "Access to the repository could not be had just now. Start the build again, and if that does not help, connect the "
    "repository again."
)
