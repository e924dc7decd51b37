"""What is recorded on the real engine plays as it was, where there is no engine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard

import depotlab as dl
from depotlab import aio, errors, llb
from tests.support.recordedlesson import SECRET, run_lesson

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lesson(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recording, what the live client said, and a word that no cache had met."""
    folder = tmp_path_factory.mktemp("live")
    path, word = folder / "lesson.depotlab", folder.name + str(time.time_ns())
    with dl.connect(engine.address) as live:
        recording = dl.record(path, live)
        with recording as bk:
            told = run_lesson(bk, folder, word)
    return {"path": path, "told": told, "word": word, "recording": recording}


def play(lesson: dict[str, Any], folder: Path, *, speed: float = 0) -> dict[str, Any]:
    """Run the lesson in a process that finds no program and no daemon, and return what it says."""
    words = [str(lesson["path"]), str(folder), str(speed), lesson["word"]]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.support.recordedlesson", *words],
        cwd=ROOT,
        env={"PATH": "", "HOME": str(folder), "DEPOTLAB_PAST": str(folder / "past.sqlite3")},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)  # type: ignore[no-any-return]


def test_a_process_without_an_engine_is_told_what_the_live_one_was(lesson, tmp_path):
    played = play(lesson, tmp_path)
    assert played["told"] == lesson["told"]
    assert "recording lesson.depotlab, recorded on 2" in played["client"]
    assert "BuildKit v0." in played["client"]
    assert not (tmp_path / "past.sqlite3").exists(), "past builds of the user are not touched"


def test_what_was_told_live_is_what_the_lesson_is_about(lesson):
    told = lesson["told"]
    assert ["work", "ran"] in told["first"]
    assert ["work", "cached"] in told["again"]
    assert ["work", "ran"] in told["changed"]
    assert "a.txt" in told["why"]
    assert told["file"] == "two\n"
    assert told["run"] == "input two\n"
    assert told["failed"][:2] == [7, "bad"]
    assert told["left"] == lesson["word"]
    assert told["dockerfile line"] == 2


def test_a_lesson_is_small_and_has_no_secret_and_no_path_of_the_machine(lesson, engine):
    data = lesson["path"].read_bytes()
    # It holds what the engine said of its history, which is that of all tests before this one.
    assert len(data) < 300_000
    assert lesson["recording"].size_bytes == len(data)
    plain = zstandard.ZstdDecompressor().decompress(data.partition(b"\n")[2])
    assert SECRET.encode() not in plain
    assert b"*" * len(SECRET) in plain, "the step printed it"
    assert str(engine.state_dir).encode() not in plain
    assert str(lesson["path"].parent).encode() not in plain


def test_what_was_not_recorded_is_refused_with_what_comes_nearest(lesson):
    with dl.recorded(lesson["path"], speed=0) as bk:
        other = llb.image("busybox").run("echo something else", name="other")
        with pytest.raises(errors.NotRecorded, match="ends with 'other'") as caught:
            bk.build(other, progress="quiet")
        assert any("'other'" in near for near in caught.value.nearest)
        assert "go live" in str(caught.value)
        assert caught.value.path == str(lesson["path"])
        with pytest.raises(errors.NotRecorded, match=r"the image .*alpine"):
            bk.build(llb.image("alpine"), progress="quiet")
        with pytest.raises(errors.NotRecorded, match="Dockerfile"):
            bk.build(dl.dockerfile(text="FROM busybox\nRUN echo new\n"), progress="quiet")


