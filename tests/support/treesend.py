"""The sending side of a directory export as the daemon does it, and lies that a daemon could tell."""

from __future__ import annotations

from pathlib import Path

from depotlab._transfer import HostTree, Sender, TreeFilter, data_head
from depotlab._transfer.packets import END_OF_LIST, Entry, Kind, decode_packet, encode_stat
from tests.support.calls import MemoryCall

__all__ = ["content", "end_of", "listing", "send_tree"]

PIECE_BYTES = 32 << 10  # as the daemon reads files


async def send_tree(call: MemoryCall, root: Path) -> None:
    """Send a directory to a handler, and read what it asks for, until it has everything."""
    tree, sender = HostTree(root), Sender()
    for entry in tree.walk(TreeFilter()):
        if entry is not None:
            call.deliver(sender.stat(entry))
    call.deliver(sender.end_of_list())
    while (message := await call.take()) is not None:
        packet = decode_packet(message)
        if packet.kind is Kind.ERR:
            raise RuntimeError(packet.data.decode())
        wish = sender.receive(message)
        if packet.kind is Kind.FIN:
            call.deliver(wish.answer)
            continue
        file = tree.open(wish.path)
        try:
            at = 0
            while piece := file.read(at, PIECE_BYTES):
                call.deliver(data_head(wish.id, len(piece)) + piece)
                at += len(piece)
        finally:
            file.close()
        call.deliver(sender.end_of_file(wish))


def listing(*entries: Entry) -> list[bytes]:
    """Return the packets of a list, with its end."""
    return [*map(encode_stat, entries), END_OF_LIST]


def content(entry_id: int, data: bytes) -> bytes:
    """Return a packet with a piece of a file."""
    return data_head(entry_id, len(data)) + data


def end_of(entry_id: int) -> bytes:
    """Return the packet that ends a file."""
    return data_head(entry_id, 0)
