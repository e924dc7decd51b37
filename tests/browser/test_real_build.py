"""A real build in a real JupyterLab: what a user sees while it runs, and in the saved file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.gate import closed_gate
from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(600)

SETUP = """
import depotlab as dl
bk = dl.local(state_dir={state!r})
base = '''FROM busybox AS base
RUN echo {unique} > /when
'''
text = base + '''
FROM base AS words
RUN for i in $(seq 40); do echo "word $i"; done; seq 9 > /words
FROM base AS numbers
RUN for i in $(seq 25); do echo "number $i"; done; seq 9 > /numbers
FROM base AS unused
RUN exit 9
FROM base
COPY --from=words /words /words
COPY --from=numbers /numbers /numbers
'''
"""
# It says that it has begun, in words that are not in its name.
ENDLESS = "bk.build(dl.dockerfile(text=base + 'RUN echo begun-$((40 + 2)); sleep 600'))"


@pytest.fixture
def open_notebook(lab: Lab, browser: Any, engine: Any) -> Iterator[Callable[..., LabPage]]:
    pages: list[LabPage] = []

    def open_(*cells: str) -> LabPage:
        name = f"real-{len(list(lab.root.iterdir()))}.ipynb"
        setup = SETUP.format(state=str(engine.state_dir), unique=time.time_ns())
        write_notebook(lab.root / name, [setup, *cells])
        page = lab.page(browser, name)
        pages.append(page)
        page.run_cell(0)
        return page

    yield open_
    for page in pages:
        page.shut_down_kernel()
        page.close()


def test_it_moves_and_stays_readable(
    open_notebook: Callable[..., LabPage], lab: Lab, browser: Any
) -> None:
    with closed_gate() as gate:
        page = open_notebook(f"r = bk.build(dl.dockerfile(text=text + 'ADD {gate.url} /gate'))")
        page.start_cell(1)
        for words in ("word 40", "number 25", "1 running"):
            page.wait_for_text(1, words)
        page.picture("real-running", 1)
        gate.open()
        page.wait_for_cell(1)
    page.wait_for_end(1)
    page.wait_for_text(1, "✔ Built")
    page.save()
    again = lab.page(browser, page.notebook)
    again.wait_for_text(1, "✔ Built")
    assert "Loading widget" not in again.page.content()
    again.picture("real-saved", 1)
    again.close()


def test_the_stop_button_of_the_notebook_ends_it(open_notebook: Callable[..., LabPage]) -> None:
    page = open_notebook(ENDLESS, "'the kernel lives'")
    page.start_cell(1)
    page.wait_for_text(1, "begun-42")
    page.command("notebook:interrupt-kernel")
    page.wait_for_text(1, "canceled after")
    page.wait_for_cell(1)
    page.picture("real-stopped", 1)
    page.run_cell(2)
    page.wait_for_text(2, "the kernel lives")


def test_a_step_that_fails_says_why(open_notebook: Callable[..., LabPage]) -> None:
    broken = "text.replace('seq 9 > /numbers', 'echo oops >&2; exit 3')"
    page = open_notebook(f"bk.build(dl.dockerfile(text={broken}))")
    page.run_cell(1)
    page.wait_for_text(1, "exit code: 3")
    assert "oops" in page.text(1)
    # The view comes first, with the user's line in it; the traceback repeats it below.
    view = page.page.locator(".jp-OutputArea-output").first.inner_text()
    assert "at Dockerfile" in view
    assert "> " in view
    assert "exit 3" in view
    page.picture("real-failed", 1)


def test_the_cancel_button_ends_a_build_that_the_cell_waits_for(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook(ENDLESS, "'the kernel lives'")
    page.start_cell(1)
    page.wait_for_text(1, "begun-42")
    page.page.get_by_role("button", name="Cancel", exact=True).first.click()
    page.wait_for_text(1, "canceled after")
    page.wait_for_cell(1)
    page.wait_for_text(1, "BuildCanceled")
    page.run_cell(2)
    page.wait_for_text(2, "the kernel lives")