def test_a_build_of_other_files_is_not_the_one_that_was_recorded(lesson, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app/a.txt").write_text("three\n")
    app = (
        llb.image("busybox")
        .copy(llb.local(tmp_path / "app"), "a.txt", "/a.txt")
        .run(f"cat /a.txt; echo {lesson['word']}", name="work")
    )
    with dl.recorded(lesson["path"], speed=0) as bk:
        with pytest.raises(errors.NotRecorded, match="other files"):
            bk.build(app, progress="quiet")
        (tmp_path / "app/a.txt").write_text("two\n")
        result = bk.build(app, progress="quiet")
        assert str(result.logs("work")).startswith("two")
        assert bk.read_text(app, "/a.txt") == "two\n"


def test_a_file_that_nobody_read_is_not_recorded(lesson):
    with dl.recorded(lesson["path"], speed=0) as bk:
        leaf = llb.scratch().file(llb.mkfile("/x", b"x" * 100))
        bk.build(leaf, output=dl.export.tar(lesson["path"].parent / "y.tar"), progress="quiet")
        with pytest.raises(errors.NotRecorded):
            bk.read(leaf, "/x")


def test_a_client_that_was_closed_opens_again_as_one_of_a_daemon_does(lesson):
    bk = dl.recorded(lesson["path"], speed=0)
    bk.info()
    bk.close()
    assert bk.info().version.startswith("v0.")
    bk.close()


def test_another_image_configuration_is_another_build(engine, tmp_path):
    path = tmp_path / "config.depotlab"
    base = llb.scratch().file(llb.mkfile("/x", b"x"))
    first, second = base.cmd(["a"]), base.cmd(["b"])
    with dl.connect(engine.address) as live, dl.record(path, live) as bk:
        digests = [
            bk.build(one, output=dl.export.oci(tmp_path / "i.tar"), progress="quiet").digest
            for one in (first, second)
        ]
    with dl.recorded(path, speed=0) as bk:
        for one, digest in ((second, digests[1]), (first, digests[0])):
            played = bk.build(one, output=dl.export.oci(tmp_path / "i.tar"), progress="quiet")
            assert played.digest == digest
        with pytest.raises(errors.NotRecorded, match="image configuration"):
            bk.build(base.cmd(["c"]), output=dl.export.oci(tmp_path / "i.tar"), progress="quiet")
    assert len(set(digests)) == 2


def test_a_cancelled_build_is_played_until_it_is_cancelled(engine, tmp_path):
    path, word = tmp_path / "cancel.depotlab", str(time.time_ns())
    slow = llb.image("busybox").run(f"echo {word}; sleep 60", name="slow")

    def cancel_when_it_speaks(bk):
        build = bk.submit(slow, progress="quiet")
        while not any(
            word in line.text for step in build.snapshot.steps for line in step.log.lines(9)
        ):
            assert not build.done
            time.sleep(0.01)
        build.cancel()
        with pytest.raises(errors.BuildCanceled):
            build.result()
        return [(s.name, str(s.state)) for s in build.snapshot.steps if s.name == "slow"]

    with dl.connect(engine.address) as live, dl.record(path, live) as bk:
        told = cancel_when_it_speaks(bk)
    with dl.recorded(path, speed=0) as bk:
        assert cancel_when_it_speaks(bk) == told == [("slow", "canceled")]


def test_times_are_those_of_the_recording_however_fast_it_is_played(lesson, tmp_path):
    path = lesson["path"].parent / "slow.depotlab"
    slept = llb.image("busybox").run(f"sleep 1; echo {lesson['word']}", name="sleeps")

    def seconds(result):
        return next(step.duration_s for step in result.steps if step.name == "sleeps")

    def build(bk):
        return bk.build(slept, progress="quiet")

    engine_address = lesson["recording"].builder.address
    with dl.connect(engine_address) as live, dl.record(path, live) as bk:
        before = build(bk)
    assert seconds(before) >= 1
    for speed in (0, 20):
        with dl.recorded(path, speed=speed) as bk:
            began_s = time.monotonic()
            after = build(bk)
            took_s = time.monotonic() - began_s
            assert seconds(after) == pytest.approx(seconds(before), abs=0.001)
            assert after.snapshot.ended_ns - after.snapshot.started_ns >= 1e9
            assert took_s < 60


def test_the_awaitable_face_records_and_plays(engine, tmp_path):
    import asyncio

    path = tmp_path / "aio.depotlab"
    state = llb.image("busybox").run(f"echo {time.time_ns()}", name="once")

    async def live() -> Any:
        async with await aio.connect(engine.address) as bk:
            recording = await aio.record(path, bk)
            async with recording:
                result = await bk.build(state, progress="quiet")
            assert not recording.is_open
            return [str(step.state) for step in result.steps]

    async def again() -> Any:
        async with await aio.recorded(path, speed=0) as bk:
            result = await bk.build(state, progress="quiet")
            return [str(step.state) for step in result.steps]

    assert asyncio.run(live()) == asyncio.run(again())


def test_the_wire_of_a_played_build_is_told_too(lesson):
    with dl.recorded(lesson["path"], speed=0) as bk, dl.wire() as wire:
        bk.info()
    assert [one.method for one in wire.exchanges] == ["Info"]


def test_a_recording_ends_with_its_client_and_nothing_is_written_of_nothing(engine, tmp_path):
    path = tmp_path / "closed.depotlab"
    with dl.connect(engine.address) as bk:
        recording = dl.record(path, bk)
        assert "not saved yet" in repr(recording)
        bk.build(llb.scratch().file(llb.mkfile("/x", b"x")), progress="quiet")
    assert not recording.is_open
    assert path.stat().st_size == recording.size_bytes
    with dl.connect(engine.address) as bk:
        empty = dl.record(tmp_path / "empty.depotlab", bk)
        with pytest.raises(errors.RecordingError, match="Nothing was built"):
            empty.save()
    assert not (tmp_path / "empty.depotlab").exists()


def test_without_a_client_one_is_made_as_connect_does(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("BUILDKIT_HOST", engine.address)
    with dl.record(tmp_path / "x.depotlab") as bk:
        assert bk.address == engine.address
        bk.build(llb.scratch().file(llb.mkfile("/x", b"x")), progress="quiet")
    bk.close()
    with dl.recorded(tmp_path / "x.depotlab", speed=0) as played:
        played.build(llb.scratch().file(llb.mkfile("/x", b"x")), progress="quiet")


def test_a_block_that_raises_leaves_the_old_recording(engine, tmp_path):
    path = tmp_path / "kept.depotlab"
    path.write_bytes(b"old")
    leaf = llb.scratch().file(llb.mkfile("/x", b"x"))
    with dl.connect(engine.address) as live:
        with pytest.raises(errors.StepFailed), dl.record(path, live) as bk:
            bk.build(llb.image("busybox").run("exit 1"), progress="quiet")
        assert path.read_bytes() == b"old"
        with dl.record(path, live) as bk:
            bk.build(leaf, progress="quiet")
        assert path.read_bytes() != b"old"


def test_a_recording_cannot_be_recorded(lesson, tmp_path):
    with (
        dl.recorded(lesson["path"]) as bk,
        pytest.raises(errors.UsageError, match="plays a recording"),
    ):
        dl.record(tmp_path / "x.depotlab", bk)
    with (
        dl.recorded(lesson["path"]) as bk,
        pytest.raises(errors.UsageError, match="directory that is not there"),
    ):
        dl.record(tmp_path / "no/x.depotlab", bk)
