"""JupyterLab and a browser, once for each file of tests."""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.scripted import SETUP
from tests.support import lab as support

_numbers = itertools.count()


def _missing() -> str:
    if support.chromium() is None:
        return "no Chromium on PATH: install your system's package `chromium`"
    for name in ("jupyterlab", "ipywidgets", "playwright"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed: pip install 'depotlab[dev]'"
    return ""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[support.Lab]:
    reason = _missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    root: Path = tmp_path_factory.mktemp("notebooks")
    with support.running_lab(root, tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(lab: support.Lab) -> Iterator[Any]:
    # playwright's synchronous face drives an event loop on this thread while it is open, so it
    # is opened for one file of tests and not for the session.
    with support.running_browser() as running:
        yield running
    assert not [t for t in threading.enumerate() if "playwright" in t.name.lower()]


@pytest.fixture
def open_notebook(lab: support.Lab, browser: Any) -> Iterator[Callable[..., support.LabPage]]:
    """Open a notebook of these cells below `SETUP`, which has run.

    Its builds are told up to `until_s` of their own seconds and stand still there, until `LabPage.go_on`.
    """
    pages: list[support.LabPage] = []

    def open_(*cells: str, until_s: float = math.inf, **options: Any) -> support.LabPage:
        name = f"scripted-{next(_numbers)}.ipynb"
        support.write_notebook(lab.root / name, [SETUP, *cells])
        page = lab.page(browser, name, **options)
        pages.append(page)
        page.go_on(until_s)
        page.theme("JupyterLab Light")
        page.run_cell(0)
        return page

    yield open_
    for page in pages:
        page.shut_down_kernel()
        page.close()
