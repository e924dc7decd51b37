"""Calls of ours that carry a stream of bytes, on a connection of their own: how a session rides.

grpcio could carry it too, and did: every message costs it a round through its completion queue, several copies, and
about twice the time of this. The call is bidirectional and its messages are `BytesMessage`. A connection carries
one call at a time; when that is over it waits for the next one, with the windows that the daemon has opened
meanwhile.

`read` and `write` may run at the same time, each in one task. Whoever is at hand sends the answers to what
arrived (PING, SETTINGS, windows): the writer before its next data, or the reader while nobody writes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Self

from depotlab._rpc.answers import request_block
from depotlab._rpc.bytesmessages import Unwrapper, wrap_head
from depotlab._rpc.dial import dial
from depotlab._rpc.endpoint import Endpoint
from depotlab._rpc.headers import Headers
from depotlab._rpc.http2client import ClientConnection
from depotlab._rpc.sockets import SocketTransport
from depotlab._rpc.tls import TlsTransport
from depotlab._rpc.transport import Transport
from depotlab.errors import ConnectionLost, DepotlabError, LinkError, ProtocolError

__all__ = ["OuterCall", "OuterConnection"]

CLOSE_S = 1.0


class OuterConnection:
    """A connection that carries one call at a time. Made by `connect`."""

    def __init__(self, transport: Transport, endpoint: Endpoint) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._state = ClientConnection()
        self._sending = asyncio.Lock()
        self._n_unsent = (
            0  # what was begun to be sent and has not, perhaps because it was cancelled
        )
        self._changed = asyncio.Event()  # something has arrived
        self._failure: DepotlabError | None = None  # why nothing more can be read
        self._watching: asyncio.Task[None] | None = None
        self._early: list[memoryview] = []  # data of a call that came while `_watching`

    @classmethod
    async def connect(cls, endpoint: Endpoint) -> Self:
        """Dial, and say what HTTP/2 says first.

        Raises:
            Unreachable: With the reason.
        """
        connection = cls(await dial(endpoint), endpoint)
        try:
            await connection._flush()
        except BaseException:
            await connection.close()
            raise
        connection._watch()
        return connection

    @property
    def is_usable(self) -> bool:
        """Whether a call may begin: as far as we have heard, the peer is there and takes calls."""
        state = self._state
        return state.ended and not (state.refuses or self._n_unsent or self._failure)

    def is_link_full(self) -> bool:
        """Whether the network holds up what was sent; False when that is not known."""
        transport = self._transport
        return isinstance(transport, SocketTransport | TlsTransport) and transport.is_link_full()

    @property
    def headers(self) -> Headers:
        """The first header block of the answer, as far as it is here."""
        return self._state.headers

    async def open(
        self, method: str, metadata: Iterable[tuple[str, str]], request: bytes | None = None
    ) -> None:
        """Begin a call. Waits for nothing but the socket.

        Args:
            method: Full name, such as `/moby.buildkit.v1.Control/Session`.
            metadata: Keys may repeat.
            request: The only message of our side, with its prefix, of some hundred bytes; or `send` follows.

        Raises:
            ConnectionLost: The connection broke.
        """
        endpoint, tls = self._endpoint, self._endpoint.tls
        if endpoint.socket_path or endpoint.dialer is not None:
            authority = "localhost"
        elif tls is not None and tls.server_name:
            authority = tls.server_name
        else:
            authority = endpoint.address.removeprefix("tcp://")
        scheme = "http" if tls is None else "https"
        self._state.open(
            request_block(method, scheme=scheme, authority=authority, metadata=metadata)
        )
        if request is not None:
            self._state.ask(request)
        await self._flush()

    async def leave_call(self) -> None:
        """End the call that runs. Afterwards `is_usable` tells whether another one may begin."""
        self._state.leave_call()
        self._changed.set()
        with contextlib.suppress(LinkError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._flush()
        if self.is_usable:
            self._watch()

    async def close(self) -> None:
        """Say goodbye and let go. Can be called twice."""
        self._state.leave()
        self._changed.set()
        try:  # a second interrupt, while we say goodbye, must not leave the socket open
            with contextlib.suppress(LinkError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._flush()
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.wait([self._watching])
        finally:
            await self._transport.close()

    # ---------------------------------------------------------------------------------- the call

    async def receive(self) -> list[memoryview]:
        """Return bytes of messages as they come, in order; an empty list is the good end of the call.

        Raises:
            RpcFailed: The peer ended the call with a status other than OK, or reset it.
            ConnectionLost: The connection broke.
            ProtocolError: The peer broke a rule of HTTP/2 or gRPC.
        """
        if self._watching is not None:
            await asyncio.wait([self._watching])
            self._watching = None
        pieces, self._early = self._early, []
        while not pieces:
            if self._state.ended:
                if self._state.failure is not None:
                    raise self._state.failure
                return []
            if self._failure is not None:
                raise self._failure
            pieces = await self._receive()
        return pieces

    async def send(self, head: bytes, pieces: list[bytes | memoryview], n_bytes: int) -> None:
        """Send a message as windows allow.

        Args:
            head: What goes before the pieces. It gets a frame of its own, so that each frame in the
                pieces fills one of ours.
            pieces: Sent as they are; they must not change afterwards.
            n_bytes: Of all pieces.

        Raises:
            RpcFailed: As `receive`.
            ConnectionLost: The connection broke, or the call is over.
        """
        state = self._state
        self._n_unsent += 1
        while head or n_bytes:
            room = state.room_bytes - len(head)
            if room <= 0 and not (state.ended or self._failure):
                self._changed.clear()
                await self._changed.wait()
                continue
            async with self._sending:
                self._check_open()
                out = state.take_control()
                if head:
                    state.frame_pieces([head], len(head), out)
                    head = b""
                if n_bytes <= room:
                    state.frame_pieces(pieces, n_bytes, out)
                    n_bytes = 0
                else:
                    some, pieces = _split(pieces, room)
                    state.frame_pieces(some, room, out)
                    n_bytes -= room
                await self._transport.write(out)
        self._n_unsent -= 1
        if state.has_control:
            await self._flush()

    # ------------------------------------------------------------------------------------ inside

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._state.failure is not None:
            raise self._state.failure
        if self._state.ended:
            raise self._lost("the call has ended")

    def _watch(self) -> None:
        """Read while there is no call: answer what the peer says, and notice when it goes away."""
        self._early = []
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watched(), name="depotlab waiting link")

    async def _watched(self) -> None:
        with contextlib.suppress(DepotlabError):  # it is in `_failure`
            while self._state.ended:
                self._early = await self._receive()

    async def _receive(self) -> list[memoryview]:
        """Take what comes next; return what it has of messages."""
        try:
            chunk = await self._transport.read()
            if chunk is None:
                raise self._lost("the daemon has closed it")
            pieces = self._state.receive(chunk)
        except DepotlabError as error:
            self._failure = error
            self._changed.set()
            if isinstance(error, ProtocolError):  # say why we leave
                with contextlib.suppress(LinkError, TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await self._flush()
            raise
        self._changed.set()
        if self._state.has_control and not self._sending.locked():
            await self._flush()
        return pieces

    async def _flush(self) -> None:
        """Send what windows do not limit."""
        async with self._sending:
            if self._state.has_control:
                self._n_unsent += 1
                await self._transport.write(self._state.take_control())
                self._n_unsent -= 1

    def _lost(self, reason: str) -> ConnectionLost:
        address = self._endpoint.address
        return ConnectionLost(
            f"The connection to {address} was lost: {reason}.",
            address=address,
            hint="its log says why; finished steps are in its cache, so build again",
        )


class OuterCall:
    """A `ByteStream` inside the call that runs on a connection.

    Args:
        connection: On which a call was opened.
        release: Called with the connection when the call is over.
    """

    def __init__(
        self, connection: OuterConnection, release: Callable[[OuterConnection], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._release = release
        self._unwrapper = Unwrapper()
        self._closed = False

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the peer has ended the call well.

        Raises:
            RpcFailed: It ended the call with a status other than OK, or reset it.
            ConnectionLost: The connection broke.
            ProtocolError: The peer broke a rule of HTTP/2, of gRPC, or of `BytesMessage`.
        """
        while pieces := await self._connection.receive():
            if data := b"".join(self._unwrapper.feed(pieces)):
                return data
        if not self._unwrapper.is_between:
            raise ProtocolError("The daemon ended the session stream inside a message.")
        return None

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces as one message; returns when it may be called again.

        Raises:
            RpcFailed: As `read`.
            ConnectionLost: The connection broke, or the call is over.
        """
        n_bytes = sum(map(len, pieces))
        if n_bytes:  # an empty message would end the session
            await self._connection.send(wrap_head(n_bytes), pieces, n_bytes)

    def is_link_full(self) -> bool:
        """See `OuterConnection`."""
        return self._connection.is_link_full()

    async def close(self) -> None:
        """Half-close, which is how a session says goodbye, and cancel. Can be called twice."""
        if not self._closed:
            self._closed = True
            try:
                await self._connection.leave_call()
            except BaseException:  # we are interrupted once more
                await self._connection.close()
                raise
            await self._release(self._connection)


def _split(
    pieces: list[bytes | memoryview], n_bytes: int
) -> tuple[list[bytes | memoryview], list[bytes | memoryview]]:
    """Cut pieces in two after `n_bytes`."""
    for index, piece in enumerate(pieces):
        if len(piece) >= n_bytes:
            view = memoryview(piece)
            return [*pieces[:index], view[:n_bytes]], [view[n_bytes:], *pieces[index + 1 :]]
        n_bytes -= len(piece)
    return pieces, []
