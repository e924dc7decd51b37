"""Which HTTP proxy stands before the API, as the official command line finds it. Machines are dialled without.

`HTTPS_PROXY` is for addresses with https, `HTTP_PROXY` for those with http; each also in lower case, which loses.
`NO_PROXY` lists who needs none, separated by commas: `*`, a host, a domain with all that is under it (`.example.org` is
only what is under it), an address, a network such as `10.0.0.0/8`; a port may follow. This computer never needs one.

Source: golang.org/x/net `http/httpproxy`.
"""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from depotlab.errors import UsageError

__all__ = ["HttpProxy", "find_http_proxy"]


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """An HTTP proxy.

    Attributes:
        host: Its name or address.
        port: Its port.
        authorization: What it wants in `proxy-authorization`, or empty.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def find_http_proxy(
    host: str, port: int, *, secure: bool, environ: Mapping[str, str]
) -> HttpProxy | None:
    """Return the proxy on the way to a host, or None where there is none or it needs none.

    Args:
        host: Name or address, without brackets.
        port: Its port.
        secure: Whether TLS is spoken with the host.
        environ: Where the variables are.

    Raises:
        UsageError: The variable names a proxy of a kind that we do not speak with.
    """
    name = "HTTPS_PROXY" if secure else "HTTP_PROXY"
    value = environ.get(name) or environ.get(name.lower()) or ""
    exceptions = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if not value or _is_here(host) or _is_excepted(host.lower(), port, exceptions):
        return None
    try:
        url = urlsplit(value if "://" in value else f"http://{value}")
        right = url.scheme == "http" and bool(url.hostname)
        proxy_port = url.port or 80
    except ValueError:
        right = False
    if not right:
        # The value is not repeated: it may have a password in it.
        raise UsageError(
            f"{name} is not the address of an HTTP proxy.",
            hint=f"set {name} to an address such as http://proxy:3128, or name {host} in NO_PROXY",
        )
    login = unquote(url.netloc.rpartition("@")[0])
    authorization = f"Basic {b64encode(login.encode()).decode()}" if login else ""
    return HttpProxy(url.hostname or "", proxy_port, authorization)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    return any(_covers(e.strip().lower(), host, port) for e in exceptions.split(",") if e.strip())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass  # the host or the entry is a name
    name, colon, wanted_port = entry.rpartition(":")
    if colon and wanted_port.isdecimal():
        if int(wanted_port) != port:
            return False
        entry = name.strip("[]")
    entry = entry.removeprefix("*")
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or host.endswith(f".{entry}")
