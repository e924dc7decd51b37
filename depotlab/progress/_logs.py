"""Keeps the output of every step: the newest lines in memory, everything in one temporary file.

Two bounds, both per build. In memory each step keeps two generations of chunks, each up to
`RING_LINES` lines or `RING_BYTES` bytes: when the newer one is full the older one goes. That
costs nothing per line, and at least one whole generation is always there to be shown. Beside it
chunks wait until `SPILL_AT_BYTES` of them are together and are then appended to the file, step by
step, so that reading one step's log reads only its own blocks. A build with less output than that
never touches the disk. The file has no name (it cannot outlive the process) and nobody else can
open it; when it has reached its cap, or the disk is full, the rest of the log is counted, kept in
memory as far as the generations reach, and dropped.

One lock guards what is in memory, and `Fold` takes the same one; reading the file does not hold it.
The only file of the room that does I/O.
"""

from __future__ import annotations

import os
import struct
import tempfile
import threading
import weakref
from array import array
from bisect import bisect_right
from typing import IO

from depotlab._values import Value
from depotlab.progress._events import LogWritten
from depotlab.progress._lines import STREAM_NOTE, LineSplitter, LogLine, split_lines

__all__ = ["LogStore", "LogTail", "StepLog"]

RING_LINES = 200
RING_BYTES = 16 * 1024
CHUNK_BYTES = 64 * 1024
SPILL_AT_BYTES = 1024 * 1024
DEFAULT_CAP_BYTES = 256 * 1024 * 1024

_HEADER = struct.Struct("<qiI")  # at_ns, stream, length of the data that follows


class LogTail(Value):
    """The newest output of one step (or of all steps), decoded when somebody looks.

    An immutable value. Chunks are kept as they came, because most of them scroll by unseen.

    Attributes:
        n_lines: Lines the step has written so far, whether kept here or not.
        n_bytes: Bytes it has written so far.
        offset_ns: What is added to the daemon's times to get ours.
    """

    __slots__ = ("_chunks", "_headless", "n_bytes", "n_lines", "offset_ns")

    def __init__(
        self,
        chunks: tuple[LogWritten, ...] = (),
        *,
        headless: frozenset[tuple[str, int]] = frozenset(),
        n_lines: int = 0,
        n_bytes: int = 0,
        offset_ns: int = 0,
    ) -> None:
        self._chunks = chunks
        self._headless = headless  # (vertex, stream) whose kept chunks begin in mid-line
        self.offset_ns = offset_ns
        self.n_lines = n_lines
        self.n_bytes = n_bytes

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LogTail):
            return NotImplemented
        return (self.n_bytes, self.offset_ns, self._chunks) == (
            other.n_bytes,
            other.offset_ns,
            other._chunks,
        )

    def __hash__(self) -> int:
        return hash((self.n_bytes, self.offset_ns))

    def __repr__(self) -> str:
        return f"LogTail(n_lines={self.n_lines}, n_bytes={self.n_bytes})"

    @property
    def last_ns(self) -> int:
        """When the newest chunk came, 0 if there is none."""
        return self._chunks[-1].at_ns + self.offset_ns if self._chunks else 0

    def lines(self, limit: int = RING_LINES) -> tuple[LogLine, ...]:
        """Return up to `limit` of the newest lines, oldest first."""
        return tuple(line for _, line in self.lines_by_vertex(limit))

    def lines_by_vertex(self, limit: int = RING_LINES) -> tuple[tuple[str, LogLine], ...]:
        """Return the same with the digest of the vertex that wrote each line."""
        splitters: dict[str, LineSplitter] = {}
        headless = set(self._headless)
        found: list[tuple[str, LogLine]] = []
        for chunk in self._chunks:
            key = (chunk.vertex, chunk.stream)
            if key in headless:
                # The beginning of this line is gone. A line end is one byte that occurs in no
                # longer UTF-8 sequence, so decoding may begin behind it.
                _, end, data = chunk.data.partition(b"\n")
                if not end:
                    continue
                headless.discard(key)
                chunk = chunk._replace(data=data)
            splitter = splitters.get(chunk.vertex)
            if splitter is None:
                splitter = splitters[chunk.vertex] = LineSplitter(offset_ns=self.offset_ns)
            found += [(chunk.vertex, line) for line in splitter.feed(chunk)]
        for vertex, splitter in splitters.items():
            found += [(vertex, line) for line in splitter.rest()]
        return tuple(found[-limit:]) if limit > 0 else ()


