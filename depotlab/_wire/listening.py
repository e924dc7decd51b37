"""The tap that a conversation is written down by.

It looks at every payload while it passes, to name the messages and to find what belongs together, and keeps none. When
texts were asked for they are made here, so that what is hidden was never kept.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from depotlab._proto import control_pb2
from depotlab._rpc import Exchange, Side, Status
from depotlab._wire.messages import kind_of, message_of, subject_of, subject_of_request
from depotlab._wire.plain import message_text, plain
from depotlab._wire.registries import Registries
from depotlab._wire.values import Exchanges, RegistryTalk, WireExchange, WireMessage

__all__ = ["Listener"]

_MOST_TEXT = 2000
_MOST_MESSAGES = 2000
"""Of one exchange. What comes after them is counted with the last of its kind."""

_MOST_PATTERNS = 40
_BUILD_ID = "buildkit-controlapi-buildid"
_CONTROL = "moby.buildkit.v1.Control"


@dataclass(slots=True)
class _Run:
    """What becomes a `WireMessage`: there may be one for each file of a tree, so they are counted up in place."""

    sender: Side
    kind: str
    n: int
    size_bytes: int
    began_s: float
    ended_s: float
    text: str

    def value(self) -> WireMessage:
        return WireMessage(
            self.sender,
            self.kind,
            self.n,
            self.size_bytes,
            self.began_s,
            self.ended_s,
            self.text,
        )


class _Call:
    """One exchange that goes on."""

    def __init__(self, exchange: Exchange, number: int) -> None:
        self.exchange = exchange
        self.number = number
        self.subject = subject_of(exchange)
        self.messages: list[_Run] = []
        self.last: dict[tuple[Side, str], int] = {}
        self.ref = next(iter(exchange.headers.get(_BUILD_ID, ())), "")
        self.is_solve = False
        self.session = ""  # that a Solve names
        self.ended_ns: int | None = None
        self.status = ""
        self.status_text = ""


class Listener:
    """A tap, and the conversation so far.

    Args:
        payloads: Whether messages get a text.
        began_ns: `time.time_ns()` of the beginning.

    Attributes:
        wants_payloads: Always: they tell which messages are which.
    """

    wants_payloads = True

    def __init__(self, *, payloads: bool, began_ns: int) -> None:
        self._payloads = payloads
        self._began_ns = began_ns
        self._calls: dict[int, _Call] = {}
        self._registries = Registries()
        self._lock = threading.Lock()

    # ------------------------------------------------------------------------ what a tap hears

    def began(self, exchange: Exchange) -> None:
        """See `Tap`."""
        with self._lock:
            self._calls[exchange.number] = _Call(exchange, len(self._calls) + 1)

    def message(
        self, exchange: Exchange, sender: Side, size_bytes: int, payload: bytes | None, at_ns: int
    ) -> None:
        """See `Tap`."""
        call = self._calls[exchange.number]
        kind = kind_of(exchange, sender, payload)
        wants_text = self._payloads and len(call.messages) < _MOST_MESSAGES
        read = None
        if payload is not None and (wants_text or _is_telling(exchange, sender)):
            read = message_of(exchange, sender, payload)
        text = message_text(read, _MOST_TEXT) if wants_text and read is not None else ""
        at_s = self._since(at_ns)
        with self._lock:
            if read is not None:
                self._learn(call, sender, read, at_s)
            self._add(call, sender, kind, size_bytes, at_s, text)

    def ended(self, exchange: Exchange, code: int, text: str, at_ns: int) -> None:
        """See `Tap`."""
        known = code in Status.__members__.values()
        with self._lock:
            call = self._calls[exchange.number]
            call.ended_ns = at_ns
            call.status = Status(code).name if known else str(code)
            call.status_text = plain(text)

    # -------------------------------------------------------------------------- what was heard

    def exchanges(self) -> Exchanges:
        """Return the conversation so far."""
        with self._lock:
            calls = list(self._calls.values())
            solves = [call for call in calls if call.is_solve]
            of_session = {call.session: call.number for call in solves if call.session}
            of_ref = {call.ref: call.number for call in solves if call.ref}
            sessions = {
                call.exchange.session_id: call.number
                for call in calls
                if call.exchange.asker == "client" and call.exchange.session_id
            }
            return Exchanges(
                self._value(call, _parent(call, sessions, of_session, of_ref)) for call in calls
            )

    def registries(self) -> tuple[RegistryTalk, ...]:
        """Return what the daemon did at registries, in order."""
        with self._lock:
            return self._registries.told()

    def _value(self, call: _Call, parent: int | None) -> WireExchange:
        exchange = call.exchange
        took = None if call.ended_ns is None else (call.ended_ns - exchange.began_ns) / 1e9
        return WireExchange(
            number=call.number,
            asker=exchange.asker,
            service=exchange.service,
            method=exchange.method,
            subject=call.subject,
            parent=parent,
            began_s=self._since(exchange.began_ns),
            duration_s=took,
            status=call.status,
            status_text=call.status_text,
            endpoint=exchange.endpoint,
            headers=_shown_headers(exchange.headers),
            messages=tuple(run.value() for run in call.messages),
        )

    def _since(self, at_ns: int) -> float:
        return (at_ns - self._began_ns) / 1e9

    def _add(
        self, call: _Call, sender: Side, kind: str, size_bytes: int, at_s: float, text: str
    ) -> None:
        n_runs = len(call.messages)
        at = call.last.get((sender, kind))
        is_next = at == n_runs - 1 and not self._payloads
        if at is not None and (is_next or n_runs >= _MOST_MESSAGES):
            run = call.messages[at]
            run.n += 1
            run.size_bytes += size_bytes
            run.ended_s = at_s
        else:
            call.last[sender, kind] = n_runs
            call.messages.append(_Run(sender, kind, 1, size_bytes, at_s, at_s, text))

    def _learn(self, call: _Call, sender: Side, message: Message, at_s: float) -> None:
        exchange = call.exchange
        if isinstance(message, control_pb2.StatusResponse):
            self._registries.read(message, at_s)
        if sender != exchange.asker or call.messages:
            return
        call.subject = call.subject or subject_of_request(exchange, message)
        if isinstance(message, control_pb2.SolveRequest):
            call.is_solve, call.ref, call.session = True, message.Ref, message.Session
        elif isinstance(message, control_pb2.StatusRequest):
            call.ref = message.Ref


def _is_telling(exchange: Exchange, sender: Side) -> bool:
    """Whether a message says more than what it is: the first of a call, and what `Status` reports."""
    if exchange.service == _CONTROL and exchange.method == "Status":
        return True
    return sender == exchange.asker and not exchange.service.startswith("moby.filesync.v1.File")


def _parent(
    call: _Call,
    sessions: Mapping[str, int],
    of_session: Mapping[str, int],
    of_ref: Mapping[str, int],
) -> int | None:
    exchange = call.exchange
    if call.is_solve:
        return None
    if exchange.asker == "daemon":
        return sessions.get(exchange.session_id or "")
    if exchange.session_id:
        return of_session.get(exchange.session_id)
    return of_ref.get(call.ref) if call.ref else None


def _shown_headers(headers: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(plain(value) for value in values[:_MOST_PATTERNS])
        for name, values in headers.items()
    }
