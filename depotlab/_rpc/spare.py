"""One connection in waiting, so that a call which has one for itself costs no dialling.

On a link of 80 ms a new connection costs a round trip, with TLS two or three, and then some more until TCP and the
daemon allow enough bytes on their way; one that has carried a session before costs none of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from depotlab._rpc.endpoint import Endpoint
from depotlab._rpc.framing import PREFIX
from depotlab._rpc.outer import OuterCall, OuterConnection
from depotlab._rpc.outeranswers import OuterAnswers
from depotlab.errors import DepotlabError

__all__ = ["Spare"]


class Spare:
    """Opens calls on connections of their own, and keeps one of those open for the next."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._waiting: asyncio.Future[OuterConnection] | None = None
        self._closed = False

    def fill(self) -> None:
        """Begin to dial in the background, if nothing waits. What goes wrong is told when it is needed."""
        if self._waiting is None and not self._closed:
            self._waiting = asyncio.create_task(
                OuterConnection.connect(self._endpoint), name="depotlab dialling"
            )
            self._waiting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def open(self, method: str, metadata: Iterable[tuple[str, str]]) -> OuterCall:
        """Begin a call on the connection in waiting if it is still alive, else on a new one.

        Raises:
            LinkError: A connection could not be made, or broke at once.
        """
        return OuterCall(await self._begin(method, metadata), self._release)

    async def ask(
        self,
        method: str,
        request: bytes,
        metadata: Iterable[tuple[str, str]],
        *,
        limit_bytes: int,
    ) -> OuterAnswers:
        """Begin a call with one short request and many answers; the rest is as in `open`.

        Args:
            limit_bytes: The longest answer that is taken.
        """
        message = PREFIX.pack(0, len(request)) + request
        connection = await self._begin(method, metadata, message)
        return OuterAnswers(connection, self._release, limit_bytes=limit_bytes)

    async def close(self) -> None:
        """Let go of what waits. Calls that run keep theirs, and let go of it at their end."""
        self._closed = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await _discard(waiting)

    async def _begin(
        self, method: str, metadata: Iterable[tuple[str, str]], request: bytes | None = None
    ) -> OuterConnection:
        connection = await self._take()
        try:
            await connection.open(method, metadata, request)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _take(self) -> OuterConnection:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            is_old = waiting.done()
            try:
                connection = await asyncio.shield(waiting)
            except DepotlabError:
                if not is_old:
                    raise
            except asyncio.CancelledError:
                await self._keep(waiting)
                raise
            else:
                if connection.is_usable:
                    return connection
                await connection.close()
        return await OuterConnection.connect(self._endpoint)

    async def _release(self, connection: OuterConnection) -> None:
        if not connection.is_usable:
            await connection.close()
            self.fill()
            return
        kept: asyncio.Future[OuterConnection] = asyncio.get_running_loop().create_future()
        kept.set_result(connection)
        await self._keep(kept)

    async def _keep(self, waiting: asyncio.Future[OuterConnection]) -> None:
        """Let a connection wait, unless another one does."""
        if self._waiting is None and not self._closed:
            self._waiting = waiting
        else:
            await _discard(waiting)


async def _discard(waiting: asyncio.Future[OuterConnection]) -> None:
    waiting.cancel()
    closing = asyncio.ensure_future(_close(waiting))
    await asyncio.shield(closing)  # who discards it may be interrupted once more


async def _close(waiting: asyncio.Future[OuterConnection]) -> None:
    await asyncio.wait([waiting])
    if not waiting.cancelled() and waiting.exception() is None:
        await waiting.result().close()
