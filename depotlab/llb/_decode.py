"""Protobuf wire decoding, by hand, for bytes that nobody vouches for.

Every length is checked against what is there, nesting is bounded by the callers, groups and unknown wire types are
refused. Anything wrong is a GraphError, never another exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from depotlab.errors import GraphError

# A field: number, and an int or bytes.
Field = tuple[int, int | bytes]


def malformed(what: str) -> NoReturn:
    raise GraphError(
        f"these bytes are no LLB definition: {what}.",
        hint="give what Definition.to_bytes() or `buildctl` wrote, unchanged",
    )


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned 64-bit number and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data):
            malformed("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), at
        shift += 7
        if shift > 63:
            malformed("a number is longer than ten bytes")


def fields(data: bytes) -> Iterator[Field]:
    """Yield the fields of a message in order; 32 and 64-bit fixed values come as bytes."""
    at = 0
    end = len(data)
    while at < end:
        key, at = read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if not 1 <= number < 1 << 29:
            malformed(f"there is no field {number}")
        if wire_type == 0:
            value, at = read_varint(data, at)
            yield number, value
            continue
        if wire_type == 2:
            length, at = read_varint(data, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            malformed(f"wire type {wire_type} is not used by LLB")
        if length > end - at:
            malformed("a field is cut off")
        yield number, data[at : at + length]
        at += length


def as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        malformed("a number stands where a message is expected")
    return value


def as_text(value: int | bytes) -> str:
    try:
        return as_bytes(value).decode()
    except UnicodeDecodeError:
        malformed("a text is not UTF-8")


def as_unsigned(value: int | bytes) -> int:
    if not isinstance(value, int):
        malformed("a message stands where a number is expected")
    return value


def as_signed(value: int | bytes) -> int:
    number = as_unsigned(value)
    return number - (1 << 64) if number >> 63 else number


def map_entry(value: int | bytes) -> tuple[str, int | bytes]:
    """Return key and value of a map entry; a missing value is empty bytes."""
    key = ""
    found: int | bytes = b""
    for number, inner in fields(as_bytes(value)):
        if number == 1:
            key = as_text(inner)
        elif number == 2:
            found = inner
    return key, found
