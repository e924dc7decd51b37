"""HTTP proxies on the way to a daemon, found as grpcio finds them, so that all connections go the same way.

The first of the variables `grpc_proxy`, `https_proxy` and `http_proxy` names one, `no_grpc_proxy` or `no_proxy` the
hosts that need none: names, ends of names, addresses, and networks, separated by commas. A proxy is asked to
CONNECT, and then is as good as the daemon. Source: grpc/grpc `src/core/handshaker/http_connect`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

__all__ = ["Proxy", "ask_for_tunnel", "find_proxy"]

HEAD_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        host: Its name or address.
        port: Its port.
        credentials: `user:password`, or empty.
    """

    host: str
    port: int
    credentials: str = field(default="", repr=False)


def find_proxy(host: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy to a host, or None when there is none or the host needs none."""
    value = next(
        (v for n in ("grpc_proxy", "https_proxy", "http_proxy") if (v := environ.get(n))), ""
    )
    url = urlsplit(value if "://" in value else f"http://{value}")
    if not value or url.scheme != "http" or not url.hostname:
        return None
    exceptions = environ.get("no_grpc_proxy") or environ.get("no_proxy") or ""
    if any(_covers(entry.strip().lower(), host.lower()) for entry in exceptions.split(",")):
        return None
    credentials = unquote(url.netloc.rpartition("@")[0])
    return Proxy(url.hostname, url.port or 80, credentials)


def _covers(entry: str, host: str) -> bool:
    if not entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return host.endswith(entry)


async def ask_for_tunnel(connected: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Ask the proxy behind a socket to connect it to a daemon.

    Raises:
        OSError: It refused, or does not speak HTTP.
    """
    loop = asyncio.get_running_loop()
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.credentials:
        secret = b64encode(proxy.credentials.encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {secret}")
    await loop.sock_sendall(connected, "\r\n".join((*lines, "", "")).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = await loop.sock_recv(connected, 1)  # what comes behind the head is the daemon's
        head += byte
        if not byte or len(head) > HEAD_BYTES:
            raise OSError(f"the proxy {proxy.host}:{proxy.port} does not answer as a proxy does")
    words = head.split(b"\r\n", 1)[0].split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].startswith(b"2"):
        said = head.split(b"\r\n", 1)[0].decode("latin-1")[:200]
        raise OSError(f"the proxy {proxy.host}:{proxy.port} refused: {said}")
