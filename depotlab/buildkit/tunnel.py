"""The byte stream that a session rides on: in it, the daemon calls us.

Most daemons take it inside the call `Control.Session`, which gets a connection of its own so that files do not share
one with the rest. A Docker Engine wants the bytes as they are, on a connection that it is asked for separately.
Source: moby/buildkit `session/grpchijack`, `session/manager.go`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from depotlab._rpc import Channel, OuterCall, RpcFailed, Status, Transport
from depotlab.buildkit.control import CONTROL
from depotlab.errors import ConnectionLost

__all__ = ["Tunnel", "open_session"]


async def open_session(channel: Channel, metadata: Sequence[tuple[str, str]]) -> Tunnel:
    """Begin a session. With a connection in waiting this takes no round trip.

    Args:
        channel: To the daemon.
        metadata: Of the session; keys may repeat.

    Raises:
        LinkError: A connection was needed and could not be made.
    """
    endpoint = channel.endpoint
    if endpoint.session_dialer is not None:
        stream: OuterCall | Transport = await endpoint.session_dialer(metadata)
    else:
        stream = await channel.open_bytes(CONTROL + "Session", metadata=metadata)
    return Tunnel(stream, address=endpoint.address)


class Tunnel:
    """A `ByteStream` for the inner server. Made by `open_session`.

    Attributes:
        heard_at_s: `time.monotonic()` of the last bytes from the daemon. It asks for our health every
            five seconds, so a long silence means that the link is dead.
        sent_bytes: To the daemon so far.
        received_bytes: From the daemon so far.
    """

    def __init__(self, stream: OuterCall | Transport, *, address: str) -> None:
        self._stream = stream
        self._address = address
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
        return isinstance(self._stream, OuterCall) and self._stream.is_link_full()

    async def close(self) -> None:
        """End the session."""
        await self._stream.close()

    def _given_up(self, failure: RpcFailed) -> ConnectionLost:
        address = self._address
        return ConnectionLost(
            f"The daemon at {address} gave up the session of the build: {failure.message}.",
            address=address,
            hint="its log says why; finished steps are in its cache, so build again",
        )
