"""Fixed states of the notebook view in a real JupyterLab, each with a picture; exports of what was saved."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter

from depotlab.progress import Phase
from depotlab.widgets import final_html, final_text
from tests.browser.test_progress_view import BAR, IN_BACKGROUND, SETUP
from tests.support import simulate
from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(240)

STATES = """
def lanes(now):
    return simulate.two_platforms(base_ns=now)
"""
_names = (f"states-{k}.ipynb" for k in itertools.count())
TOO_WIDE = """() => [...document.querySelectorAll('.jp-OutputArea-output')]
    .some(node => node.scrollWidth > node.clientWidth + 1)"""


@pytest.fixture
def open_notebook(lab: Lab, browser: Any) -> Iterator[Callable[..., LabPage]]:
    pages: list[LabPage] = []

    def open_(*cells: str, **options: Any) -> LabPage:
        name = next(_names)
        write_notebook(lab.root / name, [SETUP + STATES, *cells])
        page = lab.page(browser, name, **options)
        pages.append(page)
        page.theme("JupyterLab Light")
        page.run_cell(0)
        return page

    yield open_
    for page in pages:
        page.shut_down_kernel()
        page.close()


@pytest.mark.parametrize(
    ("name", "theme", "width"),
    [
        ("light", "JupyterLab Light", 1_100),
        ("dark-narrow", "JupyterLab Dark", 620),
    ],
)
def test_platforms_have_lanes_and_a_good_build_folds(
    name: str, theme: str, width: int, open_notebook: Callable[..., LabPage]
) -> None:
    page = open_notebook("run(lanes)", viewport={"width": width, "height": 900})
    page.theme(theme)
    if width < 800:
        page.command("application:toggle-left-area")
    page.start_cell(1)
    page.page.get_by_text("linux/arm64 · 2 of 5 steps").first.wait_for(timeout=10_000)
    page.page.wait_for_timeout(1_500)
    page.picture(f"lanes-{name}-running", 1)
    assert page.page.evaluate(TOO_WIDE) is False
    page.wait_for_cell(1)
    page.page.wait_for_timeout(300)
    assert "RUN pip install" not in page.text(1)
    page.page.locator(".jp-OutputArea summary").first.click()
    assert "Waited mostly for" in page.text(1)
    assert "RUN pip install" in page.text(1)
    page.picture(f"lanes-{name}-done", 1)
    assert page.page.evaluate(TOO_WIDE) is False


def test_the_steps_of_a_saved_build_unfold_without_a_kernel(
    open_notebook: Callable[..., LabPage], lab: Lab, browser: Any
) -> None:
    page = open_notebook("run(lambda now: simulate.many(5, n_lines=50, duration_s=1, base_ns=now))")
    page.run_cell(1)
    page.save()
    page.page.wait_for_timeout(500)
    page.shut_down_kernel()
    again = lab.page(browser, page.notebook)
    again.page.wait_for_timeout(1_000)
    assert "✔ Built everything" in again.text(1)
    assert "RUN make target-0003" not in again.text(1)
    again.page.locator(".jp-OutputArea summary").first.click()
    assert "RUN make target-0003" in again.text(1)
    again.page.locator(".jp-OutputArea summary").nth(1).click()
    assert "cc -O2" in again.text(1)
    again.picture("saved-unfolded", 1)
    again.close()


def test_builds_that_run_side_by_side_are_listed_in_the_newest_view(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook(
        IN_BACKGROUND.format(make="many(40, n_parallel=2, duration_s=20)"),
        IN_BACKGROUND.format(make="lanes"),
    )
    page.run_cell(1)
    page.run_cell(2)
    page.page.get_by_text("1 other build running").wait_for(timeout=10_000)
    assert "other build" not in page.text(1)
    assert "everything" in page.text(2)
    assert page.page.locator(BAR).count() >= 3
    page.picture("side-by-side", 2)
    page.page.get_by_text("Built ghcr.io/me/app:1.4").wait_for(timeout=20_000)
    assert "other build" not in page.text(2)


@pytest.mark.parametrize("outcome", [Phase.SUCCEEDED, Phase.FAILED])
@pytest.mark.parametrize("is_sanitised", [False, True])
def test_exports_tell_the_story_even_without_styles(outcome: Phase, is_sanitised: bool) -> None:
    snapshot = simulate.moment(simulate.typical(outcome), 99)
    notebook = nbformat.v4.new_notebook()
    data = {"text/html": final_html(snapshot), "text/plain": final_text(snapshot)}
    output = nbformat.v4.new_output("display_data", data=data)
    notebook.cells = [nbformat.v4.new_code_cell("bk.build(page)", outputs=[output])]
    html, _ = HTMLExporter(sanitize_html=is_sanitised).from_notebook_node(notebook)
    assert "ghcr.io/me/app:dev" in html
    assert "RUN npm run build" in html
    if outcome is Phase.FAILED:
        assert "Could not resolve" in html


def test_the_graph_of_a_build_is_coloured_as_it_goes(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook("run(typical())")
    page.start_cell(1)
    page.page.get_by_label("Graph").wait_for(timeout=10_000)
    page.page.get_by_label("Graph").click()
    picture = page.page.locator(".depotlab-view svg[role=img]")
    picture.wait_for(timeout=5_000)
    before = picture.inner_html()
    page.picture("live-graph", 1)
    page.page.wait_for_timeout(2_500)
    assert picture.inner_html() != before
    assert page.page.evaluate(TOO_WIDE) is False
    page.wait_for_cell(1)
