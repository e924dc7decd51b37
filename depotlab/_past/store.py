"""The file that past builds are kept in: one SQLite database of the user, bounded, shared by all processes.

It lies in the user's cache folder, and can be deleted at any time. `DEPOTLAB_PAST=off` keeps nothing;
`DEPOTLAB_PAST=/a/path` keeps it elsewhere. A file that is damaged is put aside under another name, and a new one
begins.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from depotlab._past.build import PastBuild
from depotlab._past.kept import KeptBuild, KeptBuilds
from depotlab._values import Value, bytes_text
from depotlab.errors import PastError, UsageError

__all__ = ["Kept", "Store", "find_store", "listing_digest", "past"]

MAX_BUILDS = 500
MAX_BUILDS_PER_NAME = 20
MAX_BYTES = 128 << 20
_WAIT_S = 5.0
_FORMAT = 1
_OFF = ("off", "0", "no", "false", "none")
_SCHEMA = (
    "CREATE TABLE builds (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
    "builder TEXT NOT NULL, ref TEXT NOT NULL, at REAL NOT NULL, data BLOB NOT NULL)",
    "CREATE INDEX by_name ON builds (name, id)",
    "CREATE TABLE listings (digest TEXT PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE uses (build INTEGER NOT NULL, digest TEXT NOT NULL)",
    "CREATE INDEX by_build ON uses (build)",
)


@dataclass(frozen=True, slots=True, repr=False)
class Kept(Value):
    """What a store holds.

    Attributes:
        n_builds: How many builds.
        size_bytes: What they take.
        host_path: Where.
    """

    n_builds: int
    size_bytes: int
    host_path: Path


def find_store() -> Store | None:
    """Return the user's store, or None when `DEPOTLAB_PAST` says that nothing is to be kept."""
    said = os.environ.get("DEPOTLAB_PAST", "")
    if said.lower() in _OFF:
        return None
    if said:
        return Store(Path(said).expanduser().absolute())
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # A relative value has to be ignored. Source: XDG Base Directory Specification.
    folder = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    return Store(folder / "depotlab" / "past.sqlite3")


def past() -> Store:
    """Return what this computer knows of past builds, for `result.why()`: how much it is, and `.forget()`.

    Raises:
        UsageError: `DEPOTLAB_PAST` says that nothing is to be kept.

    Example:
        >>> depotlab.past()  # doctest: +SKIP
        <12 past builds, 340 kB, in /home/me/.cache/depotlab/past.sqlite3>
        >>> depotlab.past().forget()  # doctest: +SKIP
    """
    store = find_store()
    if store is None:
        raise UsageError(
            "No past builds are kept on this computer.",
            hint="DEPOTLAB_PAST says so; take it out of the environment",
        )
    return store


