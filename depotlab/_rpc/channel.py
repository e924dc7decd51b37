"""The outer connection to a daemon, on grpc.aio. Bytes in, bytes out: messages are made elsewhere.

Every object here belongs to the event loop it was made on. Failures leave this file as `RpcFailed`
(the peer answered with a status) or as `LinkError` (there was no peer); grpc's own exceptions do not.

Limits (source: moby/buildkit `client/client.go`, `util/grpcerrors`): messages are 16 MiB at most; a
failing build sends all its typed details in one trailer, which grew to 1.5 MB for a Dockerfile of
20 000 lines, so both metadata limits of grpcio are raised. No keepalive pings are sent: the daemon answers
pings more often than every five minutes with GOAWAY.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio

from depotlab._rpc import tap
from depotlab._rpc.bridge import SocketBridge
from depotlab._rpc.call import Status
from depotlab._rpc.endpoint import Endpoint
from depotlab._rpc.failed import RpcFailed
from depotlab._rpc.forgotten import close_when_forgotten
from depotlab._rpc.outer import OuterCall
from depotlab._rpc.outeranswers import OuterAnswers
from depotlab._rpc.reasons import find_reason
from depotlab._rpc.spare import Spare
from depotlab._rpc.tapcalls import TappedAnswers, TappedBytes
from depotlab._rpc.tracing import trace_headers
from depotlab.errors import DepotlabError, LinkError, Unreachable

__all__ = ["Channel", "Stream", "call_once"]

MESSAGE_LIMIT_BYTES = 16 << 20
METADATA_LIMIT_BYTES = 32 << 20

Metadata = Sequence[tuple[str, str]]


def _failed(error: grpc.aio.AioRpcError, bridge: SocketBridge | None) -> RpcFailed:
    details = b""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = value if isinstance(value, bytes) else value.encode("latin-1")
    status = Status(error.code().value[0])
    told = bridge.failure if bridge is not None and status is Status.UNAVAILABLE else None
    link = told if isinstance(told, LinkError) else None
    return RpcFailed(status, error.details() or "", details, link=link)


class Stream:
    """One bidirectional stream of whole messages, as bytes."""

    def __init__(self, call: Any, bridge: SocketBridge | None = None) -> None:
        self._call = call
        self._bridge = bridge

    async def read(self) -> bytes | None:
        """Return the next message, or None at the end of a stream that ended well."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _failed(error, self._bridge) from error
        return None if message is grpc.aio.EOF else message

    async def write(self, message: bytes) -> None:
        """Send one message; returns when the transport has taken it."""
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise _failed(error, self._bridge) from error
        except asyncio.InvalidStateError as error:
            raise RpcFailed(Status.UNAVAILABLE, "the stream has ended") from error

    async def close_send(self) -> None:
        """Say that nothing more will be sent."""
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            # A call that has ended already has nothing left to close.
            await self._call.done_writing()

    async def initial_metadata(self) -> dict[str, str]:
        """Return the headers of the answer; waits for them."""
        try:
            headers = await self._call.initial_metadata()
        except grpc.aio.AioRpcError as error:
            raise _failed(error, self._bridge) from error
        return {k: v for k, v in headers or () if isinstance(v, str)}

    def cancel(self) -> None:
        """End the call now, in both directions."""
        self._call.cancel()

    async def read_many(self) -> list[bytes]:
        """Return the next message alone; an empty list at the end. See `OuterAnswers`."""
        message = await self.read()
        return [] if message is None else [message]

    async def header(self, name: str) -> str:
        """Return a header of the answer, empty if there is none; waits for it."""
        return (await self.initial_metadata()).get(name, "")

    async def close(self) -> None:
        """End the call."""
        self.cancel()


class _TappedStream(Stream):
    """A `Stream` that taps are told of."""

    def __init__(self, call: Any, bridge: SocketBridge | None, telling: tap.Telling) -> None:
        super().__init__(call, bridge)
        self._telling = telling

    async def read(self) -> bytes | None:
        try:
            message = await super().read()
        except Exception as error:
            self._telling.broke(error)
            raise
        if message is None:
            self._telling.ended()
        else:
            self._telling.message("daemon", message)
        return message

    async def write(self, message: bytes) -> None:
        self._telling.message("client", message)
        await super().write(message)

    def cancel(self) -> None:
        self._telling.ended(Status.CANCELLED, "given up by this side")
        super().cancel()


