"""The preview of a context in a real JupyterLab: read, folded, and still there in the saved file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(600)

PROJECT = r"""
from depotlab._contexts import context
files = {f"src/app/module{n}.py": "x = 1\n" * n * 50 for n in range(12)}
files |= {f"src/app/api/handler{n}.py": "x = 1\n" * n * 20 for n in range(5)}
files |= {f"node_modules/p{n}/index.js": "y" * 4000 for n in range(40)}
files |= {".dockerignore": "# installed\nnode_modules\n*.log\n", "debug.log": "z" * 90_000, ".env": "PASSWORD=x",
          "a/__pycache__/a.pyc": "1", "b/__pycache__/b.pyc": "1", "data/$x$ & <b>.csv": "1,2"}
"""
SHOW = "context(files).preview()"


@pytest.fixture
def page(lab: Lab, browser: Any) -> Iterator[LabPage]:
    write_notebook(lab.root / "context.ipynb", [PROJECT, SHOW])
    page = lab.page(browser, "context.ipynb")
    page.theme("JupyterLab Light")
    page.run_cell(0)
    page.run_cell(1)
    yield page
    page.shut_down_kernel()
    page.close()


def output(page: LabPage) -> Any:
    return page.page.locator(".jp-Cell").nth(1).locator(".jp-OutputArea").first


def test_the_preview_is_read_and_folded(page: LabPage) -> None:
    text = page.text(1)
    for words in (
        "would be sent",
        "250 kB in 41 files in 41 directories left out",
        "likely a secret",
        ".dockerignore:2: node_modules",
        "$x$ & <b>.csv",
    ):
        assert words in text, words
    below = output(page)
    folded = below.get_by_text("module11.py").last
    assert folded.is_visible()
    below.get_by_text("src/app/").last.click()
    assert not folded.is_visible()
    below.get_by_text("src/app/").last.click()
    assert folded.is_visible()
    page.picture("context-light", 1)
    page.theme("JupyterLab Dark")
    page.picture("context-dark", 1)


def test_sizes_stand_in_one_column(page: LabPage) -> None:
    boxes = [
        one.bounding_box() for one in output(page).locator("details span", has_text="kB").all()
    ]
    edges = {round(box["x"] + box["width"]) for box in boxes if box is not None}
    assert len(boxes) >= 10
    assert len(edges) == 1, "sizes end at the right edge, however deep they stand"


def test_the_saved_file_has_the_preview(page: LabPage) -> None:
    data = page.save()["cells"][1]["outputs"][0]["data"]
    html = "".join(data["text/html"])
    assert "likely a secret" in html
    assert "<script" not in html
    assert len(html) < 60_000
    assert "".join(data["text/plain"]).startswith("<preview of ")
