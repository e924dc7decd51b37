"""What one call is to an HTTP/2 connection, what it may hold, and what can happen to it."""

from __future__ import annotations

from dataclasses import dataclass

from depotlab._rpc.framing import Inbox, Outbox, Tally
from depotlab._rpc.headers import Headers

__all__ = ["BodyArrived", "Event", "HeadersArrived", "HttpStream", "Limits", "StreamReset"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may make us hold.

    Attributes:
        window_bytes: Of each stream and of the connection, as we offer them.
        n_streams: Open at the same time.
        message_bytes: The largest message that is received.
        header_list_bytes: Of one request, counted as RFC 9113 6.5.2 does. Lines of a `.dockerignore`
            arrive as header fields; 40 000 of them make 3 MB.
        unread_bytes: Whole messages that wait for their handlers; beyond it, the peer waits.
        partial_bytes: Parts of unfinished messages; beyond it, calls fail with RESOURCE_EXHAUSTED.
    """

    window_bytes: int = 16 << 20
    n_streams: int = 1000
    message_bytes: int = 16 << 20
    header_list_bytes: int = 16 << 20
    unread_bytes: int = 32 << 20
    partial_bytes: int = 128 << 20


class HttpStream:
    """One call on the connection. `Connection` makes it; it and `Sending` change it.

    Attributes:
        id: Odd, growing.
        inbox: Messages of the peer.
        outbox: Messages to the peer; call `Sending.activate` after adding.
        send_window: Bytes that the peer would take now; may be negative.
        hungry: A handler waits for a message.
        active: It has a turn coming.
        gzip: The first header block says, or has said, that messages may be compressed.
        gone: Nothing will be sent or received any more.
    """

    __slots__ = (
        "active",
        "answered",
        "end_fields",
        "gone",
        "gzip",
        "hungry",
        "id",
        "inbox",
        "outbox",
        "send_window",
        "uncredited_bytes",
    )

    def __init__(self, stream_id: int, tally: Tally, send_window: int, limits: Limits) -> None:
        self.id = stream_id
        self.inbox = Inbox(tally, limit_bytes=limits.message_bytes)
        self.outbox = Outbox(tally)
        self.send_window = send_window
        self.uncredited_bytes = 0  # received, and not given back to the peer's window
        self.hungry = False
        self.active = False
        self.answered = False  # the first header block is out
        self.end_fields: bytes | None = None  # of the last header block, when the handler is done
        self.gone = False
        self.gzip = False


@dataclass(frozen=True, slots=True)
class HeadersArrived:
    """The peer opened a stream."""

    stream: HttpStream
    headers: Headers


@dataclass(frozen=True, slots=True)
class BodyArrived:
    """The inbox of a stream changed: messages, its end, or a fault. At most one a burst."""

    stream: HttpStream


@dataclass(frozen=True, slots=True)
class StreamReset:
    """A stream ended early, by the peer or because the peer broke a rule on it."""

    stream: HttpStream


Event = HeadersArrived | BodyArrived | StreamReset
