"""The registry keeps its port, because image names hold it."""

import socket
from itertools import islice
from pathlib import Path

import pytest

from depotlab._local import _ports
from depotlab.errors import EngineError

HERE = Path("/some/state")


def test_the_port_of_last_time_is_taken_when_it_is_free() -> None:
    assert _ports.choose(HERE, 5010, free=lambda _: True) == 5010


def test_another_port_is_taken_when_it_is_not() -> None:
    chosen = _ports.choose(HERE, 5010, free=lambda port: port != 5010)
    assert 20_000 <= chosen < 30_000


def test_a_folder_that_was_deleted_gets_the_same_port_again() -> None:
    first = _ports.choose(HERE, None, free=lambda _: True)
    assert _ports.choose(HERE, None, free=lambda _: True) == first


def test_two_folders_try_different_ports_first() -> None:
    starts = {next(_ports.candidates(Path(f"/state/{n}"), None)) for n in range(20)}
    assert len(starts) > 15


def test_candidates_stay_below_the_ports_of_outgoing_connections() -> None:
    for n in range(200):
        assert all(20_000 <= p < 30_000 for p in islice(_ports.candidates(Path(f"/{n}"), None), 60))


def test_when_all_are_taken_the_error_says_which_ports() -> None:
    with pytest.raises(EngineError) as caught:
        _ports.choose(HERE, None, free=lambda _: False)
    assert "20000" in caught.value.hint


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not _ports.is_free(port)
    assert _ports.is_free(port)
