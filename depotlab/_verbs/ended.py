"""Tells those who listen that a build has ended, well or badly: `telemetry.recording` does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from depotlab._verbs.request import BuildRequest
from depotlab.progress import Fold
from depotlab.telemetry import EndedBuild, is_anybody_listening, tell_ended

if TYPE_CHECKING:
    from depotlab._verbs.builder import Answer

__all__ = ["told"]


async def told(
    work: Awaitable[Answer], request: BuildRequest, fold: Fold, hide: Callable[[], Sequence[str]]
) -> Answer:
    """Wait for a build, and tell of its end those who listen.

    Args:
        work: The build.
        request: What was asked for.
        fold: Its progress, with the end in it.
        hide: Says which texts were given as secrets; asked only when somebody listens.
    """
    try:
        answer = await work
    except BaseException:
        if is_anybody_listening():
            tell_ended(EndedBuild(fold, hide=hide()))
        raise
    if is_anybody_listening():
        names = [name for output in request.outputs for name in output.names]
        tell_ended(
            EndedBuild(
                fold,
                ref=answer.ref,
                digest=answer.response.get("containerimage.digest", ""),
                names=tuple(dict.fromkeys([*names, *request.load_names])),
                hide=hide(),
            )
        )
    return answer
