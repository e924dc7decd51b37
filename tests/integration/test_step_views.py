"""When steps ran, what the end waited for, and the picture of it, of real builds."""

import time

import pytest

import depotlab as dl
from depotlab import llb
from depotlab.errors import StepFailed, UsageError


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("DEPOTLAB_UI", "off")


@pytest.fixture(scope="module")
def result(engine):
    base = llb.image("busybox")
    slow = base.run(f"sleep 1; echo {time.time_ns()} > /slow", name="slow")
    quick = llb.scratch().mkfile("/quick", f"{time.time_ns()}")
    last = llb.merge(slow, quick).run("cat /slow /quick", name="last")
    with dl.connect(engine.address) as bk:
        return bk.build(last, progress="quiet")


def test_the_critical_path_goes_through_the_slow_branch(result):
    path = [step.name for step in result.critical_path]
    assert path[-1] == "last"
    assert "slow" in path
    assert "mkfile /quick" not in path
    assert "slow" in result.why_slow()
    assert result.why_slow().startswith("Waited mostly for")


def test_the_timeline_has_the_times_of_the_builder(result):
    rows = {row.step.name: row for row in result.timeline}
    assert rows["slow"].worked_s >= 1.0
    assert rows["slow"].ended_s <= rows["last"].ended_s <= result.duration_s + 1.0
    assert rows["slow"].is_critical
    assert not rows["mkfile /quick"].is_critical
    assert "◆ slow" in str(result.timeline)
    assert list(result.timeline.rows()[0])[3:6] == ["began_s", "ended_s", "worked_s"]


def test_the_picture_tells_what_became_of_each_op(bk, result):
    picture = result.graph()
    nodes = {node.label: node for node in picture.graph.nodes}
    assert "test_step_views.py, line" in nodes["slow"].title
    assert set(picture.states.values()) >= {"ran"}
    again = bk.build(result.definition and llb.load(result.definition.to_bytes()), progress="quiet")
    assert again.graph().states[nodes["last"].id] == "cached"
    assert ">1 ran<" not in again.graph().svg


def test_a_build_that_runs_can_be_asked_too(bk):
    build = bk.submit(
        llb.image("busybox").run("true", name="step", ignore_cache=True), progress="quiet"
    )
    assert isinstance(build.why_slow(), str)
    build.result()
    assert [row.step.name for row in build.timeline][-1] == "step"
    assert "step" in build.graph().svg


def test_an_error_knows_the_build_around_the_step_that_failed(bk, capsys):
    with pytest.raises(StepFailed) as caught:
        bk.build(dl.dockerfile(text="FROM busybox\nRUN echo one\nRUN exit 3\n"), progress="quiet")
    error = caught.value
    failed = next(row for row in error.timeline if str(row.step.state) == "failed")
    assert "exit 3" in failed.step.name
    assert failed.is_critical
    assert "failed" in error.graph().svg
    assert error.snapshot.failed[0].name == failed.step.name
    error.view()
    assert "exit 3" in capsys.readouterr().out
    copy = StepFailed("copied", step="x", exit_code=3)
    with pytest.raises(UsageError, match="copied"):
        _ = copy.timeline


def test_a_past_build_has_them_from_the_history_of_the_daemon(bk, result):
    past = bk.inspect(result.ref)
    assert [step.name for step in past.critical_path][-1] == "last"
    assert "slow" in past.why_slow()
    assert "slow" in past.graph().svg


@pytest.mark.parametrize("kind", ["graph", "dockerfile"])
def test_a_view_can_list_the_files_of_a_step_while_the_client_is_open(engine, kind):
    targets = {
        "graph": llb.image("busybox").run("mkdir /made", name="make"),
        "dockerfile": dl.dockerfile(text="FROM busybox\nRUN mkdir /made\n"),
    }
    with dl.connect(engine.address) as bk:
        build = bk.submit(targets[kind], progress="quiet")
        build.result()
        details = build._step_details()
        made = next(
            step for step in build.snapshot.steps if "make" in step.name or "RUN" in step.name
        )
        assert details.has_files(made)
        assert "/made/" in details.list_files(made).result()
        loading = [s for s in build.snapshot.steps if s.is_internal]
        assert not any(details.has_files(step) for step in loading)
        place = details.place(made)
        assert place.text.splitlines()[place.line - 1].strip().startswith(('"graph"', "RUN mkdir"))
    assert not details.has_files(made), "the client is closed, and is not opened again for it"
    assert "bk.browse" in details.code(made)
