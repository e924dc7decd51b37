"""A receiver that does next to nothing with what it gets: how fast the daemon gives. No client can be faster.

Of a directory everything is read and nothing is written. Of an archive only the beginning goes through our code: then
the windows are as large as HTTP/2 allows, so that nobody has to answer, and bytes are read from the socket and thrown
away until as many have come as the content has. That build is over then, and fails.
"""

from __future__ import annotations

import time

from depotlab._rpc import http2client, sockets, streams
from depotlab._transfer import treewriter
from depotlab.errors import DepotlabError

__all__ = ["Blind", "SeenEnough"]

_LARGEST_WINDOW_BYTES = (1 << 31) - 1
_READ_BYTES = 1 << 20
_A_LOT_BYTES = 30_000  # in one read: the archive has begun


class SeenEnough(DepotlabError):
    """All bytes of an archive have come."""


class Blind:
    """Makes this process such a receiver.

    Attributes:
        n_bytes: How many bytes the next archive has; 0 for none.
        ended_s: When they had come, as `time.perf_counter`.
    """

    def __init__(self) -> None:
        self.n_bytes = 0
        self.ended_s = 0.0
        self._read = sockets.SocketTransport.read
        http2client.WINDOW_BYTES = _LARGEST_WINDOW_BYTES
        usual = streams.Limits()
        defaults = [getattr(usual, name) for name in streams.Limits.__dataclass_fields__]
        defaults[list(streams.Limits.__dataclass_fields__).index("window_bytes")] = (
            _LARGEST_WINDOW_BYTES
        )
        streams.Limits.__init__.__defaults__ = tuple(defaults)  # type: ignore[misc,attr-defined]
        treewriter.TreeWriter._fill = lambda writer, content: None  # type: ignore[method-assign]
        blind = self

        async def read(transport: sockets.SocketTransport) -> bytes | None:
            chunk = await blind._read(transport)
            if blind.n_bytes and chunk is not None and len(chunk) > _A_LOT_BYTES:
                blind._swallow(transport, len(chunk))
            return chunk

        sockets.SocketTransport.read = read  # type: ignore[method-assign]

    def _swallow(self, transport: sockets.SocketTransport, n_read: int) -> None:
        transport._loop.remove_reader(transport._descriptor)
        transport._reading = False
        transport._socket.setblocking(True)
        buffer = bytearray(_READ_BYTES)
        n_bytes, self.n_bytes = self.n_bytes, 0
        while n_read < n_bytes:
            n_read += transport._socket.recv_into(buffer)
        self.ended_s = time.perf_counter()
        transport._socket.setblocking(False)
        raise SeenEnough("all bytes have come")
