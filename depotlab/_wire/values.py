"""What a conversation consists of: exchanges, and the messages in them. Values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, overload

from depotlab._values import Tabular, Value, bytes_text, cut, table_html
from depotlab.errors import UsageError

__all__ = [
    "Asker",
    "Exchanges",
    "RegistryTalk",
    "WireExchange",
    "WireMessage",
    "named",
    "time_span",
]

Asker = Literal["client", "daemon"]
_ASKERS: tuple[Asker, ...] = ("client", "daemon")
_MOST_ROWS = 40


@dataclass(frozen=True, slots=True, repr=False)
class WireMessage(Value):
    """A message, or several of one kind that followed each other.

    Attributes:
        sender: `client` is this computer.
        kind: Name of the message's type, such as `SolveRequest`; of file sync the type of the packet: `STAT`, `REQ`,
            `DATA`, `FIN`, `ERR`.
        n: How many they are.
        size_bytes: Of all of them, before compression and without gRPC's prefixes.
        began_s: When the first came, since the conversation began.
        ended_s: When the last came.
        text: What is in it, on one line and cut, if payloads were asked for. Credentials never are.
    """

    sender: Asker
    kind: str
    n: int
    size_bytes: int
    began_s: float
    ended_s: float
    text: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class WireExchange(Value):
    """One call: who asked whom for what, and what went to and fro.

    Attributes:
        number: In this conversation, from 1, by when they began.
        asker: `client` is this computer; `daemon` asks over the session of a build.
        service: Such as `moby.buildkit.v1.Control`.
        method: Such as `Solve`.
        subject: What it is about, such as the name of a directory, the id of a secret or the host of a registry; may
            be empty.
        parent: Number of the exchange that it belongs to: what comes over a session belongs to `Control.Session`, and
            that and `Status` to `Solve`. None if there is none.
        began_s: Since the conversation began.
        duration_s: None while it runs.
        status: Name of the gRPC status, such as `OK` or `NOT_FOUND`; empty while it runs.
        status_text: What was said with it.
        endpoint: Where the connection goes.
        headers: Of the request, without credentials.
        messages: In order; those that are alike and followed each other are one.
    """

    number: int
    asker: Asker
    service: str
    method: str
    subject: str
    parent: int | None
    began_s: float
    duration_s: float | None
    status: str
    status_text: str
    endpoint: str
    headers: Mapping[str, tuple[str, ...]] = field(repr=False, hash=False)
    messages: tuple[WireMessage, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """The method with the last word of its service, such as `FileSync.DiffCopy`."""
        return f"{self.service.rpartition('.')[2]}.{self.method}"

    @property
    def sent_bytes(self) -> int:
        """Of all messages that this computer sent."""
        return sum(one.size_bytes for one in self.messages if one.sender == "client")

    @property
    def received_bytes(self) -> int:
        """Of all messages that it was sent."""
        return sum(one.size_bytes for one in self.messages if one.sender == "daemon")

    @property
    def counts(self) -> Mapping[str, int]:
        """How many messages of each kind there were, such as `{"STAT": 214, "REQ": 12}`."""
        return _counts(self.messages)

    @property
    def _peer(self) -> str:
        return "Depot" if self.service.startswith("depot.") else "daemon"

    def _facts(self) -> Iterable[tuple[str, object]]:
        return [
            (
                "who",
                f"client asks {self._peer}" if self.asker == "client" else "daemon asks client",
            ),
            ("call", self.name),
            ("subject", self.subject),
            ("parent", self.parent),
            ("began", time_span(self.began_s)),
            ("took", "" if self.duration_s is None else time_span(self.duration_s)),
            ("status", f"{self.status} {self.status_text}".strip() or "running"),
            ("messages", {kind: str(n) for kind, n in self.counts.items()}),
            ("sent_bytes", self.sent_bytes),
            ("received_bytes", self.received_bytes),
            ("endpoint", self.endpoint),
        ]

    def __repr__(self) -> str:
        arrow = f"{'→' if self.asker == 'client' else '←'} {self._peer}"
        took = "running" if self.duration_s is None else time_span(self.duration_s)
        words = [self.name, self.subject, self.status if self.status != "OK" else "", took]
        sizes = f"{bytes_text(self.sent_bytes)} sent, {bytes_text(self.received_bytes)} received"
        said = cut(" ".join(filter(None, words)), 120)
        return f"<{self.number} {arrow} {said}: {sizes}>"


@dataclass(frozen=True, slots=True, repr=False)
class RegistryTalk(Value):
    """What the daemon did at a registry, as far as it told us in `Status`.

    Attributes:
        host: Of the registry, such as `docker.io`.
        what: `resolve`, `pull` or `push`.
        ref: The image.
        began_s: When we heard of it, since the conversation began.
        size_bytes: Of the layers that were fetched; 0 if it did not say.
    """

    host: str
    what: str
    ref: str
    began_s: float
    size_bytes: int = 0


class Exchanges(Tabular, Sequence[WireExchange]):
    """Exchanges of a conversation, in the order in which they began.

    `exchanges["DiffCopy"]` are those of a method, a service or both (`"FileSync.DiffCopy"`), `exchanges[0]` is the
    first. Sums are over all of them.
    """

    __slots__ = ("_items",)

    _columns: ClassVar[tuple[str, ...]] = (
        "number",
        "asker",
        "service",
        "method",
        "subject",
        "parent",
        "began_s",
        "duration_s",
        "status",
        "n_sent",
        "sent_bytes",
        "n_received",
        "received_bytes",
    )

    def __init__(self, items: Iterable[WireExchange]) -> None:
        self._items = tuple(items)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[WireExchange]:
        return iter(self._items)

    def __contains__(self, key: object) -> bool:
        return bool(named(self, key)) if isinstance(key, str) else key in self._items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exchanges) and self._items == other._items

    def __hash__(self) -> int:
        return hash(tuple(one.number for one in self._items))

    @overload
    def __getitem__(self, key: int) -> WireExchange: ...

    @overload
    def __getitem__(self, key: slice | str) -> Exchanges: ...

    def __getitem__(self, key: int | slice | str) -> WireExchange | Exchanges:
        if isinstance(key, int):
            return self._items[key]
        if isinstance(key, slice):
            return Exchanges(self._items[key])
        found = named(self, key)
        if not found:
            names = ", ".join(sorted({one.name for one in self._items})) or "there were no calls"
            raise UsageError(
                f"[{key!r}]: no call of this conversation is called so.",
                hint=f"ask with `{key!r} in wire`; it has: {names}",
            )
        return Exchanges(found)

    def _ipython_key_completions_(self) -> list[str]:
        return sorted({one.name for one in self._items})

    def asked_by(self, who: Asker) -> Exchanges:
        """Return the calls that `"client"` (this computer) or `"daemon"` made.

        Raises:
            UsageError: `who` is neither.
        """
        if who not in _ASKERS:
            raise UsageError(
                f"asked_by({who!r}): nobody is called so.", hint='use "client" or "daemon"'
            )
        return Exchanges(one for one in self._items if one.asker == who)

    def about(self, subject: str) -> Exchanges:
        """Return the calls about something, such as `"context"` or the id of a secret; empty if there are none."""
        return Exchanges(one for one in self._items if one.subject == subject)

    def of(self, parent: WireExchange | int) -> Exchanges:
        """Return the calls that belong to another one, given by itself or its number."""
        number = parent.number if isinstance(parent, WireExchange) else parent
        return Exchanges(one for one in self._items if one.parent == number)

    @property
    def sent_bytes(self) -> int:
        """Of all messages that this computer sent."""
        return sum(one.sent_bytes for one in self._items)

    @property
    def received_bytes(self) -> int:
        """Of all messages that it was sent."""
        return sum(one.received_bytes for one in self._items)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many messages of each kind there were, such as `{"STAT": 214, "REQ": 12}`."""
        return _counts(message for one in self._items for message in one.messages)

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each exchange, for tables of any kind."""
        return [_row(one) for one in self._items]

    def __repr__(self) -> str:
        sizes = f"{bytes_text(self.sent_bytes)} sent, {bytes_text(self.received_bytes)} received"
        calls = f"{len(self)} exchange{'' if len(self) == 1 else 's'}"
        return f"<{calls}: {sizes}>"

    def _repr_html_(self) -> str:
        rest = len(self) - _MOST_ROWS
        return table_html(
            repr(self)[1:-1],
            ("", "began", "who asks", "call", "what", "sent", "received", "took", "status"),
            [_cells(one) for one in self._items[:_MOST_ROWS]],
            notes=[f"and {rest} more"] if rest > 0 else (),
            right=frozenset(("", "began", "sent", "received", "took")),
        )


def time_span(seconds: float) -> str:
    """Return a time as people say it: `12 ms`, `1.4 s`."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.0f} s"


