"""A channel to a recorded daemon: what `Channel` is to a real one. Taps are told of its calls too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from depotlab._recorded.player import Player
from depotlab._recorded.process import PlayedProcess
from depotlab._rpc import (
    Channel,
    Endpoint,
    OuterCall,
    RpcFailed,
    Status,
    Stream,
    Telling,
    begin_telling,
)
from depotlab.errors import DepotlabError, NotRecorded

__all__ = ["PlayedAnswers", "PlayedChannel"]

Metadata = Sequence[tuple[str, str]]
_BUILD_HEADER = "buildkit-controlapi-buildid"


class PlayedAnswers(Stream):
    """The answers to one request, as they come from a recording."""

    def __init__(self, answers: AsyncIterator[bytes], telling: Telling | None) -> None:
        self._answers = answers
        self._telling = telling
        self._reading: asyncio.Task[bytes | None] | None = None

    async def read(self) -> bytes | None:
        """See `Stream`."""
        try:
            message = await anext(self._answers, None)
        except BaseException as error:
            if self._telling is not None:
                self._telling.broke(error)
            raise
        if self._telling is not None:
            if message is None:
                self._telling.ended()
            else:
                self._telling.message("daemon", message)
        return message

    async def write(self, message: bytes) -> None:
        """Never called: there was one request."""
        raise RuntimeError("this call has one request")

    async def close_send(self) -> None:
        """Nothing is left to say."""

    async def initial_metadata(self) -> dict[str, str]:
        """Return nothing: the times of a recording are of our clock when they are played."""
        return {}

    def cancel(self) -> None:
        """See `Stream`."""
        if self._telling is not None:
            self._telling.broke(asyncio.CancelledError())


class PlayedChannel(Channel):
    """Answers from a recording.

    Args:
        endpoint: What it is called.
        player: The recording.
    """

    def __init__(self, endpoint: Endpoint, player: Player) -> None:
        self.endpoint = endpoint
        self._player = player

    async def ready(self, *, timeout_s: float = 10.0) -> None:
        """Nothing has to be connected."""

    async def diagnose(self, *, timeout_s: float = 3.0) -> DepotlabError:
        """See `Channel`; never needed."""
        return NotRecorded(f"{self.endpoint.address} has ended.")

    async def unary(
        self,
        method: str,
        request: bytes,
        *,
        metadata: Metadata = (),
        timeout_s: float | None = None,
    ) -> bytes:
        """See `Channel`."""
        telling = self._tell(method, metadata, request)
        try:
            answer = await self._player.unary(method, request, metadata)
        except BaseException as error:
            if telling is not None:
                telling.broke(error)
            raise
        if telling is not None:
            telling.message("daemon", answer)
            telling.ended()
        return answer

    def open_unary_stream(
        self, method: str, request: bytes, *, metadata: Metadata = ()
    ) -> PlayedAnswers:
        """See `Channel`."""
        telling = self._tell(method, metadata, request)
        return PlayedAnswers(self._player.many(method, request), telling)

    async def ask(self, method: str, request: bytes) -> PlayedAnswers:
        """See `Channel`."""
        return self.open_unary_stream(method, request)

    def open_stream(self, method: str, *, metadata: Metadata = ()) -> PlayedProcess:
        """See `Channel`."""
        telling = self._tell(method, metadata)
        return PlayedProcess(self._player, dict(metadata).get(_BUILD_HEADER, ""), telling)

    async def open_bytes(self, method: str, *, metadata: Metadata = ()) -> OuterCall:
        """Never called: sessions of a recording have connections of their own, see `Endpoint.session_dialer`."""
        raise RpcFailed(Status.UNIMPLEMENTED, f"a recording does not serve {method}")

    async def close(self) -> None:
        """End all sessions."""
        await self._player.close()

    def _tell(
        self, method: str, metadata: Metadata, request: bytes | None = None
    ) -> Telling | None:
        telling = begin_telling("client", method, metadata, endpoint=self.endpoint.address)
        if telling is not None and request is not None:
            telling.message("client", request)
        return telling
