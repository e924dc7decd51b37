"""The table Go, Python, Dockerfile in docs/llb.md is complete, and every Python cell runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from depotlab import llb, mount

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/llb.md").read_text()
TABLES, NOT_NEEDED = PAGE.split("## Go, Python, Dockerfile")[1].split("### Not needed")
ROWS = [
    re.match(r"\| (?P<go>`.+?`) \| `(?P<ours>.+?)` \| (?P<dockerfile>.*)\|$", line)
    for line in TABLES.splitlines()
    if line.startswith("| `")
]
# Written with `go doc -all` from moby/buildkit client/llb v0.32.2, names only.
EXPORTED = (ROOT / "tests/golden/go-llb-exports.txt").read_text().split()


def names(text: str) -> list[str]:
    return re.findall(r"`([A-Za-z.]+[A-Za-z0-9.]*)`", text)


def test_every_row_has_three_cells() -> None:
    assert len(ROWS) > 100
    assert None not in ROWS


@pytest.mark.parametrize("ours", [row["ours"] for row in ROWS if row])
def test_every_python_cell_makes_something(ours: str) -> None:
    base, src = llb.image("busybox"), llb.local(".")
    value = eval(ours, {"base": base, "src": src, "llb": llb, "mount": mount})
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, llb.State):
            assert each == llb.scratch() or each.marshal("linux/amd64").head
        else:
            assert each is not None


def test_every_name_that_go_exports_is_on_the_page_once() -> None:
    in_table = [name for row in ROWS if row for name in names(row["go"])]
    excused = [name for name in names(NOT_NEEDED) if name in EXPORTED]
    assert len(EXPORTED) > 250
    assert sorted(set(EXPORTED) - set(in_table) - set(excused)) == []
    assert sorted(set(in_table) - set(EXPORTED)) == []
    assert sorted(set(in_table) & set(excused)) == []
    assert len(in_table) == len(set(in_table))


def test_the_pictures_of_the_page_exist_and_are_small() -> None:
    pictures = re.findall(r"\]\((pictures/.+?\.svg)\)", PAGE)
    assert len(pictures) == 2
    for picture in pictures:
        path = ROOT / "docs" / picture
        assert path.read_text().startswith("<svg ")
        assert path.stat().st_size < 30_000
