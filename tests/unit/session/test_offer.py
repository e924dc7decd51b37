"""Directories that a session serves only later, while the build runs."""

from pathlib import Path

import pytest

from depotlab._session import Session
from depotlab.errors import ContextError


def test_a_directory_is_served_from_when_it_is_offered(tmp_path: Path):
    session = Session({})
    assert "src" not in session.moved
    session.offer({"src": tmp_path})
    assert session.moved["src"].n_transfers == 0


def test_one_that_is_not_there_is_refused(tmp_path: Path):
    session = Session({})
    with pytest.raises(ContextError):
        session.offer({"src": tmp_path / "nope"})
    assert "src" not in session.moved
