"""The graph and the timeline in a real JupyterLab: boxes and bars are pressed, while it builds and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.scripted import TOO_WIDE
from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(600)

BOX = ".depotlab-view g[data-n]"
# A graph with a command, two branches, and files to look at.
SETUP = """\
import depotlab as dl
from depotlab import llb
bk = dl.local(state_dir={state!r})
base = llb.image("busybox")
words = base.run("for i in $(seq 900); do echo word $i; done; mkdir /out; seq 9 > /out/words", name="words")
notes = llb.scratch().mkfile("/notes", "n" * 1000)
app = llb.merge(words, notes)
result = bk.build(app, progress="quiet", no_cache=True)
"""


def box(page: LabPage, words: str) -> Any:
    return page.page.locator(BOX).filter(has_text=words).first


def log_of(page: LabPage) -> Any:
    return page.page.locator(".depotlab-log").first


@pytest.mark.parametrize(
    ("name", "theme", "width"),
    [("light", "JupyterLab Light", 1_100), ("dark-narrow", "JupyterLab Dark", 620)],
)
def test_a_box_that_is_pressed_shows_the_log_of_its_step_while_it_runs(
    name: str, theme: str, width: int, open_notebook: Callable[..., LabPage]
) -> None:
    page = open_notebook("run(typical())", until_s=4.6, viewport={"width": width, "height": 900})
    page.theme(theme)
    if width < 800:
        page.hide_side_bar()
    page.start_cell(1)
    page.page.get_by_label("Graph").click()
    page.page.get_by_label("Timeline").click()
    npm = box(page, "npm ci")
    npm.wait_for()
    assert "running" in npm.get_attribute("aria-label")
    npm.click()
    page.wait_for_text(1, "added 108 packages")
    page.page.locator(f"{BOX}[aria-pressed=true]").wait_for()
    assert "Collecting package" not in log_of(page).inner_text()
    page.picture(f"step-graph-{name}", 1)
    assert page.page.evaluate(TOO_WIDE) is False
    page.page.locator(".depotlab-view [role=listitem]", has_text="pip install").first.click()
    page.wait_for_text(1, "Collecting package-10")
    page.go_on()
    page.wait_for_end(1)


def test_boxes_are_gone_through_by_keys_and_the_focus_stays_when_they_are_drawn_anew(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook("run(typical())", until_s=3.0)
    page.start_cell(1)
    page.page.get_by_label("Graph").click()
    box(page, "npm ci").wait_for(state="detached")  # it waits, and cannot be pressed
    pip = box(page, "pip install")
    pip.focus()
    before = page.page.locator(".depotlab-view svg").inner_html()
    page.page.keyboard.press("Enter")
    page.wait_for_text(1, "Collecting package-13")
    page.go_on(4.6)
    box(page, "npm ci").wait_for()
    page.page.wait_for_function(
        "before => document.querySelector('.depotlab-view svg').innerHTML !== before", arg=before
    )
    page.page.wait_for_function(
        "() => (document.activeElement.getAttribute('aria-label') || '').includes('pip install')"
    )
    page.go_on()
    page.wait_for_end(1)


def test_the_saved_file_has_timeline_and_graph_and_they_unfold_without_a_kernel(
    open_notebook: Callable[..., LabPage], lab: Lab, browser: Any
) -> None:
    page = open_notebook("run(typical())")
    page.run_cell(1)
    page.wait_for_end(1)
    page.save()
    page.shut_down_kernel()
    again = lab.page(browser, page.notebook)
    again.wait_for_text(1, "✔ Built ghcr.io/me/app:dev")
    below = again.page.locator(".jp-OutputArea").nth(1)
    below.locator("summary").first.click()
    again.page.get_by_text("Timeline", exact=True).click()
    again.page.locator("[aria-label=timeline]").wait_for()
    again.page.get_by_text("Graph", exact=True).click()
    picture = again.page.locator("img[alt^='Graph of']")
    picture.wait_for()
    again.page.wait_for_function(
        "() => document.querySelector(\"img[alt^='Graph of']\").naturalWidth > 300"
    )
    again.picture("step-graph-saved", 1)
    again.theme("JupyterLab Dark")
    again.picture("step-graph-saved-dark", 1)
    assert again.page.evaluate(TOO_WIDE) is False
    again.close()


def test_a_build_that_is_over_is_opened_again_with_its_ops_lines_logs_and_files(
    lab: Lab, browser: Any, engine: Any
) -> None:
    cells = [SETUP.format(state=str(engine.state_dir)), "result.view()", "result.timeline"]
    write_notebook(lab.root / "again.ipynb", [*cells, "'the kernel answers'"])
    page = lab.page(browser, "again.ipynb")
    page.theme("JupyterLab Light")
    for index in range(3):
        page.run_cell(index)
    words = box(page, "words")
    words.click()
    page.wait_for_text(1, "> 5 | words = base.run(")
    page.wait_for_text(1, "900 lines")
    assert "run for i in $(seq 900)" in page.text(1)
    search = page.page.locator(".depotlab-view input[placeholder=Search]")
    search.fill("word 123")
    page.wait_for_text(1, "1 line with")
    search.fill("")
    page.page.get_by_role("button", name="Files", exact=True).click()
    page.page.locator(".depotlab-view pre", has_text="/bin/").wait_for()
    assert "\n/out/\n" in page.text(1)
    page.picture("step-graph-again", 1)
    page.run_cell(3)
    page.wait_for_text(3, "the kernel answers")
    page.page.get_by_role("button", name="Close", exact=True).click()
    page.wait_for_end(1)
    page.wait_for_text(1, "✔ Built")
    page.picture("timeline", 2)
    page.shut_down_kernel()
    page.close()
