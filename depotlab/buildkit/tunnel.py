"""The byte stream inside `Control.Session`: `BytesMessage` in, `BytesMessage` out.

The message has one field, so it is framed by hand: tag 0x0a, length, bytes. Chunk boundaries carry no
meaning. An empty message must never be sent: the daemon's decoder leaves its old buffer in place for an absent
field, and the stale bytes end the session. Source: moby/buildkit `session/grpchijack`.
"""

from __future__ import annotations

import time

from depotlab._rpc import RpcFailed, Status, Stream
from depotlab.errors import ProtocolError

__all__ = ["Tunnel"]


class Tunnel:
    """A `ByteStream` for the inner server over one `Control.Session` call.

    Attributes:
        heard_at_s: `time.monotonic()` of the last bytes from the daemon. It asks for our health every
            five seconds, so a long silence means that the link is dead.
        sent_bytes: To the daemon so far.
        received_bytes: From the daemon so far.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.heard_at_s = time.monotonic()
        self.sent_bytes = 0
        self.received_bytes = 0

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the daemon has closed or given up the session."""
        while True:
            try:
                message = await self._stream.read()
            except RpcFailed as failure:
                if failure.status in (Status.UNAVAILABLE, Status.CANCELLED):
                    return None
                raise
            self.heard_at_s = time.monotonic()
            if message is None:
                return None
            self.received_bytes += len(message)
            if message:
                return _unwrap(message)

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces as one message; returns when the transport has taken it."""
        length = sum(len(piece) for piece in pieces)
        if length:
            self.sent_bytes += length
            await self._stream.write(b"".join((b"\n" + _varint(length), *pieces)))

    async def close(self) -> None:
        """Half-close, which is how a session says goodbye, then let go of the call."""
        await self._stream.close_send()
        self._stream.cancel()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _unwrap(message: bytes) -> bytes:
    if message[0] != 0x0A:
        raise ProtocolError("The daemon sent something else than bytes on the session stream.")
    length, shift, at = 0, 0, 1
    while True:
        byte = message[at]
        length |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            break
        shift += 7
    if at + length != len(message):
        raise ProtocolError("The daemon sent a message of unknown fields on the session stream.")
    return message[at:]
