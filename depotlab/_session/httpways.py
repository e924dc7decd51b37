"""The way to an HTTP server, for what blocks: by the proxy that the environment names, with the trust of Python."""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.request
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = ["Proxied", "basic", "connection_to", "is_loopback"]


class Proxied(http.client.HTTPConnection):
    """A connection to a proxy that is asked for whole URLs."""

    def __init__(self, host: str, port: int, timeout_s: float, own: Mapping[str, str]) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._own = own

    def endheaders(self, *args: object, **kwargs: object) -> None:
        for name, value in self._own.items():
            self.putheader(name, value)
        super().endheaders(*args, **kwargs)  # type: ignore[arg-type] # passed on as they come


def connection_to(
    parts: SplitResult, timeout_s: float, *, insecure: bool = False
) -> http.client.HTTPConnection:
    """Return a connection to the server of a URL, or to the proxy before it. It is not open yet.

    Args:
        parts: Of a URL of http or https.
        timeout_s: For each wait.
        insecure: Take whatever certificate the server has.

    Raises:
        ValueError: The URL has a port that is none.
    """
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    proxy = _proxy(parts)
    trust = (_any_certificate if insecure else _trust)() if secure else None
    if proxy is None:
        if trust is not None:
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=trust)
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    login = unquote(proxy.netloc.rpartition("@")[0])
    own = {"Proxy-Authorization": basic(login)} if login else {}
    proxy_host, proxy_port = proxy.hostname or "", proxy.port or 80
    if trust is not None:
        through = http.client.HTTPSConnection(
            proxy_host, proxy_port, timeout=timeout_s, context=trust
        )
        through.set_tunnel(host, port, own)
        return through
    return Proxied(proxy_host, proxy_port, timeout_s, own)


def basic(login: str) -> str:
    """Return what proves a login of the form `user:password`."""
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def _proxy(parts: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment, or the system, names for an address."""
    host = parts.hostname or ""
    if is_loopback(parts.netloc.rpartition("@")[2]) or urllib.request.proxy_bypass(host):
        return None
    value = urllib.request.getproxies().get(parts.scheme)
    return urlsplit(value if "://" in value else f"http://{value}") if value else None


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    """What Python trusts. Reading it takes 30 ms, so it is done once."""
    return ssl.create_default_context()


@lru_cache(maxsize=1)
def _any_certificate() -> ssl.SSLContext:
    """For registries of which the user has said that they cannot prove who they are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this computer."""
    name = host.rpartition(":")[0] or host
    return name in ("localhost", "[::1]") or name.startswith("127.")
