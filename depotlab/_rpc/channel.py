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
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from depotlab._rpc.call import Status
from depotlab._rpc.endpoint import Endpoint
from depotlab.errors import LinkError, Unreachable

__all__ = ["Channel", "RpcFailed", "Stream", "call_once"]

MESSAGE_LIMIT_BYTES = 16 << 20
METADATA_LIMIT_BYTES = 32 << 20

Metadata = Sequence[tuple[str, str]]


class RpcFailed(Exception):
    """The peer ended a call with a status other than OK.

    Attributes:
        status: gRPC status code.
        message: Text of the peer.
        details: The serialised `google.rpc.Status` of `grpc-status-details-bin`, or empty.
    """

    def __init__(self, status: Status, message: str, details: bytes = b"") -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message
        self.details = details


def _failed(error: grpc.aio.AioRpcError) -> RpcFailed:
    details = b""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = value if isinstance(value, bytes) else value.encode("latin-1")
    return RpcFailed(Status(error.code().value[0]), error.details() or "", details)


class Stream:
    """One bidirectional stream of whole messages, as bytes."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def read(self) -> bytes | None:
        """Return the next message, or None at the end of a stream that ended well."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from error
        return None if message is grpc.aio.EOF else message

    async def write(self, message: bytes) -> None:
        """Send one message; returns when the transport has taken it."""
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from error
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
            raise _failed(error) from error
        return {k: v for k, v in headers or () if isinstance(v, str)}

    def cancel(self) -> None:
        """End the call now, in both directions."""
        self._call.cancel()


