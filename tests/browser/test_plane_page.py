"""The plane's status page in a real browser: what it shows, live, and that its buttons work."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab._plane.boundary import MachineState
from depotlab._plane.history import Log, Seen
from tests.conftest import unavailable
from tests.support import lab as support
from tests.support.officialclients import Cli, ClientUnavailable, depot_cli, running_plane
from tests.support.planeparts import PlaneThread

S = 10**9


@pytest.fixture
def plane() -> Iterator[PlaneThread]:
    with PlaneThread() as running:
        yield running


@pytest.fixture
def opened(browser, plane):
    """Open a path of the plane; the test fails for any word on the page's console, and any request elsewhere."""
    contexts, said = [], []

    def open_page(path="/", **options):
        context = browser.new_context(viewport={"width": 1000, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(support.PATIENCE_S * 1000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith(plane.plane.url) or said.append(request.url),
        )
        page.goto(plane.plane.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [words for words in said if "503" not in words] == []  # which one test answers itself


def begin(plane):
    """Register a build that has a cached, a running and a waiting step."""

    def work(parts):
        now = time.time_ns()
        made = parts.builds.register(parts.store.default_project()).record.build_id
        steps = [
            Seen("a", "[1/3] FROM busybox", now - 3 * S, now - 2 * S, cached=True),
            Seen("b", "[2/3] RUN make", now - 2 * S),
            Seen("c", "[3/3] COPY <b>.</b> /app"),
        ]
        parts.history.record(made, steps, [Log("b", 1, 1, b"making <i>it</i>\n")])
        return made

    return plane.do(work)


def rows(page, heading):
    """The texts of a table's cells, found by the heading of its section."""
    section = page.get_by_role("region", name=heading, exact=True)
    return [
        [cell.inner_text() for cell in row.get_by_role("cell").all()]
        for row in section.get_by_role("row").all()[1:]
    ]


def test_a_build_is_seen_from_its_first_step_to_its_end(plane, opened):
    page = opened()
    page.get_by_text("No build runs.").wait_for()
    made = begin(plane)
    card = page.get_by_role("article", name=f"Build {made}")
    card.wait_for()
    page.get_by_text("1 running build").wait_for()
    steps = [
        [cell.inner_text() for cell in row.get_by_role("cell").all()]
        for row in card.get_by_role("row").all()[1:]
    ]
    assert [step[:2] for step in steps] == [
        ["[1/3] FROM busybox", "cached"],
        ["[2/3] RUN make", "running"],
        ["[3/3] COPY <b>.</b> /app", "waiting"],
    ]
    assert steps[0][2] == "1.0 s"
    assert re.fullmatch(r"\d+\.\d s", steps[1][2])

    plane.do(lambda parts: parts.history.record(made, [Seen("b", "", 1, 2, error="exit 1")], []))
    card.get_by_text("[2/3] RUN make: exit 1").wait_for()
    plane.do(lambda parts: parts.builds.finish(made, "failed", "make failed"))
    card.wait_for(state="detached")
    page.get_by_text("No build runs.").wait_for()
    assert rows(page, "Builds")[0][:4] == [made, "default", "failed", "3 (1 cached)"]


def test_machines_and_projects_are_shown(plane, opened):
    made = begin(plane)
    home = plane.plane.environment["DEPOT_PROJECT_ID"]
    plane.do(lambda parts: parts.store.create_project("web-shop"))
    plane.machines.running = [
        MachineState(home, "amd64", "ready", (made,), time.time() - 70, False),
        MachineState(home, "arm64", "idle", (), time.time(), True),
    ]
    page = opened()
    page.get_by_text("arm64 (emulated)").wait_for()
    assert [row[:3] for row in rows(page, "Machines")] == [
        ["default", "amd64", "ready, 1 build"],
        ["default", "arm64 (emulated)", "idle"],
    ]
    assert re.fullmatch(r"[1-9] min \d+ s", rows(page, "Machines")[0][3])
    assert [(row[0], row[2], row[3]) for row in rows(page, "Projects")] == [
        ("default", "1", "50 GB, 14 days"),
        ("web-shop", "0", "50 GB, 14 days"),
    ]


def test_the_cancel_button_asks_the_build_to_stop_by_keyboard_too(plane, opened):
    made = begin(plane)
    page = opened()
    button = page.get_by_role("button", name=f"Cancel build {made}")
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Canceling…").wait_for()
    assert button.is_disabled()
    assert plane.do(lambda parts: parts.history.build(made)).cancels_ns is not None


def test_focus_outlives_updates(plane, opened):
    made = begin(plane)
    page = opened()
    page.get_by_role("button", name=f"Cancel build {made}").focus()
    begin(plane)
    page.get_by_text("2 running builds").wait_for()
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == f"Cancel build {made}"


def test_one_build_is_shown_with_its_output_as_text(plane, opened):
    made = begin(plane)
    page = opened(f"/builds/{made}")
    page.get_by_text("making <i>it</i>").wait_for()
    assert page.title() == f"Build {made}"
    plane.do(lambda parts: parts.history.record(made, [], [Log("b", 2, 1, b"made\n")]))
    page.get_by_text("made\n").wait_for()
    plane.do(lambda parts: parts.builds.finish(made, "failed", "make failed"))
    page.get_by_text("make failed").wait_for()
    page.get_by_role("link", name="All builds").click()
    page.get_by_role("link", name=made).wait_for()


def test_a_shared_build_can_be_read_and_nothing_else(plane, opened):
    made = begin(plane)
    secret = plane.do(lambda parts: parts.history.share(made, on=True))
    page = opened(f"/share/{secret}")
    page.get_by_text("making <i>it</i>").wait_for()
    assert page.get_by_role("button").all() == []
    assert page.get_by_role("link").all() == []


def test_a_login_is_approved_with_the_planes_token(plane, opened):
    logins = plane.do(lambda parts: parts.logins)
    login_id = plane.do(lambda _parts: logins.begin())
    page = opened(f"/login/{login_id}")
    field = page.get_by_label("Token of this plane")
    field.fill(plane.plane.environment["DEPOT_TOKEN"])
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Go back to your terminal").wait_for()
    assert plane.plane.environment["DEPOT_TOKEN"] not in page.content()


def test_it_says_when_the_plane_is_gone_and_comes_back(plane, opened):
    page = opened()
    page.get_by_text("No build runs.").wait_for()
    page.route("**/page/state", lambda route: route.fulfill(status=503, body="not now"))
    page.get_by_role("alert").get_by_text("not now").wait_for()
    page.unroute("**/page/state")
    page.locator("#trouble").wait_for(state="hidden")


def test_a_real_build_is_watched_and_cancelled(browser, tmp_path):
    try:
        program = depot_cli()
    except ClientUnavailable as error:
        unavailable(str(error))
    (tmp_path / "word").write_text(f"word of {tmp_path}")
    with tempfile.TemporaryDirectory(prefix="dlb-") as folder, running_plane(Path(folder)) as up:
        process = Cli.at(program, up, tmp_path / "home").start_slow_build(tmp_path)
        context = browser.new_context()
        context.set_default_timeout(support.PATIENCE_S * 1000)
        page = context.new_page()
        page.goto(up.url)
        card = page.get_by_role("article")
        running = card.get_by_role("row").filter(has_text="RUN echo zzz")
        running.get_by_text("running").wait_for()
        page.get_by_text("ready, 1 build").wait_for()
        card.get_by_role("button").click()
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 1, said
        page.get_by_role("region", name="Builds", exact=True).get_by_text("canceled").wait_for()
        page.get_by_text("No build runs.").wait_for()
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_light_and_dark(plane, opened, scheme):
    begin(plane)
    for end in ("success", "failed", "canceled"):
        made = begin(plane)
        plane.do(lambda parts, made=made, end=end: parts.builds.finish(made, end, "why"))
    page = opened(color_scheme=scheme)
    page.get_by_role("article").wait_for()
    faint = page.evaluate(_FAINT)
    page.screenshot(path=str(support.artifacts() / f"plane-{scheme}.png"), full_page=True)
    assert faint == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark is (scheme == "dark")


def test_it_fits_a_narrow_screen(plane, opened):
    begin(plane)
    page = opened()
    page.set_viewport_size({"width": 360, "height": 800})
    page.get_by_role("article").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


# Texts whose contrast with what is behind them is under 4.5 to 1. Source: WCAG 2.2, 1.4.3.
_FAINT = """() => {
  const parts = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => parts(c).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (parts(c).length < 4 || parts(c)[3] > 0) return c; } return "rgb(255, 255, 255)"; };
  return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() &&
      [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    return [e.textContent, (a + 0.05) / (b + 0.05)]; }).filter(([, ratio]) => ratio < 4.5); }"""
