"""What is committed of the course: small, whole, in order, and without traces of the computer it was made on."""

import re

import nbformat
import pytest

from depotlab.course._exercise import LESSONS
from notebooks.course import make

_MAX_NOTEBOOK_BYTES = 150_000
_MAX_RECORDING_BYTES = 60_000
_TRACES = re.compile(r"/tmp/|/work/|/root/|/home/|localhost:\d|127\.0\.0\.1|\.sock\b")


def lesson(path):
    return nbformat.read(path, as_version=4)


def source_of(notebook, kind="markdown"):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == kind)


def outputs_of(notebook):
    return [out for cell in notebook.cells for out in cell.get("outputs", [])]


def test_there_are_twelve():
    assert [path.name[:2] for path in make.LESSONS] == list(LESSONS)


@pytest.mark.parametrize("path", make.LESSONS, ids=lambda path: path.stem)
class TestEachLesson:
    def test_it_says_what_you_will_be_able_to_do_and_what_comes_next(self, path):
        notebook = lesson(path)
        number = make.LESSONS.index(path)
        first, last = notebook.cells[0].source, notebook.cells[-1].source
        assert first.startswith(f"# {number + 1} · ")
        assert "**You will be able to**" in first
        following = make.LESSONS[number + 1] if number + 1 < len(make.LESSONS) else "README.md"
        assert f"({getattr(following, 'name', following)})" in last

    def test_it_has_exercises_a_picture_an_assertion_and_a_box_for_docker_and_go(self, path):
        notebook = lesson(path)
        names = [make.exercise_of(cell) for cell in notebook.cells]
        names = [name for name in names if name]
        assert names == [f"{path.name[:2]}.{n}" for n in range(1, len(names) + 1)]
        assert 2 <= len(names) <= 4
        text, code = source_of(notebook), source_of(notebook, "code")
        assert all(f"### {name} " in text for name in names)
        assert re.search(r"^\s*assert ", code, re.M)
        assert "<summary><b>Now do it with Docker" in text
        assert re.search(r"^Sources?: ", text, re.M)
        outputs = " ".join(str(out.get("data", {})) for out in outputs_of(notebook))
        assert "](pictures/" in text or "<svg" in outputs

    def test_its_links_and_pictures_are_there(self, path):
        for target in re.findall(r"\]\(([^)#]+)", source_of(lesson(path))):
            if not target.startswith("https://"):
                assert (path.parent / target).exists(), target

    def test_its_outputs_are_those_of_a_run_with_the_exercises_open(self, path):
        notebook = lesson(path)
        kinds = {out.output_type for out in outputs_of(notebook)}
        assert "display_data" in kinds
        assert "error" not in kinds
        assert not [o for o in outputs_of(notebook) if o.get("name") == "stderr"]
        counts = [c.execution_count for c in notebook.cells if c.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1))
        for cell in notebook.cells:
            if make.exercise_of(cell):
                (told,) = cell.outputs
                assert re.match(r"[○✎] \d\d\.\d: ", told.data["text/plain"])

    def test_it_is_small_and_says_nothing_of_the_computer(self, path):
        notebook = lesson(path)
        assert path.stat().st_size < _MAX_NOTEBOOK_BYTES
        assert "widgets" not in notebook.metadata
        for cell in notebook.cells:
            for out in cell.get("outputs", []):
                assert not _TRACES.search(str(out)), f"{cell.id}: {_TRACES.search(str(out))}"
                assert "<script" not in str(out)

    def test_its_recording_is_there_and_small(self, path):
        recording = make.RECORDED / f"{path.name[:2]}.depotlab"
        assert 0 < recording.stat().st_size < _MAX_RECORDING_BYTES


def test_the_syllabus_lists_them_all_in_order():
    syllabus = (make.HERE / "README.md").read_text()
    listed = re.findall(r"^\| \d+ \| \[[^]]+\]\(([^)]+)\) \| (\d+) \|", syllabus, re.M)
    assert [name for name, _ in listed] == [path.name for path in make.LESSONS]
    for path, (_, minutes) in zip(make.LESSONS, listed, strict=True):
        assert f"*{minutes} minutes" in nbformat.read(path, as_version=4).cells[0].source
