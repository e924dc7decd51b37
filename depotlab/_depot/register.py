"""Registers builds, and continues those that somebody else has registered.

A registration must not be lost when its caller is interrupted: one that was sent is waited for even then, and the
build finished as canceled. An answer that cannot be used finishes the build with an error, if there is enough in it.
"""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Sequence
from typing import Final

from depotlab._depot import methods
from depotlab._depot.build import (
    REGISTRY_HOST,
    REGISTRY_USER,
    DepotBuild,
    ImageTag,
    RegistryUse,
    through_cancellation,
)
from depotlab._depot.connect import Connect
from depotlab._depot.errors import BadReply
from depotlab._depot.options import BuildOptions, DaggerEngine
from depotlab._depot.outcome import CANCELED, Outcome
from depotlab._depot.stages import Report, Stage
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._session import Credentials
from depotlab.errors import UsageError

__all__ = ["register", "resume"]

_ORPHAN_S: Final = 3.0


async def register(
    connect: Connect,
    options: BuildOptions | Sequence[BuildOptions],
    project_id: str = "",
    engine: DaggerEngine | None = None,
    *,
    report: Report | None = None,
) -> DepotBuild:
    """Register a build. Who has it finishes it, best with `async with`.

    If the caller is cancelled while the answer is on its way, the build is finished as canceled before this returns.

    Args:
        connect: With the token of a user, an organization or the project. Stays open.
        options: What is built, one for each target.
        project_id: Where; empty lets the server choose.
        engine: What runs on the machines; None is BuildKit.
        report: Is told each stage of the build and of its machines.

    Raises:
        NotFound: There is no such project.
        DepotError: The server refused, or its answer cannot be used.
    """
    targets = (options,) if isinstance(options, BuildOptions) else tuple(options)
    if not targets or not all(isinstance(one, BuildOptions) for one in targets):
        raise UsageError(
            "register(options=...) needs BuildOptions for each target.",
            hint="for example register(connect, BuildOptions(tags=('me/app',)))",
        )
    if not isinstance(project_id, str):
        raise UsageError(
            f"project_id={project_id!r} must be a text.", hint="leave it out to let Depot choose"
        )
    request = cli.CreateBuildRequest(options=[one.message() for one in targets])
    if project_id:
        request.project_id = project_id
    if engine is not None:
        request.required_engine.CopyFrom(engine.message())
    asking = asyncio.create_task(connect.unary(methods.CREATE_BUILD, request))
    try:
        await asyncio.wait([asking])
    except asyncio.CancelledError:
        await through_cancellation(asyncio.create_task(_abandon(connect, asking)))
        raise
    reply = await asking
    try:
        build = _read(connect, reply, engine, report)
    except BadReply as error:
        await _finish_unread(connect, reply, Outcome.of(error))
        raise
    build.report(Stage("registered", detail=build.url or build.id))
    return build


async def resume(
    connect: Connect,
    build_id: str,
    token: str,
    *,
    engine: DaggerEngine | None = None,
    report: Report | None = None,
) -> DepotBuild:
    """Continue a build that somebody else has registered, as `DEPOT_BUILD_ID` asks for. We finish it, too.

    Args:
        connect: Says where the API is; its token is not used. Stays open.
        build_id: Of the build.
        token: The build's own, as whoever registered it got it; normally in DEPOT_TOKEN.
        engine: What it was registered for; None is BuildKit.
        report: Is told each stage of the build and of its machines.

    Raises:
        NotFound: There is no such build, or the token is not its own.
        DepotError: The server refused, or its answer cannot be used.
    """
    if not isinstance(build_id, str) or not build_id.strip():
        raise UsageError(
            f"build_id={build_id!r} must be a text that is not empty.", hint="pass DEPOT_BUILD_ID"
        )
    if not token:
        raise UsageError(
            f"Build {build_id} can only be continued with its own token.",
            hint="set DEPOT_TOKEN to the token that came with the id",
        )
    request = cli.GetBuildRequest(build_id=build_id)
    reply = await connect.with_token(token).unary(methods.CONTINUE_BUILD, request)
    build = DepotBuild(
        connect,
        token,
        build_id=reply.build_id or build_id,
        project_id=reply.project_id,
        url=reply.build_url,
        credentials={REGISTRY_HOST: Credentials(REGISTRY_USER, token)},
        engine=engine,
        is_new=False,
        report=report,
    )
    build.report(Stage("registered", detail=build.url or build.id))
    return build


def _read(
    connect: Connect,
    reply: cli.CreateBuildResponse,
    engine: DaggerEngine | None,
    report: Report | None,
) -> DepotBuild:
    for name in ("build_id", "build_token"):
        if not getattr(reply, name):
            raise _bad(f"{name} is empty")
    credentials = {}
    for index, item in enumerate(reply.additional_credentials):
        name = f"additional_credentials[{index}]"
        if not item.host:
            raise _bad(f"{name}.host is empty")
        credentials[item.host] = _credentials(item.token, f"{name}.token")
    return DepotBuild(
        connect,
        reply.build_token,
        build_id=reply.build_id,
        project_id=reply.project_id,
        url=reply.build_url,
        registry=RegistryUse(
            load_using_registry=reply.registry.load_using_registry,
            can_use_local_registry=reply.registry.can_use_local_registry,
            proxy_image=reply.registry.proxy_image,
        ),
        additional_tags=tuple(ImageTag(t.tag, t.push) for t in reply.additional_tags if t.tag),
        credentials=credentials,
        engine=engine,
        report=report,
    )


def _credentials(token: str, name: str) -> Credentials:
    """Read base64 of `user:password`."""
    try:
        user, colon, password = b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        user = colon = password = ""
    if not (user and colon and password):
        raise _bad(f"{name} is not base64 of user:password")
    return Credentials(user, password)


async def _abandon(connect: Connect, asking: asyncio.Task[cli.CreateBuildResponse]) -> None:
    """Finish a build as canceled whose registration nobody waits for any more, if it comes to be."""
    await asyncio.wait([asking], timeout=_ORPHAN_S)
    if not asking.done():
        asking.cancel()  # the server gives it up when no health comes
        await asyncio.wait([asking])
    if asking.cancelled() or asking.exception() is not None:
        return
    await _finish_unread(connect, asking.result(), CANCELED)


async def _finish_unread(
    connect: Connect, reply: cli.CreateBuildResponse, outcome: Outcome
) -> None:
    if reply.build_id and reply.build_token:
        build = DepotBuild(connect, reply.build_token, build_id=reply.build_id)
        await build.finish(outcome)


def _bad(what: str) -> BadReply:
    return BadReply(
        f"CreateBuild: the answer cannot be used: {what}.",
        hint="report it to who runs the server",
        code="internal",
        method="CreateBuild",
    )
