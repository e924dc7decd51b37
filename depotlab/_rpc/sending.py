"""What leaves on one HTTP/2 connection, without I/O: queues in, batches of frames out.

A batch is made for one write. It begins with what windows do not limit: answers to SETTINGS and PING, windows,
resets, header blocks. Then come short answers that are complete, so that a health answer never waits behind
a file; then one frame of each stream in turn. Header blocks use no table, so they may overtake each other.

Source: RFC 9113.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from depotlab._rpc.fields import RESPONSE, RESPONSE_GZIP
from depotlab._rpc.frames import (
    DEFAULT_WINDOW_BYTES,
    FRAME_BYTES,
    HEAD_BYTES,
    RST_STREAM,
    UINT32,
    ErrorCode,
    block_frames,
    data_frames,
    frame,
)
from depotlab._rpc.headers import NO_TABLE
from depotlab._rpc.streams import HttpStream

__all__ = ["Sending"]

# So much data that a frame with its head fills a frame of the connection that it travels in (`outer.py`).
DATA_BYTES = FRAME_BYTES - HEAD_BYTES
# One batch is one message of the tunnel. Measured: smaller ones cost more, larger ones gain nothing.
BATCH_BYTES = 16 * DATA_BYTES
# An answer that is complete and not longer than this overtakes the streams that send in turn.
URGENT_BYTES = 4096


class Sending:
    """The outgoing half of one connection.

    Attributes:
        window: Bytes that the peer would take now on all streams together.
        peer_window: With what a stream begins.
    """

    def __init__(self, forget: Callable[[HttpStream], None]) -> None:
        """`forget` is called with each stream that has sent its end."""
        self.window = DEFAULT_WINDOW_BYTES
        self.peer_window = DEFAULT_WINDOW_BYTES
        self._forget = forget
        self._control: list[bytes | memoryview] = []
        self._urgent: deque[HttpStream] = deque()
        self._turns: deque[HttpStream] = deque()
        self._any_block = False

    @property
    def n_control(self) -> int:
        """Frames outside the windows that wait; a peer that does not read makes them grow."""
        return len(self._control)

    @property
    def has_output(self) -> bool:
        """Whether `gather` may return something."""
        return bool(self._control or ((self._urgent or self._turns) and self.window > 0))

    def gather(self) -> list[bytes | memoryview]:
        """Cut the next batch of frames, as far as the windows allow; empty when nothing can be sent.

        A quarter of the peer's window is the most for one batch: on long links the peer then gives
        credit for one part while the next is on its way.
        """
        pieces, self._control = self._control, []
        room = min(max(self.peer_window // 4, FRAME_BYTES), BATCH_BYTES, self.window)
        while room > 0 and (self._urgent or self._turns):
            queue = self._urgent or self._turns
            stream = queue.popleft()
            outbox = stream.outbox
            # One frame of each in turn; a stream that is alone sends all it may at once.
            most = DATA_BYTES if self._urgent or self._turns else room
            n_bytes = min(most, room, stream.send_window, outbox.n_bytes)
            if n_bytes <= 0:  # its window is used up, or it was urgent and is gone
                stream.active = False
                continue
            room -= n_bytes
            self.window -= n_bytes
            stream.send_window -= n_bytes
            data_frames(outbox.cut(n_bytes), n_bytes, stream.id, pieces, frame_bytes=DATA_BYTES)
            if outbox.n_bytes:
                queue.append(stream)
            else:
                stream.active = False
                if stream.end_fields is not None:
                    self._end(stream, stream.end_fields, pieces)
        return pieces

    def activate(self, stream: HttpStream) -> None:
        """Let a stream with something in its outbox take turns, as its window allows."""
        self.answer(stream)
        if not stream.active and stream.send_window > 0 and not stream.gone:
            stream.active = True
            self._turns.append(stream)

    def answer(self, stream: HttpStream) -> None:
        """Send the first header block, if it is not out."""
        if not stream.answered and not stream.gone:
            stream.answered = True
            block = RESPONSE_GZIP if stream.gzip else RESPONSE
            self._push_block(stream.id, block, self._control, ends=False)

    def finish(self, stream: HttpStream, end_fields: bytes) -> None:
        """Send what is queued, then the last header block."""
        if stream.gone:
            return
        stream.end_fields = end_fields
        if not stream.outbox.n_bytes:
            self._end(stream, end_fields, self._control)
        elif stream.outbox.n_bytes <= min(URGENT_BYTES, stream.send_window):
            self._urgent.append(stream)

    def push(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Send one frame that windows do not limit."""
        self._control.append(frame(kind, flags, stream_id, payload))

    def push_reset(self, stream_id: int, code: ErrorCode) -> None:
        """Tell the peer that a stream has ended."""
        self.push(RST_STREAM, 0, stream_id, UINT32.pack(code))

    def _end(self, stream: HttpStream, fields: bytes, into: list[bytes | memoryview]) -> None:
        block = fields if stream.answered else RESPONSE + fields
        self._push_block(stream.id, block, into, ends=True)
        if not stream.inbox.ended:
            # The peer is still sending: tell it to stop (RFC 9113 8.1).
            into.append(frame(RST_STREAM, 0, stream.id, UINT32.pack(ErrorCode.NO_ERROR)))
        self._forget(stream)

    def _push_block(
        self, stream_id: int, block: bytes, into: list[bytes | memoryview], *, ends: bool
    ) -> None:
        if not self._any_block:
            self._any_block = True
            block = NO_TABLE + block
        into.append(block_frames(stream_id, block, ends=ends))
