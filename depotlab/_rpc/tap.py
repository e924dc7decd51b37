"""Taps: who looks on is told of every gRPC call of this process, ours to a daemon and the daemon's to us.

`tapped(tap)` opens a tap. Calls that begin while it is open are told to it until it is closed: their beginning,
each message, their end. Calls are made on the I/O thread, so that is where a tap is called, in the order in which
our side sent and took the messages; one call at a time. A tap that raises is closed, its exception is logged and
kept in `OpenTap.failure`: looking on never breaks a build.

Whoever makes calls looks at `open_taps` once when a call begins, and goes the way that he always goes when it is
empty. Messages are counted as they are before compression.

Some payloads are never told, whatever a tap wants: credentials and tokens, secrets, the traffic of SSH agents, and
the bytes of `Control.Session`, in which all of these travel.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, ParamSpec, Protocol, runtime_checkable
from urllib.parse import urlsplit

from depotlab._rpc.call import RpcFault, Status
from depotlab._rpc.failed import RpcFailed
from depotlab._rpc.framing import Piece
from depotlab.errors import DepotlabError

__all__ = ["Exchange", "OpenTap", "Side", "Tap", "Telling", "begin_telling", "tapped"]

P = ParamSpec("P")
Side = Literal["client", "daemon"]

SESSION = "/moby.buildkit.v1.Control/Session"
SESSION_ID = "x-docker-expose-session-uuid"

_BOTH: frozenset[Side] = frozenset(("client", "daemon"))
_OURS: frozenset[Side] = frozenset(("client",))
# Whose messages of which services are never handed on.
_SEALED_SERVICES: Mapping[str, frozenset[Side]] = {
    "moby.buildkit.secrets.v1.Secrets": _OURS,
    "moby.filesync.v1.Auth": _OURS,
    "moby.sshforward.v1.SSH": _BOTH,
}
_SECRET_NAME = re.compile(r"auth|cookie|credential|passw|secret|token|api-?key", re.IGNORECASE)
_GZIP_WBITS = 31  # zlib's number for a gzip header and trailer
_log = logging.getLogger("depotlab.rpc")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One gRPC call, whoever asked.

    Attributes:
        number: Counted in this process, from 1.
        asker: `daemon` for calls that came over a session.
        service: Such as `moby.buildkit.v1.Control`.
        method: Such as `Solve`.
        headers: Of the request, in lower case, each with all its values in order; what may be a credential
            is left out.
        endpoint: Where the connection goes, without credentials.
        session_id: Of the session that the call came over, or that it is; None for all others.
        began_ns: `time.time_ns()`.
    """

    number: int
    asker: Side
    service: str
    method: str
    headers: Mapping[str, tuple[str, ...]]
    endpoint: str
    session_id: str | None
    began_ns: int

    @property
    def path(self) -> str:
        """The full name of the method, such as `/moby.buildkit.v1.Control/Solve`."""
        return f"/{self.service}/{self.method}"


class Tap(Protocol):
    """Who looks on. Called on the thread that makes the calls, and must be quick.

    Attributes:
        wants_payloads: Asked for once, when the tap is opened.
    """

    wants_payloads: bool

    def began(self, exchange: Exchange) -> None:
        """Hear of a call."""

    def message(
        self, exchange: Exchange, sender: Side, size_bytes: int, payload: bytes | None, at_ns: int
    ) -> None:
        """Hear of one message of a call.

        Args:
            exchange: The call.
            sender: Whose message it is.
            size_bytes: Without the prefix of gRPC, before compression. Of `Control.Session`, what came together.
            payload: If wanted, and not one of those that are never told.
            at_ns: `time.time_ns()`.
        """

    def ended(self, exchange: Exchange, code: int, text: str, at_ns: int) -> None:
        """Hear of the end of a call: the gRPC status, its text, and when."""


@runtime_checkable
class FailureTap(Protocol):
    """A tap that also wants the typed details of failures."""

    def failed(self, exchange: Exchange, details: bytes) -> None:
        """Hear of the serialised `google.rpc.Status` of a failure, before the end of its call."""


