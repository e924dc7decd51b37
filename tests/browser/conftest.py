"""JupyterLab and a browser, once for each process of tests."""

from __future__ import annotations

import importlib.util
import itertools
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.scripted import SETUP
from tests.conftest import unavailable
from tests.support import lab as support

_numbers = itertools.count()


def _need(*modules: str) -> None:
    if support.chromium() is None:
        unavailable("no Chromium on PATH: install your system's package `chromium`")
    for name in modules:
        if importlib.util.find_spec(name) is None:
            unavailable(f"{name} is not installed: pip install 'depotlab[dev]'")


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[support.Lab]:
    _need("jupyterlab", "ipywidgets")
    root: Path = tmp_path_factory.mktemp("notebooks")
    state: Path = tmp_path_factory.mktemp("state")
    with support.running_lab(root, state, keeps_pages=True) as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    # playwright's synchronous face drives an event loop on this thread while it is open, so it
    # is opened for this folder of tests and not for the session.
    _need("playwright")
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
