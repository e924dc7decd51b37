"""Rows in ClickHouse, through its official client `clickhouse-connect`.

Tables are those of the service that this one follows: MergeTree, sorted by workspace, project and deployment, instants
as whole milliseconds packed by their differences, gone after three months. Columns of ours stand behind its own, and
are added to tables that are there without them.

A batch is one block with its id as deduplication token: a table remembers the last 10000 tokens, and a block that comes
again within them is not kept again. So an answer that was lost costs nothing.
Source: clickhouse.com/docs, "Deduplicating inserts on retries", "MergeTree", "HTTP interface".
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from depotlab._values import Value
from depotlab.errors import MissingExtra, TelemetryError, UsageError
from depotlab.telemetry._duckengine import copied, duckdb_error, duckdb_module
from depotlab.telemetry._schema import TABLES, Column, Table
from depotlab.telemetry._sink import Answer, Batch

__all__ = ["ClickHouse"]

_TYPES = {"text": "String", "number": "Int64", "flag": "Bool", "numbers": "Map(String, Int64)"}
_KEPT = "INTERVAL 3 MONTH"
_REMEMBERED_BATCHES = 10_000
_PORTS = {"http": 8123, "https": 8443}
_MOST_SAID = 1000
_HIDDEN = "•••"
# Too many queries, parts or bytes at once, a network or a disk that fails, a server that starts or only reads now.
# Source: ClickHouse/ClickHouse src/Common/ErrorCodes.cpp.
_TRANSIENT = frozenset({159, 198, 202, 203, 209, 210, 236, 241, 242, 243, 252, 319, 394, 425})
_NO_DATABASE = 81
_NO_LOGIN = frozenset({192, 193, 194, 516})
_CODE = re.compile(r"\bCode: (\d+)|\bcode: (\d+)")
# What stands around the words of the server, in the words of the client and of the server itself.
_AROUND = re.compile(
    r"^Received ClickHouse exception, code: \d+, server response: "
    r"|\s*\(for url [^)]*\)$|\s*\(version [^()]*(?:\([^()]*\))?\)"
)
# Why urllib3 gave up; before it stands the whole address of the request, with its parameters.
_CAUSE = re.compile(r"\(Caused by \w+\([\"']?(?:\w+\([^()]*\): )?(.*?)[\"']?\)\)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = re.compile(
    r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`|--[^\n]*|/\*.*?\*/|\?", re.DOTALL
)


class ClickHouse(Value):
    """A database of a ClickHouse server, as sink and as source. Needs the extra `clickhouse`.

    Nothing is sent before it is used. Queries may be asked from any thread, also while rows are written.

    Args:
        address: `http://HOST:8123`, `https://HOST:8443`, or a host alone, which means HTTP. A login in it is taken
            out of it.
        user: Who writes and reads.
        password: Never shown.
        database: Made if it is missing, when rows are written.
        ca_file: Certificates to trust with HTTPS instead of those of this computer.
        timeout_s: For the answer to one batch or query.

    Raises:
        MissingExtra: clickhouse-connect is not installed.
        UsageError: The address is none, or the database has no plain name.
    """

    dialect = "clickhouse"

    def __init__(
        self,
        address: str,
        *,
        user: str = "default",
        password: str = "",
        database: str = "default",
        ca_file: str | Path | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        if importlib.util.find_spec("clickhouse_connect") is None:
            raise MissingExtra("telemetry.ClickHouse()", extra="clickhouse")
        if not _NAME.fullmatch(database):
            raise UsageError(
                f"database={database!r} is no name of a database.",
                hint="give letters, digits and underscores",
            )
        parts = _split(address)
        self.database = database
        self.user = unquote(parts.username or "") or user
        self._password = unquote(parts.password or "") or password
        self._scheme = parts.scheme
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._ca_file = None if ca_file is None else str(ca_file)
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._client: Any = None

    @property
    def address(self) -> str:
        """Of the server, without a login."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{self._scheme}://{host}:{self._port}"

    def __repr__(self) -> str:
        return f"ClickHouse({self.address!r}, user={self.user!r}, database={self.database!r})"

    # --------------------------------------------------------------------------------- the sink

    def open(self) -> None:
        """Make the database, tables and columns that are missing. Idempotent.

        Raises:
            TelemetryError: The server does not answer, or does not let this user in.
        """
        with self._asking() as client:
            known = self._column_names(client)
            if not known and not self._has_database(client):
                client.command(f"CREATE DATABASE IF NOT EXISTS {self.database}")
            for table in TABLES.values():
                if table.name not in known:
                    client.command(_creation(self.database, table))
                    continue
                for column in table.columns:
                    if column.name not in known[table.name]:
                        client.command(
                            f"ALTER TABLE {self.database}.{table.name}"
                            f" ADD COLUMN IF NOT EXISTS {_column(column)}"
                        )

    def close(self) -> None:
        """Let go of connections. Idempotent; a query afterwards connects again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def write(self, batch: Batch) -> None:
        """Keep a batch; one that is kept already is left as it is.

        Raises:
            TelemetryError: It is not kept, or nobody knows whether it is.
        """
        table = TABLES[batch.table]
        with self._asking() as client:
            client.insert(
                table.name,
                list(map(table.values, batch.rows)),
                database=self.database,
                column_names=list(table.names),
                column_type_names=[_TYPES[column.kind] for column in table.columns],
                settings={
                    "insert_deduplicate": 1,
                    "insert_deduplication_token": batch.batch_id,
                    # The answer is to come when the rows are kept; and they are gathered here already.
                    "async_insert": 0,
                },
            )

    # ------------------------------------------------------------------------------- the source

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Run one statement that reads. Parameters stand as `?` in it, in order.

        Raises:
            TelemetryError: The statement is wrong or would change something, or the server cannot be reached.
        """
        text, values = _bound(sql, parameters)
        with self._asking() as client:
            found = client.query(text, parameters=values, settings=self._reading(client))
            rows = tuple(tuple(row) for row in found.result_rows)
            return Answer(tuple(found.column_names), rows)

    def copy_parquet(self, sql: str, options: str, host_path: Path) -> None:
        """Write what a query finds as Parquet, as `DuckDB.copy_parquet` does; needs DuckDB, too.

        The server sends Parquet, which is not held in memory here.

        Args:
            sql: The query.
            options: Of DuckDB's `COPY`.
            host_path: A file, or a folder when it is written in parts.

        Raises:
            TelemetryError: It cannot be asked or written.
        """
        sent = host_path.with_name(f"{host_path.name}.sent")
        try:
            with self._asking() as client, sent.open("wb") as file:
                settings = {**self._reading(client), "output_format_parquet_string_as_string": 1}
                with contextlib.closing(
                    client.raw_stream(sql, fmt="Parquet", settings=settings)
                ) as stream:
                    while piece := stream.read(1 << 20):
                        file.write(piece)
            # Through DuckDB, so that types and compression are the same from wherever rows come.
            with duckdb_error(sent), contextlib.closing(duckdb_module().connect()) as cursor:
                rows = f"SELECT * FROM read_parquet('{_quoted(sent)}')"  # noqa: S608 - a file of ours
                copied(cursor, rows, options, host_path)
        finally:
            sent.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------ connections

    def _reading(self, client: Any) -> dict[str, Any]:
        """Return settings with which a query changes nothing."""
        given = client.server_settings.get("readonly")
        if given is not None and given.value != "0":
            return {"database": self.database}  # this user reads only, and may not say so again
        # Settings may change, data not. Source: clickhouse.com/docs, "Permissions for queries".
        return {"readonly": 2, "database": self.database}

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = importlib.import_module("clickhouse_connect").get_client(
                    interface=self._scheme,
                    host=self._host,
                    port=self._port,
                    username=self.user,
                    password=self._password,
                    ca_cert=self._ca_file,
                    connect_timeout=min(10, self._timeout_s),
                    send_receive_timeout=self._timeout_s,
                    # A session takes one query at a time, and nothing of ours needs one.
                    autogenerate_session_id=False,
                    client_name="depotlab",
                )
            return self._client

    def _has_database(self, client: Any) -> bool:
        found = client.query(
            "SELECT 1 FROM system.databases WHERE name = {name:String}",
            parameters={"name": self.database},
        )
        return bool(found.result_rows)

    def _column_names(self, client: Any) -> dict[str, set[str]]:
        found = client.query(
            "SELECT table, name FROM system.columns WHERE database = {name:String}",
            parameters={"name": self.database},
        )
        names: dict[str, set[str]] = {}
        for table, name in found.result_rows:
            names.setdefault(table, set()).add(name)
        return names

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        """Give the client, and turn what it raises into ours."""
        exceptions = importlib.import_module("clickhouse_connect.driver.exceptions")
        http_error = importlib.import_module("urllib3.exceptions").HTTPError
        try:
            yield self._connected()
        except exceptions.ClickHouseError as error:
            raise self._error(error, exceptions) from None
        except (OSError, http_error) as error:
            raise self._down(type(error).__name__) from None

    def _error(self, error: Exception, exceptions: Any) -> TelemetryError:
        text = str(error)
        numbers = _CODE.search(text)
        code = int(numbers[1] or numbers[2]) if numbers else 0
        if not code:
            wrong = (exceptions.ProgrammingError, exceptions.DataError)
            if not isinstance(error, wrong):
                return self._down(self._said(text))
            return TelemetryError(f"The client of ClickHouse refuses: {self._said(text)}")
        hint = ""
        if code in _NO_LOGIN:
            hint = "check user= and password="
        elif code == _NO_DATABASE:
            hint = "check database=; a writer makes it"
        return TelemetryError(
            f"ClickHouse at {self.address} refuses: {self._said(text)}",
            is_transient=code in _TRANSIENT,
            hint=hint,
        )

    def _down(self, said: str) -> TelemetryError:
        return TelemetryError(
            f"ClickHouse at {self.address} cannot be reached: {said}",
            is_transient=True,
            hint="check the address and that the server runs; rows that are to be written are kept until then",
        )

    def _said(self, text: str) -> str:
        cause = _CAUSE.search(text)
        text = cause[1] if cause else _AROUND.sub("", text.strip()).strip()
        if self._password:
            text = text.replace(self._password, _HIDDEN)
        return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}…"