class Channel:
    """A connection to one daemon. Cheap to make: nothing is sent before the first call.

    grpcio connects to sockets only, so for an endpoint with a dialer a `SocketBridge` is put in front of it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._spare = Spare(endpoint)
        self._spare_for_answers = Spare(endpoint)
        self._bridge: SocketBridge | None = None
        if endpoint.dialer is not None:
            self._bridge = SocketBridge(endpoint.dialer, address=endpoint.address)
        self._channel = self._new_channel()
        self._replaced: grpc.aio.Channel | None = None
        bridges = [self._bridge] if self._bridge is not None else []
        self._forgotten = close_when_forgotten(self, self._spare, self._spare_for_answers, *bridges)

    def _new_channel(self) -> grpc.aio.Channel:
        endpoint = self.endpoint
        path = endpoint.socket_path if self._bridge is None else str(self._bridge.host_path)
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.max_metadata_size", METADATA_LIMIT_BYTES),
            ("grpc.absolute_max_metadata_size", METADATA_LIMIT_BYTES),
            # Two clients of one process must not share a connection: closing one would hit the other.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
        ]
        if path:
            target = f"unix:{path}"
            options += [("grpc.default_authority", "localhost"), ("grpc.enable_http_proxy", 0)]
        else:
            host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
            target = f"{host}:{endpoint.port}"
            if endpoint.direct:
                options.append(("grpc.enable_http_proxy", 0))
        tls = endpoint.tls
        if tls is None:
            return grpc.aio.insecure_channel(target, options=options)
        if tls.server_name:
            options += [
                ("grpc.ssl_target_name_override", tls.server_name),
                ("grpc.default_authority", tls.server_name),
            ]
        credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
        return grpc.aio.secure_channel(target, credentials, options=options)

    async def ready(self, *, timeout_s: float = 10.0) -> None:
        """Connect now.

        Args:
            timeout_s: For hosts that do not answer; a refusal is reported at once.

        Raises:
            Unreachable: With the reason that the operating system or TLS gives.
        """
        if self.endpoint.session_dialer is None:
            self._spare.fill()
        if self._bridge is None:
            self._spare_for_answers.fill()
        try:
            async with asyncio.timeout(timeout_s):
                channel = await self._rested()
                state = channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise await self.diagnose()
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        except TimeoutError:
            raise await self.diagnose(timeout_s=2.0) from None

    async def _rested(self) -> grpc.aio.Channel:
        """Return grpcio's channel, a new one if it has failed before.

        After failures it waits before it tries again, in the end two minutes, and says until then that it has failed:
        also of a daemon that is back. Source: grpc/grpc `doc/connection-backoff.md`.
        """
        if self._channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            outdated, self._replaced = self._replaced, self._channel
            self._channel = self._new_channel()
            # The one that was replaced just now is kept: its calls have ended, but not everybody has heard of it.
            if outdated is not None:
                await outdated.close()
        return self._channel

    async def diagnose(self, *, timeout_s: float = 3.0) -> DepotlabError:
        """Find out why the daemon cannot be reached; returns the error to raise."""
        if self._bridge is not None:
            return self._bridge.failure or Unreachable(
                f"{self.endpoint.address} does not answer as a BuildKit daemon does.",
                address=self.endpoint.address,
                hint="check the address; a slow connection may need more time",
            )
        return await asyncio.to_thread(find_reason, self.endpoint, timeout_s=timeout_s)

    async def unary(
        self,
        method: str,
        request: bytes,
        *,
        metadata: Metadata = (),
        timeout_s: float | None = None,
    ) -> bytes:
        """One request, one answer. Cancelling the task cancels the call on the daemon."""
        metadata = (*metadata, *trace_headers())
        telling = self._begin_telling(method, metadata, request) if tap.open_taps else None
        call = self._channel.unary_unary(method)(request, metadata=metadata, timeout=timeout_s)
        try:
            answer: bytes = await call
        except grpc.aio.AioRpcError as error:
            failure = _failed(error, self._bridge)
            if telling is not None:
                telling.broke(failure)
            raise failure from error
        except BaseException as error:
            if telling is not None:
                telling.broke(error)
            raise
        if telling is not None:
            telling.message("daemon", answer)
            telling.ended()
        return answer

    def _begin_telling(
        self, method: str, metadata: Metadata, request: bytes | None = None
    ) -> tap.Telling | None:
        telling = tap.begin_telling("client", method, metadata, endpoint=self.endpoint.address)
        if telling is not None and request is not None:
            telling.message("client", request)
        return telling

    def _stream(self, call: Any, telling: tap.Telling | None) -> Stream:
        if telling is None:
            return Stream(call, self._bridge)
        return _TappedStream(call, self._bridge, telling)

    def open_unary_stream(self, method: str, request: bytes, *, metadata: Metadata = ()) -> Stream:
        """One request, many answers, read with `Stream.read`."""
        metadata = (*metadata, *trace_headers())
        telling = self._begin_telling(method, metadata, request) if tap.open_taps else None
        call = self._channel.unary_stream(method)(request, metadata=metadata)
        return self._stream(call, telling)

    async def ask(self, method: str, request: bytes) -> OuterAnswers | TappedAnswers | Stream:
        """One short request, and many answers that come in bursts. The caller closes it.

        They get a connection of their own, see `OuterAnswers`; where a connection is a program that has to be
        started they share grpcio's.

        Raises:
            LinkError: A new connection was needed and could not be made.
        """
        if self._bridge is not None:
            return self.open_unary_stream(method, request)
        metadata = trace_headers()
        telling = self._begin_telling(method, metadata, request) if tap.open_taps else None
        try:
            answers = await self._spare_for_answers.ask(
                method, request, metadata, limit_bytes=MESSAGE_LIMIT_BYTES
            )
        except BaseException as error:
            if telling is not None:
                telling.broke(error)
            raise
        return answers if telling is None else TappedAnswers(answers, telling)

    def open_stream(self, method: str, *, metadata: Metadata = ()) -> Stream:
        """Many messages in both directions."""
        metadata = (*metadata, *trace_headers())
        telling = self._begin_telling(method, metadata) if tap.open_taps else None
        call = self._channel.stream_stream(method)(metadata=metadata)
        return self._stream(call, telling)

    async def stream(
        self, method: str, request: bytes, *, metadata: Metadata = ()
    ) -> AsyncIterator[bytes]:
        """Iterate over the answers to one request."""
        call = self.open_unary_stream(method, request, metadata=metadata)
        try:
            while (message := await call.read()) is not None:
                yield message
        finally:
            call.cancel()

    async def open_bytes(self, method: str, *, metadata: Metadata = ()) -> OuterCall | TappedBytes:
        """Begin a call that carries a stream of bytes, on a connection of its own. The caller closes it.

        One connection is kept ready for it, from `ready` on.

        Raises:
            LinkError: A new connection was needed and could not be made.
        """
        metadata = (*metadata, *trace_headers())
        telling = self._begin_telling(method, metadata) if tap.open_taps else None
        try:
            stream = await self._spare.open(method, metadata)
        except BaseException as error:
            if telling is not None:
                telling.broke(error)
            raise
        return stream if telling is None else TappedBytes(stream, telling)

    async def close(self) -> None:
        """Close at once; running calls end with CANCELLED."""
        self._forgotten.detach()
        await self._spare.close()
        await self._spare_for_answers.close()
        await self._channel.close()
        if self._replaced is not None:
            await self._replaced.close()
        if self._bridge is not None:
            await self._bridge.close()


def call_once(endpoint: Endpoint, method: str, request: bytes, *, timeout_s: float) -> bytes:
    """One request on a connection of its own, without an event loop. Blocks.

    Raises:
        LinkError: Nothing answered within `timeout_s`.
    """
    if endpoint.dialer is not None:
        return asyncio.run(_call_over_bridge(endpoint, method, request, timeout_s=timeout_s))
    path = endpoint.socket_path
    target = f"unix:{path}" if path else f"{endpoint.host}:{endpoint.port}"
    options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
    telling = tap.begin_telling("client", method, (), endpoint=endpoint.address)
    if telling is not None:
        telling.message("client", request)
    with grpc.insecure_channel(target, options=options) as channel:
        try:
            answer: bytes = channel.unary_unary(method)(request, timeout=timeout_s)
        except grpc.RpcError as error:
            reason = find_reason(endpoint, timeout_s=1.0)
            if telling is not None:
                telling.broke(reason)
            raise reason from error
    if telling is not None:
        telling.message("daemon", answer)
        telling.ended()
    return answer


async def _call_over_bridge(
    endpoint: Endpoint, method: str, request: bytes, *, timeout_s: float
) -> bytes:
    channel = Channel(endpoint)
    try:
        await channel.ready(timeout_s=timeout_s)
        return await channel.unary(method, request, timeout_s=timeout_s)
    except RpcFailed as failure:
        raise await channel.diagnose() from failure
    finally:
        await channel.close()
