"""The sending side of file sync, as a state machine: packets in, packets and wishes out.

The sender speaks first and never stops for an answer:

    listing   a STAT for every entry; requests for entries already listed may come in
    serving   after the end of the list; requests may still come in
    finished  the receiver said FIN and got one back

What the peer does when we are wrong: a STAT after the end of the list makes the daemon's process
panic, for everyone who uses it; so does nothing else, but a number out of step sends the wrong
content under a name without any error. Both are kept here: numbers are given out by `stats`, which
refuses to run after `end_of_list`.

Source: tonistiigi/fsutil `send.go`, `receive.go`.
"""

from __future__ import annotations

from array import array
from operator import attrgetter
from typing import NamedTuple

from depotlab._transfer import filemode
from depotlab._transfer.packets import (
    END_OF_LIST,
    FIN,
    Entry,
    Kind,
    MalformedPacket,
    data_head,
    decode_packet,
    decode_request,
    encode_stats,
)
from depotlab.errors import ProtocolError

__all__ = ["Finished", "ReceiverFailed", "Sender", "Wanted"]


_SIZE = attrgetter("size_bytes")
_INODE = attrgetter("inode")


class Wanted(NamedTuple):
    """The receiver wants the content of a file.

    Attributes:
        id: The number of the entry.
        path: Its path in the tree.
        size_bytes: As it was listed.
        inode: As it was listed.
    """

    id: int
    path: bytes
    size_bytes: int
    inode: int


class Finished(NamedTuple):
    """The receiver has all that it wants.

    Attributes:
        answer: The packet to end with.
    """

    answer: bytes


class ReceiverFailed(Exception):
    """The receiver gave up, for example because its disk is full; the text is its own."""


class Sender:
    """What was listed, what is still owed, and when it is over. No I/O."""

    def __init__(self) -> None:
        self._paths: list[bytes | None] = []  # None: not a file, or asked for already
        self._sizes = array("q")
        self._inodes = array("Q")
        self._list_ended = False
        self._n_owed = 0

    @property
    def n_listed(self) -> int:
        """How many entries were listed so far."""
        return len(self._paths)

    def stats(self, entries: list[Entry]) -> list[bytes]:
        """Give the entries the next numbers and return their packets."""
        if self._list_ended and entries:
            raise RuntimeError("an entry after the end of the list would crash the daemon")
        # Kept as columns: as objects, 200 000 entries would be 50 MB that the garbage collector looks through.
        self._paths += [None if e.mode & filemode.TYPES else e.path for e in entries]
        self._sizes.extend(map(_SIZE, entries))
        self._inodes.extend(map(_INODE, entries))
        return encode_stats(entries)

    def stat(self, entry: Entry) -> bytes:
        """Give one entry the next number and return its packet."""
        return self.stats([entry])[0]

    def end_of_list(self) -> bytes:
        """Return the packet that says that all entries are listed; works once."""
        if self._list_ended:
            raise RuntimeError("the list can end only once")
        self._list_ended = True
        return END_OF_LIST

    def receive(self, message: bytes) -> Wanted | Finished:
        """Take a packet from the receiver and return what it asks for.

        Raises:
            ReceiverFailed: It gave up.
            ProtocolError: It asked for what it may not ask for, or sent what is no packet.
        """
        try:
            wanted_id = decode_request(message)
            if wanted_id is not None:
                return self._request(wanted_id)
            packet = decode_packet(message)
        except MalformedPacket as error:
            raise ProtocolError(
                f"The builder sent file sync something malformed: {error}."
            ) from error
        match packet.kind:
            case Kind.REQ:
                return self._request(packet.id)
            case Kind.FIN:
                if not self._list_ended or self._n_owed:
                    raise ProtocolError(
                        f"The builder ended file sync while {self._n_owed} files were still to come."
                    )
                return Finished(FIN)
            case Kind.ERR:
                raise ReceiverFailed(packet.data.decode("utf-8", "replace"))
            case Kind.STAT | Kind.DATA:
                raise ProtocolError(f"The builder sent a {packet.kind.name} packet to the sender.")

    def end_of_file(self, wanted: Wanted) -> bytes:
        """Return the packet that ends a file's content."""
        self._n_owed -= 1
        return data_head(wanted.id, 0)

    def _request(self, entry_id: int) -> Wanted:
        path = self._paths[entry_id] if entry_id < len(self._paths) else None
        if path is None:
            raise ProtocolError(
                f"The builder asked for entry {entry_id}, which is no file, was asked for before, "
                f"or was not listed ({len(self._paths)} entries were)."
            )
        self._paths[entry_id] = None
        self._n_owed += 1
        return Wanted(entry_id, path, self._sizes[entry_id], self._inodes[entry_id])