class Channel:
    """A connection to one daemon. Cheap to make: nothing is sent before the first call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.max_metadata_size", METADATA_LIMIT_BYTES),
            ("grpc.absolute_max_metadata_size", METADATA_LIMIT_BYTES),
            # Two clients of one process must not share a connection: closing one would hit the other.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
        ]
        if endpoint.socket_path:
            target = f"unix:{endpoint.socket_path}"
            options += [("grpc.default_authority", "localhost"), ("grpc.enable_http_proxy", 0)]
        else:
            host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
            target = f"{host}:{endpoint.port}"
        tls = endpoint.tls
        if tls is None:
            self._channel = grpc.aio.insecure_channel(target, options=options)
        else:
            if tls.server_name:
                options += [
                    ("grpc.ssl_target_name_override", tls.server_name),
                    ("grpc.default_authority", tls.server_name),
                ]
            credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
            self._channel = grpc.aio.secure_channel(target, credentials, options=options)

    async def ready(self, *, timeout_s: float = 10.0) -> None:
        """Connect now.

        Args:
            timeout_s: For hosts that do not answer; a refusal is reported at once.

        Raises:
            Unreachable: With the reason that the operating system or TLS gives.
        """
        try:
            async with asyncio.timeout(timeout_s):
                state = self._channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise await self.diagnose()
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError:
            raise await self.diagnose(timeout_s=2.0) from None

    async def diagnose(self, *, timeout_s: float = 3.0) -> LinkError:
        """Find out by hand why the daemon cannot be reached; returns the error to raise."""
        reason = await asyncio.to_thread(_reason, self.endpoint, timeout_s)
        message, hint = reason
        return Unreachable(message, address=self.endpoint.address, hint=hint)

    async def unary(
        self,
        method: str,
        request: bytes,
        *,
        metadata: Metadata = (),
        timeout_s: float | None = None,
    ) -> bytes:
        """One request, one answer. Cancelling the task cancels the call on the daemon."""
        call = self._channel.unary_unary(method)(
            request, metadata=tuple(metadata), timeout=timeout_s
        )
        try:
            answer: bytes = await call
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from error
        return answer

    def open_unary_stream(self, method: str, request: bytes, *, metadata: Metadata = ()) -> Stream:
        """One request, many answers, read with `Stream.read`."""
        return Stream(self._channel.unary_stream(method)(request, metadata=tuple(metadata)))

    def open_stream(self, method: str, *, metadata: Metadata = ()) -> Stream:
        """Many messages in both directions."""
        return Stream(self._channel.stream_stream(method)(metadata=tuple(metadata)))

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

    async def close(self) -> None:
        """Close at once; running calls end with CANCELLED."""
        await self._channel.close()


def call_once(endpoint: Endpoint, method: str, request: bytes, *, timeout_s: float) -> bytes:
    """One request on a connection of its own, without an event loop. Blocks.

    Raises:
        LinkError: Nothing answered within `timeout_s`.
    """
    path = endpoint.socket_path
    target = f"unix:{path}" if path else f"{endpoint.host}:{endpoint.port}"
    options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(target, options=options) as channel:
        try:
            answer: bytes = channel.unary_unary(method)(request, timeout=timeout_s)
        except grpc.RpcError as error:
            message, hint = _reason(endpoint, 1.0)
            raise Unreachable(message, address=endpoint.address, hint=hint) from error
    return answer


def _reason(endpoint: Endpoint, timeout_s: float) -> tuple[str, str]:
    """Say why a connection fails and what to try. Blocks; opens and closes a plain socket."""
    path = endpoint.socket_path
    where = endpoint.address
    try:
        if path:
            with socket.socket(socket.AF_UNIX) as plain:
                plain.settimeout(timeout_s)
                plain.connect(path)
        else:
            with socket.create_connection((endpoint.host, endpoint.port), timeout_s) as plain:
                if endpoint.tls is not None:
                    return _tls_reason(endpoint, plain)
    except FileNotFoundError:
        return (
            f"No BuildKit daemon at {where}: the socket does not exist.",
            "start the daemon, or use depotlab.local() for an engine on this computer",
        )
    except PermissionError:
        owner = _owner(path)
        return (
            f"No permission to use the BuildKit socket {path}{owner}.",
            "join the group that owns the socket, or use depotlab.local() for an engine of your own",
        )
    except ConnectionRefusedError:
        what = "the socket exists, but nobody listens" if path else "the connection was refused"
        return (
            f"No BuildKit daemon at {where}: {what}.",
            "start the daemon, and check the address",
        )
    except socket.gaierror as error:
        return (
            f"The host of {where} cannot be found: {error.strerror}.",
            "check the spelling and the network",
        )
    except TimeoutError:
        return (
            f"{where} did not answer within {timeout_s:g} s.",
            "check the address, the firewall and the network",
        )
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "error")
        return (
            f"{where} cannot be reached: {error.strerror or error} ({name}).",
            "check the address",
        )
    return (
        f"{where} accepts connections, but does not speak gRPC as a BuildKit daemon does.",
        "check that it is buildkitd, and whether it expects TLS (pass tls=depotlab.TLS(...))",
    )


def _tls_reason(endpoint: Endpoint, plain: socket.socket) -> tuple[str, str]:
    tls = endpoint.tls
    assert tls is not None
    context = ssl.create_default_context(cadata=tls.ca.decode("ascii") if tls.ca else None)
    context.set_alpn_protocols(["h2"])
    where = endpoint.address
    try:
        with context.wrap_socket(plain, server_hostname=tls.server_name or endpoint.host) as secure:
            if secure.selected_alpn_protocol() != "h2":
                return f"{where} speaks TLS, but not HTTP/2.", "check that it is buildkitd"
    except ssl.SSLCertVerificationError as error:
        return (
            f"The certificate of {where} is not accepted: {error.verify_message}.",
            "pass the authority that signed it as TLS(ca=...), and its name as server_name=",
        )
    except OSError as error:
        return (
            f"TLS with {where} failed: {error.strerror or error}.",
            "check that the daemon expects TLS, and which client certificate it accepts",
        )
    return (
        f"{where} ended the connection after the TLS handshake.",
        "the daemon probably wants another client certificate: check TLS(cert=..., key=...)",
    )


def _owner(path: str) -> str:
    """Describe who owns a socket, as ` (mode 0660, owner 0:998)`, or nothing when unknown."""
    try:
        found = Path(path).stat()
    except OSError:
        return ""
    return f" (mode {found.st_mode & 0o7777:04o}, owner {found.st_uid}:{found.st_gid})"
