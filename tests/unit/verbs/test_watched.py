"""What a build adds to the daemon's words about its end."""

import asyncio

import pytest

import depotlab as dl
from depotlab import llb
from depotlab._verbs.request import prepare
from depotlab._verbs.watched import watched
from depotlab.errors import DaemonError, StepFailed
from depotlab.progress import Fold, LogWritten, VertexUpdated

NOT_THERE = "There is no /app.py where the step copies it from."


def ended(target, error, *events):
    """Run a build that ends with an error, and return that."""
    fold = Fold()

    async def work():
        fold.feed(events)
        raise error

    with pytest.raises(type(error)) as caught:
        asyncio.run(watched(work(), prepare(target), fold, where="here"))
    return caught.value


@pytest.mark.parametrize(
    ("target", "has_files"),
    [
        (dl.dockerfile(text="FROM busybox\nCOPY app.py /\n"), False),
        (dl.dockerfile({"other.py": ""}, text="FROM busybox\nCOPY app.py /\n"), True),
        (llb.scratch().copy(llb.scratch(), "app.py", "/"), True),
    ],
    ids=["a text alone", "a text and files", "a graph"],
)
def test_a_text_without_files_is_told_where_copies_come_from(target, has_files):
    hint = ended(target, DaemonError(NOT_THERE, hint="as usual")).hint
    assert hint == "as usual" if has_files else "dockerfile('.', text=...)" in hint


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            'exec: "/bin/sh": stat /bin/sh: no such file or directory',
            "no /bin/sh in this image: run",
        ),
        ('exec: "make": executable file not found in $PATH', "there is no make in this image"),
    ],
)
def test_a_program_that_the_image_does_not_have_is_named(said, hint):
    step = VertexUpdated("sha256:1", "RUN make", started_ns=1, completed_ns=2, error="exit code: 1")
    log = LogWritten("sha256:1", 1, 2, f"runc run failed: unable to start: {said}\n".encode())
    failed = StepFailed("failed", step="make", exit_code=1, vertex="sha256:1")
    assert hint in ended(llb.scratch(), failed, step, log).hint