class _Ring:
    """Two generations of chunks; see the top of the file."""

    __slots__ = ("_headless", "_n_bytes", "_n_lines", "_new", "_old")

    def __init__(self) -> None:
        self._old: tuple[LogWritten, ...] = ()
        self._new: list[LogWritten] = []
        self._n_lines = 0
        self._n_bytes = 0
        self._headless: frozenset[tuple[str, int]] = frozenset()

    def append(self, chunk: LogWritten, n_lines: int, n_bytes: int) -> None:
        self._new.append(chunk)
        self._n_lines += n_lines
        self._n_bytes += n_bytes
        if self._n_lines >= RING_LINES or self._n_bytes >= RING_BYTES:
            self.rotate()

    def rotate(self) -> None:
        """Forget the older generation and begin a new one."""
        kept = self._new
        dropped: list[LogWritten] = [*self._old]
        large = [k for k, chunk in enumerate(kept) if len(chunk.data) > CHUNK_BYTES]
        if large:
            # Clipped from its start, and then what came before it has to go too.
            dropped += kept[: large[-1]]
            data = kept[large[-1]].data
            dropped.append(kept[large[-1]]._replace(data=data[:-CHUNK_BYTES]))
            kept = [
                kept[large[-1]]._replace(data=data[-CHUNK_BYTES:]),
                *kept[large[-1] + 1 :],
            ]
        mid_line = set(self._headless)
        for chunk in dropped:
            change = mid_line.discard if chunk.data.endswith(b"\n") else mid_line.add
            change((chunk.vertex, chunk.stream))
        self._headless = frozenset(mid_line)
        self._old = tuple(kept)
        self._new = []
        self._n_lines = self._n_bytes = 0

    def chunks(self) -> tuple[LogWritten, ...]:
        return self._old + tuple(self._new)

    def headless(self) -> frozenset[tuple[str, int]]:
        return self._headless


class StepLog:
    """What the store knows of one step's output. `Fold` holds it and hands it to `append`."""

    __slots__ = ("blocks", "n_bytes", "n_lines", "pending", "ring", "spilled_bytes")

    def __init__(self) -> None:
        self.ring = _Ring()
        self.pending: list[LogWritten] = []
        self.n_bytes = 0
        self.n_lines = 0
        self.spilled_bytes = 0
        # Three numbers for each block: the step's byte it starts with, file offset, file length.
        self.blocks = array("Q")

    def tail(self, offset_ns: int = 0) -> LogTail:
        return LogTail(
            self.ring.chunks(),
            headless=self.ring.headless(),
            n_lines=self.n_lines,
            n_bytes=self.n_bytes,
            offset_ns=offset_ns,
        )


