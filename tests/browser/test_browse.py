"""Files of a state in a real JupyterLab: tables, bars, and a tree that asks when it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lab import Lab, LabPage, write_notebook

pytestmark = pytest.mark.timeout(600)

SETUP = """
import depotlab as dl
from depotlab import llb
bk = dl.local(state_dir={state!r})
app = (
    llb.image("busybox").dir("/app")
    .run("mkdir -p src/deep; echo 'print(42)' > src/main.py; head -c 900000 /dev/zero > model.bin; "
         "ln -s src/main.py now; echo deep > src/deep/note", name="download the model")
    .run("rm model.bin; echo ok > done", name="clean up")
)
"""


@pytest.fixture
def page(lab: Lab, browser: Any, engine: Any) -> Iterator[LabPage]:
    cells = [
        SETUP.format(state=str(engine.state_dir)),
        'bk.browse(app, "/app")',
        'bk.ls(app, ".")',
        "bk.layers(app)",
        'bk.diff(llb.image("busybox"), app)',
        "bk.du(app)",
        'bk.tree(app, "/app", depth=3)',
    ]
    write_notebook(lab.root / "files.ipynb", cells)
    page = lab.page(browser, "files.ipynb")
    page.theme("JupyterLab Light")
    for index in range(len(cells)):
        page.run_cell(index)
    yield page
    page.shut_down_kernel()
    page.close()


def output(page: LabPage, index: int) -> Any:
    return page.page.locator(".jp-Cell").nth(index).locator(".jp-OutputArea").first


def rows(page: LabPage) -> list[str]:
    texts = output(page, 1).locator("select option").all_inner_texts()
    return [text.replace("\xa0", " ").strip() for text in texts]


def pick(page: LabPage, text: str) -> None:
    """Choose a row and wait until the kernel has answered."""
    box = output(page, 1).locator("select")
    label = next(
        each
        for each in box.locator("option").all_inner_texts()
        if text in each.replace("\xa0", " ")
    )
    box.select_option(label=label)


def test_files_are_clicked_through_and_shown_as_tables(page: LabPage) -> None:
    output(page, 1).locator("select").wait_for()
    assert rows(page) == ["done · 3 B", "now → src/main.py", "▸ src/"]
    pick(page, "▸ src/")
    output(page, 1).locator("option", has_text="main.py · 10 B").wait_for(state="attached")
    pick(page, "main.py · 10 B")
    output(page, 1).locator("pre", has_text="print(42)").wait_for()
    pick(page, "▸ deep/")
    output(page, 1).locator("option", has_text="note").wait_for(state="attached")
    page.picture("files-browse", 1)
    pick(page, "▾ src/")
    output(page, 1).locator("option", has_text="main.py · 10 B").wait_for(state="detached")

    assert "-> src/main.py" in output(page, 2).inner_text()
    assert "download the model" in output(page, 3).inner_text()
    assert "900 kB were removed by later steps" in output(page, 3).inner_text()
    assert "+ added" in output(page, 4).inner_text()
    for index, name in ((2, "ls"), (3, "layers"), (4, "diff"), (5, "du"), (6, "tree")):
        page.picture(f"files-{name}", index)

    # The build that makes the state shows itself above the files when it takes long.
    bundle = page.save()["cells"][1]["outputs"][-1]["data"]
    html = "".join(bundle["text/html"])
    assert "src/" in html, "the saved notebook shows the tree without a kernel"
    assert "now" in "".join(bundle["text/plain"])
    assert len(html) < 8000
