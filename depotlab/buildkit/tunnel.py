"""The byte stream that a session rides on: in it, the daemon calls us.

Most daemons take it inside the call `Control.Session`, which gets a connection of its own so that files do not share
one with the rest. A Docker Engine wants the bytes as they are, on a connection that it is asked for separately.
Source: moby/buildkit `session/grpchijack`, `session/manager.go`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from depotlab._rpc import (
    Channel,
    OuterCall,
    RpcFailed,
    Status,
    TappedBytes,
    Transport,
    begin_telling,
)
from depotlab.buildkit.control import CONTROL
from depotlab.errors import ConnectionLost

__all__ = ["Tunnel", "open_session"]

_SESSION_ID = "x-docker-expose-session-uuid"


async def open_session(channel: Channel, metadata: Sequence[tuple[str, str]]) -> Tunnel:
    """Begin a session. With a connection in waiting this takes no round trip.

    Args:
        channel: To the daemon.
        metadata: Of the session; keys may repeat.

    Raises:
        LinkError: A connection was needed and could not be made.
    """
    endpoint = channel.endpoint
    session_id = dict(metadata).get(_SESSION_ID, "")
    if endpoint.session_dialer is None:
        stream = await channel.open_bytes(CONTROL + "Session", metadata=metadata)
        return Tunnel(stream, address=endpoint.address, session_id=session_id)
    # It is no call there, and stands for the same one.
    telling = begin_telling("client", CONTROL + "Session", metadata, endpoint=endpoint.address)
    try:
        bare = await endpoint.session_dialer(metadata)
    except BaseException as error:
        if telling is not None:
            telling.broke(error)
        raise
    told = bare if telling is None else TappedBytes(bare, telling)
    return Tunnel(told, address=endpoint.address, session_id=session_id)


class Tunnel:
    """A `ByteStream` for the inner server. Made by `open_session`.

    Attributes:
        address: Of the daemon.
        session_id: Of the session.
        heard_at_s: `time.monotonic()` of the last bytes from the daemon. It asks for our health every
            five seconds, so a long silence means that the link is dead.
        sent_bytes: To the daemon so far.
        received_bytes: From the daemon so far.
    """

    def __init__(
        self, stream: OuterCall | TappedBytes | Transport, *, address: str, session_id: str = ""
    ) -> None:
        self._stream = stream
        self.address = address
        self.session_id = session_id
        self.heard_at_s = time.monotonic()
        self.sent_bytes = 0
        self.received_bytes = 0

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the daemon has closed the session.

        Raises:
            ConnectionLost: The connection broke, or the daemon gave the session up.
            RpcFailed: It refused the session.
        """
        try:
            data = await self._stream.read()
        except RpcFailed as failure:
            if failure.status in (Status.UNAVAILABLE, Status.CANCELLED):
                raise self._given_up(failure) from failure
            raise
        if data is not None:
            self.heard_at_s = time.monotonic()
            self.received_bytes += len(data)
        return data

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces, at least one byte in all; returns when the connection has taken most of them.

        Raises:
            ConnectionLost: As `read`.
        """
        await self._stream.write(pieces)
        self.sent_bytes += sum(map(len, pieces))

    def is_link_full(self) -> bool:
        """Whether the network holds up what was sent; False when that is not known."""
        stream = self._stream
        return isinstance(stream, OuterCall | TappedBytes) and stream.is_link_full()

    async def close(self) -> None:
        """End the session."""
        await self._stream.close()

    def _given_up(self, failure: RpcFailed) -> ConnectionLost:
        address = self.address
        return ConnectionLost(
            f"The daemon at {address} gave up the session of the build: {failure.message}.",
            address=address,
            hint="its log says why; finished steps are in its cache, so build again",
        )
