"""HTTP/1.1 connections that become something else: the two doors of a Docker Engine's BuildKit.

`POST /grpc` with `Upgrade: h2c` is answered with 101; from then on the same connection carries HTTP/2 with
prior knowledge, and we are the client. `POST /session` likewise, but there the engine is the client and we are
the server; the session's metadata are ordinary headers of the request. Neither path has a version prefix.
The engine drops what was sent before its 101, so nothing may be; what comes behind its 101 in the same read is
HTTP/2 already and must be kept. Source: moby/moby `daemon/server/router/grpc/grpc_routes.go`, moby/buildkit
`session/manager.go` (`HandleHTTPRequest`).
"""

from __future__ import annotations

import http
import json
import re
from collections.abc import Iterable

from depotlab._rpc.transport import Transport
from depotlab.errors import LinkError, ProtocolError, Unreachable

__all__ = ["upgrade"]

HEAD_BYTES = 64 << 10
BODY_BYTES = 64 << 10

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class _Resumed:
    """A transport some of whose bytes have been read already."""

    def __init__(self, transport: Transport, first: bytes) -> None:
        self._transport = transport
        self._first = first
        self.write = transport.write
        self.close = transport.close

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the peer has closed."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return await self._transport.read()


async def upgrade(
    transport: Transport, path: str, headers: Iterable[tuple[str, str]] = (), *, address: str
) -> Transport:
    """Ask for an upgrade to h2c and return what carries HTTP/2 from then on.

    Args:
        transport: Fresh; it is closed when the upgrade fails.
        path: `/grpc` or `/session`.
        headers: More headers for the request; names may repeat.
        address: Of the engine, for errors.

    Raises:
        Unreachable: The engine refused.
        ProtocolError: What answers does not speak HTTP/1.1.
    """
    try:
        await transport.write([_request(path, headers)])
        head, rest = await _head(transport, address)
        found = _STATUS.match(head)
        if found is None:
            raise ProtocolError(
                f"{address} does not speak HTTP: it answered {head[:40]!r}.",
                hint="check that a Docker Engine is there, and whether it expects TLS",
            )
        if int(found[1]) != http.HTTPStatus.SWITCHING_PROTOCOLS:
            raise await _refused(int(found[1]), head, rest, transport, path=path, address=address)
    except BaseException:
        await transport.close()
        raise
    return _Resumed(transport, rest) if rest else transport


def _request(path: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: docker",
        "Connection: Upgrade",
        "Upgrade: h2c",
        "Content-Length: 0",
        *(f"{name}: {value}" for name, value in headers),
    ]
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ProtocolError(f"A header of {path} would break into two lines: {line[:40]!r}.")
    return "\r\n".join((*lines, "", "")).encode("utf-8")


async def _head(transport: Transport, address: str) -> tuple[bytes, bytes]:
    """Read up to the empty line; return what is before it and what is behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = await transport.read()
        if chunk is None or len(data) > HEAD_BYTES:
            raise LinkError(
                f"{address} ended the connection in the middle of an answer.",
                address=address,
                hint="look into the engine's log",
            )
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


async def _refused(
    status: int, head: bytes, body: bytes, transport: Transport, *, path: str, address: str
) -> Unreachable:
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    while len(body) < min(int(length[1]) if length else 0, BODY_BYTES):
        chunk = await transport.read()
        if chunk is None:
            break
        body += chunk
    try:
        reason = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        reason = body.decode("utf-8", "replace").strip()[:300] or f"HTTP status {status}"
    if status == http.HTTPStatus.NOT_FOUND:
        return Unreachable(
            f"The engine at {address} has no BuildKit: it does not know {path} ({reason}).",
            address=address,
            hint="podman has none, and Docker only since 18.09: use depotlab.local()",
        )
    return Unreachable(
        f"The Docker Engine at {address} refused {path}: {reason}.",
        address=address,
        hint="look into the engine's log",
    )
