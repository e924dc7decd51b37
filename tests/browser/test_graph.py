"""The picture of a graph in a real JupyterLab: drawn, searched, clicked, and still there in the saved file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(600)

GRAPH = """
from depotlab import llb, mount
base = llb.image("python:3.12-slim").dir("/app")
wheels = base.run("pip wheel -r requirements.txt", mounts=[mount.cache("/root/.cache/pip")], name="wheels")
app = base.run("pip install /wheels/*", mounts=[mount.bind("/wheels", wheels)], name="install")
app = app.copy(llb.local("."), "app", "app").run("python -m compileall app", name="compile")
"""
# Small graphs are a plain picture; large ones have a search field.
LARGE = """
from IPython.display import HTML
parts = [base.run(f"make part{n}", name=f"part {n}") for n in range(24)]
HTML(llb.merge(app, *parts, wheels).graph().html)
"""


@pytest.fixture
def page(lab: Lab, browser: Any) -> Iterator[LabPage]:
    write_notebook(lab.root / "graph.ipynb", [GRAPH, "app", LARGE])
    page = lab.page(browser, "graph.ipynb")
    page.theme("JupyterLab Light")
    page.run_cell(0)
    yield page
    page.shut_down_kernel()
    page.close()


def output(page: LabPage, index: int) -> Any:
    return page.page.locator(".jp-Cell").nth(index).locator(".jp-OutputArea").first


def test_a_state_shows_its_graph(page: LabPage) -> None:
    page.run_cell(1)
    page.page.wait_for_function(
        "picture => picture.getBoundingClientRect().height > 200",
        arg=output(page, 1).locator("svg, img").first.element_handle(),
    )
    page.picture("graph-state", 1)


def test_the_picture_is_searched_and_clicked(page: LabPage) -> None:
    page.run_cell(2)
    below = output(page, 2)
    below.get_by_role("searchbox").fill("wheels")
    assert "of" in below.get_by_role("status").inner_text()
    dim = below.locator(".dl-dim").count()
    assert dim > 0, "what does not match is dimmed"
    below.get_by_role("searchbox").fill("")
    below.locator("svg [role=button]").nth(1).click()
    assert below.locator("[aria-pressed=true]").count() == 1
    page.picture("graph-clicked", 2)
    page.theme("JupyterLab Dark")
    page.picture("graph-dark", 2)


def test_the_saved_file_has_the_picture_without_scripts(page: LabPage) -> None:
    page.run_cell(1)
    saved = page.save()
    data = saved["cells"][1]["outputs"][0]["data"]
    assert "".join(data["image/svg+xml"]).lstrip().startswith("<svg")
    assert "wheels" in "".join(data["image/svg+xml"])
    assert len(json.dumps(data)) < 20_000