def _split(address: str) -> SplitResult:
    with contextlib.suppress(ValueError):
        parts = urlsplit(address if "://" in address else f"http://{address}")
        _ = parts.port
        if (
            parts.scheme in _PORTS
            and parts.hostname
            and parts.path in {"", "/"}
            and not parts.query
            and not parts.fragment
        ):
            return parts
    scheme, mark, rest = address.rpartition("://")
    login, at, place = rest.rpartition("@")  # the last one: a password may have anything in it
    shown = f"{scheme}{mark}{_HIDDEN if login else ''}{at}{place}"
    raise UsageError(
        f"address={shown!r} is no address of a ClickHouse server.",
        hint="give http://HOST:8123 or https://HOST:8443; the database as database=, and a password with other signs"
        " than letters and digits as password=",
    )


# --------------------------------------------------------------------------------------- statements


def _column(column: Column) -> str:
    codec = " CODEC(Delta, LZ4)" if column.is_instant else ""
    default = f" DEFAULT {column.default}" if column.default else ""
    return f"{column.name} {_TYPES[column.kind]}{default}{codec}"


def _creation(database: str, table: Table) -> str:
    latest = f"greatest({', '.join(table.ages_by)})" if len(table.ages_by) > 1 else table.ages_by[0]
    return (
        f"CREATE TABLE IF NOT EXISTS {database}.{table.name} ({', '.join(map(_column, table.columns))})"
        f" ENGINE = MergeTree ORDER BY ({', '.join(table.order)})"
        # A row of which nobody knows the time does not age.
        f" TTL toDateTime(fromUnixTimestamp64Milli({latest})) + {_KEPT} DELETE WHERE {latest} > 0"
        f" SETTINGS non_replicated_deduplication_window = {_REMEMBERED_BATCHES}"
    )


