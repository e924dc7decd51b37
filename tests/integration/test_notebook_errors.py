"""What a user sees in a cell after the usual mistakes: a few lines, their own line marked, a hint at the end."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any

import IPython
import pytest
from IPython.core.interactiveshell import InteractiveShell

import depotlab as dl
from tests.support.ipythons import ipython

NAMES = "import depotlab as dl\nfrom depotlab import export, llb, mount"
COLOR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def shell(
    bk: dl.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Iterator[InteractiveShell]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEPOTLAB_UI", "off")
    with ipython() as made:
        monkeypatch.setattr(IPython, "get_ipython", lambda: made)
        made.user_ns["bk"] = bk
        assert made.run_cell(NAMES, store_history=True).success
        yield made


def seen(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str) -> list[str]:
    """Run a cell that fails, and return the lines of its error without colours."""
    capsys.readouterr()
    assert not shell.run_cell(cell, store_history=True).success
    shown = capsys.readouterr().out
    assert "site-packages" not in shown
    assert "depotlab/" not in shown, "no frame of ours"
    return COLOR.sub("", shown).strip("\n").splitlines()


MISTAKES = {
    "a path instead of a target": (
        "bk.build('app')",
        "UsageError: build() cannot build 'app'.",
        "in cell [2], line 1",
        "hint: for a directory with a Dockerfile write build(depotlab.dockerfile('app'))",
    ),
    "an image that does not exist": (
        "app = llb.image('nonesuch:1').run('true')\nbk.build(app, progress='quiet')",
        "ImageNotFound: There is no image docker.io/library/nonesuch:1",
        "in cell [2], line 2",
        "hint: check the name",
    ),
    "a name that no image can have": (
        "bk.build(llb.image('busybox'), tags='Me/App')",
        "ReferenceInvalid: ",
        "in cell [2], line 1",
        "hint: did you mean 'Me/app'?",
    ),
    "nobody at the address": (
        "dl.connect('unix:///nowhere/buildkitd.sock')",
        "Unreachable: ",
        "in cell [2], line 1",
        "hint: ",
    ),
    "a download from nowhere": (
        "page = llb.http('http://nonesuch.invalid/x')\nbk.build(page, progress='quiet')",
        "DaemonError: ",
        "> 1 | page = llb.http('http://nonesuch.invalid/x')",
        "hint: ",
    ),
    "a registry that is not there": (
        "app = llb.scratch().mkfile('/a', 'a')\n"
        "bk.build(app, tags='127.0.0.1:1/app', push=True, progress='quiet')",
        "RegistryError: ",
        "in cell [2], line 2",
        "hint: check the network and the registry's name",
    ),
    "a secret that was not given": (
        "app = llb.image('busybox').run('true', mounts=[mount.secret('token')])\nbk.build(app)",
        "GraphError: ",
        "> 1 | app = llb.image('busybox')",
        "hint: ",
    ),
    "a word that is no instruction": (
        "bk.build(dl.dockerfile(text='FROM busybox\\nRUM true\\n'), progress='quiet')",
        "DockerfileError: ",
        "> 2 | RUM true",
        "",
    ),
    "a command that fails": (
        "base = llb.image('busybox')\n"
        "app = base.run('echo before; exit 3')\n"
        "bk.build(app, progress='quiet')",
        "StepFailed: The step ",
        "> 2 | app = base.run('echo before; exit 3')",
        "before",
    ),
    "a command that is not there": (
        "bk.build(llb.image('busybox').run('nonesuch'), progress='quiet')",
        "StepFailed: The step ",
        "at cell [2], line 1:",
        "hint: 127 means that the command was not found",
    ),
    "a file that is not copied from": (
        "base = llb.image('busybox')\n"
        "app = base.copy(llb.scratch().mkfile('/a', 'a'), '/b', '/c')\n"
        "bk.build(app, progress='quiet')",
        "DaemonError: There is no /b where the step copies it from.",
        "> 2 | app = base.copy(",
        "hint: ",
    ),
    "a file that a Dockerfile does not find": (
        "bk.build(dl.dockerfile({}, text='FROM scratch\\nCOPY b /c\\n'), progress='quiet')",
        "DaemonError: There is no /b where the step copies it from.",
        "> 2 | COPY b /c",
        "hint: ",
    ),
    "a file that is not in the image": (
        "bk.read(llb.image('busybox'), '/etc/nonesuch')",
        "FileMissing: ",
        "in cell [2], line 1",
        "hint: ",
    ),
    "a command that fails and is checked": (
        "bk.run(llb.image('busybox'), 'echo out; exit 4', check=True)",
        "CommandFailed: ",
        "in cell [2], line 1",
        "out",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_a_few_lines(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    cell, first, within, last = MISTAKES[name]
    lines = seen(shell, capsys, cell)
    assert len(lines) <= 14
    assert lines[0].startswith(first)
    assert any(within in line for line in lines)
    assert lines[-1].strip().startswith(last)


def test_the_functions_between_the_cell_and_us_are_told(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.run_cell("def make(app):\n    return bk.build(app)", store_history=True).success
    lines = seen(shell, capsys, "1\nmake(2)")
    assert lines[1:3] == ["  in cell [3], line 2", "  in cell [2], line 2"]


def test_the_whole_traceback_is_there_for_the_asking(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    seen(shell, capsys, "bk.build('app')")
    shell.run_cell("%tb Plain")
    whole = capsys.readouterr().out
    assert "client.py" in whole
    assert "build() cannot build 'app'." in whole


def test_a_cell_that_is_interrupted_says_only_that(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], bk: dl.Client
) -> None:
    over = threading.Event()

    def interrupt() -> None:
        while not over.wait(0.05):
            if bk.history(status="running"):
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=interrupt)
    shell.user_ns["begin"] = thread.start
    slow = "begin()\nbk.build(llb.image('busybox').run('sleep 60; echo 1'), progress='quiet')"
    lines = seen(shell, capsys, slow)
    over.set()
    thread.join()
    assert lines == ["KeyboardInterrupt", "  in cell [2], line 2"]
