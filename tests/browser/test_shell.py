"""The shell at a failed step, driven as a person would: typed into, resized, interrupted, pasted into, and left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab import PATIENCE_S, Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(600)

SETUP = """
import depotlab as dl
from depotlab import llb
bk = dl.local(state_dir={state!r})
broken = llb.image("busybox").env(STAGE="test").dir("/app").run("echo half-done > report; exit 7")
"""
FAIL = """
try:
    bk.build(broken, progress="quiet")
except dl.errors.StepFailed as failed:
    error = failed
shell = error.shell()
"""
BUSY = "import os, time\nwhile not os.path.exists({released!r}): time.sleep(0.02)"
LINES = [
    # As where anywidget is not installed.
    "from depotlab.widgets import _shell_notebook; _shell_notebook._terminal_class = lambda: None",
    "typed = bk.shell(llb.image('busybox'))",
    "bk.debug(broken, break_at='half-done')",
    "bk.run(llb.image('busybox'), 'ls --color=always /; exit 3')",
]
SCREEN = ".depotlab-shell .xterm-rows"


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Once it is there, the cell that keeps the kernel busy ends."""
    return tmp_path / "released"


@pytest.fixture
def page(
    lab: Lab, browser: Any, engine: Any, released: Path, request: pytest.FixtureRequest
) -> Iterator[LabPage]:
    name = f"{request.node.name}.ipynb"
    setup = SETUP.format(state=str(engine.state_dir))
    cells = [setup, FAIL, BUSY.format(released=str(released)), "shell.exit_code", *LINES]
    write_notebook(lab.root / name, cells)
    page = lab.page(browser, name)
    page.theme("JupyterLab Light")
    page.run_cell(0)
    page.run_cell(1)
    page.page.locator(SCREEN).first.wait_for()
    yield page
    page.shut_down_kernel()
    page.close()


def screen(page: LabPage) -> str:
    return str(page.page.locator(SCREEN).first.inner_text()).replace("\xa0", " ")


def until(page: LabPage, text: str, *, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while text not in screen(page):
        assert time.monotonic() < deadline, f"{text!r} is not in:\n{screen(page)}"
        page.page.wait_for_timeout(50)


def size(page: LabPage, number: int) -> tuple[int, int]:
    """Ask the step's terminal for its rows and columns; `number` tells one answer from another."""
    enter(page, f"stty size; echo answer-$(({number} + 1000))")
    until(page, f"answer-{number + 1000}")
    said = screen(page).partition(f"answer-{number + 1000}")[0].split()
    return int(said[-2]), int(said[-1])


def enter(page: LabPage, line: str) -> None:
    page.page.locator(".depotlab-shell .xterm-helper-textarea").first.focus()
    page.page.keyboard.type(line)
    page.page.keyboard.press("Enter")


def test_the_failed_step_is_looked_at_in_a_terminal(page: LabPage) -> None:
    until(page, "/app # ")
    enter(page, "cat report; echo in=$STAGE")
    until(page, "half-done")
    until(page, "in=test")
    enter(page, r"printf '\033[31mred\033[0m \033[32mgreen\033[0m\n'; stty size")
    until(page, "red green")
    page.picture("shell-light", 1)
    page.theme("JupyterLab Dark")
    page.picture("shell-dark", 1)

    enter(page, "echo begun-$((40 + 2)); sleep 600")
    until(page, "begun-42")
    page.page.keyboard.press("Control+c")
    until(page, "^C")
    enter(page, "echo after-interrupt")
    until(page, "\nafter-interrupt")

    enter(page, "exit 3")
    page.page.get_by_text("exit code 3").first.wait_for()
    page.run_cell(3)
    assert page.text(3).split()[-1] == "3"
    data = page.save()["cells"][1]["outputs"][0]["data"]
    html, text = "".join(data["text/html"]), "".join(data["text/plain"])
    assert "half-done" in html
    assert "half-done" in text
    assert "exit code 3" in text
    assert "<script" not in html
    page.picture("shell-left", 1)


def test_it_follows_the_size_of_the_page_and_takes_a_paste(page: LabPage) -> None:
    until(page, "/app # ")
    before = size(page, 0)
    page.page.evaluate(
        "() => { document.querySelector('.depotlab-shell-box').style.height = '160px'; }"
    )
    # The new size takes a while to reach the step, so it is asked again as long as it has the old one.
    for number in range(1, 60):
        after = size(page, number)
        if after != before:
            break
    assert after[0] < 12
    page.page.evaluate(
        """() => {
          const area = document.querySelector('.depotlab-shell .xterm-helper-textarea');
          const data = new DataTransfer();
          data.setData('text/plain', 'echo pas' + 'ted-text');
          area.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));
        }"""
    )
    page.page.keyboard.press("Enter")
    until(page, "\npasted-text")


def test_it_lives_on_while_another_cell_runs(page: LabPage, released: Path) -> None:
    until(page, "/app # ")
    page.start_cell(2)
    enter(page, "echo meanwhile=$((6 * 7))")
    released.touch()
    page.wait_for_cell(2)
    until(page, "meanwhile=42")
    page.picture("shell-meanwhile", 1)


def test_a_page_that_is_loaded_again_shows_it_again(page: LabPage) -> None:
    until(page, "/app # ")
    enter(page, "echo before-$((40 + 2))")
    until(page, "\nbefore-42")
    page.save()
    page.goto()
    page.page.locator(SCREEN).first.wait_for()
    until(page, "\nbefore-42")
    enter(page, "echo after-$((40 + 3))")
    until(page, "\nafter-43")


def test_without_a_terminal_there_is_a_line_to_type_into(page: LabPage) -> None:
    page.run_cell(4)
    page.run_cell(5)
    below = page.page.locator(".jp-Cell").nth(5)
    line = below.get_by_placeholder("type a command, press Enter")
    line.wait_for()
    line.fill("echo sum=$((1 + 2))")
    line.press("Enter")
    below.get_by_text("sum=3").first.wait_for()
    page.picture("shell-lines", 5)
    line.fill("exit 4")
    line.press("Enter")
    below.get_by_text("exit code 4").first.wait_for()
    page.wait_for_saved(5, "sum=3")


def test_a_debugger_shows_where_it_stands(page: LabPage) -> None:
    page.run_cell(6)
    assert "▶" in page.text(6)
    assert "broken = llb.image" in page.text(6)
    page.picture("debugger-light", 6)
    page.run_cell(7)
    assert "exit code 3" in page.text(7)
    page.theme("JupyterLab Dark")
    page.picture("debugger-dark", 6)
    page.picture("completed-dark", 7)
