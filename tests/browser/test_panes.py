"""A graph in three panes, in a real JupyterLab: hovering over one pane shows the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(600)

GRAPH = """
from depotlab import llb, mount
base = llb.image("python:3.12-slim").env(LEVEL="high").dir("/app")
wheels = base.run("pip wheel -r requirements.txt", mounts=[mount.cache("/root/.cache/pip")], name="wheels")
app = base.copy(wheels, "/wheels", "/wheels").run("pip install /wheels/*", name="install")
app = app.copy(llb.local("."), "app", "app").mkfile("/app/conf", "a = 1\\n").cmd(["python", "-m", "app"])
"""


@pytest.fixture
def page(lab: Lab, browser: Any) -> Iterator[LabPage]:
    write_notebook(lab.root / "panes.ipynb", [GRAPH, "app.panes()"])
    page = lab.page(browser, "panes.ipynb")
    page.theme("JupyterLab Light")
    page.run_cell(0)
    page.run_cell(1)
    yield page
    page.shut_down_kernel()
    page.close()


def test_hovering_over_one_pane_shows_the_others(page: LabPage) -> None:
    panes = page.page.locator(".jp-Cell").nth(1).locator(".dlp-pane")
    assert panes.count() == 3
    line = panes.nth(0).locator(".dlp-l", has_text="pip install").first
    number = next(c for c in line.get_attribute("class").split() if c.startswith("o"))
    statement = panes.nth(2).locator(f".{number}").first
    box = panes.nth(1).locator(f"g.{number} > rect").first
    look = "e => getComputedStyle(e).backgroundColor + getComputedStyle(e).strokeWidth"
    before = statement.evaluate(look), box.evaluate(look)
    page.picture("panes", 1)
    line.hover()
    after = statement.evaluate(look), box.evaluate(look)
    assert before[0] != after[0], "the statement is marked"
    assert before[1] != after[1], "the box is marked"
    page.picture("panes-hover", 1)
    page.theme("JupyterLab Dark")
    box.hover()
    assert line.evaluate(look) != "rgba(0, 0, 0, 0)1px"
    page.picture("panes-dark", 1)


def test_the_saved_file_has_all_three(page: LabPage) -> None:
    saved = page.save()
    html = "".join(saved["cells"][1]["outputs"][0]["data"]["text/html"])
    assert "pip install" in html
    assert "<svg" in html
    assert "<script" not in html
    assert len(html) < 60_000
