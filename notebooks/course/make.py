"""Run the notebooks of the course, record them, and write what they show back into them: `make course-record`.

    python -m notebooks.course.make            all twelve
    python -m notebooks.course.make 05 06      these

A lesson runs live in a kernel of its own on an engine of its own, with nothing in its cache, so that steps that ran in
one run do so in the next. The recording holds all that the lesson builds, its solutions included. Outputs in the
notebook are those of this run, unless all cells show what they showed before, up to durations, times of day, traffic
and the random names of builds: then the notebook stays as it is, so that a difference in git is one of substance.
Names of temporary folders are shown as "…".
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

from depotlab import _local, course

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
LESSONS = tuple(sorted(HERE.glob("[01][0-9]-*.ipynb")))

_CHECK = re.compile(r'^course\.check\("(\d\d\.\d)"', re.M)
_ADDED = "added by make.py"
_TIMEOUT_S = 180
# A folder of `mkdtemp` has another name on each computer and in each run.
_TEMPORARY = re.compile(r"/[\w/.-]*/tmp[a-z0-9_]{8}\b")
_VARYING = re.compile(
    r"""
      \b[\d.]+ \s? (?:ns|µs|ms|s|min|seconds?)\b     # durations
    | \b\d\d:\d\d(?::\d\d)?\b | \b\d{4}-\d\d-\d\d\b  # times of day, dates
    | [↑↓] \s [\d.]+ \s \w+                          # traffic
    | \b[0-9a-z]{24,40}\b                            # names of builds
    """,
    re.VERBOSE,
)


def read(path: Path) -> nbformat.NotebookNode:
    """Return a notebook without outputs."""
    notebook = nbformat.read(path, as_version=4)
    for cell in _code(notebook):
        cell.outputs, cell.execution_count = [], None
    return notebook


def exercise_of(cell: nbformat.NotebookNode) -> str | None:
    """Return the exercise whose gap is in a cell, such as `05.1`."""
    found = _CHECK.search(cell.source) if cell.cell_type == "code" else None
    return found[1] if found else None


def solved(cell: nbformat.NotebookNode) -> str:
    """Return the source of an exercise's cell with the solution in the place of the gap."""
    found = _CHECK.search(cell.source)
    assert found is not None
    return f"{course.solution(found[1]).source}\n\n{cell.source[found.start() :]}"


def solve_in_place(notebook: nbformat.NotebookNode) -> None:
    """Solve every exercise where it stands."""
    for cell in notebook.cells:
        if exercise_of(cell) is not None:
            cell.source = solved(cell)


def solve_at_the_end(notebook: nbformat.NotebookNode) -> None:
    """Leave every gap as readers find it, and solve all exercises at the end, before the client is closed."""
    cells = [_new_cell('import os\nos.environ["DEPOTLAB_COURSE_STRICT"] = "1"')]
    cells += [_new_cell(solved(cell)) for cell in notebook.cells if exercise_of(cell) is not None]
    closing = next(
        number for number, cell in enumerate(notebook.cells) if "bk.close()" in cell.source
    )
    notebook.cells[closing:closing] = cells


def drop_added(notebook: nbformat.NotebookNode) -> None:
    """Take out the cells that `solve_at_the_end` put in, and count the others as a reader's kernel does."""
    notebook.cells = [cell for cell in notebook.cells if not cell.metadata.get(_ADDED)]
    for number, cell in enumerate(_code(notebook), 1):
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
            data = output.get("data", {})
            data.pop("application/vnd.jupyter.widget-view+json", None)
            for mime, text in data.items():
                data[mime] = _TEMPORARY.sub("…", text)


