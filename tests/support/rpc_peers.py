"""Peers for the inner gRPC server: a byte stream in memory, a client on the `h2` package, a socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from struct import pack, unpack_from
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hypothesis import HealthCheck, settings

from depotlab._rpc.call import Handler
from depotlab._rpc.inner import InnerServer

TEST_S = 100.0

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For property tests: a machine that is busy with other tests is no failure."""


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run one test on a loop of its own; a task that is left behind fails it."""

    async def watched() -> Any:
        async with asyncio.timeout(TEST_S):
            result = await main()
        await asyncio.sleep(0)
        left = [
            task
            for task in asyncio.all_tasks() - {asyncio.current_task()}
            if not _is_of_grpcio(task)
        ]
        assert not left, f"tasks left behind: {left}"
        return result

    return asyncio.run(watched())


async def moment(seconds: float = 0.05) -> None:
    """Let all that is under way in this process arrive, also when the computer had no time for us meanwhile."""
    await asyncio.sleep(seconds)
    for _ in range(100):
        await asyncio.sleep(0)


def _is_of_grpcio(task: asyncio.Task[Any]) -> bool:
    """grpcio keeps a poller on a loop for as long as its channels live, and ends its calls at leisure."""
    return "grpc" in repr(task.get_coro()) or "grpc/_cython" in repr(task)


def message(body: bytes, *, flag: int = 0) -> bytes:
    """Frame one gRPC message by hand."""
    return pack(">BL", flag, len(body)) + body


def split_messages(data: bytes) -> list[bytes]:
    """Take gRPC messages apart by hand."""
    out, at = [], 0
    while at < len(data):
        flag, length = unpack_from(">BL", data, at)
        assert flag == 0, "our answers are never compressed"
        out.append(data[at + 5 : at + 5 + length])
        assert len(out[-1]) == length, "the answer ends inside a message"
        at += 5 + length
    return out


class MemoryLink:
    """A byte stream whose two ends are in this process. At most `depth` chunks wait in each direction."""

    def __init__(self, *, depth: int = 2) -> None:
        self.to_server: asyncio.Queue[bytes | None] = asyncio.Queue(depth)
        self.to_client: asyncio.Queue[bytes] = asyncio.Queue(depth)
        self.n_writes = 0
        self.n_bytes_written = 0
        self._writing = False

    async def read(self) -> bytes | None:
        return await self.to_server.get()

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        assert not self._writing, "write() was called before it had returned"
        data = b"".join(pieces)
        assert data, "an empty BytesMessage kills a session"
        assert len(data) == sum(map(len, pieces))
        self.n_writes += 1
        self.n_bytes_written += len(data)
        self._writing = True
        try:
            await self.to_client.put(data)
        finally:
            self._writing = False


@dataclass
class Answer:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    reset: int | None = None
    ended: bool = False

    @property
    def messages(self) -> list[bytes]:
        return split_messages(bytes(self.body))

    @property
    def status(self) -> int:
        return int((self.trailers or self.headers)["grpc-status"])

    @property
    def text(self) -> str:
        return (self.trailers or self.headers).get("grpc-message", "")

    @property
    def done(self) -> bool:
        return self.ended or self.reset is not None


class H2Client:
    """A gRPC client on the `h2` package, over a `MemoryLink`.

    Attributes:
        gives_credit: Windows are opened again as data arrives.
    """

    def __init__(self, link: MemoryLink, *, settings: Mapping[int, int] | None = None) -> None:
        self.link = link
        self.gives_credit = True
        self.answers: dict[int, Answer] = defaultdict(Answer)
        self.goaway: h2.events.ConnectionTerminated | None = None
        self.pings: list[bytes] = []
        self.events: list[h2.events.Event] = []
        self._changed = asyncio.Event()
        self._sending = asyncio.Lock()
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        if settings:  # update() would announce them one round later
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self.h2.initiate_connection()

    async def flush(self) -> None:
        async with self._sending:  # a queue alone lets a late task overtake one that waits
            if data := self.h2.data_to_send():
                await self.link.to_server.put(data)

    async def close(self) -> None:
        """Close the connection as a peer that leaves does."""
        async with self._sending:
            await self.link.to_server.put(None)

    async def pump(self) -> None:
        """Read for ever."""
        while True:
            self.take(await self.link.to_client.get())
            await self.flush()

    def take(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.events.append(event)
            match event:
                case h2.events.ResponseReceived():
                    self.answers[event.stream_id].headers = dict(event.headers)
                case h2.events.TrailersReceived():
                    self.answers[event.stream_id].trailers = dict(event.headers)
                case h2.events.DataReceived():
                    self.answers[event.stream_id].body += event.data
                    if self.gives_credit and event.flow_controlled_length:
                        self.credit(event.stream_id, event.flow_controlled_length)
                case h2.events.StreamEnded():
                    self.answers[event.stream_id].ended = True
                case h2.events.StreamReset():
                    self.answers[event.stream_id].reset = event.error_code
                case h2.events.PingAckReceived():
                    self.pings.append(event.ping_data)
                case h2.events.ConnectionTerminated():
                    self.goaway = event
        self._changed.set()

    def credit(self, stream_id: int, n_bytes: int) -> None:
        self.h2.increment_flow_control_window(n_bytes)
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            self.h2.increment_flow_control_window(n_bytes, stream_id)

    async def changed(self) -> None:
        """Wait until something has arrived."""
        self._changed.clear()
        await self._changed.wait()

    def open(
        self,
        path: str,
        *,
        metadata: Iterable[tuple[str, str]] = (),
        ends: bool = False,
        content_type: str = "application/grpc",
    ) -> int:
        """Begin a call; returns its stream. Nothing is sent before `flush`."""
        stream_id = self.h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost")]
        fields += [(":path", path), ("te", "trailers"), ("content-type", content_type), *metadata]
        self.h2.send_headers(stream_id, fields, end_stream=ends)
        self.answers[stream_id] = Answer()
        return stream_id

    async def send(self, stream_id: int, data: bytes, *, ends: bool = False) -> None:
        """Send raw bytes as windows allow."""
        at = 0
        while at < len(data):
            room = min(
                self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size
            )
            if room <= 0:
                await self.flush()
                await self.changed()
                continue
            self.h2.send_data(stream_id, data[at : at + room])
            at += room
        if ends:
            self.h2.end_stream(stream_id)
        await self.flush()

    async def call(self, path: str, *bodies: bytes, **options: Any) -> Answer:
        """Make one call and wait for its end."""
        stream_id = self.open(path, **options)
        await self.send(stream_id, b"".join(map(message, bodies)), ends=True)
        return await self.answer(stream_id)

    async def answer(self, stream_id: int) -> Answer:
        """Wait until a stream has ended."""
        while not self.answers[stream_id].done:
            await self.changed()
        return self.answers[stream_id]


@dataclass
class Served:
    """A server that runs, and the client that talks to it."""

    client: H2Client
    link: MemoryLink
    serving: asyncio.Task[None]


@contextlib.asynccontextmanager
async def served(
    handlers: Mapping[str, Handler],
    *,
    settings: Mapping[int, int] | None = None,
    depth: int = 2,
    **options: Any,
) -> AsyncIterator[Served]:
    """Run a server and an `h2` client; at the end the client closes, and the server must return."""
    link = MemoryLink(depth=depth)
    serving = asyncio.create_task(InnerServer(handlers, **options).serve(link))
    client = H2Client(link, settings=settings)
    await client.flush()
    pump = asyncio.create_task(client.pump())
    try:
        yield Served(client, link, serving)
        if not serving.done():
            await client.close()
            await serving
    finally:
        for task in (pump, serving):
            task.cancel()
        await asyncio.gather(pump, serving, return_exceptions=True)
        assert not pump.done() or pump.cancelled() or pump.exception() is None, pump.exception()


class SocketStream:
    """A byte stream on a socket, as the tunnel is one on a gRPC stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes | None:
        try:
            return await self._reader.read(32 << 10) or None
        except ConnectionError:
            return None  # a client that leaves in the middle is no fault of the server

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        assert any(map(len, pieces)), "an empty BytesMessage kills a session"
        self._writer.write(b"".join(pieces))
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()


@contextlib.asynccontextmanager
async def listening(
    handlers: Mapping[str, Handler], path: str, **options: Any
) -> AsyncIterator[str]:
    """Serve on a unix socket; yields an address for grpcio.

    No connection may end with an error. Those that are open at the end are cancelled: grpcio keeps one
    for as long as somebody holds a call of it, and an exception holds its call.
    """
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await InnerServer(handlers, **options).serve(SocketStream(reader, writer))
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_unix_server(accept, path)
    try:
        yield f"unix:{path}"
    finally:
        server.close()
        await asyncio.wait(serving, timeout=0.05)
        for task in serving:
            task.cancel()
        ends = await asyncio.gather(*serving, return_exceptions=True)
        bad = [e for e in ends if e is not None and not isinstance(e, asyncio.CancelledError)]
        assert serving, "nobody connected"
        assert not bad, bad
