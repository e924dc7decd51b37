"""What the kernel knows of a TCP connection: whether it is the network that holds it up.

Linux says how many bytes wait to be sent, and for how long sending was held up by the other end's window, which is a
peer that does not read. Source: linux `include/uapi/linux/tcp.h` (`struct tcp_info`).
"""

from __future__ import annotations

import socket
import sys
from struct import Struct

__all__ = ["LinkWatch"]

# Less than this waits now and then on any link.
_WAITING_BYTES = 64 << 10
_NOT_SENT = Struct("@I")
_NOT_SENT_AT = 144
_LIMITS = Struct("@QQ")  # busy and limited by the peer's window, both in microseconds
_LIMITS_AT = 168
_INFO_BYTES = _LIMITS_AT + _LIMITS.size
_SO_NWRITE = 0x1024  # of macOS; Python has no name for it. Source: xnu bsd/sys/socket.h


class LinkWatch:
    """Answers one question about a socket, again and again."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._busy_us = 0
        self._peer_us = 0

    def is_full(self) -> bool:
        """Whether bytes wait for the network, and since the last question it was not the peer that did not read.

        False on one machine's own sockets, and when it is not known. macOS does not tell the network from the peer.
        """
        if self._socket.family == socket.AF_UNIX or self._socket.fileno() < 0:
            return False
        if sys.platform == "darwin":
            return self._socket.getsockopt(socket.SOL_SOCKET, _SO_NWRITE) > _WAITING_BYTES
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        if len(info) < _INFO_BYTES:  # before Linux 4.10
            return False
        busy_us, peer_us = _LIMITS.unpack_from(info, _LIMITS_AT)
        was_busy_us, self._busy_us = busy_us - self._busy_us, busy_us
        was_peer_us, self._peer_us = peer_us - self._peer_us, peer_us
        (waiting_bytes,) = _NOT_SENT.unpack_from(info, _NOT_SENT_AT)
        is_waiting: bool = waiting_bytes > _WAITING_BYTES
        return is_waiting and 2 * was_peer_us <= was_busy_us
