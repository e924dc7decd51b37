"""What both ends of an HTTP/2 connection read alike: frames, header blocks, settings. No I/O.

`FrameReader` takes the bytes of the peer, cut anywhere, and checks everything that RFC 9113 asks of them
whichever side sends them. What a frame means for one side is in its two heirs: `http2.py` is the server of a
session, `http2client.py` the client that carries one. A peer that breaks a rule of the connection
gets GOAWAY, and we a `ProtocolError`.

For speed, DATA is handed on where it lies, also when a frame is cut by a read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn

from depotlab._rpc.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    GOAWAY,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LENGTH,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    TWO_UINT32,
    UINT31_MASK,
    UINT32,
    WINDOW_LIMIT_BYTES,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ErrorCode,
)
from depotlab._rpc.headers import HeaderBlockInvalid, HeaderDecoder, Headers
from depotlab.errors import ProtocolError

__all__ = ["FrameReader", "code_name"]

# A header block in more frames than this is an attack with empty ones, not a long block.
BLOCK_FRAMES = 4096


def code_name(code: int) -> str:
    """Name an error code of the peer; one that nobody knows is its number."""
    return ErrorCode(code).name if code in ErrorCode.__members__.values() else str(code)


class FrameReader(ABC):
    """Cuts the bytes of a peer into frames and checks them.

    Args:
        header_list_bytes: The largest header list that is accepted, counted as RFC 9113 6.5.2 does.
    """

    def __init__(self, *, header_list_bytes: int) -> None:
        self._header_list_bytes = header_list_bytes
        self._settings_seen = False
        self._rest = b""  # of a frame that is cut
        self._decoder = HeaderDecoder(list_limit_bytes=header_list_bytes)
        self._last_id = 0  # the newest stream of the peer
        self._data_missing = 0  # payload of the current DATA frame that has not arrived
        self._block: list[bytes] = []  # of a header block that CONTINUATION goes on with
        self._block_bytes = 0
        self._block_id = 0  # its stream, or 0
        self._block_ends = False

    # ------------------------------------------------------------------ what an heir has to say

    @abstractmethod
    def _push(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Queue a frame that windows do not limit."""

    @abstractmethod
    def _begin_data(self, flags: int, stream_id: int, length: int) -> None:
        """A DATA frame begins; sets `_data_missing` to `length`."""

    @abstractmethod
    def _take_data(self, data: bytes, at: int, end: int) -> None:
        """Take a part of the DATA frame that has begun; takes it off `_data_missing`."""

    @abstractmethod
    def _take_run(self, data: bytes, spans: list[tuple[int, int]], n_bytes: int) -> None:
        """Take the payloads of whole DATA frames, one after the other on the stream that was begun last."""

    @abstractmethod
    def _take_padding(self, n_bytes: int) -> None:
        """Count the padding of the DATA frame that has begun: it is part of the windows."""

    @abstractmethod
    def _check_opener(self, stream_id: int) -> None:
        """Fail when the peer may not send HEADERS on this stream."""

    @abstractmethod
    def _take_block(self, stream_id: int, headers: Headers) -> None:
        """Take a whole header block; `_block_ends` tells whether it ends the stream."""

    @abstractmethod
    def _take_reset(self, stream_id: int, code: int) -> None:
        """Take RST_STREAM."""

    @abstractmethod
    def _take_credit(self, stream_id: int, growth: int) -> None:
        """Take WINDOW_UPDATE; `growth` may be 0, which is a mistake."""

    @abstractmethod
    def _take_peer_window(self, window_bytes: int) -> None:
        """Take the window that the peer's streams begin with from now on."""

    @abstractmethod
    def _take_goaway(self, last_id: int, code: int, text: str) -> None:
        """Take GOAWAY."""

    # ---------------------------------------------------------------------------------- reading

    def _parse(self, data: bytes) -> None:
        """Take bytes from the peer, cut anywhere."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while at < end:
            if self._data_missing:
                stop = min(at + self._data_missing, end)
                self._take_data(data, at, stop)
                at = stop
                continue
            if end - at < HEAD_BYTES:
                break
            high, low, kind, flags, stream_id = HEAD.unpack_from(data, at)
            length = high << 8 | low
            stream_id &= UINT31_MASK
            if length > FRAME_BYTES or self._block_id or not self._settings_seen:
                self._check_head(kind, length, stream_id)
            start = at + HEAD_BYTES
            stop = start + length
            if kind == DATA and not flags & PADDED:
                self._begin_data(flags, stream_id, length)
                if flags or stop > end or not length:
                    at = start
                    continue
                # Files and outputs are long runs of whole frames of one stream: these few lines decide how fast
                # they arrive.
                run = data[at + 3 : start]  # the same kind, flags and stream
                spans = [(start, stop)]
                n_bytes = length
                while end - stop >= HEAD_BYTES and data[stop + 3 : stop + HEAD_BYTES] == run:
                    high, low = LENGTH.unpack_from(data, stop)
                    length = high << 8 | low
                    start = stop + HEAD_BYTES
                    if not length or length > FRAME_BYTES or start + length > end:
                        break
                    stop = start + length
                    spans.append((start, stop))
                    n_bytes += length
                self._data_missing = 0
                self._take_run(data, spans, n_bytes)
                at = stop
                continue
            if stop > end:
                break
            self._take_frame(kind, flags, stream_id, data[start:stop])
            at = stop
        self._rest = data[at:]

    def _check_head(self, kind: int, length: int, stream_id: int) -> None:
        if length > FRAME_BYTES:
            self._fail(ErrorCode.FRAME_SIZE_ERROR, f"a frame has {length} bytes")
        if not self._settings_seen and kind != SETTINGS:
            self._fail(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._block_id and (kind != CONTINUATION or stream_id != self._block_id):
            self._fail(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted")

    def _take_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == DATA:
            self._take_padded_data(flags, stream_id, payload)
        elif kind == HEADERS:
            self._take_headers(flags, stream_id, payload)
        elif kind == CONTINUATION:
            self._take_continuation(flags, payload)
        elif kind == WINDOW_UPDATE:
            self._check_size("WINDOW_UPDATE", payload, 4)
            self._take_credit(stream_id, UINT32.unpack(payload)[0] & UINT31_MASK)
        elif kind == RST_STREAM:
            self._check_size("RST_STREAM", payload, 4)
            self._take_reset(stream_id, UINT32.unpack(payload)[0])
        elif kind in (SETTINGS, PING, GOAWAY):
            if stream_id:
                self._fail(ErrorCode.PROTOCOL_ERROR, "a frame of the connection names a stream")
            if kind == SETTINGS:
                self._take_settings(flags, payload)
            elif kind == PING:
                self._take_ping(flags, payload)
            else:
                self._read_goaway(payload)
        elif kind == PRIORITY:
            self._check_size("PRIORITY", payload, 5)
        elif kind == PUSH_PROMISE:
            self._fail(ErrorCode.PROTOCOL_ERROR, "nobody may push here")
        # Frames of unknown types are ignored (RFC 9113 4.1).

    def _check_size(self, name: str, payload: bytes, n_bytes: int) -> None:
        if len(payload) != n_bytes:
            self._fail(ErrorCode.FRAME_SIZE_ERROR, f"a {name} frame has {len(payload)} bytes")

    def _take_padded_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        body = self._unpadded(flags, payload)
        self._begin_data(flags, stream_id, len(body))
        self._take_padding(len(payload) - len(body))
        if body:
            self._take_data(body, 0, len(body))

    def _take_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_opener(stream_id)
        payload = self._unpadded(flags, payload)
        if flags & WITH_PRIORITY:
            if len(payload) < 5:
                self._fail(ErrorCode.FRAME_SIZE_ERROR, "HEADERS is too short for its priority")
            payload = payload[5:]
        self._block_id = stream_id
        self._block_ends = bool(flags & END_STREAM)
        self._block = []
        self._block_bytes = 0
        self._take_continuation(flags, payload)

    def _take_continuation(self, flags: int, payload: bytes) -> None:
        stream_id = self._block_id
        if not stream_id:
            self._fail(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._block.append(payload)
        self._block_bytes += len(payload)
        if self._block_bytes > self._header_list_bytes or len(self._block) > BLOCK_FRAMES:
            self._fail(ErrorCode.ENHANCE_YOUR_CALM, "a header block is too long")
        if not flags & END_HEADERS:
            return
        block, self._block, self._block_id = b"".join(self._block), [], 0
        try:
            headers = self._decoder.decode(block)
        except HeaderBlockInvalid as error:
            self._fail(ErrorCode.COMPRESSION_ERROR, str(error))
        self._take_block(stream_id, headers)

    def _unpadded(self, flags: int, payload: bytes) -> bytes:
        if not flags & PADDED:
            return payload
        if not payload or payload[0] >= len(payload):
            self._fail(ErrorCode.PROTOCOL_ERROR, "a frame is all padding")
        return payload[1 : len(payload) - payload[0]]

    def _take_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            self._check_size("SETTINGS acknowledgement", payload, 0)
            if not self._settings_seen:
                self._fail(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            return
        if len(payload) % SETTING.size:
            self._fail(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS has {len(payload)} bytes")
        self._settings_seen = True
        for name, value in SETTING.iter_unpack(payload):
            if name == INITIAL_WINDOW_SIZE:
                if value > WINDOW_LIMIT_BYTES:
                    self._fail(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                self._take_peer_window(value)
            elif name == MAX_FRAME_SIZE and not FRAME_BYTES <= value < 1 << 24:
                self._fail(ErrorCode.PROTOCOL_ERROR, f"a largest frame of {value} bytes")
            # The others limit a table, pushes and streams that we do not make.
        self._push(SETTINGS, ACK, 0, b"")

    def _take_ping(self, flags: int, payload: bytes) -> None:
        self._check_size("PING", payload, 8)
        if not flags & ACK:
            self._push(PING, ACK, 0, payload)

    def _read_goaway(self, payload: bytes) -> None:
        if len(payload) < TWO_UINT32.size:
            self._fail(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY has {len(payload)} bytes")
        last_id, code = TWO_UINT32.unpack_from(payload)
        text = payload[TWO_UINT32.size :].decode("utf-8", "backslashreplace")
        self._take_goaway(last_id & UINT31_MASK, code, text)

    def _fail(self, code: ErrorCode, text: str) -> NoReturn:
        reason = text.encode()[:1000]
        self._push(GOAWAY, 0, 0, TWO_UINT32.pack(self._last_id, code) + reason)
        raise ProtocolError(f"The daemon broke a rule of HTTP/2: {text} ({code.name}).")
