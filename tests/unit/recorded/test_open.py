"""A client of a recording says that it is one, and takes what a speed may be."""

from __future__ import annotations

import math

import pytest

import depotlab as dl
from depotlab._recorded import Tape, save_tape
from depotlab.errors import RecordingError, UsageError


@pytest.fixture
def path(tmp_path):
    host_path = tmp_path / "x.depotlab"
    save_tape(host_path, Tape("2026-01-02T03:04:05+00:00", 0, "v0.1.2", "localhost:5", [], []))
    return host_path


@pytest.mark.parametrize(
    ("speed", "said"),
    [
        pytest.param(None, "by BuildKit v0.1.2>", id="as it was"),
        pytest.param(1, "by BuildKit v0.1.2>", id="as it was, whatever it takes"),
        pytest.param(10, "by BuildKit v0.1.2, at 10×>", id="faster"),
        pytest.param(0.5, "by BuildKit v0.1.2, at 0.5×>", id="slower"),
        pytest.param(0, "by BuildKit v0.1.2, at once>", id="at once"),
        pytest.param(math.inf, "by BuildKit v0.1.2, at once>", id="infinitely fast"),
    ],
)
def test_nobody_takes_it_for_a_live_one(speed, said, path):
    with dl.recorded(path, speed=speed) as bk:
        assert repr(bk).startswith("<depotlab client of the recording x.depotlab, recorded on 2026-01-02 ")  # fmt: skip
        assert repr(bk).endswith(said)
        assert bk.address == "recorded:x.depotlab"


def test_the_registry_is_called_what_it_was_called(path):
    with dl.recorded(path) as bk:
        assert bk.registry == "localhost:5"


@pytest.mark.parametrize("speed", [-1, "fast", True, math.nan])
def test_what_is_no_speed_is_refused(speed, path):
    with pytest.raises(UsageError, match="is no speed"):
        dl.recorded(path, speed=speed)


def test_a_recording_that_is_not_there_is_said_at_the_call(tmp_path):
    with pytest.raises(RecordingError, match=r"no\.depotlab cannot be read"):
        dl.recorded(tmp_path / "no.depotlab")


def test_an_error_goes_to_another_process_and_back():
    import pickle

    error = dl.errors.NotRecorded("no", asked="this", nearest=("that",), path="x", hint="go")
    again = pickle.loads(pickle.dumps(error))
    assert (again.asked, again.nearest, again.path, str(again)) == (
        "this",
        ("that",),
        "x",
        str(error),
    )
