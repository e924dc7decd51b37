"""The daemon's side of the content service, in memory: it asks as containerd's client does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

from depotlab._oci import Layout
from depotlab._proto import content_pb2
from depotlab._rpc import RpcFault
from depotlab._session.content import ContentStores
from depotlab.errors import DepotlabError
from tests.support.calls import MemoryCall

__all__ = ["ContentPeer", "WriteStream"]

CONTENT = "/containerd.services.content.v1.Content/"
STAT, WRITE, COMMIT = (
    content_pb2.WriteAction.STAT,
    content_pb2.WriteAction.WRITE,
    content_pb2.WriteAction.COMMIT,
)


class ContentPeer:
    """Asks for blobs of the stores of a session.

    Attributes:
        problems: What our side reported.
    """

    def __init__(self, stores: Mapping[str, Layout], *, store_id: str | None = None) -> None:
        self.problems: list[DepotlabError] = []
        self.service = ContentStores(stores, report=self.problems.append)
        self.store_id = store_id if store_id is not None else next(iter(stores))
        self.metadata = {"buildkit-attachable-store-id": [self.store_id]}

    def call(self, **options: int) -> MemoryCall:
        return MemoryCall(self.metadata, **options)

    async def ask(self, method: str, request: bytes) -> list[bytes]:
        """Make a call with one request; return all answers, or raise its fault."""
        call = self.call(high_water_bytes=1 << 30)
        call.deliver(request)
        call.half_close()
        fault = await call.serve(self.service.methods[CONTENT + method])
        if fault is not None:
            raise fault
        answers = []
        while (answer := await call.take()) is not None:
            answers.append(answer)
        return answers

    async def info(self, digest: str) -> content_pb2.Info:
        request = content_pb2.InfoRequest(digest=digest).SerializeToString()
        (answer,) = await self.ask("Info", request)
        return content_pb2.InfoResponse.FromString(answer).info

    async def read(self, digest: str, offset: int = 0, size: int = 0) -> bytes:
        request = content_pb2.ReadContentRequest(digest=digest, offset=offset, size=size)
        pieces = [
            content_pb2.ReadContentResponse.FromString(answer)
            for answer in await self.ask("Read", request.SerializeToString())
        ]
        at = max(0, offset)
        for piece in pieces:
            assert piece.offset == at
            assert piece.data, "an empty piece"
            at += len(piece.data)
        return b"".join(piece.data for piece in pieces)

    def write(self) -> WriteStream:
        return WriteStream(self)

    async def send_blob(self, data: bytes, digest: str, *, piece_bytes: int = 1 << 20) -> None:
        """Write a blob as containerd's `content.Copy` does."""
        async with self.write() as stream:
            await stream.say(action=STAT, ref=f"layer-{digest}", total=len(data), expected=digest)
            assert (await stream.say(action=STAT)).offset == 0
            at = 0
            for start in range(0, len(data), piece_bytes):
                piece = data[start : start + piece_bytes]
                answer = await stream.say(action=WRITE, offset=at, data=piece)
                at += len(piece)
                assert answer.offset == at, "a short write"
            answer = await stream.say(action=COMMIT, offset=at, total=len(data), expected=digest)
            assert (answer.offset, answer.digest) == (len(data), digest)


class WriteStream:
    """One Write call: what is said is answered before the next thing is said."""

    def __init__(self, peer: ContentPeer) -> None:
        self.call = peer.call()
        self._handler = peer.service.methods[CONTENT + "Write"]
        self.serving: asyncio.Task[RpcFault | None] | None = None

    async def __aenter__(self) -> Self:
        self.serving = asyncio.create_task(self.call.serve(self._handler))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.half_close()
        assert self.serving is not None
        await self.serving

    async def say(self, **fields: object) -> content_pb2.WriteContentResponse:
        """Send one message and return the answer, or raise what ended the call."""
        self.call.deliver(content_pb2.WriteContentRequest(**fields).SerializeToString())
        answer = await self.call.take()
        if answer is None:
            assert self.serving is not None
            fault = await self.serving
            assert fault is not None, "the call ended without an answer"
            raise fault
        found = content_pb2.WriteContentResponse.FromString(answer)
        assert found.action == fields.get("action", STAT)
        return found
