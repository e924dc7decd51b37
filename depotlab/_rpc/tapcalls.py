"""Calls that taps are told of: the same ways to send and to receive, and each message is told on its way.

What is sent is told before it goes, so that no answer to it can be told first. What arrives is told when our side takes
it: what nobody takes any more is not told.
"""

from __future__ import annotations

from collections.abc import Mapping

from depotlab._rpc.call import Call, Status
from depotlab._rpc.outer import OuterCall
from depotlab._rpc.outeranswers import OuterAnswers
from depotlab._rpc.tap import Telling
from depotlab._rpc.transport import Transport

__all__ = ["TappedAnswers", "TappedBytes", "TappedCall"]


class TappedCall:
    """A `Call` of the daemon. Its end is told by the server that made it."""

    def __init__(self, call: Call, telling: Telling) -> None:
        self.method = call.method
        self.metadata: Mapping[str, list[str]] = call.metadata
        self._call = call
        self._telling = telling

    async def receive(self) -> bytes | None:
        """See `Call`."""
        message = await self._call.receive()
        if message is not None:
            self._telling.message("daemon", message)
        return message

    async def receive_many(self) -> list[bytes]:
        """See `Call`."""
        messages = await self._call.receive_many()
        for message in messages:
            self._telling.message("daemon", message)
        return messages

    def keep_pieces(self) -> bool:
        """Return False: whole messages can be told, so they have to be made."""
        return False

    async def receive_pieces(self) -> list[memoryview]:
        """Never called, see `keep_pieces`."""
        raise RuntimeError("a call that is told of has whole messages only")

    def queue(self, *messages: bytes | bytearray | memoryview) -> None:
        """See `Call`."""
        for message in messages:
            self._telling.message("client", message)
        self._call.queue(*messages)

    def queue_pieces(self, pieces: list[bytes | memoryview], *, length: int) -> None:
        """See `Call`."""
        self._telling.pieces("client", pieces, length)
        self._call.queue_pieces(pieces, length=length)

    def use_gzip(self) -> bool:
        """See `Call`."""
        return self._call.use_gzip()

    def is_link_full(self) -> bool:
        """See `Call`."""
        return self._call.is_link_full()

    def queue_gzip(self, message: bytes) -> None:
        """See `Call`."""
        self._telling.gzip("client", message)
        self._call.queue_gzip(message)

    async def drain(self) -> None:
        """See `Call`."""
        await self._call.drain()

    async def send(self, message: bytes | bytearray | memoryview) -> None:
        """See `Call`."""
        self._telling.message("client", message)
        await self._call.send(message)


class TappedAnswers:
    """`OuterAnswers` that are told of."""

    def __init__(self, answers: OuterAnswers, telling: Telling) -> None:
        self._answers = answers
        self._telling = telling

    async def read_many(self) -> list[bytes]:
        """See `OuterAnswers`."""
        try:
            messages = await self._answers.read_many()
        except Exception as error:
            self._telling.broke(error)
            raise
        for message in messages:
            self._telling.message("daemon", message)
        if not messages:
            self._telling.ended()
        return messages

    async def header(self, name: str) -> str:
        """See `OuterAnswers`."""
        return await self._answers.header(name)

    async def close(self) -> None:
        """See `OuterAnswers`."""
        self._telling.ended(Status.CANCELLED, "given up by this side")
        await self._answers.close()


class TappedBytes:
    """The bytes of a session that are told of, as sizes only: what they are is told call by call."""

    def __init__(self, stream: OuterCall | Transport, telling: Telling) -> None:
        self._stream = stream
        self._telling = telling

    async def read(self) -> bytes | None:
        """See `OuterCall`."""
        try:
            data = await self._stream.read()
        except Exception as error:
            self._telling.broke(error)
            raise
        if data is None:
            self._telling.ended()
        else:
            self._telling.size("daemon", len(data))
        return data

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """See `OuterCall`."""
        self._telling.size("client", sum(map(len, pieces)))
        await self._stream.write(pieces)

    def is_link_full(self) -> bool:
        """See `OuterCall`."""
        return isinstance(self._stream, OuterCall) and self._stream.is_link_full()

    async def close(self) -> None:
        """See `OuterCall`. Closing our half is how a session ends well."""
        self._telling.ended()
        await self._stream.close()
