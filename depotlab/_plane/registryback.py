"""Our connection to the registry program, which listens on a private socket: HTTP/1.1 over h11."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h11

from depotlab.errors import EngineError

READ_BYTES = 256 << 10
_ANSWER_LIMIT_BYTES = 64 << 20
_HEAD_LIMIT_BYTES = 64 << 10
_HOST = "registry"

Fields = list[tuple[bytes, bytes]]


class BackendGone(Exception):
    """The registry closed the connection, or said what is not HTTP."""


class BackConnection:
    """One connection, one exchange after the other. Made by `open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT_BYTES)

    @classmethod
    async def open(cls, host_socket: Path) -> BackConnection:
        """Connect.

        Raises:
            BackendGone: Nobody listens.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(host_socket, limit=READ_BYTES)
        except OSError as error:
            raise BackendGone(f"the registry does not answer: {error}") from error
        return cls(reader, writer)

    @property
    def is_reusable(self) -> bool:
        """Whether another exchange may begin; `renew` first."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def renew(self) -> None:
        """Get ready for the next exchange."""
        self._http.start_next_cycle()

    async def send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        """Send a part of a request; returns when the next one may follow (back-pressure).

        Raises:
            BackendGone: It has closed.
        """
        try:
            data = self._http.send(event)
            if data:
                self._writer.write(data)
                await self._writer.drain()
        except (OSError, h11.LocalProtocolError) as error:
            raise BackendGone(str(error)) from error

    async def receive(self) -> h11.Response | h11.Data | h11.EndOfMessage:
        """Return the next part of the answer.

        Raises:
            BackendGone: It has closed, or this is no answer.
        """
        while True:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(await self._reader.read(READ_BYTES))
                    continue
            except (OSError, h11.RemoteProtocolError) as error:
                raise BackendGone(str(error)) from error
            if isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise BackendGone("it closed the connection")

    async def close(self) -> None:
        """Let go. Can be called twice."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        status: Of HTTP.
        headers: By name in lower case; of several the last.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(
    host_socket: Path,
    method: str,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Answer:
    """One request on a connection of its own, for answers that fit into memory.

    Raises:
        EngineError: The registry does not answer.
    """
    fields = [("host", _HOST), ("content-length", str(len(body))), *headers]
    try:
        connection = await BackConnection.open(host_socket)
        try:
            await connection.send(h11.Request(method=method, target=target, headers=fields))
            if body:
                await connection.send(h11.Data(data=body))
            await connection.send(h11.EndOfMessage())
            return await _whole(connection)
        finally:
            await connection.close()
    except BackendGone as error:
        raise EngineError(
            f"The registry of the plane does not answer: {error}.",
            hint="its log is in the plane's state folder, under registry/logs",
        ) from error


async def _whole(connection: BackConnection) -> Answer:
    response = await connection.receive()
    if not isinstance(response, h11.Response):
        raise BackendGone("an answer does not begin with its status")
    body = bytearray()
    while isinstance(event := await connection.receive(), h11.Data):
        body += event.data
        if len(body) > _ANSWER_LIMIT_BYTES:
            raise BackendGone("its answer is too large")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
    return Answer(response.status_code, headers, bytes(body))
