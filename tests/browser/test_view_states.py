"""Fixed states of the notebook view in a real JupyterLab, each with a picture; exports of what was saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter

from depotlab.progress import Phase
from depotlab.widgets import final_html, final_text
from tests.browser.scripted import BAR, IN_BACKGROUND, TOO_WIDE
from tests.support import simulate
from tests.support.lab import Lab, LabPage

pytestmark = pytest.mark.timeout(600)


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
    page = open_notebook("run(lanes)", until_s=3.0, viewport={"width": width, "height": 900})
    page.theme(theme)
    if width < 800:
        page.hide_side_bar()
    page.start_cell(1)
    page.wait_for_text(1, "linux/arm64 · 2 of 5 steps")
    page.wait_for_text(1, "Collecting package-08")
    page.picture(f"lanes-{name}-running", 1)
    assert page.page.evaluate(TOO_WIDE) is False
    page.go_on()
    page.wait_for_cell(1)
    page.wait_for_end(1)
    page.wait_for_text(1, "Built ghcr.io/me/app:1.4")
    assert "RUN pip install" not in page.text(1)
    page.page.locator(".jp-OutputArea summary").first.click()
    page.page.get_by_text("Waited mostly for").wait_for()
    assert "RUN pip install" in page.text(1)
    page.picture(f"lanes-{name}-done", 1)
    assert page.page.evaluate(TOO_WIDE) is False


def test_the_steps_of_a_saved_build_unfold_without_a_kernel(
    open_notebook: Callable[..., LabPage], lab: Lab, browser: Any
) -> None:
    page = open_notebook("run(lambda now: simulate.many(5, n_lines=50, duration_s=1, base_ns=now))")
    page.run_cell(1)
    page.wait_for_end(1)
    page.save()
    page.shut_down_kernel()
    again = lab.page(browser, page.notebook)
    again.wait_for_text(1, "✔ Built everything")
    assert "RUN make target-0003" not in again.text(1)
    again.page.locator(".jp-OutputArea summary").first.click()
    again.wait_for_text(1, "RUN make target-0003")
    again.page.locator(".jp-OutputArea summary", has_text="Output of").first.click()
    again.wait_for_text(1, "cc -O2")
    again.picture("saved-unfolded", 1)
    again.close()


def test_builds_that_run_side_by_side_are_listed_in_the_newest_view(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook(
        IN_BACKGROUND.format(make="many(40, n_parallel=2, duration_s=20)"),
        IN_BACKGROUND.format(make="lanes"),
        until_s=3.0,
    )
    page.run_cell(1)
    page.wait_for_text(1, "6 of 40 steps")
    page.run_cell(2)
    page.wait_for_text(2, "1 other build running")
    page.wait_for_text(2, "6 of 40 steps")
    assert "other build" not in page.text(1)
    assert "everything" in page.text(2)
    assert page.page.locator(BAR).count() >= 3
    page.picture("side-by-side", 2)
    page.go_on(10.0)
    page.wait_for_end(2)
    page.wait_for_text(2, "Built ghcr.io/me/app:1.4")
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
    page = open_notebook("run(typical())", until_s=3.0)
    page.start_cell(1)
    page.wait_for_text(1, "MB of 54.1 MB")
    page.page.get_by_label("Graph").click()
    picture = page.page.locator(".depotlab-view svg[role=group]")
    picture.wait_for()
    before = picture.inner_html()
    page.picture("live-graph", 1)
    page.go_on(7.0)
    page.page.wait_for_function(
        "before => document.querySelector('.depotlab-view svg[role=group]').innerHTML !== before",
        arg=before,
    )
    assert page.page.evaluate(TOO_WIDE) is False
    page.go_on()
    page.wait_for_cell(1)