class OpenTap:
    """A tap that is told of calls until it is closed.

    Attributes:
        failure: What the tap raised; it is told nothing more then.
    """

    def __init__(self, tap: Tap) -> None:
        self.wants_payloads = tap.wants_payloads
        self.failure: Exception | None = None
        self._tap = tap
        self._is_open = True
        # Who closes it is on another thread than the calls: nothing is told after `close` has returned.
        self._lock = threading.RLock()

    def close(self) -> None:
        """Tell nothing more."""
        with self._lock:
            self._is_open = False

    def began(self, exchange: Exchange) -> None:
        """See `Tap`."""
        self._tell(self._tap.began, exchange)

    def message(
        self, exchange: Exchange, sender: Side, size_bytes: int, payload: bytes | None, at_ns: int
    ) -> None:
        """See `Tap`."""
        told = payload if self.wants_payloads else None
        self._tell(self._tap.message, exchange, sender, size_bytes, told, at_ns)

    def failed(self, exchange: Exchange, details: bytes) -> None:
        """See `FailureTap`; a tap without the method does without."""
        if self.wants_payloads and isinstance(self._tap, FailureTap):
            self._tell(self._tap.failed, exchange, details)

    def ended(self, exchange: Exchange, code: int, text: str, at_ns: int) -> None:
        """See `Tap`."""
        self._tell(self._tap.ended, exchange, code, text, at_ns)

    def _tell(self, what: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        with self._lock:
            if not self._is_open:
                return
            try:
                what(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - whoever looks on is not part of the build
                self._is_open = False
                self.failure = error
                _log.exception("a tap failed and is told nothing more")


open_taps: tuple[OpenTap, ...] = ()
"""Those that are told of calls that begin now."""

_numbers = itertools.count(1)
_changing = threading.Lock()


@contextmanager
def tapped(tap: Tap) -> Iterator[OpenTap]:
    """Tell `tap` of every call that this process begins, or is asked, inside the block.

    Several may be open at once. Yields what knows whether the tap failed.
    """
    global open_taps
    opened = OpenTap(tap)
    with _changing:
        open_taps = (*open_taps, opened)
    try:
        yield opened
    finally:
        with _changing:
            open_taps = tuple(one for one in open_taps if one is not opened)
        opened.close()


def _forget() -> None:
    """After a fork the threads are gone that looked on, and the locks may be held for ever."""
    global open_taps, _changing
    open_taps = ()
    _changing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Telling:
    """One call, told to the taps that were open when it began. Made by `begin_telling`."""

    def __init__(self, exchange: Exchange, taps: Sequence[OpenTap]) -> None:
        self._exchange = exchange
        self._taps = taps
        self._over = False
        sealed = _BOTH if exchange.path == SESSION else _SEALED_SERVICES.get(exchange.service, ())
        wanted = any(tap.wants_payloads for tap in taps)
        self._told: frozenset[Side] = _BOTH.difference(sealed) if wanted else frozenset()

    def message(self, sender: Side, message: Piece) -> None:
        """Tell of one message. After the end nothing is told."""
        payload = bytes(message) if sender in self._told else None
        self._message(sender, memoryview(message).nbytes, payload)

    def pieces(self, sender: Side, pieces: Iterable[Piece], size_bytes: int) -> None:
        """Tell of one message that is in pieces."""
        payload = b"".join(pieces) if sender in self._told else None
        self._message(sender, size_bytes, payload)

    def gzip(self, sender: Side, message: bytes) -> None:
        """Tell of one message that is one gzip member."""
        payload = zlib.decompress(message, _GZIP_WBITS) if sender in self._told else None
        # The member ends with the length of what is in it (RFC 1952, 2.3.1).
        self._message(sender, int.from_bytes(message[-4:], "little"), payload)

    def size(self, sender: Side, size_bytes: int) -> None:
        """Tell how long a message is, or some that came together, and nothing else."""
        self._message(sender, size_bytes, None)

    def _message(self, sender: Side, size_bytes: int, payload: bytes | None) -> None:
        if self._over:
            return
        at_ns = time.time_ns()
        for tap in self._taps:
            tap.message(self._exchange, sender, size_bytes, payload, at_ns)

    def ended(self, status: int = Status.OK, text: str = "") -> None:
        """Tell of the end; only the first counts."""
        if self._over:
            return
        self._over = True
        at_ns = time.time_ns()
        for tap in self._taps:
            tap.ended(self._exchange, int(status), text, at_ns)

    def finished(self, fault: RpcFault | None) -> None:
        """Tell of the end of a call that we answered."""
        if fault is None:
            self.ended()
        else:
            self.ended(fault.status, fault.message)

    def _failed(self, details: bytes) -> None:
        if details and not self._over and "daemon" in self._told:
            for tap in self._taps:
                tap.failed(self._exchange, details)

    def broke(self, error: BaseException) -> None:
        """Tell of the end of a call of ours that is an exception here."""
        if isinstance(error, RpcFailed):
            self._failed(error.details)
            self.ended(error.status, error.message)
        elif isinstance(error, DepotlabError):
            self.ended(Status.UNAVAILABLE, error.message)
        elif isinstance(error, Exception):
            self.ended(Status.UNKNOWN, type(error).__name__)
        else:
            self.ended(Status.CANCELLED, "given up by this side")


def begin_telling(
    asker: Side,
    path: str,
    headers: Iterable[tuple[str, str]] | Mapping[str, Sequence[str]],
    *,
    endpoint: str,
    session_id: str | None = None,
) -> Telling | None:
    """Tell the open taps of a new call.

    Args:
        asker: Who makes it.
        path: Full name of the method.
        headers: Of the request.
        endpoint: Where the connection goes.
        session_id: If the call is of a session.

    Returns:
        What is to be told the rest, or None when no tap is open.
    """
    taps = open_taps
    if not taps:
        return None
    service, _, method = path.removeprefix("/").rpartition("/")
    shown = _shown(headers)
    if path == SESSION and session_id is None:
        session_id = next(iter(shown.get(SESSION_ID, ())), None)
    exchange = Exchange(
        number=next(_numbers),
        asker=asker,
        service=service,
        method=method,
        headers=shown,
        endpoint=_plain(endpoint),
        session_id=session_id,
        began_ns=time.time_ns(),
    )
    for tap in taps:
        tap.began(exchange)
    return Telling(exchange, taps)


def _shown(
    headers: Iterable[tuple[str, str]] | Mapping[str, Sequence[str]],
) -> dict[str, tuple[str, ...]]:
    """Return headers without those that may be credentials."""
    found: dict[str, list[str]] = {}
    if isinstance(headers, Mapping):
        found = {name.lower(): list(values) for name, values in headers.items()}
    else:
        for name, value in headers:
            found.setdefault(name.lower(), []).append(value)
    return {name: tuple(values) for name, values in found.items() if not _SECRET_NAME.search(name)}


def _plain(address: str) -> str:
    """Return an address without a password, should it have one."""
    place = urlsplit(address)
    user, at, host = place.netloc.rpartition("@")
    if not at or ":" not in user:
        return address
    return place._replace(netloc=f"{user.partition(':')[0]}@{host}").geturl()
