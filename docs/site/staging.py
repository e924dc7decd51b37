"""All pages in one folder: what was written by hand, with its links made to fit, and what is generated."""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from docs.site import command, failures, notebooks, reference
from docs.site.public import Index

ROOT = Path(__file__).parents[2]
_LINK = re.compile(
    r"(?P<before>\]\(|src=\"|srcset=\"|href=\")(?P<path>[^)\s\"#]+)(?P<after>[^)\s\"]*)"
)
_PICTURE = re.compile(r"<picture>.*?</picture>", re.DOTALL)
_IMAGE = re.compile(r"!\[(?P<words>[^\]]*)\]\((?P<path>[\w./-]+\.(?:png|svg))\)(?!\{)")
_FENCED = re.compile(r"(^(?P<ticks>`{3,})[^\n]*\n.*?^(?P=ticks)\s*$)", re.MULTILINE | re.DOTALL)

# Pages written by hand that have a place of their own; every other page of docs/ is a guide.
GUIDES = ("builds", "inside", "notebook", "depot", "service", "telemetry", "llb")
COURSE = "course"
MORE = ("how", "compare", "performance", "design", "changelog", "contributing")
START = ("start", "tour", "migrate")


def stage(into: Path) -> list[str]:
    """Write the sources of the site.

    Args:
        into: A folder; what is in it is removed.

    Returns:
        What is wrong, a line for each: links to files that have no page.

    Raises:
        ValueError: An error has no cure, or a docstring cannot be read.
    """
    wrong: list[str] = []
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    pages = _written()
    sources = {f"docs/{name}.md": f"{name}.md" for name in pages if name not in ("index",)}
    sources |= {
        "README.md": "index.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
    }
    books = list(_notebooks())
    readmes = [p.relative_to(ROOT).as_posix() for p in (ROOT / "notebooks").rglob("README.md")]
    sources |= {readme: readme for readme in readmes}
    sources |= {f"{book}": f"{Path(book).with_suffix('.md')}" for book in books}
    for source, page in sources.items():
        target = into / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".ipynb"):
            text = notebooks.page(ROOT / source, target.parent)
            shutil.copy(ROOT / source, target.parent)
        else:
            text = (ROOT / source).read_text(encoding="utf-8")
        target.write_text(relinked(text, source, page, sources, into, wrong), encoding="utf-8")
    index = Index()
    (into / "errors.md").write_text(failures.page(index), encoding="utf-8")
    (into / "reference").mkdir()
    for name, text in reference.pages(index).items():
        (into / "reference" / f"{name}.md").write_text(text, encoding="utf-8")
    (into / "reference" / "command.md").write_text(command.page(), encoding="utf-8")
    _contents(into, pages, [*readmes, *books])
    return wrong


def _written() -> list[str]:
    return sorted(path.stem for path in (ROOT / "docs").glob("*.md"))


def _notebooks() -> Iterator[str]:
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            yield path.relative_to(ROOT).as_posix()


def relinked(
    text: str, source: str, page: str, sources: dict[str, str], into: Path, wrong: list[str]
) -> str:
    """Lead links to files of the repository to their pages; pictures are copied beside them."""

    def moved(match: re.Match[str]) -> str:
        path, after = match["path"], match["after"]
        if re.match(r"[a-z]+:", path):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if target in sources:
            found = sources[target]
        elif (ROOT / target).is_file() and Path(target).suffix in ("", ".svg", ".png"):
            found = target.removeprefix("docs/") if Path(target).suffix else f"{target}.txt"
            (into / found).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / target, into / found)
        elif (into / posixpath.dirname(page) / path).is_file():
            return match[0]
        elif target in ("docs/errors.md", "docs/reference/index.md"):
            found = target.removeprefix("docs/")
        else:
            wrong.append(f"{source} links to {path}, which has no page in the site")
            return match[0]
        return f"{match['before']}{posixpath.relpath(found, posixpath.dirname(page) or '.')}{after}"

    parts = _FENCED.split(text)
    # Of three parts, the second is a block of code, and the third its marks.
    return "".join(
        part
        if at % 3 == 1
        else ""
        if at % 3 == 2
        else _LINK.sub(moved, in_both_lights(part, (ROOT / source).parent))
        for at, part in enumerate(parts)
    )


def in_both_lights(text: str, folder: Path) -> str:
    """Show a picture `x.png` that has an `x-dark.png` beside it in the light of the page.

    Forges have `<picture>` for that, which knows the light of the system and not that of the page.
    """

    def both(match: re.Match[str]) -> str:
        words, path = match["words"], Path(match["path"])
        dark = path.with_stem(f"{path.stem}-dark")
        if not (folder / dark).is_file():
            return match[0]
        return f"![{words}]({path}){{.only-light}}\n![{words}]({dark}){{.only-dark}}"

    def plain(match: re.Match[str]) -> str:
        found = dict(re.findall(r'(alt|src)="([^"]*)"', match[0][match[0].index("<img") :]))
        return f"![{found['alt']}]({found['src']})"

    return _IMAGE.sub(both, _PICTURE.sub(plain, text))


def _contents(into: Path, pages: list[str], books: list[str]) -> None:
    """Add the tables of contents: to the front page that of the site, to the course that of its notebooks."""
    course = [
        f"notebooks/course/{Path(b).stem}" for b in books if b.startswith("notebooks/course/")
    ]
    others = [f"{Path(b).with_suffix('')}" for b in books if not b.startswith("notebooks/course/")]
    placed = {*START, *MORE, COURSE, "index"}
    guides = [name for name in GUIDES if name in pages]
    guides += [name for name in pages if name not in placed and name not in guides]
    if COURSE in pages:
        _append(into / "course.md", _tree("", course))
        learn = [COURSE]
    else:
        learn = course
    front = [
        _tree("Start", [*START]),
        _tree("Guides", guides),
        _tree("Learn", learn),
        _tree("Worked notebooks", others),
        _tree("Reference", ["reference/index", "errors"]),
        _tree("More", [name for name in MORE if (into / f"{name}.md").is_file()]),
    ]
    _append(into / "index.md", "\n\n".join(front))


def _tree(caption: str, names: list[str]) -> str:
    head = ["```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), ""]
    return "\n".join([*head, *names, "```"])


def _append(path: Path, text: str) -> None:
    path.write_text(f"{path.read_text(encoding='utf-8').rstrip()}\n\n{text}\n", encoding="utf-8")