def _bound(sql: str, parameters: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """Name the places of parameters, outside of texts and comments, as ClickHouse wants them: `{p0:String}`."""
    if not parameters:
        return sql, {}
    values: dict[str, Any] = {}
    rest = iter(parameters)
    n_places = 0

    def place(match: re.Match[str]) -> str:
        nonlocal n_places
        if match[0] != "?":
            return match[0]
        n_places += 1
        value = next(rest, None)
        if value is None:
            return "NULL"
        name = f"p{n_places - 1}"
        values[name] = value
        return f"{{{name}:{_type_of(value)}}}"

    text = _QUOTED.sub(place, sql)
    if n_places != len(parameters):
        raise TelemetryError(
            f"The statement has {n_places} places for {len(parameters)} parameters.",
            hint="write one ? for each parameter",
        )
    return text, values


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "Bool"
    if isinstance(value, int):
        return "Int64"
    if isinstance(value, float):
        return "Float64"
    if isinstance(value, datetime):
        return "DateTime64(3, 'UTC')"
    if isinstance(value, list | tuple):
        return f"Array({_type_of(value[0]) if value else 'String'})"
    if isinstance(value, str):
        return "String"
    raise UsageError(
        f"parameters={value!r} has a {type(value).__name__}, which is no value of a column.",
        hint="give texts, numbers, booleans, instants or lists of them",
    )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
