"""The registry as its users see it: asks who they are, and passes on what they may do. HTTP/1.1 over h11.

Bodies are streamed in both directions, a chunk at a time, so a layer of any size takes the memory of a few
chunks. Where an upload goes on (`Location`) is told as a path, so that it stays on this front whatever name a client
knows it by. The registry program never sees a token.
Source: RFC 9110 7.6.1 for the fields of one connection; opencontainers/distribution-spec "Pushing blobs".
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import h11

from depotlab._plane.boundary import Admit
from depotlab._plane.registryback import READ_BYTES, BackConnection, BackendGone, Fields
from depotlab._plane.registryrules import Denied, Forward, decide
from depotlab.errors import EngineError

_REALM = b'Basic realm="depotlab registry", charset="UTF-8"'
_HEAD_LIMIT_BYTES = 64 << 10
_IDLE_S = 300.0  # for the next request of a connection

# They belong to one connection, or tell the registry what only we may tell.
_DROPPED = frozenset(
    (
        b"authorization", b"connection", b"expect", b"forwarded", b"keep-alive", b"proxy-authenticate",
        b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
        b"upgrade", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip",
    )
)  # fmt: skip


class _ClientGone(Exception):
    """The client closed, or broke the rules of HTTP."""


class Front:
    """Listens for clients of the registry. Belongs to the event loop on which it is opened.

    Args:
        admit: Who may use which repository.
        host_socket: Where the registry program listens.
    """

    def __init__(self, admit: Admit, host_socket: Path) -> None:
        self._admit = admit
        self._host_socket = host_socket
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()
        self._use = _Use()

    @property
    def unused_s(self) -> float:
        """For how long no request was answered, in seconds; 0 while one is."""
        return self._use.unused_s

    async def open(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            EngineError: That cannot be.
        """
        try:
            self._server = await asyncio.start_server(
                self._welcome, host, port, limit=READ_BYTES, backlog=256
            )
        except OSError as error:
            raise EngineError(
                f"The registry cannot listen on {host}:{port}: {error.strerror or error}.",
                hint="choose an address that this computer has, such as 127.0.0.1",
            ) from error

    async def close(self) -> None:
        """Cut everybody off and stop listening. Can be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for visit in self._visits:
            visit.cancel()
        if self._visits:
            await asyncio.wait(set(self._visits))
        await server.wait_closed()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.current_task()
        assert visit is not None
        self._visits.add(visit)
        try:
            await _Visit(self._admit, self._host_socket, reader, writer, self._use).serve()
        except asyncio.CancelledError:
            if self._server is not None:
                raise  # not by `close`
        finally:
            self._visits.discard(visit)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class _Use:
    """When requests are answered."""

    def __init__(self) -> None:
        self._n_now = 0
        self._last_s = time.monotonic()

    @property
    def unused_s(self) -> float:
        return 0.0 if self._n_now else time.monotonic() - self._last_s

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        self._n_now += 1
        try:
            yield
        finally:
            self._n_now -= 1
            self._last_s = time.monotonic()


class _Visit:
    """One connection of a client, request after request."""

    def __init__(
        self,
        admit: Admit,
        host_socket: Path,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        use: _Use,
    ) -> None:
        self._use = use
        self._admit = admit
        self._host_socket = host_socket
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_LIMIT_BYTES)
        self._back: BackConnection | None = None
        connected = writer.get_extra_info("socket")
        if connected is not None and connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def serve(self) -> None:
        try:
            while True:
                async with asyncio.timeout(_IDLE_S):
                    request = await self._receive()
                if not isinstance(request, h11.Request):
                    return
                with self._use.answering():
                    await self._answer(request)
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return  # there is more of the request than we want
                self._http.start_next_cycle()
        except (_ClientGone, TimeoutError):
            return
        finally:
            if self._back is not None:
                await self._back.close()

    async def _answer(self, request: h11.Request) -> None:
        fields = dict(request.headers)
        decision = decide(
            request.method.decode("ascii"),
            request.target.decode("latin-1"),
            fields[b"authorization"].decode("latin-1") if b"authorization" in fields else None,
            self._admit,
        )
        if isinstance(decision, Forward):
            await self._forward(request, decision.target)
        else:
            await self._deny(request, decision)

    async def _deny(self, request: h11.Request, denied: Denied) -> None:
        fields = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(denied.body)),
            (b"docker-distribution-api-version", b"registry/2.0"),
        ]
        if denied.challenge:
            fields.append((b"www-authenticate", _REALM))
        if self._http.their_state is h11.SEND_BODY and not _has_body(request):
            await self._receive()  # its end, which is there already
        if self._http.their_state is not h11.DONE:
            fields.append((b"connection", b"close"))  # nobody will read the rest
        phrase = HTTPStatus(denied.status).phrase.encode("ascii")  # some clients show nothing else
        await self._send(h11.Response(status_code=denied.status, headers=fields, reason=phrase))
        if request.method != b"HEAD":
            await self._send(h11.Data(data=denied.body))
        await self._send(h11.EndOfMessage())

    # ------------------------------------------------------------------------------ passing on

    async def _forward(self, request: h11.Request, target: str) -> None:
        try:
            back = await self._connect()
            await back.send(h11.Request(method=request.method, target=target, headers=_up(request)))
            sending = asyncio.create_task(self._pass_up(back), name="plane registry upload")
            try:
                started = await self._pass_down(back, request, sending)
            finally:
                sending.cancel()
                await asyncio.wait([sending])
            if not sending.cancelled() and (failure := sending.exception()) is not None:
                raise failure
        except BackendGone:
            await self._drop_back()
            if self._http.our_state is not h11.SEND_RESPONSE:
                raise _ClientGone("the registry stopped inside an answer") from None
            gone = Denied(502, "UNKNOWN", "the registry of the plane does not answer")
            await self._deny(request, gone)
            return
        if not (started and back.is_reusable):
            await self._drop_back()

    async def _connect(self) -> BackConnection:
        if self._back is None:
            self._back = await BackConnection.open(self._host_socket)
        else:
            self._back.renew()
        return self._back

    async def _drop_back(self) -> None:
        back, self._back = self._back, None
        if back is not None:
            await back.close()

    async def _pass_up(self, back: BackConnection) -> None:
        if self._http.they_are_waiting_for_100_continue:
            await self._send(
                h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            )
        while isinstance(event := await self._receive(), h11.Data):
            await back.send(event)
        if not isinstance(event, h11.EndOfMessage):
            raise _ClientGone("it closed inside a request")
        await back.send(h11.EndOfMessage())

    async def _pass_down(
        self, back: BackConnection, request: h11.Request, sending: asyncio.Task[None]
    ) -> bool:
        """Pass the answer on; return whether the whole request had been taken before it ended."""
        receiving = asyncio.ensure_future(back.receive())
        try:
            await asyncio.wait([receiving, sending], return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and isinstance(sending.exception(), _ClientGone):
                sending.result()  # nobody is left to answer
            response = await receiving
        finally:
            receiving.cancel()
            await asyncio.wait([receiving])
        assert isinstance(response, h11.Response)
        fields = _down(response)
        if not sending.done():
            # Nearly always it was an instant before its end. Else the registry does not want the rest.
            await asyncio.wait([sending], timeout=1.0)
        taken = sending.done() and sending.exception() is None
        if not taken:
            fields.append((b"connection", b"close"))
        await self._send(
            h11.Response(status_code=response.status_code, headers=fields, reason=response.reason)
        )
        while isinstance(event := await back.receive(), h11.Data):
            await self._send(event)
        await self._send(h11.EndOfMessage())
        return taken

    # -------------------------------------------------------------------------------- the client

    async def _receive(self) -> object:
        """Return the next event of h11.

        Raises:
            _ClientGone: It is not HTTP, or there is nothing more.
        """
        while True:
            try:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    return event
                self._http.receive_data(await self._reader.read(READ_BYTES))
            except (OSError, h11.RemoteProtocolError) as error:
                raise _ClientGone(str(error)) from error

    async def _send(self, event: h11.Event) -> None:
        try:
            data = self._http.send(event)
            if data:
                self._writer.write(data)
                await self._writer.drain()
        except (OSError, h11.LocalProtocolError) as error:
            raise _ClientGone(str(error)) from error


def _has_body(request: h11.Request) -> bool:
    fields = dict(request.headers)
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0"


def _up(request: h11.Request) -> Fields:
    """Return the fields of a request as the registry gets them."""
    fields = [(name, value) for name, value in request.headers if name not in _DROPPED]
    if any(name == b"transfer-encoding" for name, _ in request.headers):
        fields.append((b"transfer-encoding", b"chunked"))
    return fields


def _down(response: h11.Response) -> Fields:
    """Return the fields of an answer as the client gets them."""
    fields = []
    for name, value in response.headers:
        if name == b"location":
            url = urlsplit(value.decode("latin-1"))
            there = f"{url.path}?{url.query}" if url.query else url.path
            fields.append((name, there.encode("latin-1")))
        elif name not in _DROPPED:
            fields.append((name, value))
    return fields
