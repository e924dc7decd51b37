"""A call of ours with one request and many small answers, on a connection of its own: how progress arrives.

grpcio hands out answers one by one, each through its completion queue, a thread of its own and two rounds of the
event loop. A step that prints much makes thousands of them in a second. Here all that one read of the socket brought
is handed out together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from depotlab._rpc.framing import Inbox, Tally
from depotlab._rpc.outer import OuterConnection
from depotlab.errors import ProtocolError

__all__ = ["OuterAnswers"]

# A step that writes its lines one by one makes a message of each, if whoever reads is quick: the daemon then takes
# three times as long, and the build waits for it. After so many small messages, each hard on the one before, we
# look less often, and what gathers meanwhile comes together. A view is drawn five times in a second: nobody sees it.
_SMALL_BYTES = 4096
_HARD_ON_S = 0.01
_MANY = 32
_PAUSE_S = 0.02


class OuterAnswers:
    """The answers to a request that was sent on a connection.

    Args:
        connection: On which the call was opened.
        release: Called with the connection when the call is over.
        limit_bytes: The longest message that is taken.
    """

    def __init__(
        self,
        connection: OuterConnection,
        release: Callable[[OuterConnection], Awaitable[None]],
        *,
        limit_bytes: int,
    ) -> None:
        self._connection = connection
        self._release = release
        self._inbox = Inbox(Tally(), limit_bytes=limit_bytes)
        self._closed = False
        self._n_small = 0  # messages that came hard on each other

    async def read_many(self) -> list[bytes]:
        """Return the next messages, at least one; an empty list is the good end of the call.

        Raises:
            RpcFailed: The peer ended the call with a status other than OK, or reset it.
            ConnectionLost: The connection broke.
            ProtocolError: The peer broke a rule of HTTP/2 or gRPC.
        """
        inbox = self._inbox
        if self._n_small >= _MANY:
            await asyncio.sleep(_PAUSE_S)
        began_s = time.monotonic()
        while pieces := await self._connection.receive():
            data = b"".join(pieces)
            inbox.feed(data, 0, len(data))
            if inbox.fault is not None:
                raise ProtocolError(f"The daemon sent what cannot be read: {inbox.fault.message}.")
            if messages := inbox.take_all():
                waited_s = time.monotonic() - began_s
                is_small = sum(map(len, messages)) < _SMALL_BYTES * len(messages)
                self._n_small = (
                    self._n_small + len(messages) if is_small and waited_s < _HARD_ON_S else 0
                )
                return messages
        inbox.end()
        if inbox.fault is not None:
            raise ProtocolError("The daemon ended an answer inside a message.")
        return []

    async def header(self, name: str) -> str:
        """Return a header of the answer, empty if there is none. Call it after the first `read_many`."""
        values = [value for key, value in self._connection.headers if key == name.encode()]
        return values[-1].decode("ascii", "replace") if values else ""

    async def close(self) -> None:
        """Cancel the call if it still runs. Can be called twice."""
        if not self._closed:
            self._closed = True
            try:
                await self._connection.leave_call()
            except BaseException:  # we are interrupted once more
                await self._connection.close()
                raise
            await self._release(self._connection)
