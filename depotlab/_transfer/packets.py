"""The packets of file sync, as bytes.

Both sides send a stream of `Packet{type=1, stat=2, id=3, data=4}`, one per gRPC message:

    STAT  sender → receiver   one entry of the tree; without a stat it is the end of the list
    REQ   receiver → sender   "send me the content of entry ID"
    DATA  sender → receiver   a piece of that content; an empty piece is its end
    FIN   both                the receiver has all it wants; the sender answers with the same
    ERR   both                text; whoever gets it stops

The ID of an entry is its position among all STATs sent, counted from 0; numbers that are 0 and
texts that are empty are left out, as in any proto3 message. Paths go out as the bytes that the
file system has, because the receiver takes names that are not UTF-8 while Python's protobuf does
not; that, and speed (one STAT per file of a tree), is why this is written by hand.

Source: tonistiigi/fsutil `types/wire.proto`, `types/stat.proto`, `receive.go`, `send.go`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

__all__ = [
    "END_OF_LIST",
    "FIN",
    "Entry",
    "Kind",
    "MalformedPacket",
    "Packet",
    "data_head",
    "decode_packet",
    "decode_request",
    "decode_stat",
    "encode_error",
    "encode_request",
    "encode_stat",
    "encode_stats",
]


class Kind(IntEnum):
    """Packet types, by their number on the wire."""

    STAT = 0
    REQ = 1
    DATA = 2
    FIN = 3
    ERR = 4


class Entry(NamedTuple):
    """One file, directory or link of a tree, as it is sent.

    Owner and group are not here: a client sends them as 0, so that the same tree has the same
    cache key whoever sends it.

    Attributes:
        path: Relative to the root of the tree, clean, parts separated by `/`, raw bytes.
        mode: Go `os.FileMode`: nine permission bits and type bits, see `filemode`.
        size_bytes: Length of the content or of a link's target; 0 for directories.
        modified_ns: Nanoseconds since 1970.
        link: Target of a symbolic link as stored; for another name of a file that was sent
            before, the path of that earlier entry; else empty.
        device: Major and minor number of a device file, else None.
        xattrs: Extended attributes, or None.
        changed_ns: When the inode last changed, which no program can set. Not sent.
        inode: Inode number, 0 if there is none. Not sent.
    """

    path: bytes
    mode: int
    size_bytes: int
    modified_ns: int
    link: bytes = b""
    device: tuple[int, int] | None = None
    xattrs: Mapping[str, bytes] | None = None
    changed_ns: int = 0
    inode: int = 0


class Packet(NamedTuple):
    """A packet as it came off the wire.

    Attributes:
        kind: What it is; an unknown number is malformed.
        id: The entry that REQ and DATA speak of.
        data: Content of DATA, or the text of ERR.
        stat: The encoded stat of a STAT packet, or None at the end of the list.
    """

    kind: Kind
    id: int
    data: bytes
    stat: bytes | None


class MalformedPacket(ValueError):
    """Bytes that are no packet."""


# ------------------------------------------------------------------------------------ encoding

END_OF_LIST = b""
"""A STAT packet without a stat: every field has its default, so nothing is left to write."""

FIN = b"\x08\x03"


# Seven bits in a byte, the last byte of a number and the others; then numbers of up to fourteen bits.
_LAST = [bytes((n,)) for n in range(0x80)]
_MORE = [bytes((n | 0x80,)) for n in range(0x80)]
_SMALL = _LAST + [low + high for high in _LAST[1:] for low in _MORE]
_LOW_14_BITS = [low + high for high in _MORE for low in _MORE]


def _varint(value: int) -> bytes:
    if 0 <= value < 1 << 14:
        return _SMALL[value]
    value &= (1 << 64) - 1  # negative times are written as 64-bit two's complement
    out = b""
    while value >= 1 << 14:
        out += _LOW_14_BITS[value & 0x3FFF]
        value >>= 14
    return out + _SMALL[value]


def _number(tag: int, value: int) -> bytes:
    return bytes((tag,)) + _varint(value) if value else b""


def _chunk(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(value)) + value if value else b""


# Parts that repeat are kept: lengths and sizes of small things, modes, and the upper bits of the
# times of files that were written together (2**28 ns is a quarter of a second).
_N_LENGTHS = 1024
_N_SIZES = 8192
_N_TIMES = 1 << 16
_PACKET_HEADS = [b"\x12" + _varint(length) for length in range(_N_LENGTHS)]
_PATH_HEADS = [b"\x0a" + _varint(length) for length in range(_N_LENGTHS)]
_SIZES = [_number(0x28, size) for size in range(_N_SIZES)]
_TIME_HEADS = [b"\x30" + low for low in _LOW_14_BITS]


_modes: dict[int, bytes] = {}
_times: dict[int, bytes] = {}


def encode_stats(entries: Iterable[Entry]) -> list[bytes]:
    """Return the STAT packets of entries. All at once, because there are as many as files in a tree."""
    out: list[bytes] = []
    join, path_heads, modes, sizes, times = b"".join, _PATH_HEADS, _modes, _SIZES, _times
    for path, mode, size, modified, link, device, xattrs, _, _ in entries:
        try:
            body = join(
                (
                    path_heads[len(path)],
                    path,
                    modes[mode],
                    sizes[size] if size < _N_SIZES else _number(0x28, size),
                    _TIME_HEADS[modified & 0x3FFF],
                    _LOW_14_BITS[modified >> 14 & 0x3FFF],
                    times[modified >> 28],
                )
            )
        except LookupError:
            body = _unusual_fields(path, mode, size, modified)
        if link or device or xattrs:
            body += _rare_fields(link, device, xattrs)
        length = len(body)
        out.append(
            (_PACKET_HEADS[length] if length < _N_LENGTHS else b"\x12" + _varint(length)) + body
        )
    return out


def encode_stat(entry: Entry) -> bytes:
    """Return the STAT packet of one entry."""
    return encode_stats((entry,))[0]


def _unusual_fields(path: bytes, mode: int, size: int, modified: int) -> bytes:
    """Encode what the tables do not have, and add to them."""
    _modes[mode] = _number(0x10, mode)
    late = modified >> 28
    if late > 0:  # else the number is shorter than its two lower parts
        if len(_times) >= _N_TIMES:
            _times.clear()
        _times[late] = _varint(late)
    return _chunk(0x0A, path) + _modes[mode] + _number(0x28, size) + _number(0x30, modified)


def _rare_fields(
    link: bytes, device: tuple[int, int] | None, xattrs: Mapping[str, bytes] | None
) -> bytes:
    out = _chunk(0x3A, link)
    if device:
        out += _number(0x40, device[0]) + _number(0x48, device[1])
    for name, value in (xattrs or {}).items():
        out += _chunk(0x52, _chunk(0x0A, os.fsencode(name)) + _chunk(0x12, value))
    return out


def data_head(entry_id: int, length_bytes: int) -> bytes:
    """Return the bytes of a DATA packet up to its content; the content follows as it is.

    A length of 0 is the packet that ends a file.
    """
    head = b"\x08\x02" + _number(0x18, entry_id)
    return head + b"\x22" + _varint(length_bytes) if length_bytes else head


_REQUEST_HEAD = b"\x08\x01\x18"


def encode_request(entry_id: int) -> bytes:
    """Return the REQ packet for an entry."""
    return b"\x08\x01" + _number(0x18, entry_id)


def encode_error(text: str) -> bytes:
    """Return the ERR packet with a text for people."""
    return b"\x08\x04" + _chunk(0x22, text.encode("utf-8", "backslashreplace"))


# ------------------------------------------------------------------------------------ decoding


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        try:
            byte = data[at]
        except IndexError:
            raise MalformedPacket("a packet ends inside a number") from None
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise MalformedPacket("a number in a packet is longer than ten bytes")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of every field; fixed-width ones are passed over."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if wire_type == 2:
            length, at = _read_varint(data, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise MalformedPacket(f"a packet has a field of unknown wire type {wire_type}")
        end = at + length
        if end > len(data):
            raise MalformedPacket("a packet ends inside a field")
        if wire_type == 2:
            yield number, data[at:end]
        at = end


def decode_request(data: bytes) -> int | None:
    """Return the entry that a REQ packet of the usual shape asks for, or None for all other bytes.

    There is one for each file that is sent, and Go writes them all alike.
    """
    if data[:3] == _REQUEST_HEAD:
        entry_id, end = _read_varint(data, 3)
        if end == len(data):
            return entry_id & 0xFFFFFFFF
    return None


def decode_packet(data: bytes) -> Packet:
    """Return the packet in these bytes; unknown fields are passed over.

    Raises:
        MalformedPacket: The bytes are no packet, or its type is unknown.
    """
    kind = entry_id = 0
    content = b""
    stat: bytes | None = None
    for number, value in _fields(data):
        match number, value:
            case 1, int():
                kind = value
            case 2, bytes():
                stat = value
            case 3, int():
                entry_id = value & 0xFFFFFFFF
            case 4, bytes():
                content = value
    try:
        return Packet(Kind(kind), entry_id, content, stat)
    except ValueError:
        raise MalformedPacket(f"a packet has the unknown type {kind}") from None


def decode_stat(data: bytes) -> Entry:
    """Return the entry in the stat of a STAT packet. Owner and group are dropped.

    Raises:
        MalformedPacket: The bytes are no stat.
    """
    texts = {1: b"", 7: b""}
    numbers = {2: 0, 5: 0, 6: 0, 8: 0, 9: 0}
    xattrs: dict[str, bytes] = {}
    for number, value in _fields(data):
        if number == 10 and isinstance(value, bytes):
            parts = {1: b"", 2: b"", **{n: v for n, v in _fields(value) if isinstance(v, bytes)}}
            xattrs[os.fsdecode(parts[1])] = parts[2]
        elif isinstance(value, int):
            numbers[number] = value if number == 2 or value < 1 << 63 else value - (1 << 64)
        else:
            texts[number] = value
    return Entry(
        path=texts[1],
        mode=numbers[2] & 0xFFFFFFFF,
        size_bytes=numbers[5],
        modified_ns=numbers[6],
        link=texts[7],
        device=(numbers[8], numbers[9]) if numbers[8] or numbers[9] else None,
        xattrs=xattrs or None,
    )
