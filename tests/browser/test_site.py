"""The documentation site: it is made without a warning, needs no network, and can be read in every light and width."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from docs.site import failures

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "build" / "screenshots"
pytestmark = pytest.mark.timeout(1200)  # whichever test is first makes the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make docs` makes; it fails for any warning of Sphinx, and for any link that leads nowhere."""
    into = tmp_path_factory.mktemp("docs") / "site"
    made = subprocess.run(
        [sys.executable, "-m", "docs.site", "--into", str(into)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1100,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return into


@pytest.fixture
def open_page(site: Path, browser: Any) -> Iterator[Any]:
    """Open pages of the site as files, as from a stick in a classroom; whatever asks the network fails the test."""
    asked: list[str] = []
    contexts = []

    def open_(name: str, *, query: str = "", **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(100_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / name).as_uri() + query, wait_until="load")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_the_front_page_has_the_picture_and_leads_to_everything(open_page: Any) -> None:
    page = open_page("index.html", viewport={"width": 1280, "height": 900}, color_scheme="light")
    assert page.title() == "depotlab"
    assert page.evaluate(
        "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    )
    links = page.locator(".sidebar-tree a.reference").evaluate_all(
        "each => each.map(a => a.getAttribute('href'))"
    )
    for name in ("start", "builds", "migrate", "errors", "how", "performance", "design"):
        assert f"{name}.html" in links
    assert "reference/index.html" in links
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "site.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["index.html", "migrate.html", "errors.html", "reference/depotlab.html"]
)
def test_no_page_is_wider_than_a_telephone(open_page: Any, name: str, scheme: str) -> None:
    page = open_page(name, viewport={"width": 390, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_search_finds_a_message_with_no_network(open_page: Any) -> None:
    texts = [
        message.text for message in failures.raised()["EngineError"] if "…" not in message.text
    ]
    page = open_page("search.html", query=f"?q={quote(max(texts, key=len))}")
    found = page.locator("#search-results li a", has_text="Errors")
    found.first.wait_for()
