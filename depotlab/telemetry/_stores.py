"""From what a user names to a store: a file, a folder, an address, or the store of this computer's own builds."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from depotlab.errors import TelemetryError, UsageError
from depotlab.telemetry._sink import Sink, Source
from depotlab.telemetry._writer import Writer

__all__ = ["Store", "Where", "find_store", "own_store_path", "write_out"]

Where = str | os.PathLike[str] | Source | None
"""A `.duckdb` file, a folder of Parquet files, an address of ClickHouse, a source; None: this computer's own builds."""

_VARIABLE = "DEPOTLAB_TELEMETRY"
_FILES = (".duckdb", ".ddb", ".db")
_CLICKHOUSE = ("http", "https")
_MOST_SPOOLS = 32
_LEAVE_S = 0.2
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Store:
    """Where rows of builds are.

    Attributes:
        source: Answers questions; mostly takes rows too.
        host_path: Its file or folder; None for a store elsewhere.
    """

    source: Source
    host_path: Path | None = None

    @property
    def place(self) -> str:
        """Where it is, in words: the same for the same store."""
        return repr(self.source) if self.host_path is None else str(self.host_path.resolve())

    def writer(self) -> Writer:
        """Return a writer to it, whose rows wait beside it in a folder of its own.

        Several processes may write to one store: each takes the first folder that no other one has, with the rows that
        an earlier process left there.

        Raises:
            UsageError: It takes no rows.
            TelemetryError: There is no place for rows that wait.
        """
        sink = self.source
        if not isinstance(sink, Sink):
            raise UsageError(
                f"{self.source!r} can be asked, but takes no builds.",
                hint="open a .duckdb file or a ClickHouse address to add builds",
            )
        base = self._spool_base()
        if self.host_path is None:
            _own_folder()
        for number in range(_MOST_SPOOLS):
            try:
                return Writer(sink, spool_dir=base / str(number))
            except TelemetryError:
                if number == _MOST_SPOOLS - 1:
                    raise
        raise AssertionError("the last one raises")

    def deliver(self, *, timeout_s: float, is_in_use: bool) -> bool:
        """Write what earlier processes left waiting, until the store refuses it or it takes too long.

        Args:
            timeout_s: How long each of them may take, or longer while it is being written.
            is_in_use: A writer of this process has the store open, and goes on with it.

        Returns:
            Whether all of it is written, but for what belongs to processes that go on.

        Raises:
            TelemetryError: There is something to write, and the store cannot even be asked.
        """
        sink = self.source
        if not isinstance(sink, Sink):
            return True
        folders = sorted({path.parent for path in self._spool_base().glob("*/*.rows")})
        if not folders:
            return True
        self.source.query("SELECT 1")
        try:
            for folder in folders:
                try:
                    writer = Writer(_Lent(sink), spool_dir=folder)
                except TelemetryError:
                    continue  # it is of a process that goes on
                is_written = write_out(writer, timeout_s)
                writer.close(timeout_s if is_written else _LEAVE_S)
                if not is_written:
                    return False
        finally:
            if not is_in_use:
                sink.close()
        return True

    def _spool_base(self) -> Path:
        if self.host_path is not None:
            return self.host_path.with_name(f"{self.host_path.name}.waiting")
        name = hashlib.sha256(repr(self.source).encode()).hexdigest()[:16]
        return _own_folder_path() / "waiting" / name


def write_out(writer: Writer, timeout_s: float, *, once: bool = True) -> bool:
    """Wait until all rows are written; a long log takes its time, as long as it is being written.

    Args:
        writer: Takes no other rows meanwhile, or few.
        timeout_s: How long to wait for some of them.
        once: Wait no longer when a try fails.

    Returns:
        Whether all are written.
    """
    until_s = time.monotonic() + _LONGEST_S
    n_before = writer.stats.written
    while not writer.flush(timeout_s, once=once):
        stats = writer.stats
        if stats.written == n_before or stats.last_error or time.monotonic() > until_s:
            return False
        n_before = stats.written
    return True


class _Lent:
    """A sink of somebody who closes it."""

    def __init__(self, sink: Sink) -> None:
        self.open = sink.open
        self.write = sink.write

    def close(self) -> None:
        """Leave it open."""


def find_store(where: Where = None) -> Store:
    """Return the store that is meant.

    Raises:
        UsageError: It is none of what it may be.
        MissingExtra: Its engine is not installed.
        EngineError: The folder of this computer's own store cannot be used.
    """
    if where is None and (said := os.environ.get(_VARIABLE)):
        try:
            return _named(said)
        except UsageError as error:
            raise UsageError(f"{_VARIABLE} is wrong: {error.message}", hint=error.hint) from None
    if where is None:
        where = own_store_path()
    if isinstance(where, str | os.PathLike):
        return _named(os.fspath(where))
    if isinstance(where, Source):
        from depotlab.telemetry._duckdb import DuckDB

        return Store(where, where.path if isinstance(where, DuckDB) else None)
    raise _unknown(where)


def own_store_path() -> Path:
    """Return the file of this computer's own builds; its folder is made, for its owner only.

    Raises:
        EngineError: The folder cannot be used.
    """
    return _own_folder() / "builds.duckdb"


def _own_folder_path() -> Path:
    from depotlab._local import state_dir

    return state_dir() / "telemetry"


def _own_folder() -> Path:
    from depotlab._local import make_private_dir

    folder = _own_folder_path()
    make_private_dir(folder.parent)
    return make_private_dir(folder)


def _named(where: str) -> Store:
    scheme, is_address, _ = where.partition("://")
    if is_address:
        if scheme not in _CLICKHOUSE:
            raise _unknown(where)
        from depotlab.telemetry._clickhouse import ClickHouse

        parts = _split(where)
        database = parts.path.strip("/") or "default"
        return Store(ClickHouse(parts._replace(path="").geturl(), database=database))
    host_path = Path(where).expanduser().absolute()
    if where and host_path.is_dir():
        from depotlab.telemetry._parquet import Parquet

        return Store(Parquet(host_path), host_path)
    if host_path.suffix in _FILES or host_path.is_file():
        from depotlab.telemetry._duckdb import DuckDB

        return Store(DuckDB(host_path), host_path)
    raise _unknown(where)


def _split(address: str) -> SplitResult:
    with contextlib.suppress(ValueError):
        parts = urlsplit(address)
        # A password may have a sign that ends a host's name.
        if "@" in parts.netloc or "@" not in address:
            return parts
    raise _unknown(address)


def _unknown(where: object) -> UsageError:
    said = f"a {type(where).__name__}" if not isinstance(where, str) else repr(_harmless(where))
    return UsageError(
        f"telemetry.open(where={said}): that is no store of builds.",
        hint="give the path of a .duckdb file, a folder of Parquet files, an address such as "
        "'http://user:password@host:8123/database' (with % codes for signs in the password), or a Source; nothing "
        "for this computer's own builds",
    )


def _harmless(where: str) -> str:
    """Return an address without a login."""
    scheme, mark, rest = where.rpartition("://")
    login, _, place = rest.rpartition("@")
    return f"{scheme}{mark}{place}" if mark or ":" in login else where
