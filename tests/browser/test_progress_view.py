"""The notebook view in a real JupyterLab: scripted builds, real widgets, real pixels."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(240)

SETUP = """
import threading, time
import simulate
from depotlab.progress import *
from depotlab.widgets import *

def run(make, **options):
    stop, build = threading.Event(), Fold()
    view = NotebookView(on_cancel=stop.set, **options)
    with Ticker(build, view):
        simulate.play(make(time.time_ns()), build, stop=stop)

def typical(outcome=Phase.SUCCEEDED):
    return lambda now: simulate.typical(outcome, base_ns=now)

def many(n_steps, **options):
    return lambda now: simulate.many(n_steps, base_ns=now, **options)
"""
BAR = ".jp-OutputArea [role=progressbar]"
_names = (f"view-{k}.ipynb" for k in itertools.count())


@pytest.fixture
def open_notebook(lab: Lab, browser: Any) -> Iterator[Callable[..., LabPage]]:
    pages: list[LabPage] = []

    def open_(*cells: str, **options: Any) -> LabPage:
        name = next(_names)
        write_notebook(lab.root / name, [SETUP, *cells])
        page = lab.page(browser, name, **options)
        pages.append(page)
        page.theme("JupyterLab Light")
        page.run_cell(0)
        return page

    yield open_
    for page in pages:
        page.shut_down_kernel()
        page.close()


def bar_now(page: LabPage) -> int:
    return int(page.page.locator(BAR).first.get_attribute("aria-valuenow"))


def test_the_bar_moves_and_the_end_is_static(open_notebook: Callable[..., LabPage]) -> None:
    page = open_notebook("run(typical())")
    page.start_cell(1)
    page.page.locator(BAR).first.wait_for(state="attached")
    seen = []
    for _ in range(6):
        page.page.wait_for_timeout(1_000)
        seen.append(bar_now(page))
        if len(seen) == 2:
            assert "MB of 54.1 MB" in page.text(1)
            assert "Collecting package" in page.text(1)
            page.picture("running", 1)
    assert seen == sorted(seen)
    assert len(set(seen)) >= 3
    assert page.page.get_by_role("button", name="Cancel").is_visible()
    page.picture("running-page")
    page.wait_for_cell(1)
    page.page.wait_for_timeout(300)
    assert "✔ Built ghcr.io/me/app:dev in 9.7 s" in page.text(1)
    assert page.page.get_by_role("button", name="Cancel").count() == 0
    page.picture("done", 1)
    (output,) = page.outputs(1)
    assert set(output["data"]) == {"text/html", "text/plain"}


def test_a_saved_notebook_tells_the_story_without_its_kernel(
    open_notebook: Callable[..., LabPage], lab: Lab, browser: Any
) -> None:
    page = open_notebook("run(typical())", "run(typical(Phase.FAILED))")
    page.run_cell(1)
    page.run_cell(2)
    notebook = page.save()
    page.page.wait_for_timeout(500)
    assert "widgets" not in notebook["metadata"]
    page.shut_down_kernel()
    again = lab.page(browser, page.notebook)
    again.page.wait_for_timeout(1_500)
    everything = again.text(1) + again.text(2)
    assert "✔ Built ghcr.io/me/app:dev" in everything
    assert "✖ ghcr.io/me/app:dev failed" in everything
    assert "Could not resolve './Heading'" in everything
    assert "Loading widget" not in again.page.content()
    again.picture("saved-and-reloaded")
    again.close()


IN_BACKGROUND = """
import contextvars
job = threading.Thread(target=contextvars.copy_context().run, args=(run, {make}))
job.start()
"""


def test_a_page_that_is_reloaded_in_mid_build_goes_on_and_shows_the_end(
    open_notebook: Callable[..., LabPage],
) -> None:
    make = "many(40, n_parallel=2, duration_s=25)"
    page = open_notebook(IN_BACKGROUND.format(make=make))
    page.run_cell(1)
    page.page.wait_for_timeout(1_000)
    page.save()
    page.page.wait_for_timeout(500)
    page.goto()
    page.page.locator(BAR).first.wait_for(state="attached", timeout=15_000)
    before = bar_now(page)
    assert "Building everything" in page.text(1)
    page.page.wait_for_timeout(3_000)
    assert bar_now(page) > before
    page.page.get_by_text("Built everything").wait_for(timeout=40_000)
    assert "Loading widget" not in page.page.content()


def test_a_page_that_is_reloaded_while_the_cell_blocks_shows_the_end(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook("run(typical())")
    page.start_cell(1)
    page.page.wait_for_timeout(2_000)
    page.save()
    page.page.wait_for_timeout(500)
    # The kernel cannot send the page its widgets before the cell has ended.
    page.goto(with_kernel=False)
    page.page.get_by_text("Built ghcr.io/me/app:dev").wait_for(timeout=40_000)
    assert "Loading widget" not in page.page.content()


def test_cancel_stops_a_build_that_the_cell_does_not_wait_for(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook(
        IN_BACKGROUND.format(make="typical()"),
        "job.join(); 'next cell ran'",
    )
    page.run_cell(1)
    page.page.wait_for_timeout(3_000)
    page.page.get_by_role("button", name="Cancel").click()
    page.page.get_by_text("canceled after").wait_for(timeout=5_000)
    page.run_cell(2)
    assert "next cell ran" in page.text(2)
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
        "run(hostile)"
    )
    page.start_cell(1)
    page.page.locator(BAR).first.wait_for(state="attached")
    page.page.wait_for_timeout(1_000)
    assert "<script>window.pwned=1</script>" in page.text(1)
    page.wait_for_cell(1)
    page.page.wait_for_timeout(500)
    assert "<script>window.pwned=1</script>" in page.text(1)
    assert page.page.evaluate("() => window.pwned === undefined")


GAPS = """() => { window.gaps = []; let last = performance.now();
  const tick = now => { window.gaps.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick); }"""


def test_a_thousand_steps_and_half_a_million_lines_leave_the_page_responsive(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook(
        "before = time.process_time()\n"
        "run(many(1_000, n_lines=500_000, n_parallel=100, duration_s=20))\n"
        "print('cpu', time.process_time() - before)"
    )
    page.page.evaluate(GAPS)
    page.start_cell(1)
    page.page.wait_for_timeout(8_000)
    page.picture("thousand", 1)
    page.wait_for_cell(1)
    gaps = sorted(page.page.evaluate("() => window.gaps"))
    p95_ms = gaps[int(len(gaps) * 0.95)]
    assert p95_ms < 100, f"p95 of the frame gaps is {p95_ms:.0f} ms, the longest {gaps[-1]:.0f} ms"
    assert "Built everything" in page.text(1)
    assert "1000 steps · 1000 ran" in page.text(1)
    size = len(json.dumps(page.outputs(1)))
    assert size < 16_000
    page.picture("thousand-done", 1)
    (cpu,) = re.findall(r"cpu ([\d.]+)", page.text(1))
    assert float(cpu) < 12.0, "kernel CPU in 20 s, the simulated daemon included"


def test_the_saved_output_of_fifty_steps_is_small(open_notebook: Callable[..., LabPage]) -> None:
    page = open_notebook("run(many(50, n_lines=5_000, n_parallel=8, duration_s=3))")
    page.run_cell(1)
    page.page.wait_for_timeout(300)
    assert len(json.dumps(page.outputs(1))) < 16_000


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
    page = open_notebook("run(typical(Phase.FAILED))", viewport={"width": width, "height": 900})
    page.theme(theme)
    if width < 800:
        page.command("application:toggle-left-area")
        page.page.wait_for_timeout(300)
    page.start_cell(1)
    page.page.locator(BAR).first.wait_for(state="attached")
    page.page.wait_for_timeout(4_500)
    page.picture(f"{name}-running", 1)
    too_wide = """() => [...document.querySelectorAll('.jp-OutputArea-output')]
        .some(node => node.scrollWidth > node.clientWidth + 1)"""
    assert page.page.evaluate(too_wide) is False
    page.wait_for_cell(1)
    page.page.wait_for_timeout(500)
    page.picture(f"{name}-failed", 1)
    assert page.page.evaluate(too_wide) is False


def test_where_nobody_watches_only_the_start_and_the_end_are_shown(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook("run(many(20, duration_s=2), mode='static')")
    page.run_cell(1)
    page.page.wait_for_timeout(300)
    (output,) = page.outputs(1)
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "Built everything" in page.text(1)


def test_without_widgets_the_output_is_replaced_as_html(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook("run(typical(), mode='html')")
    page.start_cell(1)
    page.page.locator(BAR).first.wait_for(state="attached")
    before = bar_now(page)
    page.page.wait_for_timeout(4_000)
    assert bar_now(page) > before
    page.wait_for_cell(1)
    page.page.wait_for_timeout(300)
    assert "✔ Built ghcr.io/me/app:dev" in page.text(1)
