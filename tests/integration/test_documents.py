"""Every Python snippet in the README and the docs runs, on the real engine, block after block."""

import re
from pathlib import Path

import pytest

from tests.support.ipythons import ipython

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = {
    page: re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S) for page in PAGES
}


@pytest.mark.parametrize("page", [p for p in PAGES if SNIPPETS[p]], ids=lambda p: p.name)
def test_the_snippets_of_a_page_run_from_top_to_bottom(page, engine, monkeypatch, tmp_path):
    monkeypatch.setenv("DEPOTLAB_STATE", str(engine.state_dir))
    monkeypatch.setenv("DEPOTLAB_UI", "off")
    monkeypatch.setenv("DEPOTLAB_PLANE", str(tmp_path / "plane"))
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG WHO\nRUN echo $WHO > /who\n")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    try:
        for number, code in enumerate(SNIPPETS[page], 1):
            exec(compile(code, f"{page.name} snippet {number}", "exec"), names)
    finally:
        if hasattr(names.get("bk"), "close"):
            names["bk"].close()


def test_the_ipython_cells_of_the_notebook_page_run(engine, monkeypatch):
    monkeypatch.setenv("DEPOTLAB_STATE", str(engine.state_dir))
    cells = re.findall(
        r"^```ipython\n(.*?)^```", (ROOT / "docs/notebook.md").read_text(), re.M | re.S
    )
    assert len(cells) == 4
    with ipython() as shell:
        for number, cell in enumerate(cells):
            ran = shell.run_cell(cell)
            assert ran.success, cell
            if number == 0:
                shell.run_line_magic("builder", engine.address)
        assert {"llb", "greeting"} <= set(shell.user_ns)
        shell.run_line_magic("builder", "--close")


def test_the_commands_of_the_readme_are_words_of_the_makefile():
    words = re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M)
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= set(words)
    for word in words:
        assert re.search(rf"^{word}:", makefile, re.M), word