class LogStore(Value):
    """The output of all steps of one build.

    Args:
        cap_bytes: The most that the temporary file may hold.

    Attributes:
        lost_bytes: Output that is in no file; the newest lines of it may still be in memory.
        spill_error: Why the file could not be written, or empty. Never raised into a build.
        offset_ns: Our clock minus the daemon's, which stamped the chunks.
    """

    def __init__(self, *, cap_bytes: int = DEFAULT_CAP_BYTES) -> None:
        self.lock = threading.Lock()
        self.lost_bytes = 0
        self.spill_error = ""
        self.n_lines = 0
        self.n_bytes = 0
        self.offset_ns = 0  # our clock minus the daemon's
        self._cap_bytes = cap_bytes
        self._logs: dict[str, StepLog] = {}
        self._recent = _Ring()
        self._waiting: list[StepLog] = []
        self._pending_bytes = 0
        self._file: IO[bytes] | None = None
        self._file_lock = threading.Lock()  # so that it is not closed under a reader
        self._file_bytes = 0
        self._is_spilling = True
        self._close_file: weakref.finalize[..., LogStore] | None = None

    def __repr__(self) -> str:
        return f"LogStore({self.n_lines} lines of {len(self._logs)} steps, {self.n_bytes} bytes)"

    # ------------------------------------------------------------ for `Fold`, which has the lock

    def step_log(self, digest: str) -> StepLog:
        """Return the log of a step, a new one the first time. The caller has the lock."""
        log = self._logs.get(digest)
        if log is None:
            log = self._logs[digest] = StepLog()
        return log

    def append(self, log: StepLog, chunk: LogWritten) -> None:
        """Add one chunk. The caller has the lock. About a microsecond, whatever the history."""
        data = chunk.data
        n_bytes = len(data)
        n_lines = data.count(b"\n")
        log.n_bytes += n_bytes
        log.n_lines += n_lines
        log.ring.append(chunk, n_lines, n_bytes)
        self._recent.append(chunk, n_lines, n_bytes)
        self.n_bytes += n_bytes
        self.n_lines += n_lines
        if not self._is_spilling:
            self.lost_bytes += n_bytes
            return
        if not log.pending:
            self._waiting.append(log)
        log.pending.append(chunk)
        self._pending_bytes += n_bytes + _HEADER.size
        if self._pending_bytes >= SPILL_AT_BYTES:
            self._spill()

    def recent(self) -> LogTail:
        """Return the newest output of all steps together. The caller has the lock."""
        return LogTail(
            self._recent.chunks(),
            headless=self._recent.headless(),
            n_lines=self.n_lines,
            n_bytes=self.n_bytes,
            offset_ns=self.offset_ns,
        )

    # --------------------------------------------------------------------------- for any thread

    def read(
        self, digest: str, *, start_byte: int = 0, max_bytes: int | None = None
    ) -> tuple[list[LogWritten], int]:
        """Return the chunks of a step from `start_byte` on, and where to go on next time.

        Reads the temporary file if need be. Bytes that were not kept show up as one chunk of stream 0 that
        says how many.

        Args:
            digest: Of the step.
            start_byte: 0, what an earlier call returned, or any other: then the first chunk may begin in the
                middle of a line.
            max_bytes: The most to return; None returns all.
        """
        with self.lock:
            log = self._logs.get(digest)
            if log is None or start_byte >= log.n_bytes:
                return [], start_byte
            newest = tuple(log.pending) if self._is_spilling else log.ring.chunks()
            n_bytes = log.n_bytes
            stop_byte = n_bytes if max_bytes is None else min(n_bytes, start_byte + max_bytes)
            first_bytes = log.blocks[0::3]
            first_block = max(0, bisect_right(first_bytes, start_byte) - 1)
            blocks = log.blocks[3 * first_block : 3 * bisect_right(first_bytes, stop_byte - 1)]
        # Without the lock from here on: whoever feeds the store must not wait for a disk.
        pieces = self._read_blocks(digest, blocks)
        first = n_bytes - sum(len(chunk.data) for chunk in newest)
        for chunk in newest:
            pieces.append((first, chunk))
            first += len(chunk.data)
        chunks: list[LogWritten] = []
        position = start_byte
        for first, chunk in pieces:
            end = first + len(chunk.data)
            if end <= position:
                continue
            if position >= stop_byte:
                break
            if first > position:
                n_gone = min(first, stop_byte) - position
                note = f"[{n_gone} bytes of this log were not kept]\n".encode()
                chunks.append(LogWritten(digest, chunk.at_ns, STREAM_NOTE, note))
                position += n_gone
                if position == stop_byte:
                    break
            fresh = chunk.data[position - first : stop_byte - first]
            chunks.append(chunk if len(fresh) == len(chunk.data) else chunk._replace(data=fresh))
            position += len(fresh)
        return chunks, stop_byte

    def lines(self, digest: str) -> list[LogLine]:
        """Return every line that a step has written, as far as it was kept."""
        return split_lines(self.read(digest)[0], offset_ns=self.offset_ns)

    def close(self) -> None:
        """Remove the file. Lines that were only there are gone; memory stays as it is."""
        with self.lock:
            self._stop_spilling("")
            for log in self._logs.values():
                del log.blocks[:]
                log.spilled_bytes = 0
        with self._file_lock:
            if self._close_file is not None:
                self._close_file()
            self._file = None

    # ---------------------------------------------------------------------------------- the file

    def _spill(self) -> None:
        blocks = [
            b"".join(
                part
                for chunk in log.pending
                for part in (_HEADER.pack(chunk.at_ns, chunk.stream, len(chunk.data)), chunk.data)
            )
            for log in self._waiting
        ]
        together = b"".join(blocks)
        if self._file_bytes + len(together) > self._cap_bytes:
            self._stop_spilling("")
            return
        try:
            self._write(together)
        except OSError as error:
            # A full disk must not fail a build that does not need it.
            self._stop_spilling(f"{error.strerror or error}")
            return
        for log, block in zip(self._waiting, blocks, strict=True):
            log.blocks.extend((log.spilled_bytes, self._file_bytes, len(block)))
            log.spilled_bytes = log.n_bytes
            log.pending = []
            self._file_bytes += len(block)
        self._waiting = []
        self._pending_bytes = 0

    def _write(self, data: bytes) -> None:
        if self._file is None:
            # Mode 0600 and, where the system can, never a name in the file system.
            self._file = tempfile.TemporaryFile(prefix="depotlab-log-", buffering=0)  # noqa: SIM115
            self._close_file = weakref.finalize(self, self._file.close)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def _stop_spilling(self, reason: str) -> None:
        self._is_spilling = False
        self.spill_error = self.spill_error or reason
        for log in self._waiting:
            self.lost_bytes += sum(len(chunk.data) for chunk in log.pending)
            log.pending = []
        self._waiting = []
        self._pending_bytes = 0

    def _read_blocks(self, digest: str, blocks: array[int]) -> list[tuple[int, LogWritten]]:
        """Return the chunks in these blocks, each with the step's byte that it begins at."""
        found: list[tuple[int, LogWritten]] = []
        with self._file_lock:
            if self._file is None:  # closed since the blocks were looked up
                return found
            for index in range(0, len(blocks), 3):
                at_byte, offset, length = blocks[index : index + 3]
                block = os.pread(self._file.fileno(), length, offset)
                cursor = 0
                while cursor < len(block):
                    at_ns, stream, n_bytes = _HEADER.unpack_from(block, cursor)
                    cursor += _HEADER.size + n_bytes
                    data = block[cursor - n_bytes : cursor]
                    found.append((at_byte, LogWritten(digest, at_ns, stream, data)))
                    at_byte += n_bytes
        return found
