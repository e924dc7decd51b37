"""A real build in a real JupyterLab: what a user sees while it runs, and in the saved file."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(240)

SETUP = """
import depotlab as dl
bk = dl.local(state_dir={state!r})
text = '''
FROM busybox AS base
RUN echo {unique} > /when
FROM base AS words
RUN for i in $(seq 40); do echo "word $i"; sleep 0.1; done; seq 9 > /words
FROM base AS numbers
RUN for i in $(seq 25); do echo "number $i"; sleep 0.1; done; seq 9 > /numbers
FROM base AS unused
RUN exit 9
FROM base
COPY --from=words /words /words
COPY --from=numbers /numbers /numbers
'''
"""
BAR = ".jp-OutputArea [role=progressbar]"


@pytest.fixture
def page(lab: Lab, browser: Any, engine: Any, request: pytest.FixtureRequest) -> Any:
    name = f"{request.node.name}.ipynb"
    setup = SETUP.format(state=str(engine.state_dir), unique=time.time_ns())
    write_notebook(lab.root / name, [setup, *request.param])
    page = lab.page(browser, name)
    page.run_cell(0)
    yield page
    page.shut_down_kernel()
    page.close()


@pytest.mark.parametrize(
    "page", [["r = bk.build(dl.dockerfile(text=text))"]], indirect=True, ids=["good"]
)
def test_it_moves_and_stays_readable(page: LabPage, lab: Lab, browser: Any) -> None:
    page.start_cell(1)
    page.page.get_by_text("word 12").first.wait_for(timeout=60_000)
    assert "running" in page.text(1)
    page.picture("real-running", 1)
    page.wait_for_cell(1)
    page.page.wait_for_timeout(300)
    assert "✔ Built" in page.text(1)
    page.save()
    page.page.wait_for_timeout(300)
    again = lab.page(browser, page.notebook)
    again.page.wait_for_timeout(1_000)
    assert "✔ Built" in again.text(1)
    assert "Loading widget" not in again.page.content()
    again.picture("real-saved", 1)
    again.close()


@pytest.mark.parametrize(
    "page",
    [["bk.build(dl.dockerfile(text=text + 'RUN sleep 60'))", "'the kernel lives'"]],
    indirect=True,
    ids=["stopped"],
)
def test_the_stop_button_of_the_notebook_ends_it(page: LabPage) -> None:
    page.start_cell(1)
    page.page.locator(BAR).first.wait_for(state="attached", timeout=60_000)
    page.page.wait_for_timeout(2_000)
    began_s = time.monotonic()
    page.command("notebook:interrupt-kernel")
    page.page.get_by_text("canceled after").wait_for(timeout=10_000)
    assert time.monotonic() - began_s < 2.0
    page.wait_for_cell(1)
    page.picture("real-stopped", 1)
    page.run_cell(2)
    assert "the kernel lives" in page.text(2)


@pytest.mark.parametrize(
    "page",
    [["bk.build(dl.dockerfile(text=text.replace('seq 9 > /numbers', 'echo oops >&2; exit 3')))"]],
    indirect=True,
    ids=["failing"],
)
def test_a_step_that_fails_says_why(page: LabPage) -> None:
    page.run_cell(1)
    page.page.wait_for_timeout(500)
    words = page.text(1)
    assert "exit code: 3" in words
    assert "oops" in words
    # The view comes first, with the user's line in it; the traceback repeats it below.
    view = page.page.locator(".jp-OutputArea-output").first.inner_text()
    assert "at Dockerfile" in view
    assert "> " in view
    assert "exit 3" in view
    page.picture("real-failed", 1)


@pytest.mark.parametrize(
    "page",
    [["bk.build(dl.dockerfile(text=text + 'RUN sleep 60'))", "'the kernel lives'"]],
    indirect=True,
    ids=["pressed"],
)
def test_the_cancel_button_ends_a_build_that_the_cell_waits_for(page: LabPage) -> None:
    page.start_cell(1)
    page.page.locator(BAR).first.wait_for(state="attached", timeout=60_000)
    page.page.wait_for_timeout(2_000)
    began_s = time.monotonic()
    page.page.get_by_role("button", name="Cancel", exact=True).first.click()
    page.page.get_by_text("canceled after").wait_for(timeout=10_000)
    assert time.monotonic() - began_s < 2.0
    page.wait_for_cell(1)
    assert "BuildCanceled" in page.text(1)
    page.run_cell(2)
    assert "the kernel lives" in page.text(2)
