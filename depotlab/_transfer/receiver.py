"""The receiving side of file sync, as a state machine: packets in, what to write and what to ask for out.

The sender (the daemon, when it gives a directory) speaks first:

    listing   a STAT for every entry, depth first; content already asked for comes in between
    fetching  after the end of the list; content still comes
    finished  we have everything and said FIN; the sender answers with the same

Nothing that the sender says is believed. Its paths have to be relative and clean, in order, and below directories
that it listed before, so that no path occurs twice; content has to have the length that was listed, and comes only for
what was asked for. (The Go client takes any length. A daemon that fails to read a file sends it empty, without a
word, so that a shorter one is a mistake too.)

Only so many files are asked for at a time: the daemon may stop reading us while it sends, and requests for a large
tree would fill its window and our queue.

Source: tonistiigi/fsutil `receive.go`, `validator.go`, `send.go`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from depotlab._transfer import filemode
from depotlab._transfer.packets import (
    FIN,
    Entry,
    Kind,
    MalformedPacket,
    Packet,
    decode_packet,
    decode_stat,
    encode_request,
)
from depotlab.errors import ProtocolError, SessionError

__all__ = ["Content", "IncomingFile", "Receiver", "SenderFailed"]

MOST_ENTRIES = 10_000_000
MOST_ASKED = 2048
# Longer paths cannot be named by programs. It also bounds how deep a tree can be.
PATH_BYTES = 4096
_MOST_DEVICE = 1 << 32
_NO_NAMES = frozenset((b"", b".", b".."))


class SenderFailed(Exception):
    """The sender gave up; the text is its own."""


class IncomingFile:
    """A regular file whose content comes.

    Attributes:
        id: The number of its entry.
        entry: What was listed.
        n_received: How much content came.
    """

    __slots__ = ("entry", "id", "n_received")

    def __init__(self, entry_id: int, entry: Entry) -> None:
        self.id = entry_id
        self.entry = entry
        self.n_received = 0


class Content:
    """Content of a file, as it came in one burst.

    Attributes:
        file: Whose it is.
        pieces: In order; empty when only the end came.
        ended: Nothing more comes.
    """

    __slots__ = ("ended", "file", "pieces")

    def __init__(self, file: IncomingFile) -> None:
        self.file = file
        self.pieces: list[memoryview] = []
        self.ended = False


class Receiver:
    """What was listed, what is still owed, and when it is over. No I/O.

    Args:
        limit_bytes: The most content of all files together, or None.

    Attributes:
        n_listed: Entries listed so far.
        listed_bytes: Their content, as it was announced.
    """

    def __init__(self, *, limit_bytes: int | None = None) -> None:
        self.n_listed = 0
        self.listed_bytes = 0
        self._limit_bytes = limit_bytes
        # Directories on the way to the last entry, each with the last name in it.
        self._open: list[tuple[bytes, bytes]] = [(b"", b"")]
        self._waiting: deque[IncomingFile] = deque()
        self._asked: dict[int, IncomingFile] = {}
        self._list_ended = False
        self._said_fin = False
        self._ended = False

    @property
    def has_all(self) -> bool:
        """Whether the list and all content are here."""
        return self._list_ended and not self._asked and not self._waiting

    @property
    def is_over(self) -> bool:
        """Whether the sender has answered FIN."""
        return self._ended

    def requests(self) -> list[bytes]:
        """Return the packets that ask for more files, as many as may be asked for now."""
        waiting, asked = self._waiting, self._asked
        n_more = min(MOST_ASKED - len(asked), len(waiting))
        out = []
        for _ in range(n_more):
            file = waiting.popleft()
            asked[file.id] = file
            out.append(encode_request(file.id))
        return out

    def fin(self) -> bytes:
        """Return the packet that says that we have everything; works once."""
        if not self.has_all or self._said_fin:
            raise RuntimeError("FIN comes once, when everything is here")
        self._said_fin = True
        return FIN

    def receive(self, messages: Iterable[bytes]) -> list[Entry | Content]:
        """Take packets and return what to make and to write, in this order.

        An `Entry` is a directory, a link or a special file; a `Content` belongs to a regular file,
        which is listed when its first comes.

        Raises:
            SenderFailed: The sender gave up.
            ProtocolError: It sent what it may not send.
            SessionError: There is more than `limit_bytes`.
        """
        # Only here: it loads protobuf, which describing a context does not need.
        from depotlab._transfer.receiver_packets import data_start, entry_in

        events: list[Entry | Content] = []
        last: Content | None = None
        for message in messages:
            try:
                place = data_start(message)
                entry = entry_in(message) if place is None else None
                if place is None and entry is None:
                    packet = decode_packet(message)
                    if packet.kind is Kind.DATA:
                        place, message = (packet.id, 0), packet.data
                    elif packet.kind is Kind.STAT and packet.stat is not None:
                        entry = decode_stat(packet.stat)
                    else:
                        self._other(packet)
                        continue
            except MalformedPacket as error:
                raise ProtocolError(f"The builder sent a malformed packet: {error}.") from error
            if entry is not None:
                entry = self._list(entry)
                if entry is not None:
                    events.append(entry)
                    last = None
            elif place is not None:
                entry_id, start = place
                if last is None or last.file.id != entry_id or last.ended:
                    last = Content(self._asked_file(entry_id))
                    events.append(last)
                self._fill(last, message, start)
        return events

    def _asked_file(self, entry_id: int) -> IncomingFile:
        file = self._asked.get(entry_id)
        if file is None:
            raise ProtocolError(
                f"The builder sent content of entry {entry_id}, which nobody asked for."
            )
        return file

    def _fill(self, content: Content, message: bytes, start: int) -> None:
        file = content.file
        n_bytes = len(message) - start
        if n_bytes:
            file.n_received += n_bytes
            if file.n_received > file.entry.size_bytes:
                raise _wrong_length(file, "more")
            content.pieces.append(memoryview(message)[start:])
        else:
            if file.n_received != file.entry.size_bytes:
                raise _wrong_length(file, f"only {file.n_received}")
            del self._asked[file.id]
            content.ended = True

    def _other(self, packet: Packet) -> None:
        """Take a packet that is neither an entry nor content."""
        match packet.kind:
            case Kind.STAT:
                if self._list_ended:
                    raise ProtocolError("The builder ended its list of files twice.")
                self._list_ended = True
            case Kind.FIN:
                if not self._said_fin:
                    raise ProtocolError(
                        "The builder ended the transfer before everything was here."
                    )
                self._ended = True
            case Kind.ERR:
                raise SenderFailed(packet.data.decode("utf-8", "replace"))
            case _:
                raise ProtocolError(f"The builder sent a {packet.kind.name} packet to a receiver.")

    def _list(self, entry: Entry) -> Entry | None:
        """Take the next entry; return it unless its content is to come."""
        if self._list_ended:
            raise ProtocolError("The builder listed a file after the end of its list.")
        if self.n_listed >= MOST_ENTRIES:
            raise ProtocolError(f"The builder listed more than {MOST_ENTRIES} files.")
        self._check_place(entry.path, is_dir=bool(entry.mode & filemode.DIR))
        entry_id = self.n_listed
        self.n_listed += 1
        if entry.link or entry.mode & filemode.TYPES:
            _check_special(entry)
            return entry
        if entry.size_bytes < 0:
            raise ProtocolError(f"The builder says that {shown(entry.path)} has a negative size.")
        self.listed_bytes += entry.size_bytes
        if self._limit_bytes is not None and self.listed_bytes > self._limit_bytes:
            raise SessionError(
                f"The files of the result have more than {self._limit_bytes} bytes together.",
                hint="raise limit_bytes=, or make the result smaller",
            )
        self._waiting.append(IncomingFile(entry_id, entry))
        return None

    def _check_place(self, path: bytes, *, is_dir: bool) -> None:
        parent, _, name = path.rpartition(b"/")
        if len(path) > PATH_BYTES:
            raise ProtocolError(f"The builder sent a path of {len(path)} bytes.")
        if name in _NO_NAMES or path[0] == 0x2F or 0 in name:
            raise _bad_path(path)
        opened = self._open
        # A directory that is not among them was not listed, or is over; so were all names that
        # are not clean, such as `a/../b`.
        while opened and opened[-1][0] != parent:
            opened.pop()
        if not opened or opened[-1][1] >= name:
            raise ProtocolError(
                f"The builder sent {shown(path)} out of order, or before its directory."
            )
        opened[-1] = (parent, name)
        if is_dir:
            opened.append((path, b""))


def _check_special(entry: Entry) -> None:
    link = entry.link
    if entry.mode & filemode.DIR:
        return
    if entry.mode & filemode.SYMLINK:
        if not link or 0 in link:
            raise ProtocolError(f"The builder sent the link {shown(entry.path)} without a target.")
    elif entry.mode & filemode.DEVICE:
        if any(not 0 <= number < _MOST_DEVICE for number in entry.device or ()):
            raise ProtocolError(f"The builder sent {shown(entry.path)} as an impossible device.")
    elif link and (0 in link or not _NO_NAMES.isdisjoint(link.split(b"/"))):
        raise _bad_path(link)


def shown(path: bytes) -> str:
    """Return a path for people."""
    return repr(path.decode("utf-8", "backslashreplace"))


def _bad_path(path: bytes) -> ProtocolError:
    return ProtocolError(
        f"The builder sent the path {shown(path)}, which is not clean or leads out."
    )


def _wrong_length(file: IncomingFile, sent: str) -> ProtocolError:
    return ProtocolError(
        f"The builder sent {sent} bytes of {shown(file.entry.path)}, and had listed {file.entry.size_bytes}.",
        hint="it could not read the file: look at its log and its disk; BuildKit 0.32 also fails so with "
        "mode='delete' and platform_split=False for several platforms",
    )
