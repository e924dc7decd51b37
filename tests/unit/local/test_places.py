"""Where things are kept, and who may read them."""

import stat
from pathlib import Path

import pytest

from depotlab._local import _places
from depotlab.errors import EngineError


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch, tmp_path):
    for name in ("DEPOTLAB_STATE", "DEPOTLAB_ENGINE_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_defaults_follow_the_xdg_folders(monkeypatch, tmp_path) -> None:
    assert _places.state_dir() == tmp_path / ".local/share/depotlab/engine"
    assert _places.engine_dir() == tmp_path / ".cache/depotlab/engine"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert _places.state_dir() == Path("/data/depotlab/engine")
    assert _places.engine_dir() == Path("/cache/depotlab/engine")


def test_a_relative_xdg_folder_is_ignored_as_its_specification_wants(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert _places.state_dir() == tmp_path / ".local/share/depotlab/engine"


def test_an_argument_wins_over_the_variable_and_that_over_the_default(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("DEPOTLAB_STATE", "~/mine")
    assert _places.state_dir() == tmp_path / "mine"
    assert _places.state_dir("/given") == Path("/given")


def test_folders_and_files_are_for_their_owner_only(tmp_path) -> None:
    state = _places.State(tmp_path / "deep" / "state")
    state.make()
    _places.write_private(state.port, "1\n")
    assert [mode(p) for p in (state.host_dir, state.root, state.logs)] == [0o700] * 3
    assert mode(state.port) == 0o600


def test_a_folder_that_others_could_read_is_closed_to_them(tmp_path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    assert mode(_places.make_private_dir(tmp_path / "open")) == 0o700


def test_a_state_folder_that_is_a_file_is_one_clear_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot be used") as caught:
        _places.State(tmp_path / "file").make()
    assert "DEPOTLAB_STATE" in caught.value.hint


def test_a_failed_write_leaves_the_old_text_and_no_rubbish(tmp_path) -> None:
    path = tmp_path / "port"
    _places.write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        _places.write_private(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_sockets_live_in_the_state_folder_when_its_path_is_short() -> None:
    state = _places.State(Path("/tmp/s"))
    assert state.run_dir() == Path("/tmp/s/run")
    assert _places.fits_a_socket(state.run_dir())


def deep(tmp_path: Path) -> _places.State:
    state = _places.State(tmp_path / ("d" * 100))
    state.make()
    return state


def test_a_long_path_gets_a_private_short_one_that_every_process_finds(
    tmp_path, monkeypatch, short_dir
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_dir))
    chosen = deep(tmp_path).choose_run_dir()
    assert chosen.parent == short_dir
    assert mode(chosen) == 0o700
    monkeypatch.delenv("XDG_RUNTIME_DIR")  # another process may not have it
    assert deep(tmp_path).run_dir() == chosen
    assert deep(tmp_path).choose_run_dir() == chosen


def test_a_recorded_folder_that_others_may_enter_is_not_trusted(
    tmp_path, monkeypatch, short_dir
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_dir))
    first = deep(tmp_path).choose_run_dir()
    first.chmod(0o777)
    assert deep(tmp_path).choose_run_dir() != first


def test_a_recorded_folder_that_became_a_link_is_not_trusted(
    tmp_path, monkeypatch, short_dir
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_dir))
    first = deep(tmp_path).choose_run_dir()
    first.rmdir()
    first.symlink_to(tmp_path)
    assert deep(tmp_path).choose_run_dir() != first
