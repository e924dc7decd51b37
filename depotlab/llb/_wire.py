"""Protobuf wire encoding, by hand: the few shapes that LLB needs.

Why not a protobuf runtime: the Go client writes the union member of an `Op` after all other
fields, stock runtimes write strictly by field number, and a digest is a hash of those bytes
(buildkit solver/pb/ops.proto; moby/buildkit pull request 5517). Joining cached pieces is also
several times faster than filling messages. `import depotlab.llb` needs no protobuf.

Rules kept here: ascending field numbers within a piece, defaults left out by the callers,
negative numbers as ten-byte varints, map entries sorted by key bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# Encoded small numbers: most lengths are among them. Two bytes of seven bits each, low ones first.
VARINT_COUNT = 1024
VARINTS = tuple(
    bytes((n,)) if n < 128 else bytes((n & 127 | 128, n >> 7)) for n in range(VARINT_COUNT)
)


def varint(value: int) -> bytes:
    """Return a base-128 varint; a negative number takes its 64-bit two's complement."""
    if 0 <= value < VARINT_COUNT:
        return VARINTS[value]
    if value < 0:
        value += 1 << 64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


# Length-delimited tags of fields 1 to 31 and varint tags, indexed by field number.
LEN = tuple(tag(n, 2) for n in range(32))
INT = tuple(tag(n, 0) for n in range(32))


def field(number: int, payload: bytes) -> bytes:
    """Return a length-delimited field, also when the payload is empty."""
    return LEN[number] + varint(len(payload)) + payload


def text(number: int, value: str) -> bytes:
    """Return a string field, or nothing for the empty string."""
    if not value:
        return b""
    data = value.encode()
    return LEN[number] + varint(len(data)) + data


def texts(number: int, values: Iterable[str]) -> bytes:
    """Return a repeated string field; empty elements are written."""
    head = LEN[number]
    parts = []
    for value in values:
        data = value.encode()
        size = len(data)
        parts.append(head + (VARINTS[size] if size < VARINT_COUNT else varint(size)) + data)
    return b"".join(parts)


def integer(number: int, value: int) -> bytes:
    """Return an integer or enum field, or nothing for zero."""
    return INT[number] + varint(value) if value else b""


def flag(number: int, value: bool) -> bytes:
    return INT[number] + b"\x01" if value else b""


def packed(number: int, values: Iterable[int]) -> bytes:
    payload = b"".join(map(varint, values))
    return field(number, payload) if payload else b""


def text_map(number: int, mapping: Mapping[str, str]) -> bytes:
    """Return a map<string, string> field. Code point order of `str` is byte order of UTF-8.

    Go writes key and value of an entry also when they are empty.
    """
    return b"".join(
        field(number, field(1, key.encode()) + field(2, mapping[key].encode()))
        for key in sorted(mapping)
    )
