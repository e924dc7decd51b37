"""The notebook view in a real JupyterLab: scripted builds, real widgets, real pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.scripted import BAR, IN_BACKGROUND, TOO_WIDE
from tests.support.lab import Lab, LabPage

pytestmark = pytest.mark.timeout(600)


def bar_now(page: LabPage) -> int:
    return int(page.page.locator(BAR).first.get_attribute("aria-valuenow"))


def bar_after(page: LabPage, before: int) -> int:
    """Wait until the bar shows more, and return it."""
    page.page.wait_for_function(
        "([bar, n]) => document.querySelector(bar)?.getAttribute('aria-valuenow') > n",
        arg=[BAR, before],
    )
    return bar_now(page)


def test_the_bar_moves_and_the_end_is_static(open_notebook: Callable[..., LabPage]) -> None:
    page = open_notebook("run(typical())", until_s=3.0)
    page.start_cell(1)
    page.wait_for_text(1, "MB of 54.1 MB")
    page.wait_for_text(1, "Collecting package-13")
    page.picture("running", 1)
    seen = bar_now(page)
    for until_s in (5.7, 8.0):
        page.go_on(until_s)
        seen = bar_after(page, seen)
    assert page.page.get_by_role("button", name="Cancel").is_visible()
    page.picture("running-page")
    page.go_on()
    page.wait_for_cell(1)
    page.wait_for_end(1)
    page.wait_for_text(1, "✔ Built ghcr.io/me/app:dev in 9.7 s")
    assert page.page.get_by_role("button", name="Cancel").count() == 0
    page.picture("done", 1)
    (output,) = page.outputs(1)
    assert set(output["data"]) == {"text/html", "text/plain"}


def test_a_saved_notebook_tells_the_story_without_its_kernel(
    open_notebook: Callable[..., LabPage], lab: Lab, browser: Any
) -> None:
    page = open_notebook("run(typical())", "run(typical(Phase.FAILED))")
    for index in (1, 2):
        page.run_cell(index)
        page.wait_for_end(index)
    notebook = page.save()
    assert "widgets" not in notebook["metadata"]
    page.shut_down_kernel()
    again = lab.page(browser, page.notebook)
    again.wait_for_text(1, "✔ Built ghcr.io/me/app:dev")
    again.wait_for_text(2, "✖ ghcr.io/me/app:dev failed")
    again.wait_for_text(2, "Could not resolve './Heading'")
    assert "Loading widget" not in again.page.content()
    again.picture("saved-and-reloaded")
    again.close()


def test_a_page_that_is_reloaded_in_mid_build_goes_on_and_shows_the_end(
    open_notebook: Callable[..., LabPage],
) -> None:
    make = "many(40, n_parallel=2, duration_s=25)"
    page = open_notebook(IN_BACKGROUND.format(make=make), until_s=5.0)
    page.run_cell(1)
    page.wait_for_text(1, "8 of 40 steps")
    page.save()
    page.goto()
    page.wait_for_text(1, "Building everything")
    page.go_on(10.0)
    bar_after(page, 8)
    page.go_on()
    page.wait_for_text(1, "Built everything")
    assert "Loading widget" not in page.page.content()


def test_a_page_that_is_reloaded_while_the_cell_blocks_shows_the_end(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook("run(typical())", until_s=3.0)
    page.start_cell(1)
    page.wait_for_text(1, "MB of 54.1 MB")
    page.save()
    # The kernel cannot send the page its widgets before the cell has ended.
    page.goto(with_kernel=False)
    page.go_on()
    page.wait_for_text(1, "Built ghcr.io/me/app:dev")
    assert "Loading widget" not in page.page.content()


def test_cancel_stops_a_build_that_the_cell_does_not_wait_for(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook(
        IN_BACKGROUND.format(make="typical()"), "job.join(); 'next cell ran'", until_s=3.0
    )
    page.run_cell(1)
    page.wait_for_text(1, "MB of 54.1 MB")
    page.page.get_by_role("button", name="Cancel").click()
    page.wait_for_text(1, "canceled after")
    page.run_cell(2)
    page.wait_for_text(2, "next cell ran")
    page.picture("canceled", 1)


def test_names_and_output_of_a_build_are_shown_and_never_run(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook(
        "evil = '<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>'\n"
        "def hostile(now):\n"
        "    end = now + 2_500_000_000\n"
        "    return [(0, [BuildStarted(now, evil, evil),\n"
        "                 VertexUpdated('a', evil, started_ns=now),\n"
        "                 LogWritten('a', now, 1, (evil + chr(10)).encode())]),\n"
        "            (2.5, [VertexUpdated('a', evil, (), now, end, error=evil),\n"
        "                   BuildEnded(end, Phase.FAILED, evil)])]\n"
        "run(hostile)",
        until_s=1.0,
    )
    page.start_cell(1)
    page.wait_for_text(1, "<script>window.pwned=1</script>")
    page.go_on()
    page.wait_for_cell(1)
    page.wait_for_end(1)
    page.wait_for_text(1, "<script>window.pwned=1</script>")
    assert page.page.evaluate("() => window.pwned === undefined")


def test_a_thousand_steps_and_half_a_million_lines_stay_a_small_picture(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook(
        "run(many(1_000, n_lines=500_000, n_parallel=100, duration_s=20))", until_s=8.0
    )
    page.start_cell(1)
    page.wait_for_text(1, "400 of 1000 steps")
    # How fluent a page is depends on how much there is of it; `make bench` measures how fluent.
    n_elements = "() => document.querySelectorAll('.depotlab-view *').length"
    assert page.page.evaluate(n_elements) < 1_500
    page.picture("thousand", 1)
    page.go_on()
    page.wait_for_cell(1)
    page.wait_for_end(1)
    page.wait_for_text(1, "Built everything")
    page.wait_for_text(1, "1000 steps · 1000 ran")
    assert len(json.dumps(page.outputs(1))) < 60_000
    page.picture("thousand-done", 1)


def test_the_saved_output_of_fifty_steps_is_small(open_notebook: Callable[..., LabPage]) -> None:
    page = open_notebook("run(many(50, n_lines=5_000, n_parallel=8, duration_s=3))")
    page.run_cell(1)
    page.wait_for_end(1)
    assert len(json.dumps(page.outputs(1))) < 60_000


@pytest.mark.parametrize(
    ("name", "theme", "width"),
    [
        ("dark", "JupyterLab Dark", 1_100),
        ("narrow", "JupyterLab Light", 620),
    ],
)
def test_it_fits_other_pages(
    name: str, theme: str, width: int, open_notebook: Callable[..., LabPage]
) -> None:
    page = open_notebook(
        "run(typical(Phase.FAILED))", until_s=4.5, viewport={"width": width, "height": 900}
    )
    page.theme(theme)
    if width < 800:
        page.hide_side_bar()
    page.start_cell(1)
    page.wait_for_text(1, "added 108 packages")
    page.picture(f"{name}-running", 1)
    assert page.page.evaluate(TOO_WIDE) is False
    page.go_on()
    page.wait_for_cell(1)
    page.wait_for_end(1)
    page.wait_for_text(1, "Could not resolve './Heading'")
    page.picture(f"{name}-failed", 1)
    assert page.page.evaluate(TOO_WIDE) is False


def test_where_nobody_watches_only_the_start_and_the_end_are_shown(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook("run(many(20, duration_s=2), mode='static')")
    page.run_cell(1)
    page.wait_for_text(1, "Built everything")
    (output,) = page.outputs(1)
    assert set(output["data"]) == {"text/html", "text/plain"}


def test_without_widgets_the_output_is_replaced_as_html(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook("run(typical(), mode='html')", until_s=2.0)
    page.start_cell(1)
    page.wait_for_text(1, "MB of 54.1 MB")
    before = bar_now(page)
    page.go_on(6.0)
    bar_after(page, before)
    page.go_on()
    page.wait_for_cell(1)
    page.wait_for_text(1, "✔ Built ghcr.io/me/app:dev")
