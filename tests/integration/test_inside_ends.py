"""However a user leaves, the daemon keeps nothing: what is in use there is counted."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import depotlab as dl
from depotlab import llb
from depotlab._inside.opened import open_state, opened_at
from depotlab._portal import portal
from depotlab._verbs import prepare
from depotlab.errors import BuildCanceled, FileMissing, StepFailed
from tests.support.processes import sleeping, wait_until

BASE = llb.image("busybox")


@pytest.fixture
def daemon(engine):
    """Another client, which counts."""
    with dl.connect(engine.address) as client:
        yield client


def in_use(daemon) -> set[str]:
    return {record.id for record in daemon.disk_usage() if record.in_use}


def wait_for(daemon, expected: set[str], *, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while (now := in_use(daemon)) != expected:
        assert time.monotonic() < deadline, (
            f"still in use: {now - expected}, gone: {expected - now}"
        )
        time.sleep(0.05)


def settled(daemon) -> set[str]:
    """What is in use when nothing is being let go of any more."""
    found = in_use(daemon)
    since = time.monotonic()
    while time.monotonic() - since < 0.3:
        time.sleep(0.05)
        if (now := in_use(daemon)) != found:
            found, since = now, time.monotonic()
    return found


def state(name: str):
    return BASE.run(f"echo {name} > /f")


def test_what_was_looked_at_is_held_and_let_go_when_the_client_closes(engine, daemon):
    before = settled(daemon)
    with dl.connect(engine.address) as bk:
        bk.ls(state("closed"))
        assert in_use(daemon) > before, "the test counts what it is about"
    wait_for(daemon, before)


def test_an_error_in_a_look_leaves_what_a_look_leaves(engine, daemon):
    before = settled(daemon)
    with dl.connect(engine.address) as bk, pytest.raises(FileMissing):
        bk.read(state("error"), "/nope")
    wait_for(daemon, before)


def test_only_a_few_states_stay_open(engine, daemon):
    with dl.connect(engine.address) as bk:
        counts = []
        for number in range(8):
            bk.ls(state(f"many{number}"))
            counts.append(len(in_use(daemon)))
        deadline = time.monotonic() + 60
        while len(in_use(daemon)) > counts[4]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_prune_is_not_kept_from_what_was_only_looked_at(engine, daemon):
    before = settled(daemon)
    with dl.connect(engine.address) as bk:
        bk.ls(state("pruned"))
        bk.prune(filters="id==nothing-has-this-id")
        wait_for(daemon, before)


def test_interrupted_looks_leave_nothing(engine, daemon):
    before = settled(daemon)
    script = f"""
        import depotlab as dl
        from depotlab import llb
        bk = dl.connect({engine.address!r})
        bk.ls(llb.image("busybox"))
        print("ready", flush=True)
        try:
            while True:
                bk.ls(llb.image("busybox").run("echo looped > /f"))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            bk.close()
    """
    with _python(script) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
        assert child.wait(60) == 0
    wait_for(daemon, before)


def test_an_interrupted_solve_stops_its_step(engine, daemon):
    def running():
        return {record.id for record in daemon.disk_usage() if record.in_use and record.mutable}

    before = running()
    script = f"""
        import depotlab as dl
        from depotlab import llb
        bk = dl.connect({engine.address!r})
        print("ready", flush=True)
        try:
            bk.ls(llb.image("busybox").run("echo interrupted; sleep 60"))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            bk.close()
    """
    with _python(script) as child:
        assert child.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 60
        while running() == before:
            assert time.monotonic() < deadline, "the step does not begin"
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        assert "interrupted\n" in child.stdout.read().splitlines(keepends=True)
        assert child.wait(60) == 0
    # The daemon keeps what a cancelled step wrote until its own garbage collector runs (a finalizer of
    # `ExecError`, moby/buildkit `solver/llbsolver/errdefs/exec.go`), whoever cancelled it.
    deadline = time.monotonic() + 60
    while running() != before:
        assert time.monotonic() < deadline, "the step still runs"
        time.sleep(0.05)


def test_a_killed_process_leaves_nothing(engine, daemon):
    before = settled(daemon)
    script = f"""
        import depotlab as dl, time
        from depotlab import llb
        bk = dl.connect({engine.address!r})
        bk.ls(llb.image("busybox").run("echo killed > /f"))
        print("open", flush=True)
        time.sleep(60)
    """
    with _python(script) as child:
        assert child.stdout.readline() == "open\n"
        assert in_use(daemon) > before
        child.kill()
        child.wait()
    wait_for(daemon, before)


def test_what_is_forgotten_is_let_go(engine, daemon):
    before = settled(daemon)
    with dl.connect(engine.address) as bk:
        opened = portal().run(open_state(bk._builder, prepare(state("forgotten"))))
        assert opened.is_open
        assert in_use(daemon) > before
        del opened
        gc.collect()
        wait_for(daemon, before)


def test_a_failed_step_stays_there_while_its_error_does(engine, daemon):
    before = settled(daemon)
    with dl.connect(engine.address) as bk:
        with pytest.raises(StepFailed) as caught:
            bk.ls(BASE.run("echo left > /left; exit 3"))
        opened = opened_at(caught.value)
        assert opened.is_open
        assert len(opened.failed.mount_ids) == 1
        assert in_use(daemon) > before
        del opened, caught
        gc.collect()
        wait_for(daemon, before)


def test_only_the_newest_failures_stay_there(engine):
    with dl.connect(engine.address) as bk:
        errors = []
        for number in range(4):
            with pytest.raises(StepFailed) as caught:
                bk.ls(BASE.run(f"exit {number + 1}"))
            errors.append(caught.value)
        deadline = time.monotonic() + 60
        while sum(opened_at(error) is not None for error in errors) > 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert opened_at(errors[-1]) is not None
    assert opened_at(errors[-1]) is None


def test_closing_twice_is_nothing(engine):
    with dl.connect(engine.address) as bk:

        async def twice():
            opened = await open_state(bk._builder, prepare(state("twice")))
            await opened.aclose()
            await opened.aclose()
            return opened.is_open

        assert portal().run(twice()) is False


def test_a_look_that_is_cut_off_by_a_close_ends(engine):
    import threading

    bk = dl.connect(engine.address)
    seen = []

    def look():
        try:
            bk.ls(BASE.run(["sleep", "30.125"]))
        except BaseException as error:
            seen.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    wait_until(lambda: sleeping("30.125"), what="the step runs")
    bk.close()
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(seen[0], BuildCanceled | dl.errors.LinkError)


def _python(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        start_new_session=True,
    )
