"""Every lesson of the course plays from its recording, with no engine, as readers find it and solved."""

import sys
from pathlib import Path

import nbformat
import pytest

from notebooks.course import make


@pytest.mark.parametrize("path", make.LESSONS, ids=lambda path: path.stem)
def test_a_lesson_plays_unsolved_as_it_was_and_then_solved(path, tmp_path):
    notebook = make.read(path)
    make.solve_at_the_end(notebook)
    make.execute(
        notebook,
        {
            "DEPOTLAB_COURSE": "recorded",
            # Nothing of an engine can be found, and none is installed.
            "PATH": str(Path(sys.executable).parent),
            "DEPOTLAB_ENGINE_DIR": str(tmp_path / "nothing"),
            "DEPOTLAB_STATE": str(tmp_path / "state"),
        },
    )
    make.drop_added(notebook)
    assert make.told_otherwise(nbformat.read(path, as_version=4), notebook) == []
