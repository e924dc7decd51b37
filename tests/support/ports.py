"""Ports for programs that are told where to listen."""

from __future__ import annotations

import socket

__all__ = ["held_port"]


def held_port() -> socket.socket:
    """Return a socket with a free port of the loopback, which nobody else is given until it is closed.

    Nobody listens, so that who connects is refused; but a program that sets SO_REUSEADDR may listen there, as servers
    of Go, Python and OpenSSH do. Without it any connection that begins meanwhile could be given the port. Source:
    socket(7).
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held
