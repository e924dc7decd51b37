"""The check of the finished site: every link leads somewhere, and nothing is fetched from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("source", "srcset"),
    ("iframe", "src"),
}
LED_TO = {("a", "href")}
EXTERNAL = ("https", "http", "mailto")


class _Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if value is not None and ((tag, name) in FETCHED or (tag, name) in LED_TO):
                self.links.append((tag, name, value))


def check(site: Path) -> list[str]:
    """Return what is wrong, one line for each link that leads nowhere; external ones are only read, not asked."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    wrong = []
    for path, page in pages.items():
        for tag, name, link in page.links:
            fault = _fault(path, link, pages, site, fetched=(tag, name) in FETCHED)
            if fault:
                wrong.append(f"{path.relative_to(site)}: {link!r} {fault}")
    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        if "url(http" in text.replace('"', "").replace("'", "") or "@import url" in text:
            wrong.append(f"{path.relative_to(site)}: fetches something from elsewhere")
    return wrong


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _fault(path: Path, link: str, pages: dict[Path, _Page], site: Path, *, fetched: bool) -> str:
    parts = urlsplit(link)
    if parts.scheme == "data" and fetched:
        return ""
    if parts.scheme or parts.netloc:
        if fetched:
            return "is fetched from elsewhere; the site must work with no network"
        if parts.scheme not in EXTERNAL:
            return f"has the scheme {parts.scheme!r}"
        return "" if parts.scheme == "mailto" or "." in parts.netloc else "names no host"
    target = path
    if parts.path:
        target = (path.parent / unquote(parts.path)).resolve()
        if target.is_dir():
            target /= "index.html"
        if not target.is_file() or site.resolve() not in target.parents:
            return "leads to no file of the site"
    anchor = unquote(parts.fragment)
    if anchor and target.resolve() in pages and anchor not in pages[target.resolve()].anchors:
        return "leads to no place of that page"
    return ""
