"""Magics on a real builder, in a real IPython."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import depotlab as dl
from depotlab import errors
from tests.support.ipythons import ipython


@pytest.fixture
def shell(bk: dl.Client) -> Iterator[InteractiveShell]:
    with ipython() as made:
        made.run_line_magic("load_ext", "depotlab")
        made.user_ns["bk"] = bk
        made.run_line_magic("builder", "bk")
        yield made


def test_cells_are_built_and_listed(shell: InteractiveShell, engine: Any) -> None:
    tag = f"{engine.registry}/magic:1"
    text = "FROM busybox AS base\nARG WHO\nRUN echo hello $WHO > /hi\nFROM base\nRUN false\n"
    shell.run_cell_magic(
        "dockerfile",
        f"--target base --build-arg WHO=you -t {tag} --push --progress quiet -o made",
        text,
    )
    made = shell.user_ns["made"]
    assert made.digest.startswith("sha256:")
    again = shell.run_cell_magic(
        "llb", "--progress quiet --no-cache", f"llb.image({tag!r}).run('grep -x \"hello you\" /hi')"
    )
    assert [step for step in again.steps if "grep" in step.name]
    assert len(shell.run_line_magic("builds", "-n 2")) == 2


def test_a_failure_names_the_line_of_the_cell(shell: InteractiveShell) -> None:
    with pytest.raises(errors.StepFailed) as caught:
        shell.run_cell_magic(
            "llb", "--progress quiet", "base = llb.image('busybox')\nbase.run('exit 3')\n"
        )
    assert caught.value.exit_code == 3
    assert "> 3 | base.run('exit 3')" in str(caught.value)
    with pytest.raises(errors.StepFailed) as caught:
        shell.run_cell_magic("dockerfile", "--progress quiet", "FROM busybox\nRUN exit 4\n")
    assert caught.value.exit_code == 4
    assert "> 2 | RUN exit 4" in str(caught.value)
