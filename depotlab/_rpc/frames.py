"""The words of HTTP/2: frame types, flags, settings, error codes. Source: RFC 9113 4, 6 and 7."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct

__all__ = ["ErrorCode", "data_frames", "frame"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

FRAME_BYTES = 16384
"""Payload of the largest frame in both directions: the default, and grpc-go never asks for more."""

DEFAULT_WINDOW_BYTES = 65535
WINDOW_LIMIT_BYTES = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = 0, 1, 2, 3, 4, 5
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9

ACK = END_STREAM = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 2, 3, 4
MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 5, 6

HEAD = Struct(">HBBBL")  # length (16 high bits, 8 low bits), type, flags, stream
HEAD_BYTES = HEAD.size
LENGTH = Struct(">HB")
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


def data_frames(
    pieces: Iterable[bytes | memoryview],
    n_bytes: int,
    stream_id: int,
    into: list[bytes | memoryview],
    *,
    frame_bytes: int = FRAME_BYTES,
) -> None:
    """Make DATA frames of pieces that have `n_bytes` in all. Pieces are cut where a frame is full, never copied.

    This runs for all that is sent: a GiB is 65 536 frames.
    """
    full_head = HEAD.pack(frame_bytes >> 8, frame_bytes & 0xFF, DATA, 0, stream_id)
    slot, left = (
        -1,
        0,
    )  # of the frame that is being filled: where its head stands, what fits into it
    for piece in pieces:
        length = len(piece)
        if length <= left:
            into.append(piece)
            left -= length
            continue
        if not left and length <= frame_bytes:
            slot = len(into)
            into.append(full_head)
            into.append(piece)
            left = frame_bytes - length
            continue
        view = memoryview(piece)
        at = left
        if left:
            into.append(view[:left])
        while at < length:
            slot = len(into)
            into.append(full_head)
            into.append(view[at : at + frame_bytes])
            at += frame_bytes
        left = at - length
    if left:
        filled = frame_bytes - left
        into[slot] = HEAD.pack(filled >> 8, filled & 0xFF, DATA, 0, stream_id)


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
