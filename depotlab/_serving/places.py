"""Where a server listens: whether others reach it, and how a port is taken."""

from __future__ import annotations

import ipaddress
import socket

__all__ = ["bind", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Return whether only this computer reaches a host, which is an address or a name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """Take a port of an interface, or of all of them where `host` is empty; port 0 takes a free one.

    Raises:
        OSError: It cannot be had.
        OverflowError: There is no port of that number.
    """
    found = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # With the protocol: asyncio switches Nagle's algorithm off only where it reads TCP, and an
    # answer in two pieces would else wait 40 ms. Source: CPython asyncio/base_events.py.
    bound = socket.socket(found[0], found[1], socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(found[4])
    except BaseException:
        bound.close()
        raise
    return bound
