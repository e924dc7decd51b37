"""`make pictures`: take the pictures of README and docs, of real builds in a real JupyterLab.

    python -m docs.pictures.take             all of them, into docs/pictures
    python -m docs.pictures.take progress    one
    python -m docs.pictures.take graphs      those that are drawn without a build

The builds run on an engine of their own, which ends with the script. What is built is `docs/pictures/site`: a small
web site, for which `busybox` is enough. Each picture is taken twice, in light (`NAME.png`) and dark (`NAME-dark.png`).
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depotlab import _local as engine_room
from depotlab import llb
from docs.pictures import graphs
from docs.pictures.small import save_small
from tests.support.lab import Lab, LabPage, running_browser, running_lab, write_notebook

HERE = Path(__file__).parent
THEMES = {"": "JupyterLab Light", "-dark": "JupyterLab Dark"}
SCALE = 2  # pixels of the picture for one of the page, so that letters are sharp on any screen
MOST_BYTES = 150_000
CHAPTERS = (
    "beginning the-road an-inn two-strangers rain the-letter a-bridge night "
    "the-market an-old-map the-river snow a-door the-tower morning home"
)
STYLE = """
.Toastify, .jp-toast-container, .jp-cell-toolbar, .jp-Collapser { display: none !important }
.jp-Notebook .jp-Cell { border: none !important; outline: none !important; box-shadow: none !important }
"""
NO_LOG = ".depotlab-log { display: none !important }"
ONLY_VIEW = ".jp-OutputArea-child:nth-child(n + 2) { display: none !important }"
FIRST_CELL = """
import depotlab as dl
bk = dl.local(state_dir={state!r})
"""


@dataclass(frozen=True)
class Picture:
    """What is run and what is waited for.

    Attributes:
        cell: Run, and shown above its output.
        take: Drives the page until it looks as it should; the build goes on meanwhile.
        before: Run before, and not shown.
        style: Of the page when the picture is taken, such as what is left out.
        width: Of the page, in its own pixels.
    """

    cell: str
    take: Callable[[LabPage], None]
    before: str = ""
    style: str = ""
    width: int = 1080


def running(page: LabPage) -> None:
    page.start_cell(SHOWN)
    page.wait_for_text(SHOWN, "night.html")


def graph(page: LabPage) -> None:
    page.start_cell(SHOWN)
    page.wait_for_text(SHOWN, "the-road.html")
    page.page.get_by_role("checkbox", name="Graph").click()
    page.page.locator(".depotlab-view svg[role=group]").wait_for()
    page.wait_for_text(SHOWN, "night.html")


def failed(page: LabPage) -> None:
    page.run_cell(SHOWN)
    page.wait_for_end(SHOWN)
    page.wait_for_text(SHOWN, "failed after")


def done(page: LabPage) -> None:
    page.run_cell(SHOWN)
    page.wait_for_end(SHOWN)
    page.page.locator(".jp-OutputArea summary").first.click()
    page.wait_for_text(SHOWN, "Waited mostly for")


def value(page: LabPage) -> None:
    page.run_cell(SHOWN)


SHOWN = 2
WARM = 'bk.build(dl.dockerfile("site"), progress="quiet")\n'
CHANGE = """from pathlib import Path
with Path("site/pages/16-home.md").open("a") as last:
    last.write("The end.\\n")
