"""Every lesson of the course runs on the real engine, with its exercises solved."""

import pytest

from notebooks.course import make


@pytest.mark.parametrize("path", make.LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_live_with_its_solutions(path, engine, engine_state):
    notebook = make.read(path)
    make.solve_in_place(notebook)
    make.execute(
        notebook,
        {
            "DEPOTLAB_STATE": str(engine_state / "engine"),
            "DEPOTLAB_PLANE": str(engine_state / "plane"),
            "DEPOTLAB_COURSE": "live",
            "DEPOTLAB_COURSE_STRICT": "1",
        },
    )
