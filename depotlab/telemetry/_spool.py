"""Rows that wait, on the disk: one file for each batch.

    FOLDER/lock                       held by the process that writes here
    FOLDER/BATCH_ID.TABLE.rows        1. which table, which columns   2. and on: one row each

A line is eight hexadecimal digits of CRC-32, a space, and JSON. Rows are appended while a batch is gathered; a batch is
given to the sink only when nothing is appended to it any more, and its file goes when the sink has taken it. So a
batch that a process left behind has the rows and the id with which it may have been written already, and a sink
that has it keeps it once.

Nothing is forced to the disk. What was appended is the kernel's, and outlives a process that is killed, also in the
middle of a line: such a line has no end or a wrong sum, and is dropped alone. A power cut can take the last seconds;
forcing every line would cost milliseconds each, to save rows about a build that the power cut ended as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from depotlab.errors import TelemetryError
from depotlab.telemetry._rows import Row
from depotlab.telemetry._schema import TABLES, Table

__all__ = ["Spool", "SpoolFile", "encoded"]

_SUFFIX = ".rows"
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encoded(table: Table, rows: Sequence[Row]) -> bytes:
    """Return rows as lines of a spool file.

    Raises:
        UnicodeEncodeError: A text has half of a surrogate pair, which no store takes.
    """
    return b"".join([_line(table.values(row)) for row in rows])


def _line(value: object) -> bytes:
    text = _to_json(value).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


class SpoolFile:
    """The file of one batch.

    Attributes:
        batch_id: Of the batch.
        table: Of its rows.
        size_bytes: Of the file.
    """

    def __init__(self, path: Path, batch_id: str, table: Table, size_bytes: int = 0) -> None:
        self.batch_id = batch_id
        self.table = table
        self.size_bytes = size_bytes
        self._path = path
        self._handle = -1

    def create(self) -> None:
        """Make it, with its first line.

        Raises:
            OSError: The disk does not take it; nothing is left of it.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._handle = os.open(self._path, flags, 0o600)
        try:
            self.append(_line({"table": self.table.name, "columns": self.table.names}))
        except OSError:
            self.remove()
            raise

    def append(self, lines: bytes) -> None:
        """Add lines, all or none.

        Raises:
            OSError: The disk does not take them.
        """
        before = self.size_bytes
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError:
            # A full disk may have taken a part. Making a file shorter needs no room.
            os.ftruncate(self._handle, before)
            raise
        self.size_bytes += len(lines)

    def seal(self) -> None:
        """Nothing is appended any more."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def remove(self) -> None:
        """Its rows are kept elsewhere, or nowhere. Idempotent."""
        self.seal()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.size_bytes = 0

    def count(self) -> int:
        """Return how many lines with rows there seem to be, without looking into them."""
        n = 0
        with self._path.open("rb") as file:
            while piece := file.read(1 << 20):
                n += piece.count(b"\n")
        return max(0, n - 1)

    def read(self) -> tuple[list[Row], int]:
        """Return its rows in order, and how many lines before the last are damaged and left out.

        Raises:
            OSError: The disk does not give them.
        """
        rows: list[Row] = []
        n_damaged = 0
        with self._path.open("rb") as file:
            first = _content(file.readline())
            if not isinstance(first, dict):  # nobody knows what the values of the others are
                return rows, self.count()
            names = first.get("columns", [])
            for line in file:
                values = _content(line)
                if isinstance(values, list) and len(values) == len(names):
                    rows.append(self.table.row(names, values))
                elif line.endswith(b"\n"):
                    n_damaged += 1
        return rows, n_damaged


def _content(line: bytes) -> object:
    """Return what a line says, or None when it is not whole."""
    sum_text, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or sum_text != b"%08x" % zlib.crc32(text):
        return None
    value: object = json.loads(text)
    return value


class Spool:
    """A folder of batches. Call `close` at the end.

    Args:
        folder: Made, for its owner only, when it is missing.
        now_ns: The clock, for the order of batches.

    Raises:
        TelemetryError: The folder cannot be used, or another process writes there.
    """

    def __init__(self, folder: Path, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        import fcntl  # not on Windows, where nothing that writes rows runs

        self._folder = folder
        self._now_ns = now_ns
        self._last_ns = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TelemetryError(
                f"The folder {folder} for rows that wait cannot be used: {error}.",
                hint="give another folder, on a disk that can be written",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = -1
            raise TelemetryError(
                f"Another writer uses the folder {folder} for rows that wait.",
                hint="give each writer a folder of its own, or end the other one",
            ) from error

    def new(self, table: Table) -> SpoolFile:
        """Return a file for a batch that begins; it is not on the disk before its `create`."""
        self._last_ns = max(self._now_ns(), self._last_ns + 1)
        # By name in order of time; never again the same, also when the folder was emptied.
        batch_id = f"{self._last_ns:019d}-{secrets.token_hex(6)}"
        return SpoolFile(self._folder / f"{batch_id}.{table.name}{_SUFFIX}", batch_id, table)

    def left_behind(self) -> Iterator[SpoolFile]:
        """Return batches of earlier processes, the oldest first; those of unknown tables stay where they are."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            batch_id, _, table_name = path.name.removesuffix(_SUFFIX).partition(".")
            if table_name in TABLES:
                self._last_ns = max(self._last_ns, _number(batch_id))
                yield SpoolFile(path, batch_id, TABLES[table_name], path.stat().st_size)

    def close(self) -> None:
        """Let others write here. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _number(batch_id: str) -> int:
    digits = batch_id.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0
