from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from depotlab._session import seeds
from depotlab._session.seeds import TokenSeeds


def test_a_seed_is_made_once_and_kept_privately(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    seed = TokenSeeds(folder).get("a.io")
    assert len(seed) == 16
    assert TokenSeeds(folder).get("a.io") == seed
    assert TokenSeeds(folder).get("b.io") != seed
    for name in (".token_seed", ".token_seed.lock"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert set(json.loads((folder / ".token_seed").read_text())) == {"a.io", "b.io"}


def test_the_file_is_that_of_the_go_client(tmp_path: Path) -> None:
    (tmp_path / ".token_seed").write_text('{"a.io": {"Seed": "AAECAwQFBgcICQoLDA0ODw=="}}')
    assert TokenSeeds(tmp_path).get("a.io") == bytes(range(16))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a.io": 5}', '{"a.io": {"Seed": "x"}}'])
def test_a_file_that_was_cut_off_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / ".token_seed").write_text(content)
    seed = TokenSeeds(tmp_path).get("a.io")
    assert TokenSeeds(tmp_path).get("a.io") == seed


def test_where_nothing_can_be_kept_a_seed_lives_as_long_as_the_session(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mine = TokenSeeds(tmp_path / "file" / "docker")
    assert mine.get("a.io") == mine.get("a.io")


def test_where_the_file_cannot_be_written_a_seed_lives_as_long_as_the_session(
    tmp_path: Path,
) -> None:
    (tmp_path / ".token_seed").mkdir()
    (tmp_path / ".token_seed.lock").mkdir()
    mine = TokenSeeds(tmp_path)
    assert mine.get("a.io") == mine.get("a.io")


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    root = str(Path(seeds.__file__).parents[2])
    script = (
        "import pathlib; from depotlab._session.seeds import TokenSeeds;"
        f"print(TokenSeeds(pathlib.Path({str(tmp_path)!r})).get('a.io').hex())"
    )
    env = {**os.environ, "PYTHONPATH": root}
    running = [
        subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = {process.communicate(timeout=60)[0].strip() for process in running}
    assert len(answers) == 1
    assert len(answers.pop()) == 32
