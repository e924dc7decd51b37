"""What a recorded daemon asks its client for while a build is played: directories, archives, places for outputs."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial

from depotlab._recorded.canonical import local_name
from depotlab._recorded.playing import Playing
from depotlab._recorded.session import PlayedSession
from depotlab._recorded.tape import Call
from depotlab._rpc import RpcFailed, Status
from depotlab.errors import ConnectionLost

__all__ = ["call_back"]


async def call_back(playing: Playing, session: PlayedSession | None) -> bool:
    """Ask for what the daemon asked for when the build was recorded, at the same moments.

    Args:
        playing: The build; it is known which one it is.
        session: Of the client; None when it has none.

    Returns:
        False when an archive was sent that is another than the one that was recorded.

    Raises:
        RpcFailed: Our side refused what it did not refuse then.
    """
    build = playing.bound
    waiting = deque(build.session_calls)
    is_same = True
    try:
        while waiting and session is not None:
            await playing.until(waiting[0].began_ns, is_call=True)
            if playing.bound is not build:
                # It turned out to be another by its result: what came before that was asked for already.
                build = playing.bound
                told_ns = max(c.began_ns for c in build.calls if c.name == "Return")
                waiting = deque(c for c in build.session_calls if c.began_ns > told_ns)
                await playing.replayed(*(c for c in build.session_calls if c not in waiting))
                continue
            call = waiting.popleft()
            is_same = await _once(playing, session, call) and is_same
            await playing.replayed(call)
    except ConnectionLost:
        return is_same  # the client has gone, and knows why
    finally:
        await playing.replayed(*build.session_calls)
    return is_same


async def _once(playing: Playing, session: PlayedSession, call: Call) -> bool:
    try:
        return await session.replay(call, partial(_renamed, playing, dict(playing.bound.locals)))
    except RpcFailed as failure:
        if call.code:
            return True
        raise RpcFailed(Status.UNKNOWN, failure.message) from failure


def _renamed(playing: Playing, names: Mapping[str, str], name: str, value: str) -> str:
    """Return the value of a header here: directories, archives and stores have other names."""
    if name != "dir-name":
        return playing.headers.get(value, value)
    return playing.locals.get(local_name(value), names.get(value, value))
