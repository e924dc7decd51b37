"""The pages of the documentation as tests see them: their blocks of code, and the cells of their tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "notebooks").rglob("README.md")),
]
LANGUAGES = {
    "python": "run from top to bottom",
    "ipython": "run as cells",
    "py": "raises the error in its comments",
    "sh": "run or compared with what runs it",
    "text": "what something printed",
    "toml": "read by what is configured with it",
}
_BLOCK = re.compile(
    r"^(?P<ticks>`{3,})(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=ticks)$", re.M | re.S
)
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    page: Path
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(page, m["language"].strip(), m["code"]) for m in _BLOCK.finditer(text)]


def code_of(page: Path, language: str) -> list[str]:
    return [block.code for block in blocks(page) if block.language == language]


def right_cells(page: Path, title: str) -> list[str]:
    """The code on the right of each table below a heading: what is written here instead of there."""
    section = page.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [row.strip().strip("|").rsplit(" | ", 1)[1].strip() for row in rows]
    return [found[1] for cell in cells if (found := _CODE.fullmatch(cell))]