def execute(notebook: nbformat.NotebookNode, env: Mapping[str, str]) -> None:
    """Run a notebook in a kernel of its own, in the folder of the course.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised.
    """
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        # Ports would be chosen by one process and taken by another, and now and then by a third.
        manager = AsyncKernelManager(
            kernel_name="python3", transport="ipc", ip=str(Path(folder, "kernel"))
        )
        NotebookClient(
            notebook,
            km=manager,
            timeout=_TIMEOUT_S,
            record_timing=False,
            coalesce_streams=True,
            store_widget_state=False,
            resources={"metadata": {"path": str(HERE)}},
        ).execute(env={**os.environ, **env}, cleanup_kc=True)


def told_otherwise(old: nbformat.NotebookNode, new: nbformat.NotebookNode) -> list[str]:
    """Return the ids of the cells that are new, or tell another story than they did."""
    before = {cell.id: (cell.source, _story(cell)) for cell in _code(old)}
    return [cell.id for cell in _code(new) if before.get(cell.id) != (cell.source, _story(cell))]


def main(wanted: list[str]) -> int:
    """Run and record lessons.

    Args:
        wanted: Their two digits; all when empty.
    """
    for path in [path for path in LESSONS if not wanted or path.name[:2] in wanted]:
        started_s = time.monotonic()
        notebook = read(path)
        solve_at_the_end(notebook)
        with own_engine() as env:
            execute(notebook, {**env, "DEPOTLAB_COURSE": "record"})
        drop_added(notebook)
        changed = told_otherwise(nbformat.read(path, as_version=4), notebook)
        if changed:
            path.write_text(nbformat.writes(notebook, ensure_ascii=False) + "\n", encoding="utf-8")
        recording = RECORDED / f"{path.name[:2]}.depotlab"
        print(
            f"{path.name:46} {time.monotonic() - started_s:5.1f} s,"
            f" notebook {path.stat().st_size / 1000:4.0f} kB,"
            f" recording {recording.stat().st_size / 1000:4.0f} kB,"
            f" {', '.join(changed) or 'no cell'} changed",
            flush=True,
        )
    return 0


@contextmanager
def own_engine() -> Iterator[dict[str, str]]:
    """The variables of an engine that nobody has used, gone afterwards. Its path is short: sockets live in it."""
    folder = Path(tempfile.mkdtemp(prefix="dl-"))
    # Read when an engine starts: lessons build from the busybox of this computer, whatever Docker Hub has.
    os.environ["DEPOTLAB_DOCKER_HUB"] = "last"
    running = _local.start(state_dir=folder / "engine")
    try:
        yield {
            "DEPOTLAB_STATE": str(folder / "engine"),
            "DEPOTLAB_PLANE": str(folder / "plane"),
            "DEPOTLAB_PAST": str(folder / "past.sqlite3"),
        }
    finally:
        running.close()
        _local.stop(state_dir=folder / "engine")
        shutil.rmtree(folder, ignore_errors=True)


def _code(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    return (cell for cell in notebook.cells if cell.cell_type == "code")


def _new_cell(source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata={_ADDED: True})


def _story(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell's outputs say, without what differs between two runs of the same."""
    return [_VARYING.sub("…", _said(output)) for output in cell.outputs]


def _said(output: nbformat.NotebookNode) -> str:
    data = output.get("data", {})
    plain = data.get("text/plain", "")
    if plain.startswith(("✔ Built", "✖")):
        # How a build ended, and its counts; not where. Below that it depends on what was slow.
        ended, counts = [*plain.splitlines(), ""][:2]
        return f"{ended.partition(' · ')[0]}\n{counts}"
    if plain.startswith("<Timeline of"):
        return " ".join(plain.split()[:4])
    if "text/html" in data:
        # Of steps that run at the same time, either may be the first.
        return " ".join(sorted(set(_words(data["text/html"]))))
    return " ".join([output.get("text", ""), plain, *_words(data.get("image/svg+xml", ""))])


def _words(marked_up: str) -> list[str]:
    return re.sub(r"<style>.*?</style>|<[^>]*>", " ", _VARYING.sub("…", marked_up)).split()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
