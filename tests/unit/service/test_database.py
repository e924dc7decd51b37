"""The file of a service, or of a Depot on this computer, on a disk that is full."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from depotlab._serving import Database


def test_a_full_disk_is_said_as_it_is_and_what_comes_later_is_kept(tmp_path: Path):
    schema = "CREATE TABLE lines (text TEXT);"
    file = Database(tmp_path / "file", schema=schema, version=1, whose="The test's")
    n_pages = file.row("PRAGMA page_count")[0]
    file.row(f"PRAGMA max_page_count = {n_pages + 4}")
    with pytest.raises(sqlite3.OperationalError, match="disk is full"), file.transaction():
        file.change_many("INSERT INTO lines VALUES (?)", [("x" * 2000,)] * 50)
    with file.transaction():
        file.change("INSERT INTO lines VALUES (?)", "y")
    assert [row["text"] for row in file.rows("SELECT text FROM lines")] == ["y"]
    file.close()
