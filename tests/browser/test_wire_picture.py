"""The sequence picture of a conversation in a real JupyterLab, light, dark, and in the saved file."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(600)

BUILD = """
import depotlab as dl
from wirecalls import build, call
with dl.wire() as wire:
    build(n_files=214)
wire
"""
LONG = """
with dl.wire() as wire:
    build()
    for number in range(500):
        call("/containerd.services.content.v1.Content/Info", [("daemon", b"x")], asker="daemon", session_id="s1")
        call("/moby.buildkit.v1.Control/ListWorkers", [("client", b""), ("daemon", b"x")])
wire
"""


@pytest.fixture
def page(lab: Lab, browser: Any) -> Iterator[LabPage]:
    write_notebook(lab.root / "wire.ipynb", [BUILD, LONG])
    page = lab.page(browser, "wire.ipynb")
    page.theme("JupyterLab Light")
    yield page
    page.shut_down_kernel()
    page.close()


def test_a_conversation_is_drawn_and_saved_small(page: LabPage) -> None:
    page.run_cell(0)
    page.run_cell(1)
    for index in (0, 1):
        below = page.page.locator(".jp-Cell").nth(index).locator(".jp-OutputArea").first
        page.page.wait_for_function(
            "i => i.complete && i.naturalHeight > 150", arg=below.locator("img").element_handle()
        )
        below.locator("summary").click()
        assert "It asked you for the directory 'context'" in page.text(index)
        page.picture(f"wire-{index}", index)
    page.theme("JupyterLab Dark")
    page.picture("wire-dark", 0)
    for cell in page.save()["cells"]:
        (html,) = [out["data"]["text/html"] for out in cell["outputs"]]
        text = "".join(html)
        assert len(text) <= 30_000
        encoded = re.search(r"base64,([^\"]+)", text)
        assert encoded is not None
        svg = base64.b64decode(encoded[1]).decode()
        assert "DiffCopy" in svg
        assert "<style" not in svg
        assert "<script" not in text
