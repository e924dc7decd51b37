"""The notebook view under nbclient, where no page is open: what ends up in the file."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.lab import kernel_path

pytestmark = pytest.mark.timeout(600)

CELL = """
import time
import simulate
from depotlab.progress import *
from depotlab.widgets import *
build = Fold()
with Ticker(build, choose()):
    simulate.play(simulate.many(50, n_lines=2_000, n_parallel=10, duration_s=1.5,
                                base_ns=time.time_ns()), build)
"""


def executed(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Any:
    monkeypatch.setenv("PYTHONPATH", kernel_path())
    monkeypatch.delenv("DEPOTLAB_UI", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return notebook


def test_no_widget_state_is_left_and_the_end_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = executed(monkeypatch)
    (output,) = notebook.cells[0].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert output.data["text/plain"].startswith("✔ Built everything in 1.5 s")
    assert "widgets" not in notebook.metadata
    assert len(json.dumps(notebook.cells[0].outputs)) < 60_000


def test_plain_leaves_text_only(monkeypatch: pytest.MonkeyPatch) -> None:
    (output,) = executed(monkeypatch, DEPOTLAB_UI="plain").cells[0].outputs
    assert set(output.data) == {"text/plain"}


def test_off_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert executed(monkeypatch, DEPOTLAB_UI="off").cells[0].outputs == []
