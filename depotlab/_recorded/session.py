"""The daemon's side of a session: it calls us, and asks for what it asked for when the build was recorded.

A session is an HTTP/2 connection in which the daemon is the client. Here it makes one call at a time; real daemons
make several. Between the calls it asks for our health, as they do, since a session that is silent counts as dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence

from depotlab._proto import fsutil_wire_pb2, upload_pb2
from depotlab._recorded.tape import Call
from depotlab._rpc import (
    DATA,
    END_STREAM,
    HEALTH_CHECK,
    ClientConnection,
    Inbox,
    RpcFailed,
    Status,
    Tally,
    frame,
    request_block,
)
from depotlab.errors import ConnectionLost

__all__ = ["UPLOAD_PULL", "PlayedSession"]

UPLOAD_PULL = "/moby.upload.v1.Upload/Pull"

HEALTH_S = 5.0
_LIMIT_BYTES = 16 << 20
_DIFF_COPY = "/diffcopy"


class _End:
    """One end of a connection in memory; a `Transport`."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._is_open = True
        self.peer: _End = self

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when either side has closed."""
        if not self._is_open:
            return None
        return await self._arrived.get()

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces."""
        if not self._is_open:
            raise ConnectionLost("The session of the recording has ended.")
        self.peer._arrived.put_nowait(b"".join(pieces))  # noqa: SLF001 - the other end of the same
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Let both ends find the end."""
        if self._is_open:
            self._is_open = False
            self._arrived.put_nowait(None)
            self.peer._is_open = False  # noqa: SLF001 - the other end of the same
            self.peer._arrived.put_nowait(None)  # noqa: SLF001


class PlayedSession:
    """A session that a recorded daemon has with this process. Belongs to the event loop it was made on.

    Attributes:
        transport: The end for our server.
    """

    def __init__(self) -> None:
        self.transport, self._wire = _End(), _End()
        self.transport.peer, self._wire.peer = self._wire, self.transport
        self._state = ClientConnection()
        self._n_calls = 0
        self._early: list[bytes] = []  # what arrived of the call, and nobody has looked at
        self._turn = asyncio.Lock()
        self._keeping = asyncio.create_task(self._keep(), name="depotlab recorded session")

    async def _keep(self) -> None:
        """Ask for our health now and then, until the session ends."""
        with contextlib.suppress(ConnectionLost, RpcFailed):
            while True:
                await asyncio.sleep(HEALTH_S)
                async with self._turn:
                    await self._say(HEALTH_CHECK, (), [b""])

    async def replay(self, call: Call, rename: Callable[[str, str], str]) -> bool:
        """Make a call once more, with the messages that the daemon sent.

        Args:
            call: As it was recorded.
            rename: Given a header's name and value, returns its value for this session.

        Returns:
            False when an archive was pulled that is another than the one that was recorded.

        Raises:
            RpcFailed: Our side refused.
            ConnectionLost: The session has ended.
        """
        headers = [(name, rename(name, value)) for name, value in call.headers]
        messages = [message.data for message in call.messages]
        async with self._turn:
            method = call.method.lower()
            if method.endswith(_DIFF_COPY) and "filesync/" in method:
                await self._say(call.method, headers, messages, after_list=True)
            elif method.endswith(_DIFF_COPY) and not _is_archive(messages):
                await self._send_files(call.method, headers, messages)
            elif method.endswith("/write"):
                await self._say(call.method, headers, messages, in_turns=True)
            elif call.method == UPLOAD_PULL:
                return await self._pull(call.method, headers) == call.context
            else:
                await self._say(call.method, headers, messages)
        return True

    async def close(self) -> None:
        """End the session."""
        self._keeping.cancel()
        await self._wire.close()

    # ------------------------------------------------------------------------------------ calls

    async def _say(
        self,
        method: str,
        headers: Sequence[tuple[str, str]],
        messages: Sequence[bytes],
        *,
        after_list: bool = False,
        in_turns: bool = False,
    ) -> None:
        """Send messages, end our side, and read to the end.

        Args:
            method: Full name.
            headers: Keys may repeat.
            messages: Of the daemon.
            after_list: Only when our side has listed a directory.
            in_turns: Each after the answer to the one before.
        """
        inbox = await self._open(method, headers)
        answers = self._answers(inbox)
        if after_list:
            async for answer in answers:
                if not answer:  # a STAT packet without a stat ends the list
                    break
        for message in messages:
            await self._send(message)
            if in_turns:
                await anext(answers, None)
        await self._end_ours()
        async for _ in answers:
            pass

    async def _pull(self, method: str, headers: Sequence[tuple[str, str]]) -> str:
        """Take an archive, and return its digest. Our side of the call ends it."""
        found = hashlib.sha256()
        async for answer in self._answers(await self._open(method, headers)):
            found.update(upload_pb2.BytesMessage.FromString(answer).data)
        return found.hexdigest()

    async def _send_files(
        self, method: str, headers: Sequence[tuple[str, str]], messages: Sequence[bytes]
    ) -> None:
        """Send a directory: its list, the files as they are asked for, and goodbye."""
        packets = [(fsutil_wire_pb2.Packet.FromString(one), one) for one in messages]
        answers = self._answers(await self._open(method, headers))
        asked: set[int] = set()
        for packet, message in packets:
            if packet.type == fsutil_wire_pb2.Packet.PACKET_DATA:
                while packet.ID not in asked:
                    answer = await anext(answers, None)
                    if answer is None:
                        return
                    wish = fsutil_wire_pb2.Packet.FromString(answer)
                    if wish.type == fsutil_wire_pb2.Packet.PACKET_REQ:
                        asked.add(wish.ID)
            elif packet.type == fsutil_wire_pb2.Packet.PACKET_FIN:
                async for answer in answers:
                    if (
                        fsutil_wire_pb2.Packet.FromString(answer).type
                        == fsutil_wire_pb2.Packet.PACKET_FIN
                    ):
                        break
            await self._send(message)
        await self._end_ours()
        async for _ in answers:
            pass

    # -------------------------------------------------------------------------------- the wire

    async def _open(self, method: str, headers: Sequence[tuple[str, str]]) -> Inbox:
        if not self._state.ended:
            raise ConnectionLost("The session of the recording is in use.")
        self._n_calls += 1
        self._early.clear()
        self._state.open(
            request_block(method, scheme="http", authority="localhost", metadata=headers)
        )
        await self._flush()
        return Inbox(Tally(), limit_bytes=_LIMIT_BYTES)

    async def _flush(self) -> None:
        if self._state.has_control:
            await self._wire.write(self._state.take_control())

    async def _send(self, message: bytes) -> None:
        left = memoryview(b"\0" + len(message).to_bytes(4, "big") + message)
        while left and not self._state.ended:
            room = self._state.room_bytes
            if room <= 0:
                await self._take()
                continue
            out = self._state.take_control()
            self._state.frame_pieces([left[:room]], len(left[:room]), out)
            left = left[room:]
            await self._wire.write(out)

    async def _end_ours(self) -> None:
        if not self._state.ended:
            # Calls of a client have odd numbers. Source: RFC 9113, 5.1.1.
            await self._wire.write([frame(DATA, END_STREAM, 2 * self._n_calls - 1, b"")])

    async def _take(self) -> None:
        """Take in what comes next."""
        chunk = await self._wire.read()
        if chunk is None:
            raise ConnectionLost("The session of the recording has ended.")
        self._early += [bytes(piece) for piece in self._state.receive(chunk)]
        await self._flush()

    async def _answers(self, inbox: Inbox) -> AsyncIterator[bytes]:
        """Yield messages of our side to the end of the call."""
        while True:
            early, self._early = self._early, []
            for piece in early:
                inbox.feed(piece, 0, len(piece))
            if inbox.fault is not None:
                raise inbox.fault
            while inbox.ready:
                yield inbox.take()
            if self._state.ended and not self._early:
                break
            await self._take()
        if self._state.failure is not None:
            failure = self._state.failure
            if failure.status is not Status.OK:
                raise failure


def _is_archive(messages: Sequence[bytes]) -> bool:
    """Whether a file send carries the bytes of an archive; the packets of a directory begin with a STAT."""
    if not messages:
        return True
    return messages[0][:1] == b"\x0a"
