"""The builds that a real daemon remembers."""

import asyncio
import io
import re
import time
from contextlib import redirect_stderr
from types import SimpleNamespace

import pytest

import depotlab as dl
from depotlab import aio, llb
from depotlab.errors import StepFailed, UsageError
from depotlab.progress import StepState

TEXT = "FROM busybox\nARG V\nARG NPM_TOKEN\nRUN echo said $V"


@pytest.fixture(scope="module")
def built(engine):
    """Three builds: of a Dockerfile, of a graph, and one that fails."""
    with dl.connect(engine.address) as bk:
        first = bk.build(
            dl.dockerfile(text=TEXT, args={"V": f"{time.time_ns()}", "NPM_TOKEN": "s3cret"}),
            progress="quiet",
        )
        busybox = llb.image("busybox")
        second = bk.build(busybox.run(f"echo graph {time.time_ns()}"), progress="quiet")
        with pytest.raises(StepFailed):
            bk.build(dl.dockerfile(text="FROM busybox\nRUN echo oh >&2; exit 7"), progress="quiet")
    return first, second


def test_builds_are_listed_the_newest_first(bk, built):
    first, second = built
    found = bk.history()
    refs = [record.ref for record in found]
    assert refs.index(second.ref) < refs.index(first.ref)
    assert found[0].status == "error"
    assert "busybox" not in repr(found)
    assert first.ref in str(found)
    assert first.ref in found._repr_html_()


def test_the_list_can_be_narrowed(bk, built):
    first, _ = built
    assert {record.status for record in bk.history(status="error")} == {"error"}
    (only,) = bk.history(ref=first.ref)
    assert (only.ref, only.frontend, only.n_steps) == (first.ref, "dockerfile.v0", len(first.steps))
    assert len(bk.history(limit=1)) == 1
    assert len(bk.history(repository="github.com/nobody")) == 0
    assert len(bk.history(max_age_s=1e-6)) == 0


@pytest.mark.parametrize(
    ("argument", "value"),
    [("status", "finished"), ("limit", 0), ("max_age_s", -1), ("ref", 7), ("limit", True)],
)
def test_a_bad_argument_is_named(bk, argument, value):
    with pytest.raises(UsageError, match=argument):
        bk.history(**{argument: value})


def test_a_secret_among_the_arguments_is_covered(bk, built):
    (record,) = bk.history(ref=built[0].ref)
    assert record.attrs["build-arg:NPM_TOKEN"] == "***"
    looked = bk.inspect(record)
    for shown in (repr(record), record._repr_html_(), repr(looked), looked._repr_html_()):
        assert "s3cret" not in shown


def test_a_record_has_steps_logs_and_provenance(bk, built):
    first, _ = built
    looked = bk.inspect(first.ref)
    assert [step.digest for step in looked.steps] == [step.digest for step in first.steps]
    assert "said" in looked.logs("echo said")
    assert looked.provenance is not None
    assert looked.provenance.frontend == "dockerfile.v0"
    assert any("busybox" in one.uri for one in looked.provenance.materials)
    assert looked.error is None


def test_an_error_has_its_exit_code_and_its_line(bk, built):
    looked = bk.inspect(bk.history(status="error")[0])
    assert isinstance(looked.error, StepFailed)
    assert looked.error.exit_code == 7
    assert looked.error.locations[0].line == 2
    assert [step.state for step in looked.steps][-1] is StepState.FAILED
    assert "oh" in looked.logs("exit 7")


def test_a_past_build_plays_again_in_the_same_view(bk, built):
    out = io.StringIO()
    with redirect_stderr(out):
        bk.replay(built[0].ref, speed=50, progress="plain")
    assert re.search(r"RUN echo said", out.getvalue())
    assert "said" in out.getvalue()


def test_playing_takes_as_long_as_the_speed_says(bk, built):
    (record,) = bk.history(ref=built[0].ref)
    began_s = time.monotonic()
    bk.replay(record, speed=record.duration_s / 0.3, progress="quiet")
    assert 0.3 <= time.monotonic() - began_s < 30


def test_an_interrupt_ends_the_show(bk, built, monkeypatch):
    def interrupt(seconds):
        assert seconds > 60
        raise KeyboardInterrupt

    monkeypatch.setattr("depotlab.client.time", SimpleNamespace(sleep=interrupt))
    with pytest.raises(KeyboardInterrupt):
        bk.replay(built[0].ref, speed=1e-4, progress="quiet")


@pytest.mark.parametrize("speed", [0, -1, True, "fast"])
def test_a_speed_must_be_above_zero(bk, built, speed):
    with pytest.raises(UsageError, match="speed"):
        bk.replay(built[0].ref, speed=speed, progress="quiet")


def test_a_pinned_record_is_not_deleted_by_mistake(bk, built):
    ref = built[1].ref
    bk.pin(ref)
    assert bk.history(ref=ref)[0].pinned
    with pytest.raises(UsageError, match="pinned"):
        bk.remove_record(ref)
    bk.pin(ref, pinned=False)
    assert not bk.history(ref=ref)[0].pinned


def test_a_deleted_record_is_gone(bk):
    ref = bk.build(llb.image("busybox").run(f"echo {time.time_ns()}"), progress="quiet").ref
    bk.remove_record(ref)
    assert len(bk.history(ref=ref)) == 0
    for ask in (bk.inspect, bk.pin, bk.remove_record, bk.replay):
        with pytest.raises(UsageError, match="remembers no build"):
            ask(ref)


def test_what_is_no_build_is_refused_at_once(bk):
    with pytest.raises(UsageError, match="neither a record nor the name"):
        bk.inspect(7)


def test_the_awaitable_face_does_the_same(engine, built):
    async def main():
        async with await aio.connect(engine.address) as bk:
            (record,) = await bk.history(ref=built[0].ref)
            await bk.replay(record, speed=100, progress="quiet")
            return (await bk.inspect(record)).record

    assert asyncio.run(main()).ref == built[0].ref
