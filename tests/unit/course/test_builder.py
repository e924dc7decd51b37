"""Where a lesson builds."""

from __future__ import annotations

import pytest

from depotlab import course
from depotlab.course import _builder
from depotlab.errors import EngineError, RecordingError, UsageError


def test_a_word_that_is_no_way_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setenv("DEPOTLAB_COURSE", "life")
    with pytest.raises(UsageError, match="live, recorded, record"):
        course.builder("05")


@pytest.mark.parametrize("lesson", ["5", "13", "00", 5, "a-state-is-a-plan"])
def test_a_lesson_that_is_not_there_is_refused(lesson):
    for call in (course.builder, course.fresh):
        with pytest.raises(UsageError, match="There is no lesson"):
            call(lesson)


@pytest.mark.parametrize(
    ("here", "way"),
    [
        pytest.param(True, "live", id="an engine that can run is used"),
        pytest.param(False, "recorded", id="without one the recording plays"),
    ],
)
def test_left_alone_it_goes_by_what_is_here(monkeypatch, here, way):
    monkeypatch.delenv("DEPOTLAB_COURSE", raising=False)
    monkeypatch.setattr(_builder, "_engine_here", lambda: here)
    assert _builder._way() == way


def test_an_engine_that_is_not_installed_is_not_installed_for_a_lesson(monkeypatch):
    monkeypatch.setattr(_builder._local, "find_installed", lambda: None)
    monkeypatch.setattr(_builder._local, "decide_mode", lambda host: None)
    monkeypatch.setattr(_builder._local, "refuse_other_systems", lambda: None)
    assert _builder._engine_here() is False


def test_a_computer_on_which_no_engine_can_run_gets_the_recording(monkeypatch):
    def refuse() -> None:
        raise EngineError("It runs on Linux only.")

    monkeypatch.setattr(_builder._local, "refuse_other_systems", refuse)
    assert _builder._engine_here() is False


def test_live_words_are_new_each_time_and_recorded_ones_never(monkeypatch):
    monkeypatch.setenv("DEPOTLAB_COURSE", "live")
    assert len({course.fresh("05") for _ in range(20)}) == 20
    for way in ("recorded", "record"):
        monkeypatch.setenv("DEPOTLAB_COURSE", way)
        assert course.fresh("05") == "05-recorded"


def test_a_recording_that_is_not_there_is_named_with_both_ways_on(monkeypatch, tmp_path):
    monkeypatch.setenv("DEPOTLAB_COURSE", "recorded")
    monkeypatch.setattr(_builder, "_FOLDER", tmp_path)
    with pytest.raises(RecordingError, match=r"05\.depotlab.*\n.*engine install") as caught:
        course.builder("05")
    assert caught.value.path.endswith("05.depotlab")


def test_a_lesson_may_go_to_another_folder_and_ask_again(monkeypatch, tmp_path):
    before = _builder._recording("06")
    monkeypatch.chdir(tmp_path)
    assert _builder._recording("06") == before
