"""`BytesMessage{bytes data = 1}` as gRPC messages: how a stream of bytes travels inside a call.

On the wire each message is a byte "compressed" (0), four bytes length, the tag 0x0a, the length of the data, the
data. Boundaries carry no meaning, so data are handed on as they come, without waiting for the end of a message.
An empty message must never be sent: the daemon's decoder leaves its old buffer in place for an absent field,
and the stale bytes end the session. Source: moby/buildkit `session/grpchijack`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct

from depotlab.errors import ProtocolError

__all__ = ["Unwrapper", "wrap_head"]

_PREFIX = Struct(">BL")
_TAG = 0x0A
_LIMIT_BYTES = 16 << 20  # of a message: what the daemon allows itself
_LONGEST_HEAD_BYTES = _PREFIX.size + 5  # the tag, and a length below `_LIMIT_BYTES`


def wrap_head(n_bytes: int) -> bytes:
    """Return what goes before `n_bytes` of data, at least one, to make them a message."""
    length = bytearray()
    left = n_bytes
    while left > 0x7F:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    length.append(left)
    return _PREFIX.pack(0, 1 + len(length) + n_bytes) + bytes((_TAG,)) + length


@lru_cache(maxsize=256)
def _head_of(prefix: bytes) -> tuple[bytes, int]:
    """Return the whole head of a message that begins so, and how many data follow it.

    The head follows from the length: there is one field, written as Go writes it.

    Raises:
        ProtocolError: There can be no such message.
    """
    flag, n_message = _PREFIX.unpack(prefix)
    if flag:
        raise _wrong("a compressed message")
    if n_message > _LIMIT_BYTES:
        raise _wrong(f"a message of {n_message} bytes")
    if not n_message:
        return prefix, 0  # says nothing
    for n_length in range(1, 5):
        n_bytes = n_message - 1 - n_length
        if n_bytes >= 0 and (head := wrap_head(n_bytes))[: _PREFIX.size] == prefix:
            return head, n_bytes
    raise _wrong("a message with unknown fields")


class Unwrapper:
    """Takes the data out of messages that arrive cut anywhere."""

    def __init__(self) -> None:
        self._head = b""  # of a message whose data have not begun
        self._missing = 0  # data of the current message that have not arrived

    @property
    def is_between(self) -> bool:
        """Whether the last message is whole."""
        return not (self._head or self._missing)

    def feed(self, pieces: Iterable[memoryview]) -> list[memoryview]:
        """Return the data in these pieces, in order.

        Raises:
            ProtocolError: They are not such messages.
        """
        out: list[memoryview] = []
        missing = self._missing
        for piece in pieces:
            at, end = 0, len(piece)
            while at < end:
                if missing >= end - at:
                    out.append(piece[at:] if at else piece)
                    missing -= end - at
                    break
                if missing:
                    out.append(piece[at : at + missing])
                    at += missing
                    missing = 0
                if not self._head and end - at >= _LONGEST_HEAD_BYTES:
                    # Nearly always. A GiB has some hundred thousand heads.
                    first = piece[at : at + _LONGEST_HEAD_BYTES].tobytes()
                    head, missing = _head_of(first[: _PREFIX.size])
                    if not first.startswith(head):
                        raise _wrong("something else than bytes")
                    at += len(head)
                else:
                    at, missing = self._take_head(piece, at)
        self._missing = missing
        return out

    def _take_head(self, piece: memoryview, at: int) -> tuple[int, int]:
        """Read on in a head; return the position after it, and how many data follow once it is whole."""
        head = self._head
        expected, n_bytes = b"", 0
        if len(head) < _PREFIX.size:
            stop = at + _PREFIX.size - len(head)
            head += piece[at:stop]
            at = min(stop, len(piece))
        if len(head) >= _PREFIX.size:
            expected, n_bytes = _head_of(head[: _PREFIX.size])
            stop = at + len(expected) - len(head)
            head += piece[at:stop]
            at = min(stop, len(piece))
            if not expected.startswith(head):
                raise _wrong("something else than bytes")
        if head == expected:
            self._head = b""
            return at, n_bytes
        self._head = head
        return at, 0


def _wrong(what: str) -> ProtocolError:
    return ProtocolError(f"The daemon sent {what} in a stream of bytes.")
