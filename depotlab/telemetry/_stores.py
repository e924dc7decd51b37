"""From what a user names to a store: a file, a folder, an address, or the store of this computer's own builds."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from depotlab.errors import TelemetryError, UsageError
from depotlab.telemetry._sink import Sink, Source
from depotlab.telemetry._writer import Writer

__all__ = ["Store", "Where", "find_store", "own_store_path"]

Where = str | os.PathLike[str] | Source | None
"""A `.duckdb` file, a folder of Parquet files, an address of ClickHouse, a source; None: this computer's own builds."""

_VARIABLE = "DEPOTLAB_TELEMETRY"
_FILES = (".duckdb", ".ddb", ".db")
_CLICKHOUSE = ("http", "https")
_MOST_SPOOLS = 32


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
        return repr(self.source) if self.host_path is None else str(self.host_path)

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

    def deliver(self, *, timeout_s: float) -> None:
        """Write what earlier processes left waiting, as far as the store takes it by then."""
        sink = self.source
        if not isinstance(sink, Sink):
            return
        for folder in sorted({path.parent for path in self._spool_base().glob("*/*.rows")}):
            try:
                writer = Writer(sink, spool_dir=folder)
            except TelemetryError:
                continue  # it is of a process that goes on
            writer.close(timeout_s)

    def _spool_base(self) -> Path:
        if self.host_path is not None:
            return self.host_path.with_name(f"{self.host_path.name}.waiting")
        name = hashlib.sha256(repr(self.source).encode()).hexdigest()[:16]
        return _own_folder_path() / "waiting" / name


def find_store(where: Where = None) -> Store:
    """Return the store that is meant.

    Raises:
        UsageError: It is none of what it may be.
        MissingExtra: Its engine is not installed.
        EngineError: The folder of this computer's own store cannot be used.
    """
    if where is None:
        where = os.environ.get(_VARIABLE) or own_store_path()
    if isinstance(where, str | os.PathLike):
        return _named(os.fspath(where))
    if isinstance(where, Source):
        return Store(where)
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

        parts = urlsplit(where)
        database = parts.path.strip("/") or "default"
        return Store(ClickHouse(parts._replace(path="").geturl(), database=database))
    host_path = Path(where).expanduser().absolute()
    if host_path.is_dir():
        from depotlab.telemetry._parquet import Parquet

        return Store(Parquet(host_path), host_path)
    if host_path.suffix in _FILES or host_path.is_file():
        from depotlab.telemetry._duckdb import DuckDB

        return Store(DuckDB(host_path), host_path)
    raise _unknown(where)


def _unknown(where: object) -> UsageError:
    said = f"a {type(where).__name__}" if not isinstance(where, str) else repr(_harmless(where))
    return UsageError(
        f"telemetry.open(where={said}): that is no store of builds.",
        hint="give the path of a .duckdb file, a folder of Parquet files, an address such as "
        "'http://user:password@host:8123/database', or a Source; nothing for this computer's own builds",
    )


def _harmless(where: str) -> str:
    """Return an address without a login."""
    scheme, mark, rest = where.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