"""
BUILD = 'bk.build(dl.dockerfile("site"), tags="novel:2")'
PICTURES = {
    "progress": Picture(BUILD, running, before=WARM + CHANGE),
    "graph": Picture(BUILD, graph, before=WARM + CHANGE, style=NO_LOG),
    "failed": Picture(
        'bk.build(dl.dockerfile("site", target="check"))', failed, before=WARM, style=ONLY_VIEW
    ),
    "done": Picture(BUILD, done, before=WARM + CHANGE, style=ONLY_VIEW),
    "timeline": Picture("result.timeline", value, before=f"{WARM}{CHANGE}result = {BUILD}"),
}


def main(words: list[str]) -> int:
    """Take the pictures; returns 1 if one is too large for a page."""
    parser = argparse.ArgumentParser(prog="python -m docs.pictures.take")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}, graphs"
    )
    parser.add_argument("--to", type=Path, default=HERE, help="a folder; docs/pictures by default")
    wanted = parser.parse_args(words)
    names = wanted.names or [*PICTURES, "graphs"]
    if unknown := set(names) - {*PICTURES, "graphs"}:
        parser.error(f"no such picture: {', '.join(sorted(unknown))}")
    wanted.to.mkdir(parents=True, exist_ok=True)
    paths = draw(wanted.to) if "graphs" in names else []
    shots = [name for name in PICTURES if name in names]
    if shots:
        with opened() as (lab, browser):
            for name, (suffix, theme) in itertools.product(shots, THEMES.items()):
                paths.append(wanted.to / f"{name}{suffix}.png")
                take(PICTURES[name], lab, browser, theme=theme, path=paths[-1])
    for path in paths:
        print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")
    too_large = [path.name for path in paths if path.stat().st_size > MOST_BYTES]
    if too_large:
        print(f"larger than {MOST_BYTES / 1000:.0f} kB: {', '.join(too_large)}", file=sys.stderr)
    return 1 if too_large else 0


def draw(folder: Path) -> list[Path]:
    """Draw the graphs, without the lines of this checkout in them."""
    llb.capture_source(False)
    paths = []
    for make in (graphs.five, graphs.forty):
        paths.append(folder / f"{make.__name__}.svg")
        paths[-1].write_text(f"{make().graph().svg}\n")
    return paths


@contextmanager
def opened() -> Iterator[tuple[Lab, Any]]:
    """Start a JupyterLab and a browser; at the end they and the engine that pictures started are gone."""
    with tempfile.TemporaryDirectory(prefix="dl-") as name:
        folder = Path(name)
        for part in ("notebooks", "lab"):
            (folder / part).mkdir()
        try:
            with (
                running_lab(folder / "notebooks", folder / "lab") as lab,
                running_browser() as browser,
            ):
                yield lab, browser
        finally:
            engine_room.stop(state_dir=folder / "notebooks" / ".engine")


def take(picture: Picture, lab: Lab, browser: Any, *, theme: str, path: Path) -> None:
    """Run the picture's notebook in a fresh kernel, and save how its cell looks."""
    write_site(lab.root / "site", unique=path.stem)
    state = str(lab.root / ".engine")
    notebook = f"{path.stem}.ipynb"
    write_notebook(
        lab.root / notebook, [FIRST_CELL.format(state=state), picture.before or "0;", picture.cell]
    )
    page = lab.page(
        browser,
        notebook,
        viewport={"width": picture.width, "height": 1_400},
        device_scale_factor=SCALE,
    )
    try:
        page.hide_side_bar()
        page.theme(theme)
        page.run_cell(0)
        page.run_cell(1)
        picture.take(page)
        page.page.add_style_tag(content=STYLE + picture.style)
        save_small(page.page, page.page.locator(".jp-Cell").nth(SHOWN).screenshot(), path)
    finally:
        page.shut_down_kernel()
        page.close()


def write_site(folder: Path, *, unique: str) -> None:
    """Write the web site, with chapters of its own for each picture, so that its build has work to do."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "site", folder)
    titles = CHAPTERS.split()
    for number, title in enumerate(titles, 1):
        following = titles[number % len(titles)]
        # One link leads nowhere: what the stage `check` is for.
        link = "the-brigde.html" if title == "rain" else f"{number % 16 + 1:02d}-{following}.html"
        text = f"# {title.replace('-', ' ').title()}\n\n" + "It went on. " * (number * 7 % 31 + 9)
        (folder / "pages" / f"{number:02d}-{title}.md").write_text(
            f"{text}\n\nNext: {link} ({unique})\n"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