def named(exchanges: Iterable[WireExchange], name: str) -> list[WireExchange]:
    """Return the calls of a method, a service, or both, however long the name is."""
    wanted = name.lstrip("/").casefold()
    return [one for one in exchanges if wanted in _names(one)]


def _names(one: WireExchange) -> set[str]:
    service = one.service.rpartition(".")[2]
    names = (one.method, one.name, one.service, service, f"{one.service}/{one.method}")
    return {name.casefold() for name in names}


def _counts(messages: Iterable[WireMessage]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for message in messages:
        counts[message.kind] += message.n
    return dict(counts)


def _row(one: WireExchange) -> dict[str, Any]:
    n_sent = sum(m.n for m in one.messages if m.sender == "client")
    return {
        "number": one.number,
        "asker": one.asker,
        "service": one.service,
        "method": one.method,
        "subject": one.subject,
        "parent": one.parent,
        "began_s": one.began_s,
        "duration_s": one.duration_s,
        "status": one.status,
        "n_sent": n_sent,
        "sent_bytes": one.sent_bytes,
        "n_received": sum(m.n for m in one.messages) - n_sent,
        "received_bytes": one.received_bytes,
    }


def _cells(one: WireExchange) -> list[str]:
    return [
        str(one.number),
        time_span(one.began_s),
        one.asker,
        one.name,
        cut(one.subject, 60),
        bytes_text(one.sent_bytes),
        bytes_text(one.received_bytes),
        "" if one.duration_s is None else time_span(one.duration_s),
        one.status or "running",
    ]
