"""One writer, several sinks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depotlab._values import Value
from depotlab.errors import UsageError
from depotlab.telemetry._sink import Answer, Batch, CopiesParquet, Sink, Source

__all__ = ["Several"]


class Several(Value):
    """Writes each batch to several sinks. What can be asked is the first of them that answers questions.

    The writer is told that a batch is kept when all have it; a sink that has it is not given it again. So all get all
    rows, in the same order, and none twice. The price: while one is down, the others wait with it, from the batch on
    that it did not take, and `Writer.is_full` is about the slowest. Where that is not wanted, give each a `Writer` of
    its own.

    Args:
        sinks: Two or more.

    Raises:
        UsageError: There are none, or something is no sink.

    Example:
        >>> sink = telemetry.Several(                                   # doctest: +SKIP
        ...     telemetry.DuckDB("builds.duckdb"), telemetry.OpenTelemetry("http://localhost:4318"))
    """

    def __init__(self, *sinks: Sink) -> None:
        for sink in sinks:
            if not isinstance(sink, Sink):
                raise UsageError(
                    f"Several(…) was given a {type(sink).__name__}, which is no sink.",
                    hint="give sinks, such as DuckDB(path), ClickHouse(url) or OpenTelemetry(url)",
                )
        if not sinks:
            raise UsageError("Several() was given no sink.", hint="give two or more")
        self._sinks = sinks
        self._source = next((sink for sink in sinks if isinstance(sink, Source)), None)
        self.dialect = self._source.dialect if self._source is not None else ""
        self._opened: set[int] = set()
        self._batch_id = ""
        self._have_it: set[int] = set()

    def __repr__(self) -> str:
        return f"Several({', '.join(map(repr, self._sinks))})"

    def open(self) -> None:
        """Open those that are not open yet, or have failed since.

        Raises:
            TelemetryError: None can be opened. If only some cannot, `write` tries them again.
        """
        errors = [error for place in range(len(self._sinks)) if (error := self._try_open(place))]
        if errors and not self._opened:
            raise errors[0]

    def write(self, batch: Batch) -> None:
        """Give a batch to all that do not have it yet.

        Raises:
            TelemetryError: Some have not taken it; the others keep it.
        """
        if batch.batch_id != self._batch_id:
            self._batch_id, self._have_it = batch.batch_id, set()
        errors = []
        for place, sink in enumerate(self._sinks):
            if place in self._have_it:
                continue
            error = self._try_open(place)
            if error is None:
                try:
                    sink.write(batch)
                except Exception as refused:  # noqa: BLE001 - a sink is anybody's code, and the others go on
                    error = refused
                    # As a writer does: what fails is opened again before the next try.
                    self._opened.discard(place)
            if error is None:
                self._have_it.add(place)
            else:
                errors.append(error)
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Close all. Idempotent."""
        self._opened.clear()
        with contextlib.ExitStack() as stack:  # all of them, also when one raises
            for sink in reversed(self._sinks):
                stack.callback(sink.close)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Ask the first that answers questions.

        Raises:
            UsageError: None does.
            TelemetryError: The statement is wrong, or it cannot be reached.
        """
        if self._source is None:
            raise UsageError(
                f"None of {self!r} can be asked.", hint="add a DuckDB file or a ClickHouse to it"
            )
        return self._source.query(sql, parameters)

    def copy_parquet(self, sql: str, options: str, host_path: Path) -> None:
        """Have the first that answers questions write what a query finds as Parquet.

        Args:
            sql: The query.
            options: Of DuckDB's `COPY`.
            host_path: A file, or a folder when it is written in parts.

        Raises:
            UsageError: None answers questions, or that one writes no Parquet.
            TelemetryError: It cannot be asked or written.
        """
        if not isinstance(self._source, CopiesParquet):
            raise UsageError(
                f"None of {self!r} can be exported.", hint="add a DuckDB file or a ClickHouse to it"
            )
        self._source.copy_parquet(sql, options, host_path)

    def _try_open(self, place: int) -> Exception | None:
        if place in self._opened:
            return None
        try:
            self._sinks[place].open()
        except Exception as error:  # noqa: BLE001 - as above
            return error
        self._opened.add(place)
        return None
