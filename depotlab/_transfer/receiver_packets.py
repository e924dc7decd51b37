"""The two packets that a receiver gets by the thousand, read without looking at them field by field.

Only the shape that the Go sender writes is known here: fields in order, none of them unknown. For every other shape the
functions say so, and `packets.decode_packet` and `packets.decode_stat` read it.

Source: tonistiigi/fsutil `types/wire.proto`, `types/stat.proto`.
"""

from __future__ import annotations

from depotlab._transfer.packets import Entry, MalformedPacket, decode_stat

__all__ = ["data_start", "entry_in"]

_DATA = b"\x08\x02"
_ID, _CONTENT, _STAT = 0x18, 0x22, 0x12
_PATH, _MODE, _UID, _GID, _SIZE, _MODIFIED = 0x0A, 0x10, 0x18, 0x20, 0x28, 0x30


def data_start(packet: bytes) -> tuple[int, int] | None:
    """Return the entry that a DATA packet is for and where its content begins, which goes on to the end.

    None if it is another packet, or one of another shape.
    """
    if packet[:2] != _DATA:
        return None
    at, end = 2, len(packet)
    entry_id = length = shift = 0
    try:
        if at < end and packet[at] == _ID:
            byte = packet[3]
            entry_id = byte & 0x7F
            at = 4
            while byte >= 0x80:
                shift += 7
                byte = packet[at]
                entry_id |= (byte & 0x7F) << shift
                at += 1
        if at == end:
            return entry_id, end
        if packet[at] != _CONTENT:
            return None
        byte = packet[at + 1]
        length = byte & 0x7F
        at += 2
        shift = 0
        while byte >= 0x80:
            shift += 7
            byte = packet[at]
            length |= (byte & 0x7F) << shift
            at += 1
    except IndexError:
        raise MalformedPacket("a packet ends inside a number") from None
    if at + length != end or entry_id >> 32:
        return None
    return entry_id, at


def entry_in(packet: bytes) -> Entry | None:
    """Return the entry of a STAT packet; None if it is another packet, or one of another shape.

    Raises:
        MalformedPacket: The entry is none.
    """
    if packet[:1] != b"\x12":
        return None
    at, end = 1, len(packet)
    try:
        length, at = _number(packet, at)
        if at + length != end:
            return None
        if packet[at] != _PATH:
            return decode_stat(packet[at:])
        start = at
        length, at = _number(packet, at + 1)
        path = packet[at : at + length]
        at += length
        # The other fields that most entries have are numbers; what comes after them is rare.
        mode = size_bytes = modified_ns = 0
        while at < end:
            field = packet[at]
            if field > _MODIFIED or field & 7:
                return decode_stat(packet[start:])
            value, at = _number(packet, at + 1)
            if field == _MODE:
                mode = value
            elif field == _SIZE:
                size_bytes = value
            elif field == _MODIFIED:
                modified_ns = value
            elif field not in (_UID, _GID):
                return decode_stat(packet[start:])
    except IndexError:
        raise MalformedPacket("a packet ends inside a number") from None
    if at != end or size_bytes >> 63 or modified_ns >> 63 or mode >> 32:
        return decode_stat(packet[start:])
    return Entry(path, mode, size_bytes, modified_ns)


def _number(packet: bytes, at: int) -> tuple[int, int]:
    byte = packet[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value = byte & 0x7F
    shift = 7
    while True:
        byte = packet[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise MalformedPacket("a number in a packet is longer than ten bytes")
