"""How builds end when they do not succeed: failures, interrupts, time limits, a daemon that dies."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import depotlab as dl
from depotlab import llb
from depotlab.errors import BuildCanceled, BuildTimeout, ConnectionLost, StepFailed


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("DEPOTLAB_UI", "off")


@pytest.fixture
def mark():
    """A number of seconds that no other sleep has, so that a process can be found by it."""
    return f"{600 + time.time_ns() % 10**9 / 10**10:.9f}"


def sleeping(mark):
    """Processes on this machine that sleep for `mark` seconds: what a build left behind."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(int(pid))
    return found


def wait_until(true, *, timeout_s=60.0, what=""):
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(0.05)


def test_a_failing_step_names_the_step_the_code_the_output_and_the_line(bk):
    base = llb.image("busybox")
    broken = base.run("echo one; echo two >&2; exit 42", name="break it")  # the line to blame
    line = sys._getframe().f_lineno - 1
    build = bk.submit(broken.run("never"))
    with pytest.raises(StepFailed) as caught:
        build.result(timeout_s=60)
    error = caught.value
    assert (error.step, error.exit_code) == ("break it", 42)
    assert sorted(error.log_tail) == ["one", "two"]  # two streams, in either order
    assert error.cell.filename.endswith("test_ends.py")
    assert error.cell.line == line
    assert "the line to blame" in str(error)
    assert [error.vertex] == [s.digest for s in build.snapshot.failed]


def test_a_failing_dockerfile_step_points_at_its_line(bk):
    with pytest.raises(StepFailed) as caught:
        bk.build(dl.dockerfile(text="FROM busybox\nRUN true\nRUN echo here; exit 3\n"))
    assert caught.value.exit_code == 3
    assert caught.value.cell.line == 3
    assert caught.value.log_tail[-1] == "here"


def test_a_time_limit_cancels_the_build_on_the_daemon(bk, mark):
    with pytest.raises(BuildTimeout) as caught:
        bk.build(llb.image("busybox").run(f"sleep {mark}"), timeout_s=2)
    assert caught.value.timeout_s == 2
    wait_until(lambda: not sleeping(mark), what="the step is gone")


def test_cancel_ends_a_submitted_build(bk, mark):
    build = bk.submit(llb.image("busybox").run(f"sleep {mark}", name="sleep"))
    wait_until(lambda: sleeping(mark), what="the step runs")
    build.cancel()
    with pytest.raises(BuildCanceled):
        build.result(timeout_s=60)
    wait_until(lambda: not sleeping(mark), what="the step is gone")
    assert {s.name: str(s.state) for s in build.snapshot.steps}["sleep"] == "canceled"
    assert str(build.snapshot.phase) == "canceled"


def test_ctrl_c_cancels_and_raises(engine, mark, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            import signal
            import depotlab as dl
            from depotlab import llb
            # A test run in the background of a shell hands down that interrupts are ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            bk = dl.connect({engine.address!r})
            try:
                bk.build(llb.image("busybox").run("sleep {mark}"), progress="quiet")
            except KeyboardInterrupt:
                print("interrupted", flush=True)
                bk.close()
        """)
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as child:
        try:
            wait_until(lambda: sleeping(mark), what="the step runs")
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=60)
        finally:
            child.kill()
    assert out == "interrupted\n"
    wait_until(lambda: not sleeping(mark), what="the step is gone")


def test_a_killed_client_leaves_no_step_running(engine, mark, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import depotlab as dl\nfrom depotlab import llb\nbk = dl.connect({engine.address!r})\n"
        f"bk.build(llb.image('busybox').run('sleep {mark}'), progress='quiet')\n"
    )
    child = subprocess.Popen([sys.executable, script])
    try:
        wait_until(lambda: sleeping(mark), what="the step runs")
    finally:
        child.kill()
        child.wait()
    wait_until(lambda: not sleeping(mark), what="the step is gone")


def test_a_daemon_that_dies_in_mid_build_is_a_lost_connection(engine_state, mark):
    from depotlab import _local as room

    state = engine_state / "dies"
    engine = room.start(state_dir=state)
    try:
        with dl.connect(engine.address) as bk:
            build = bk.submit(llb.image("busybox").run(f"sleep {mark}"))
            wait_until(lambda: sleeping(mark), what="the step runs")
            os.kill(engine.pid, signal.SIGKILL)
            with pytest.raises(ConnectionLost) as caught:
                build.result(timeout_s=60)
            assert "build again" in caught.value.hint
    finally:
        engine.close()
        room.stop(state_dir=state)
        for pid in sleeping(mark):
            os.kill(pid, signal.SIGKILL)


def test_nothing_is_left_behind_after_many_ends(bk, mark):
    before = threading.active_count()
    for number in range(20):
        build = bk.submit(llb.image("busybox").run(f"echo {number} {mark}; sleep 0.{number % 5}"))
        if number % 3 == 0:
            build.cancel()
        try:
            build.result(timeout_s=30)
        except BuildCanceled:
            continue
    wait_until(lambda: threading.active_count() <= before + 2, what="threads are gone")
