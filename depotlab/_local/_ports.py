"""The registry's port: the same at every start if possible, since it is part of image names."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from depotlab.errors import EngineError

# Below the ports that Linux gives to outgoing connections (32768 and up by default), so that
# none of those takes ours while the engine is stopped.
_FIRST, _COUNT = 20_000, 10_000
_TRIES = 50


def is_free(port: int) -> bool:
    """Return whether nobody listens on a loopback port, on IPv4 and where there is one IPv6.

    IPv6 counts because `localhost` may mean it, and then images would go to a stranger.
    """
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # As Go does: a port in TIME_WAIT of our own last run is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                probe.listen(1)
        except OSError:
            if family == socket.AF_INET or _has_ipv6_loopback():
                return False
    return True


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def candidates(host_dir: Path, recorded: int | None) -> Iterator[int]:
    """Return the ports to try in order: the one of last time, then some that the path gives.

    Two state folders start from different ports, and one that was deleted and made anew gets
    the same port again, so that image names in a notebook stay right.
    """
    if recorded is not None:
        yield recorded
    digest = hashlib.sha256(bytes(host_dir)).digest()
    start = int.from_bytes(digest[:4], "big")
    for step in range(_TRIES):
        yield _FIRST + (start + step) % _COUNT


def choose(host_dir: Path, recorded: int | None, *, free: Callable[[int], bool] = is_free) -> int:
    """Return the port for the registry of a state folder.

    Args:
        host_dir: The state folder.
        recorded: The port of last time, or None.
        free: Says whether a port can be had.

    Raises:
        EngineError: All that were tried are taken.
    """
    for port in candidates(host_dir, recorded):
        if free(port):
            return port
    raise EngineError(
        f"No loopback port is free for the registry ({_TRIES} were tried).",
        hint="end what listens on ports 20000 to 29999",
    )
