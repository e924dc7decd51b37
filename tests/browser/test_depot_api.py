"""The Depot API and its login in a real JupyterLab: tables to read, a link to press, and no secret that is kept."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depotlab._plane import lease_plane
from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    lease = lease_plane(tmp_path_factory.mktemp("plane"))
    yield lease
    lease.close()


@pytest.fixture
def page(lab: Lab, browser: Any, plane: Any, tmp_path: Path) -> Iterator[LabPage]:
    cells = [
        f"import os\nos.environ['XDG_CONFIG_HOME'] = {str(tmp_path)!r}\nimport depotlab as dl\n"
        f"api = dl.depot_api(local={str(plane.state)!r})\n"
        "for name in ('web', 'a <b>name</b> & more'):\n"
        "    api.projects.create(name, cache_policy=dl.api.CachePolicy(25, 7))",
        "api.projects.list()",
        f"dl.depot_login(url={plane.url!r})",
        "token = api.projects.create_token(api.projects.list()[0].id, 'for CI')\ntoken",
    ]
    write_notebook(lab.root / "api.ipynb", cells)
    page = lab.page(browser, "api.ipynb")
    page.theme("JupyterLab Light")
    page.run_cell(0)
    yield page
    page.shut_down_kernel()
    page.close()


def approve(plane: Any, login_id: str) -> None:
    request = urllib.request.Request(
        f"{plane.url}/page/login",
        data=json.dumps({"login_id": login_id, "token": plane.token}).encode(),
        headers={"content-type": "application/json", "x-depotlab-page": "1"},
    )
    urllib.request.urlopen(request, timeout=20).close()


def test_a_list_is_a_table_and_a_login_leaves_no_trace(page: LabPage, plane: Any) -> None:
    page.run_cell(1)
    text = page.text(1)
    for words in ("3 projects", "cache policy", "25 GB, 7 days", "a <b>name</b> & more"):
        assert words in text, words
    page.picture("api-light", 1)
    page.theme("JupyterLab Dark")
    page.picture("api-dark", 1)

    page.start_cell(2)
    link = page.page.locator(".jp-OutputArea a[href*='/login/']").first
    link.wait_for()
    address = link.get_attribute("href")
    assert address.startswith(f"{plane.url}/login/")
    assert link.get_attribute("target") == "_blank"
    page.picture("login-link", 2)
    approve(plane, address.rpartition("/")[2])
    page.wait_for_cell(2)
    assert "logged in" in page.text(2)
    page.run_cell(3)
    assert "•••" in page.text(3)

    saved = json.dumps(page.save())
    assert address not in saved
    assert plane.token not in saved
    assert "depotlab_user_" not in saved
    assert "depotlab_project_" not in saved
