"""Reading logs in the live view, in a real JupyterLab: pick, search, page, wrap, copy, hold still; and Cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.scripted import IN_BACKGROUND
from tests.support.lab import LabPage

pytestmark = pytest.mark.timeout(600)

LONG = """
def long_log(now, n=30_000):
    name, words = "[app 1/1] RUN make", b""
    events = [VertexUpdated("a", name, started_ns=now), VertexUpdated("b", "[lib 1/1] RUN ls", started_ns=now)]
    for k in range(0, n, 100):
        text = "".join(f"line {i} of a log that is rather long, as logs are\\n" for i in range(k, k + 100))
        events.append(LogWritten("a", now + k, 1, text.encode()))
    events.append(LogWritten("b", now + n, 1, b"\\x1b[32mgreen words\\x1b[0m\\n" + b"wide " * 60 + b"\\n"))
    end = now + 40_000_000_000
    return [(0, [BuildStarted(now, "app", "simulated"), *events]), (40, [BuildEnded(end, Phase.SUCCEEDED)])]
"""


def begin(open_notebook: Callable[..., LabPage], *, is_waited_for: bool = False) -> LabPage:
    """Open a page with a build that has written all that it will, and stands; the list has its steps."""
    page = open_notebook(
        LONG + ("run(long_log)" if is_waited_for else IN_BACKGROUND.format(make="long_log")),
        until_s=1.0,
    )
    page.start_cell(1)
    wait_for(page, "green words")
    for name in ("RUN make", "RUN ls"):
        page.page.locator(".depotlab-view option", has_text=name).wait_for(state="attached")
    return page


def log_of(page: LabPage) -> Any:
    return page.page.locator(".depotlab-log").first


def tool(page: LabPage, name: str) -> Any:
    return page.page.get_by_role("button", name=name, exact=True).first


def wait_for(page: LabPage, text: str) -> None:
    page.page.locator(".jp-OutputArea").get_by_text(text).first.wait_for()


@pytest.mark.parametrize(
    "is_waited_for", [False, True], ids=["in the background", "in a busy cell"]
)
def test_a_row_that_is_clicked_shows_its_log_and_all_of_it_can_be_reached(
    is_waited_for: bool, open_notebook: Callable[..., LabPage]
) -> None:
    page = begin(open_notebook, is_waited_for=is_waited_for)
    assert "line 29999" in page.text(1)
    page.picture("log-all", 1)
    page.page.locator("tr[data-n]", has_text="RUN make").first.click()
    wait_for(page, "30000 lines")
    assert "green words" not in log_of(page).inner_text()
    page.picture("log-picked", 1)
    tool(page, "Older").click()
    wait_for(page, "page 25 of 25")
    tool(page, "Older").click()
    wait_for(page, "page 24 of 25")
    search = page.page.locator(".depotlab-view input[placeholder=Search]")
    search.fill("LINE 1234 ")
    wait_for(page, "1 line with")
    assert "line 1234 of a log" in log_of(page).inner_text()
    page.picture("log-found", 1)
    search.fill("")
    wait_for(page, "30000 lines")
    tool(page, "Cancel").click()
    wait_for(page, "canceled after")


def test_lines_wrap_or_not_and_can_be_copied(open_notebook: Callable[..., LabPage]) -> None:
    page = begin(open_notebook)
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.page.locator(".depotlab-view select").select_option(value="#2 [lib 1/1] RUN ls")
    wait_for(page, "#2 [lib 1/1] RUN ls: 2 lines")
    wide = """() => { const pane = document.querySelector('.depotlab-log');
        return pane.scrollWidth > pane.clientWidth + 1; }"""
    assert page.page.evaluate(wide) is False
    page.page.get_by_label("Wrap").click()
    page.page.wait_for_function(wide)
    tool(page, "Copy").click()
    copied = page.page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("green words\nwide wide")


def test_without_follow_nothing_moves(open_notebook: Callable[..., LabPage]) -> None:
    page = open_notebook(
        IN_BACKGROUND.format(make="many(40, n_lines=20_000, n_parallel=2, duration_s=25)"),
        until_s=5.0,
    )
    page.run_cell(1)
    wait_for(page, "8 of 40 steps")
    page.page.get_by_label("Follow").click()
    # Wishes are heard in order, so once this one is seen the other has been heard.
    page.page.get_by_label("Graph").click()
    page.page.locator(".depotlab-view svg[role=group]").first.wait_for()
    before = log_of(page).inner_text()
    # Panes change in order too: with the head of the second moment, all of the first is there.
    for until_s, head in ((10.0, "16 of 40 steps"), (15.0, "24 of 40 steps")):
        page.go_on(until_s)
        wait_for(page, head)
    assert log_of(page).inner_text() == before
    page.page.get_by_label("Follow").click()
    page.page.wait_for_function(
        "before => document.querySelector('.depotlab-log').innerText !== before", arg=before
    )


def test_cancel_stops_a_build_that_the_cell_waits_for(
    open_notebook: Callable[..., LabPage],
) -> None:
    page = open_notebook("run(typical())", "'the kernel lives'", until_s=3.0)
    page.start_cell(1)
    wait_for(page, "MB of 54.1 MB")
    tool(page, "Cancel").click()
    wait_for(page, "canceled after")
    page.wait_for_cell(1)
    page.run_cell(2)
    page.wait_for_text(2, "the kernel lives")


def test_it_can_be_used_from_the_keyboard(open_notebook: Callable[..., LabPage]) -> None:
    page = begin(open_notebook)
    tool(page, "Cancel").focus()
    page.page.keyboard.press("Tab")
    focused = "() => document.activeElement.tagName"
    assert page.page.evaluate(focused) == "SELECT"
    page.page.keyboard.press("#")
    wait_for(page, "30000 lines")
    names = page.page.evaluate(
        "() => [...document.querySelectorAll('.depotlab-view button, .depotlab-view select, .depotlab-view input')]"
        ".map(n => n.textContent.trim().split('#')[0] || n.title || n.placeholder || n.labels[0]?.textContent.trim())"
    )
    assert all(names)
