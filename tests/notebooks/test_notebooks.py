"""Every notebook that is published runs on the real engine, and its saved form tells the story."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2] / "notebooks"
# Those of the course have tests of their own.
NOTEBOOKS = sorted(p for p in ROOT.glob("**/*.ipynb") if p.parent.name != "course")


@pytest.fixture(scope="module")
def executed(engine, engine_state, tmp_path_factory):
    """Run a notebook once, with the test engine as the one that `depotlab.local()` finds."""
    done = {}

    def run(path):
        if path not in done:
            notebook = nbformat.read(path, as_version=4)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            os.environ["DEPOTLAB_STATE"] = str(engine_state / "engine")
            os.environ["DEPOTLAB_PLANE"] = str(engine_state / "plane")
            NotebookClient(
                notebook,
                timeout=180,
                kernel_name="python3",
                store_widget_state=False,
                resources={"metadata": {"path": str(path.parent)}},
            ).execute()
            done[path] = notebook
        return done[path]

    return run


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_from_top_to_bottom(executed, path):
    notebook = executed(path)
    kinds = {o.output_type for c in notebook.cells if c.cell_type == "code" for o in c.outputs}
    assert "error" not in kinds


def test_the_saved_quickstart_shows_the_builds_without_a_kernel(executed):
    path = next(p for p in NOTEBOOKS if p.stem == "quickstart")
    notebook = executed(path)
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    html = "\n".join("".join(o.get("data", {}).get("text/html", "")) for o in outputs)
    text = "\n".join("".join(o.get("data", {}).get("text/plain", "")) for o in outputs)
    assert "greet" in html
    assert "<script" not in html
    assert "<style" not in html
    assert re.search(r"sha256:[0-9a-f]{64}", text)
    assert "widgets" not in notebook.metadata  # state that forges refuse
    printed = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
    assert re.search(r"cell \[\d+\], line \d+", printed)
    assert "looking for it" in printed


def test_the_saved_quickstart_is_small(executed):
    path = next(p for p in NOTEBOOKS if p.stem == "quickstart")
    assert len(nbformat.writes(executed(path))) < 120_000


def test_the_saved_service_notebook_shows_logs_tables_and_plots_and_no_token(executed):
    notebook = executed(next(p for p in NOTEBOOKS if p.stem == "service"))
    saved = nbformat.writes(notebook)
    assert "tray 4 of 4 is in the oven" in saved
    assert "for the customer: A file that the Dockerfile copies is not in the source" in saved
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 2
    assert "<table" in saved
    assert not re.search(
        r"depotlab_service_[0-9a-f]|depotlab_[a-z]+_[a-z0-9]{10}_[0-9a-f]{8}", saved
    )
    assert len(saved) < 250_000


def test_the_saved_depot_notebook_shows_tables_and_no_token(executed, engine_state):
    saved = nbformat.writes(executed(next(p for p in NOTEBOOKS if p.stem == "depot")))
    assert "so far, and more" in saved
    assert "<table>" in saved
    assert "secret=•••" in saved
    token = (engine_state / "plane" / "organization-token").read_text().strip()
    form = re.compile(r"depotlab_[a-z]+_[a-z0-9]{10}_[0-9a-f]{8}")
    assert form.match(token)
    assert not form.search(saved)