class Store(Value):
    """Past builds in one file. Every call opens and closes it, so that any thread and process may.

    Args:
        host_path: The file; made when something is first kept.
    """

    def __init__(self, host_path: Path) -> None:
        self.host_path = host_path

    def keep(self, build: PastBuild, listings: Mapping[str, bytes]) -> int:
        """Keep a build and its listings (by context name), and forget the oldest when there is too much.

        Returns:
            Its number; later builds have higher ones.

        Raises:
            PastError: The file cannot be written.
        """
        try:
            return self._keep(build, listings)
        except sqlite3.DatabaseError as error:
            if not _is_damaged(error):
                raise self._trouble(error) from error
        except OSError as error:
            raise self._trouble(error) from error
        self._put_aside()
        try:
            return self._keep(build, listings)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error

    def _keep(self, build: PastBuild, listings: Mapping[str, bytes]) -> int:
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            row = base.execute(
                "INSERT INTO builds (name, builder, ref, at, data) VALUES (?, ?, ?, ?, ?)",
                (build.name, build.builder, build.ref, time.time(), build.to_bytes()),
            )
            number = int(row.lastrowid or 0)
            for data in listings.values():
                digest = listing_digest(data)
                base.execute("INSERT OR IGNORE INTO listings VALUES (?, ?)", (digest, data))
                base.execute("INSERT INTO uses VALUES (?, ?)", (number, digest))
            _trim(base, build.name)
            base.execute("COMMIT")
            return number

    def before(self, number: int, build: PastBuild) -> list[tuple[int, PastBuild]]:
        """Return the builds of the same name before one, the newest first.

        Raises:
            PastError: The file cannot be read.
        """
        query = (
            "SELECT id, data FROM builds WHERE name = ? AND id < ? AND ref != ? ORDER BY id DESC"
        )
        try:
            with self._open() as base:
                rows = base.execute(query, (build.name, number, build.ref)).fetchall()
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error
        found = []
        for key, data in rows:
            past = PastBuild.from_bytes(data)
            if (
                past is not None
            ):  # one that another version of depotlab wrote is as if it were not there
                found.append((int(key), past))
        return found

    def listing(self, digest: str) -> bytes | None:
        """Return a listing, None if it is not kept any more.

        Raises:
            PastError: The file cannot be read.
        """
        try:
            with self._open() as base:
                row = base.execute(
                    "SELECT data FROM listings WHERE digest = ?", (digest,)
                ).fetchone()
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error
        return None if row is None else bytes(row[0])

    def kept(self) -> Kept:
        """Return how much is kept.

        Raises:
            PastError: The file cannot be read.
        """
        if not self.host_path.exists():
            return Kept(0, 0, self.host_path)
        try:
            with self._open() as base:
                (n_builds,) = base.execute("SELECT COUNT(*) FROM builds").fetchone()
                return Kept(int(n_builds), _size_bytes(base), self.host_path)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error

    def builds(self, *, limit: int | None = None) -> KeptBuilds:
        """List what is kept, the newest first: a table in a notebook.

        Args:
            limit: At most so many.

        Raises:
            PastError: The file cannot be read.
        """
        if not self.host_path.exists():
            return KeptBuilds()
        query = "SELECT name, builder, ref, at, LENGTH(data) FROM builds ORDER BY id DESC LIMIT ?"
        try:
            with self._open() as base:
                rows = base.execute(query, (-1 if limit is None else limit,)).fetchall()
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error
        return KeptBuilds(
            KeptBuild(name, builder, ref, datetime.fromtimestamp(at, UTC), size)
            for name, builder, ref, at, size in rows
        )

    def forget(self) -> None:
        """Forget all builds."""
        for suffix in ("", "-journal"):
            self.host_path.with_name(self.host_path.name + suffix).unlink(missing_ok=True)

    def __repr__(self) -> str:
        try:
            kept = self.kept()
        except PastError:
            return f"<past builds, unreadable, in {self.host_path}>"
        return (
            f"<{kept.n_builds} past {'build' if kept.n_builds == 1 else 'builds'}, "
            f"{bytes_text(kept.size_bytes)}, in {self.host_path}>"
        )

    def _facts(self) -> Iterator[tuple[str, object]]:
        try:
            kept = self.kept()
        except PastError as error:
            yield "trouble", error.message
            return
        yield "builds", kept.n_builds
        yield "size_bytes", kept.size_bytes
        yield "host_path", self.host_path

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.host_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made here with the rights it is to have: SQLite would ask the umask.
        os.close(os.open(self.host_path, os.O_CREAT | os.O_RDWR, 0o600))
        base = sqlite3.connect(self.host_path, timeout=_WAIT_S, isolation_level=None)
        try:
            if _format(base) != _FORMAT:
                _begin_anew(base)
            # What is lost when the power fails is one build's past, at most.
            base.execute("PRAGMA synchronous = OFF")
            yield base
        finally:
            base.close()

    def _put_aside(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            self.host_path.replace(self.host_path.with_name(self.host_path.name + ".damaged"))
        self.host_path.with_name(self.host_path.name + "-journal").unlink(missing_ok=True)

    def _trouble(self, error: Exception) -> PastError:
        return PastError(
            f"The past builds in {self.host_path} cannot be used: {error}.",
            path=str(self.host_path),
            hint="delete the file, or name another one with DEPOTLAB_PAST; DEPOTLAB_PAST=off keeps none",
        )


def _format(base: sqlite3.Connection) -> int:
    return int(base.execute("PRAGMA user_version").fetchone()[0])


def _begin_anew(base: sqlite3.Connection) -> None:
    """Make the tables, in place of those of another version of depotlab."""
    base.execute("BEGIN IMMEDIATE")
    if _format(base) != _FORMAT:  # another process may have been faster
        for table in ("builds", "listings", "uses"):
            base.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _SCHEMA:
            base.execute(statement)
        base.execute(f"PRAGMA user_version = {_FORMAT}")
    base.execute("COMMIT")


def listing_digest(data: bytes) -> str:
    """Return the name that a listing is kept under."""
    return hashlib.sha256(data).hexdigest()


def _is_damaged(error: sqlite3.DatabaseError) -> bool:
    # Source: sqlite.org/rescode.html, SQLITE_CORRUPT and SQLITE_NOTADB.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (11, 26)


def _trim(base: sqlite3.Connection, name: str) -> None:
    base.execute(
        "DELETE FROM builds WHERE name = ? AND id NOT IN "
        "(SELECT id FROM builds WHERE name = ? ORDER BY id DESC LIMIT ?)",
        (name, name, MAX_BUILDS_PER_NAME),
    )
    base.execute(
        "DELETE FROM builds WHERE id NOT IN (SELECT id FROM builds ORDER BY id DESC LIMIT ?)",
        (MAX_BUILDS,),
    )
    _drop_unused(base)
    while _size_bytes(base) > MAX_BYTES:
        row = base.execute("SELECT id FROM builds ORDER BY id LIMIT 1 OFFSET 1").fetchone()
        if row is None:  # only the newest is left, and it alone is too much
            base.execute("DELETE FROM builds")
            _drop_unused(base)
            return
        base.execute("DELETE FROM builds WHERE id = (SELECT MIN(id) FROM builds)")
        _drop_unused(base)


def _drop_unused(base: sqlite3.Connection) -> None:
    base.execute("DELETE FROM uses WHERE build NOT IN (SELECT id FROM builds)")
    base.execute("DELETE FROM listings WHERE digest NOT IN (SELECT digest FROM uses)")


def _size_bytes(base: sqlite3.Connection) -> int:
    query = (
        "SELECT (SELECT COALESCE(SUM(LENGTH(data)), 0) FROM builds) + "
        "(SELECT COALESCE(SUM(LENGTH(data)), 0) FROM listings)"
    )
    return int(base.execute(query).fetchone()[0])
