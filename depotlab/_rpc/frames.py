"""The words of HTTP/2: frame types, flags, settings, error codes. Source: RFC 9113 4, 6 and 7."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

__all__ = ["ErrorCode", "frame"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

FRAME_BYTES = 16384
"""Payload of the largest frame in both directions: the default, and grpc-go never asks for more."""

DEFAULT_WINDOW_BYTES = 65535
WINDOW_LIMIT_BYTES = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = 0, 1, 2, 3, 4, 5
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9

ACK = END_STREAM = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 3, 4, 5, 6

HEAD = Struct(">HBBBL")  # length (16 high bits, 8 low bits), type, flags, stream
HEAD_BYTES = HEAD.size
SETTING = Struct(">HL")
UINT32 = Struct(">L")
TWO_UINT32 = Struct(">LL")
UINT31_MASK = (1 << 31) - 1  # the highest bit is reserved and ignored


class ErrorCode(IntEnum):
    """Why a stream or the connection ended."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Make one frame; the payload has at most `FRAME_BYTES`."""
    length = len(payload)
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


def block_frames(stream_id: int, block: bytes, *, ends: bool) -> bytes:
    """Make the frames of one header block: HEADERS, and CONTINUATION for what does not fit."""
    flags = END_STREAM if ends else 0
    if len(block) <= FRAME_BYTES:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    out = [frame(HEADERS, flags, stream_id, block[:FRAME_BYTES])]
    for at in range(FRAME_BYTES, len(block), FRAME_BYTES):
        last = END_HEADERS if at + FRAME_BYTES >= len(block) else 0
        out.append(frame(CONTINUATION, last, stream_id, block[at : at + FRAME_BYTES]))
    return b"".join(out)
