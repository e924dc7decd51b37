"""The benchmark of transfers compares what arrives, so a small run of it is a comparison of files with `buildctl`."""

from __future__ import annotations

import os

import pytest

from tests.benchmarks.transfers import run
from tests.conftest import unavailable


@pytest.mark.parametrize("row", ["repo-cold", "repo-same", "log"])
def test_a_small_run_finds_no_difference_and_leaves_nothing(row, tmp_path, capsys):
    if os.geteuid() != 0:
        unavailable("the benchmark reads its daemon's disk, as root")
    assert run.main(["--quick", "--rounds", "1", "--only", row, "--dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{row}: ")
    assert "WRONG" not in printed
    assert list(tmp_path.iterdir()) == []
