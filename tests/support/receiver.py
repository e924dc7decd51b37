"""The receiving side of file sync as the daemon does it, and as strict as the daemon is.

Source: tonistiigi/fsutil `receive.go`, `validator.go`, `hardlinks.go`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from depotlab._transfer import Entry, is_requestable
from depotlab._transfer.packets import FIN, Kind, decode_packet, decode_stat, encode_request
from tests.support.calls import MemoryCall

__all__ = ["Receiver", "Refused", "SenderFailed"]


class Refused(AssertionError):
    """The daemon would end the transfer with this text."""


class SenderFailed(Exception):
    """The sender sent an ERR packet with this text."""


class Receiver:
    """Takes a tree from a sender.

    Args:
        wants: Whether to ask for the content of an entry that has one.

    Attributes:
        entries: What was listed, in order.
        contents: What was sent, by path.
    """

    def __init__(self, wants: Callable[[Entry], bool] = lambda _: True) -> None:
        self.entries: list[Entry] = []
        self.contents: dict[bytes, bytes] = {}
        self._wants = wants
        self._order = _Order()
        self._linkable: set[bytes] = set()
        self._open: dict[int, tuple[bytes, list[bytes]]] = {}
        self._list_ended = False
        self._said_fin = False
        self._next_id = 0

    async def run(self, call: MemoryCall) -> None:
        """Take everything from a call until the sender answers FIN; then its handler has to end."""
        while (message := await call.take()) is not None:
            for answer in self.receive(message):
                call.deliver(answer)
        if not self._said_fin:
            raise Refused("the sender ended before the receiver had everything")

    def receive(self, message: bytes) -> list[bytes]:
        """Take one packet and return what the daemon would send then."""
        packet = decode_packet(message)
        match packet.kind:
            case Kind.ERR:
                raise SenderFailed(packet.data.decode())
            case Kind.STAT:
                if self._list_ended:
                    raise Refused("a STAT after the end of the list: the daemon has crashed")
                if packet.stat is None:
                    self._list_ended = True
                    return self._fin_if_done()
                return self._stat(decode_stat(packet.stat))
            case Kind.DATA:
                return self._data(packet.id, packet.data)
            case Kind.FIN:
                if not self._said_fin:
                    raise Refused("FIN from the sender before FIN from the receiver")
                return []
            case Kind.REQ:
                raise Refused("REQ from the sender")

    def _stat(self, entry: Entry) -> list[bytes]:
        self._order.check(entry)
        entry_id, self._next_id = self._next_id, self._next_id + 1
        self.entries.append(entry)
        if not entry.mode & (1 << 31 | 1 << 27):
            if entry.link and entry.link not in self._linkable:
                raise Refused(f"invalid link {entry.path!r} to unknown path: {entry.link!r}")
            if not entry.link:
                self._linkable.add(entry.path)
        if not (is_requestable(entry.mode) and not entry.link and self._wants(entry)):
            return []
        self._open[entry_id] = (entry.path, [])
        return [encode_request(entry_id)]

    def _data(self, entry_id: int, data: bytes) -> list[bytes]:
        if entry_id not in self._open:
            raise Refused(f"invalid file request {entry_id}")
        path, pieces = self._open[entry_id]
        if data:
            pieces.append(data)
            return []
        del self._open[entry_id]
        self.contents[path] = b"".join(pieces)
        return self._fin_if_done()

    def _fin_if_done(self) -> list[bytes]:
        if not self._list_ended or self._open:
            return []
        self._said_fin = True
        return [FIN]


class _Order:
    """Paths must be clean, in depth-first byte order, each after its directory."""

    def __init__(self) -> None:
        self._open: list[tuple[bytes, bytes]] = [(b"", b"")]  # directory, its last child

    def check(self, entry: Entry) -> None:
        path = entry.path
        if path != posixpath.normpath(path) or path == b".":
            raise Refused(f"unclean path {path!r}")
        if path.startswith((b"/", b"../")) or path == b"..":
            raise Refused(f"path {path!r} leads out of the tree")
        directory, name = posixpath.split(path)
        while self._open and self._open[-1][0] != directory:
            self._open.pop()
        if not self._open or self._open[-1][1] >= name:
            raise Refused(f"changes out of order: {path!r}")
        self._open[-1] = (directory, name)
        if entry.mode & 1 << 31:
            self._open.append((path, b""))
