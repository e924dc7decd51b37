"""gRPC messages on a stream of bytes: one byte "compressed", four bytes length, then the body.

`Inbox` takes bytes in any chunking and holds whole messages until a handler takes them. `Outbox` takes
messages and gives bytes in any chunking. Neither knows of sockets, windows or time; both count what
they hold in a `Tally` that all streams of a connection share, so that its memory can be bounded.
Source: grpc/grpc `doc/PROTOCOL-HTTP2.md` (Length-Prefixed-Message), `doc/compression.md`.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from itertools import chain
from struct import Struct

from depotlab._rpc.call import RpcFault, Status

__all__ = ["PREFIX", "PREFIX_BYTES", "Inbox", "Outbox", "Piece", "Tally"]

Piece = bytes | bytearray | memoryview

PREFIX = Struct(">BL")
PREFIX_BYTES = PREFIX.size

# Bodies up to this size are copied together with their neighbours; larger ones are sent from where they
# are. A copy of 4 KiB costs less than a piece of its own costs on its way.
_COPIED_BYTES = 4096
# An accumulator grows to this and a new one begins: appending to a long bytearray moves it.
_ACCUMULATOR_BYTES = 64 << 10
# Small messages that come together are joined in one go from so many on: entries of a tree come in hundreds.
_FEW = 8
_JOINED_BYTES = 32 << 10
_N_PREFIXES = 1024
_PREFIXES = [PREFIX.pack(0, length) for length in range(_N_PREFIXES)]
_PLAIN = frozenset((bytes, bytearray))
# Shorter parts of an unfinished message are merged: a peer that sends single bytes costs single bytes.
_MERGED_BYTES = 1024
# One receive_many() stops inflating here; what is left stays compressed until the next.
_INFLATED_BYTES = 4 << 20
_GZIP_WBITS = 31  # zlib's number for a gzip header and trailer


class Tally:
    """Bytes held for all streams of a connection.

    Attributes:
        unread_bytes: Whole messages that no handler has taken.
        partial_bytes: Messages whose end has not arrived.
        queued_bytes: Outgoing, not yet cut into frames.
    """

    __slots__ = ("partial_bytes", "queued_bytes", "unread_bytes")

    def __init__(self) -> None:
        self.unread_bytes = 0
        self.partial_bytes = 0
        self.queued_bytes = 0


class _Compressed(bytes):
    """A body that is still gzip."""


class Inbox:
    """Whole messages of one stream, in order of arrival.

    Attributes:
        gzip: Compressed messages are inflated when they are taken; otherwise they are a fault.
        ready: Bodies that no handler has taken.
        ended: The peer has sent its last byte.
        fault: Why nothing more can be read; it comes after the messages that are ready.
        unread_bytes: Of `ready`, with prefixes, as they came over the wire.
        partial_bytes: Of the message that is still arriving.
    """

    __slots__ = (
        "_any_compressed",
        "_keeps_pieces",
        "_limit_bytes",
        "_missing",
        "_parts",
        "_pieces",
        "_prefix",
        "_squeezed",
        "_tally",
        "ended",
        "fault",
        "gzip",
        "partial_bytes",
        "ready",
        "unread_bytes",
    )

    def __init__(self, tally: Tally, *, limit_bytes: int) -> None:
        self.gzip = False
        self.ready: deque[bytes] = deque()
        self.ended = False
        self.fault: RpcFault | None = None
        self.unread_bytes = 0
        self.partial_bytes = 0
        self._tally = tally
        self._limit_bytes = limit_bytes
        self._prefix = b""  # up to four bytes of a prefix that is cut in two
        self._parts: list[bytes | bytearray] = []
        self._missing = 0  # bytes of the current body that have not arrived
        self._squeezed = False  # the current body is compressed
        self._keeps_pieces = False
        self._pieces: list[memoryview] = []  # with prefixes, as they came
        self._any_compressed = False

    # ------------------------------------------------------------------------------ arriving

    def keep_pieces(self) -> bool:
        """From now on keep bytes as they come, for whom takes messages apart himself and saves two copies.

        Returns:
            False when a message is compressed: then all is as before.
        """
        if self.gzip or self._any_compressed:
            return False
        came: list[bytes | bytearray] = []
        for body in self.ready:
            came += (PREFIX.pack(0, len(body)), body)
        if self._missing:
            n_bytes = sum(map(len, self._parts)) + self._missing
            came += (PREFIX.pack(0, n_bytes), *self._parts)
        elif self._prefix:
            came.append(self._prefix)
        self.discard()
        self._keeps_pieces = True
        self._pieces = [memoryview(piece) for piece in came]
        self._count(sum(map(len, came)))
        return True

    @property
    def has_arrived(self) -> bool:
        """Whether there is something to take."""
        return bool(self.ready or self._pieces)

    def feed_run(self, data: bytes, spans: Sequence[tuple[int, int]]) -> None:
        """Take the bytes of each span of `data`, in order."""
        # The Go server begins a frame with each message, and small ones end with it: these few lines decide how fast
        # they arrive.
        if not (self._missing or self._prefix or self._keeps_pieces or self.fault):
            ready, unpack, limit, n_bytes, n_taken = (
                self.ready,
                PREFIX.unpack_from,
                self._limit_bytes,
                0,
                0,
            )
            for start, stop in spans:
                if stop - start < PREFIX_BYTES:
                    break
                flag, length = unpack(data, start)
                if flag or length > limit or start + PREFIX_BYTES + length != stop:
                    break
                ready.append(data[start + PREFIX_BYTES : stop])
                n_bytes += stop - start
                n_taken += 1
            self._count(n_bytes)
            spans = spans[n_taken:]
        for start, stop in spans:
            self.feed(data, start, stop)

    def feed(self, data: bytes, at: int, end: int) -> None:
        """Take the bytes `data[at:end]`; at the first mistake of the peer, set `fault` and stop."""
        if self.fault is not None:
            return
        if self._keeps_pieces:
            self._pieces.append(memoryview(data)[at:end])
            self._count(end - at)
            return
        if self._missing:
            if end - at < self._missing:
                self._add_part(data, at, end)
                return
            stop = at + self._missing
            self._parts.append(data[at:stop])
            self._finish_partial()
            at = stop
        elif self._prefix:
            data = self._prefix + data[at:end]
            self._prefix = b""
            at, end = 0, len(data)
        # This loop runs once per message and decides how fast small ones arrive.
        ready, unpack, limit, first = self.ready, PREFIX.unpack_from, self._limit_bytes, at
        while end - at >= PREFIX_BYTES:
            flag, length = unpack(data, at)
            if (flag or length > limit) and not self._allows(flag, length):
                self._count(at - first)
                return
            start = at + PREFIX_BYTES
            stop = start + length
            if stop > end:
                self._count(at - first)
                self._missing = length
                self._squeezed = bool(flag)
                self._count_partial(PREFIX_BYTES)
                if start < end:
                    self._add_part(data, start, end)
                return
            body = data[start:stop]
            ready.append(_Compressed(body) if flag else body)
            at = stop
        self._count(at - first)
        if at < end:
            self._prefix = data[at:end]

    def end(self) -> None:
        """Note that the peer has sent its last byte."""
        if self.fault is None and (self._missing or self._prefix):
            self.fail(Status.INTERNAL, "the request ended inside a message")
        self.ended = True

    def fail(self, status: Status, text: str) -> None:
        """Read no more; `fault` comes after the messages that are ready."""
        self.fault = RpcFault(status, text)
        self._drop_partial()

    def discard(self) -> None:
        """Forget everything that is held."""
        self.ready.clear()
        self._pieces = []
        self._count(-self.unread_bytes)
        self._drop_partial()

    def _allows(self, flag: int, length: int) -> bool:
        if flag > 1:
            self.fail(Status.INTERNAL, f"a message begins with the byte {flag}, not 0 or 1")
        elif length > self._limit_bytes:
            self.fail(
                Status.RESOURCE_EXHAUSTED,
                f"a message of {length} bytes is larger than {self._limit_bytes} bytes",
            )
        self._any_compressed |= bool(flag)
        return self.fault is None

    def _add_part(self, data: bytes, at: int, end: int) -> None:
        parts, n_bytes = self._parts, end - at
        self._missing -= n_bytes
        self._count_partial(n_bytes)
        if n_bytes >= _MERGED_BYTES:
            parts.append(data[at:end])
        elif parts and isinstance(parts[-1], bytearray):
            parts[-1] += data[at:end]
        else:
            parts.append(bytearray(data[at:end]))

    def _finish_partial(self) -> None:
        body = b"".join(self._parts)
        self.ready.append(_Compressed(body) if self._squeezed else body)
        self._drop_partial()
        self._count(PREFIX_BYTES + len(body))

    def _drop_partial(self) -> None:
        self._parts = []
        self._missing = 0
        self._prefix = b""
        self._count_partial(-self.partial_bytes)

    def _count(self, n_bytes: int) -> None:
        self.unread_bytes += n_bytes
        self._tally.unread_bytes += n_bytes

    def _count_partial(self, n_bytes: int) -> None:
        self.partial_bytes += n_bytes
        self._tally.partial_bytes += n_bytes

    # -------------------------------------------------------------------------------- taking

    def take(self) -> bytes:
        """Return the oldest body; there must be one.

        Raises:
            RpcFault: It is compressed without notice, broken, or too large once inflated.
        """
        body = self.ready.popleft()
        self._count(-PREFIX_BYTES - len(body))
        return self._inflate(body) if type(body) is _Compressed else body

    def take_all(self) -> list[bytes]:
        """Return all bodies that are ready, oldest first.

        Of compressed ones, as many as inflate to a few MiB: a burst may be a thousand times larger
        than it was on the wire.
        """
        if not self._any_compressed:
            bodies = list(self.ready)
            self.ready.clear()
            self._count(-self.unread_bytes)
            return bodies
        bodies = []
        n_bytes = 0
        while self.ready and n_bytes < _INFLATED_BYTES:
            bodies.append(self.take())
            n_bytes += len(bodies[-1])
        return bodies

    def take_pieces(self) -> list[memoryview]:
        """Return what has come since `keep_pieces`, cut anywhere: prefixes are in it, and nothing is checked."""
        pieces, self._pieces = self._pieces, []
        self._count(-self.unread_bytes)
        return pieces

    def _inflate(self, body: bytes) -> bytes:
        if not self.gzip:
            raise RpcFault(Status.INTERNAL, "a message is compressed, but grpc-encoding is not")
        machine = zlib.decompressobj(_GZIP_WBITS)
        try:
            plain = machine.decompress(body, self._limit_bytes + 1)
        except zlib.error as error:
            raise RpcFault(Status.INTERNAL, f"a message is not gzip: {error}") from error
        if len(plain) > self._limit_bytes:
            raise RpcFault(
                Status.RESOURCE_EXHAUSTED,
                f"a message inflates to more than {self._limit_bytes} bytes",
            )
        if not machine.eof or machine.unused_data:
            raise RpcFault(Status.INTERNAL, "a message is not one whole gzip member")
        return plain


class Outbox:
    """Outgoing bytes of one stream.

    Small bodies are copied one after the other into accumulators, so that many share a frame; large
    ones stay where they are and are sliced.

    Attributes:
        n_bytes: Held here, with prefixes.
    """

    __slots__ = ("_open", "_pieces", "_tally", "n_bytes")

    def __init__(self, tally: Tally) -> None:
        self.n_bytes = 0
        self._tally = tally
        self._pieces: deque[Piece] = deque()
        self._open: bytearray | None = None  # the accumulator at the end of _pieces

    def add(self, message: Piece) -> None:
        """Add one message."""
        if isinstance(message, memoryview):
            self.add_pieces([message], message.nbytes)
            return
        length = len(message)
        into = self._open
        if into is None or len(into) > _ACCUMULATOR_BYTES:
            into = self._open = bytearray()
            self._pieces.append(into)
        into += PREFIX.pack(0, length)
        if length <= _COPIED_BYTES:
            into += message
        else:
            self._pieces.append(memoryview(message))
            self._open = None
        self.n_bytes += length + PREFIX_BYTES
        self._tally.queued_bytes += length + PREFIX_BYTES

    def add_gzip(self, message: bytes) -> None:
        """Add one message that is gzip already."""
        prefix = PREFIX.pack(1, len(message))
        self._append(memoryview(prefix))
        self._append(memoryview(message))
        self.n_bytes += len(message) + PREFIX_BYTES
        self._tally.queued_bytes += len(message) + PREFIX_BYTES

    def add_many(self, messages: Sequence[Piece]) -> None:
        """Add messages in order."""
        if len(messages) < _FEW or not _PLAIN.issuperset(map(type, messages)):
            for message in messages:
                self.add(message)
            return
        sizes = list(map(len, messages))
        if max(sizes) > _JOINED_BYTES:
            for message in messages:
                self.add(message)
            return
        prefixes = [_PREFIXES[n] if n < _N_PREFIXES else PREFIX.pack(0, n) for n in sizes]
        body = b"".join(chain.from_iterable(zip(prefixes, messages, strict=True)))
        self._append(memoryview(body))
        self.n_bytes += len(body)
        self._tally.queued_bytes += len(body)

    def add_pieces(self, pieces: list[bytes | memoryview], length: int) -> None:
        """Add one message of `length` bytes that is given in pieces.

        Raises:
            ValueError: The pieces have another length; nothing is added.
        """
        views = [memoryview(piece).cast("B") for piece in pieces]
        found = sum(map(len, views))
        if found != length:
            raise ValueError(f"the pieces of a message have {found} bytes, not {length}")
        self._append(memoryview(PREFIX.pack(0, length)))
        for view in views:
            if view:
                self._append(view)
        self.n_bytes += length + PREFIX_BYTES
        self._tally.queued_bytes += length + PREFIX_BYTES

    def _append(self, view: memoryview) -> None:
        into = self._open
        if len(view) > _COPIED_BYTES:
            self._pieces.append(view)
            self._open = None
        elif into is None or len(into) > _ACCUMULATOR_BYTES:
            self._open = bytearray(view)
            self._pieces.append(self._open)
        else:
            into += view

    def cut(self, n_bytes: int) -> list[memoryview]:
        """Take the next `n_bytes`; so many must be held."""
        into: list[memoryview] = []
        self.n_bytes -= n_bytes
        self._tally.queued_bytes -= n_bytes
        pieces = self._pieces
        while n_bytes:
            head = pieces[0]
            if not isinstance(head, memoryview):
                if head is self._open:
                    self._open = None  # a bytearray that is looked at cannot grow
                head = pieces[0] = memoryview(head)
            length = len(head)
            if length <= n_bytes:
                into.append(head)
                pieces.popleft()
                n_bytes -= length
            else:
                into.append(head[:n_bytes])
                pieces[0] = head[n_bytes:]
                break
        return into

    def discard(self) -> None:
        """Forget everything that is held."""
        self._tally.queued_bytes -= self.n_bytes
        self.n_bytes = 0
        self._pieces.clear()
        self._open = None
