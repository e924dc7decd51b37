"""Commands in states and at failed steps, on a real daemon."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import depotlab as dl
from depotlab import llb, mount
from depotlab._verbs import failed_build
from depotlab.errors import (
    CommandFailed,
    CommandTimeout,
    DaemonError,
    FileMissing,
    GraphError,
    StepFailed,
    UsageError,
)

BUSYBOX = llb.image("busybox")


def containers(engine) -> int:
    """How many containers run on the engine: each has a bundle in its executor's folder."""
    return len(list(Path(engine.state_dir).glob("root/runc-*/executor/*/config.json")))


def gone(engine, *, within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while containers(engine):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def failing(bk, state: llb.State, **options) -> StepFailed:
    with pytest.raises(StepFailed) as failed:
        bk.build(state, progress="quiet", **options)
    return failed.value


class TestInAState:
    def test_both_outputs_and_the_code_come_back(self, bk):
        done = bk.run(BUSYBOX, "echo out; echo err >&2; exit 3")
        assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 3)
        assert not done.ok

    def test_a_list_is_an_argv(self, bk):
        assert bk.run(BUSYBOX, ["echo", "a b", "$HOME"]).stdout == "a b $HOME\n"

    def test_settings_of_the_state_hold_and_can_be_changed(self, bk):
        state = BUSYBOX.env(A="1").dir("/tmp").user("12:34")
        script = "echo $A $B $(pwd) $(id -u):$(id -g)"
        assert bk.run(state, script).stdout == "1 /tmp 12:34\n"
        changed = bk.run(state, script, env={"B": 2}, cwd="..", user="0")
        assert changed.stdout == "1 2 / 0:0\n"

    def test_what_it_writes_changes_no_state(self, bk):
        state = BUSYBOX.run("echo kept > /file")
        assert bk.run(state, "echo lost > /file; cat /file").stdout == "lost\n"
        assert bk.run(state, "cat /file").stdout == "kept\n"

    def test_mounts_secrets_and_directories_of_this_computer(self, bk, tmp_path):
        (tmp_path / "a.txt").write_text("from here")
        mounts = [
            mount.bind("/src", llb.local(tmp_path)),
            mount.bind("/made", BUSYBOX.run("echo made > /m")),
            mount.secret("token"),
            mount.tmpfs("/mem"),
        ]
        done = bk.run(
            BUSYBOX,
            "cat /src/a.txt /made/m /run/secrets/token; df /mem | tail -1 | cut -d' ' -f1",
            mounts=mounts,
            secrets={"token": "hush"},
        )
        assert done.stdout == "from heremade\nhushtmpfs\n"
        (tmp_path / "a.txt").write_text("and now")
        assert bk.run(BUSYBOX, "cat /src/a.txt", mounts=mounts[:1]).stdout == "and now"

    def test_a_secret_that_was_not_given_is_missed_before_anything_is_sent(self, bk):
        with pytest.raises(GraphError, match="token"):
            bk.run(BUSYBOX, "true", mounts=[mount.secret("token")])

    @pytest.mark.parametrize(
        "stdin", [b"x" * 300_000, "x" * 300_000, io.BytesIO(b"x" * 300_000)], ids=type
    )
    def test_it_reads_what_it_is_given(self, bk, stdin):
        assert bk.run(BUSYBOX, "wc -c", stdin=stdin).stdout.strip() == "300000"

    def test_without_input_it_finds_the_end(self, bk):
        assert bk.run(BUSYBOX, ["cat"], timeout_s=10).stdout == ""

    def test_input_that_nobody_reads_is_no_fault(self, bk):
        assert bk.run(BUSYBOX, "exit 4", stdin=b"x" * 3_000_000).exit_code == 4

    def test_lines_come_as_they_are_written(self, bk):
        seen: list[str] = []
        reads, writes = os.pipe()

        def answer(line: str) -> None:
            seen.append(line)
            if line == "one":  # the second is not written before the first was heard
                os.write(writes, b"go on\n")
                os.close(writes)

        command = "echo one; read -r word; echo two; printf three"
        with open(reads, "rb", buffering=0) as stdin:
            bk.run(BUSYBOX, command, stdin=stdin, on_output=answer, timeout_s=60)
        assert seen == ["one", "two", "three"]

    def test_a_callback_that_fails_stops_the_command(self, bk, engine):
        def refuse(line: str) -> None:
            raise RuntimeError(line)

        with pytest.raises(RuntimeError, match="enough"):
            bk.run(BUSYBOX, "echo enough; sleep 60", on_output=refuse)
        assert gone(engine)

    def test_kept_output_is_bounded_and_a_file_gets_all(self, bk):
        done = bk.run(BUSYBOX, "seq 100000", max_output_bytes=1000)
        assert len(done.stdout_bytes) == 1000
        assert done.stdout.endswith("99999\n100000\n")
        assert done.dropped_bytes == 588_895 - 1000
        file = io.BytesIO()
        assert bk.run(BUSYBOX, "seq 100000", stdout=file).stdout == ""
        assert len(file.getvalue()) == 588_895

    def test_with_a_terminal_both_outputs_are_one(self, bk):
        done = bk.run(BUSYBOX, "test -t 1 && echo tty; echo err >&2", tty=True)
        assert done.stdout == "tty\r\nerr\r\n"

    def test_a_time_limit_kills_it(self, bk, engine):
        with pytest.raises(CommandTimeout) as over:
            bk.run(BUSYBOX, "echo begun; sleep 600", timeout_s=3)
        assert over.value.output_tail == ("begun",)
        assert gone(engine)

    def test_a_dockerfile_is_a_state_too(self, bk):
        text = "FROM busybox\nENV A=5\nWORKDIR /w\nUSER 7\nRUN true\n"
        assert bk.run(dl.dockerfile(text=text), "echo $A $(pwd) $(id -u)").stdout == "5 /w 7\n"

    def test_a_step_of_a_build_is_a_place_with_its_settings(self, bk):
        middle = BUSYBOX.env(A="7").dir("/w").run("echo mid > mid", name="middle")
        result = bk.build(middle.env(A="8").run("rm mid"), progress="quiet")
        assert bk.run(result.at("middle"), "echo $A; cat mid").stdout == "7\nmid\n"

    def test_what_takes_long_to_build_is_shown_and_the_rest_is_not(self, bk, capsys):
        unique = time.time_ns()
        bk.run(BUSYBOX.run(f"echo {unique}; sleep 2"), "true", progress="plain")
        assert f"echo {unique}; sleep 2" in capsys.readouterr().err
        bk.run(BUSYBOX, "sleep 1.2", progress="plain")
        assert capsys.readouterr().err == ""

    def test_a_failed_step_on_the_way_can_be_looked_at(self, bk):
        with pytest.raises(StepFailed) as failed:
            bk.run(BUSYBOX.run("echo left | tee /left; exit 9"), "true")
        assert failed.value.exit_code == 9
        assert failed.value.log_tail == ("left",)
        assert failed.value.read("/left") == b"left\n"


class TestWhatCannotRun:
    @pytest.mark.parametrize(
        ("state", "command", "code", "words"),
        [
            pytest.param(BUSYBOX, ["nope"], 127, "no program 'nope'", id="no such program"),
            pytest.param(llb.scratch(), "ls", 127, "no shell", id="no shell"),
            pytest.param(BUSYBOX, ["/etc"], 126, "cannot be run", id="a directory"),
            pytest.param(
                BUSYBOX.file(llb.mkfile("/x", "\x01\x02", mode=0o755)),
                ["/x"],
                126,
                "not made for this platform",
                id="no program at all",
            ),
        ],
    )
    def test_the_error_says_why(self, bk, state, command, code, words):
        with pytest.raises(CommandFailed, match=words) as refused:
            bk.run(state, command)
        assert refused.value.exit_code == code
        assert refused.value.hint

    def test_a_user_that_is_not_there(self, bk):
        with pytest.raises(CommandFailed, match="nobody-here") as refused:
            bk.run(BUSYBOX, "true", user="nobody-here")
        assert "user=" in refused.value.hint

    def test_a_shell_that_does_not_find_a_command_says_so_itself(self, bk):
        done = bk.run(BUSYBOX, "nope")
        assert done.exit_code == 127
        assert "not found" in done.stderr

    def test_check_raises_with_the_last_lines(self, bk):
        with pytest.raises(CommandFailed, match="exit code 5") as failed:
            bk.run(BUSYBOX, "echo why; exit 5", check=True)
        assert failed.value.output_tail == ("why",)

    def test_network_none_is_none(self, bk):
        assert bk.run(BUSYBOX, "ip addr | grep -c inet.*eth", network="none").stdout == "0\n"


class TestAtAFailedStep:
    def test_files_mounts_secrets_and_settings_are_those_of_the_command(self, bk):
        state = (
            BUSYBOX.env(STAGE="test")
            .dir("/app")
            .run(
                "echo half > report; echo kept > /cache/k; exit 7",
                mounts=[mount.cache("/cache", id="failed"), mount.secret("s"), mount.bind("/out")],
            )
        )
        error = failing(bk, state, secrets={"s": "hush"})
        assert error.cell is not None
        done = error.run("echo $STAGE $(pwd) $(cat report /cache/k /run/secrets/s); touch /out/x")
        assert (done.stdout, done.exit_code) == ("test /app half kept hush\n", 0)
        assert error.read("report") == b"half\n"
        assert [file.name for file in error.ls()] == ["report"]
        assert error.read("/cache/k", offset=1, length=2) == b"ep"
        with pytest.raises(UsageError, match="secret mount"):
            error.read("/run/secrets/s")

    def test_before_is_what_the_command_found(self, bk):
        error = failing(bk, BUSYBOX.run("echo new > /etc/passwd; exit 1"))
        assert error.read("/etc/passwd") == b"new\n"
        assert error.read("/etc/passwd", before=True) != b"new\n"
        assert "root" in error.run("cat /etc/passwd", before=True).stdout

    def test_each_look_starts_from_the_same_files(self, bk):
        error = failing(bk, BUSYBOX.run("echo left > /left; exit 1"))
        assert error.run("rm /left; ls /left").exit_code == 1
        assert error.run("cat /left").stdout == "left\n"

    def test_of_a_graph_nothing_runs_again(self, bk, tmp_path):
        (tmp_path / "f").write_text("local")
        counted = [mount.cache("/count", id=f"count-{time.time_ns()}")]
        script = f"echo {time.time_ns()} | tee /now; cat /f >> /now; echo once >> /count/n; exit 1"
        state = BUSYBOX.copy(llb.local(tmp_path), "f", "/f").run(script, mounts=counted)
        error = failing(bk, state)
        assert error.read("/now") == (error.log_tail[-1] + "\nlocal").encode()
        assert error.run("cat /count/n").stdout == "once\n"

    def test_a_step_that_nobody_looks_at_is_let_go_and_opened_again_when_somebody_does(
        self, bk, monkeypatch
    ):
        monkeypatch.setattr("depotlab._inside.failed.IDLE_S", 0.05)
        counted = [mount.cache("/count", id=f"idle-{time.time_ns()}")]
        error = failing(bk, BUSYBOX.run("echo once >> /count/n; exit 1", mounts=counted))
        kept = failed_build(error).kept
        wait_for(lambda: kept.opened is None)
        assert error.run("cat /count/n").stdout == "once\nonce\n"

    def test_of_a_dockerfile_only_the_first_look_runs_it_again(self, bk):
        counting = "RUN --mount=type=cache,id=again,target=/n echo once >> /n/n && false"
        error = failing(
            bk, dl.dockerfile(text=f"FROM busybox\nRUN echo {time.time_ns()}\n{counting}")
        )
        before = error.run("wc -l < /n/n").stdout
        assert error.run("wc -l < /n/n").stdout == before

    def test_a_step_that_does_not_fail_again_is_told(self, bk):
        once = "test -e /n/n || { touch /n/n; exit 1; }"
        text = f"FROM busybox\nRUN --mount=type=cache,id=o{time.time_ns()},target=/n {once}"
        error = failing(bk, dl.dockerfile(text=text))
        with pytest.raises(DaemonError, match="did not fail"):
            error.run("true")

    def test_the_daemon_remembers_one_failed_build(self, bk):
        name = f"kept-{time.time_ns()}"
        with pytest.raises(StepFailed):
            bk.build(BUSYBOX.run(f"echo {name}; exit 1"), progress="quiet")
        newest = bk.history(limit=5)
        assert all(record.status != "running" for record in newest)

    def test_of_a_dockerfile(self, bk):
        text = "FROM busybox\nENV B=2\nWORKDIR /q\nRUN echo x > y && false\n"
        error = failing(bk, dl.dockerfile(text=text))
        assert error.cell is not None
        assert error.cell.line == 4
        assert error.run("cat y; echo $B").stdout == "x\n2\n"

    def test_paths_that_are_not_there(self, bk):
        error = failing(bk, BUSYBOX.run("touch /report.txt; exit 1"))
        with pytest.raises(FileMissing) as missing:
            error.read("/report.tx")
        assert "/report.txt" in missing.value.hint

    def test_an_error_that_travelled_says_that_it_lost_its_build(self, bk):
        error = pickle.loads(pickle.dumps(failing(bk, BUSYBOX.run("exit 1"))))
        with pytest.raises(UsageError, match="another process"):
            error.run("true")

    def test_arguments_of_states_are_refused_by_name(self, bk):
        error = failing(bk, BUSYBOX.run("exit 1"))
        with pytest.raises(UsageError, match="platform="):
            bk.run(error, "true", platform="linux/arm64")
        with pytest.raises(UsageError, match="mounts="):
            bk.run(error, "true", mounts=[mount.tmpfs("/t")])
        with pytest.raises(UsageError, match="before=True"):
            bk.run(BUSYBOX, "true", before=True)

    def test_the_awaitable_face_takes_the_error(self, engine):
        import asyncio

        async def look() -> str:
            async with await dl.aio.connect(engine.address) as bk:
                with pytest.raises(StepFailed) as failed:
                    await bk.build(BUSYBOX.run("echo half > /h; exit 1"), progress="quiet")
                return (await bk.run(failed.value, "cat /h")).stdout

        assert asyncio.run(look()) == "half\n"


SCRIPT = """
import depotlab as dl, sys
from depotlab import llb
bk = dl.connect({address!r})
shell = bk.shell(llb.image("busybox"))
try:
    bk.run(llb.image("busybox"), "echo running; sleep 60", on_output=lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


class TestNothingIsLeft:
    def test_after_the_end_and_after_a_failure(self, bk, engine):
        bk.run(BUSYBOX, "exit 1")
        with pytest.raises(CommandFailed):
            bk.run(BUSYBOX, ["nope"])
        failing(bk, BUSYBOX.run("exit 1")).run("true")
        assert gone(engine)

    def test_when_a_shell_is_closed_and_when_its_client_is(self, engine):
        with dl.connect(engine.address) as bk:
            with bk.shell(BUSYBOX) as shell:
                wait_for(lambda: containers(engine) == 1)
            assert gone(engine)
            assert not shell.is_open
            other = bk.shell(BUSYBOX)
            wait_for(lambda: containers(engine) == 1)
        assert gone(engine)
        wait_for(lambda: not other.is_open)

    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupt", "kill"])
    def test_when_the_process_is_stopped(self, engine, how):
        script = SCRIPT.format(address=engine.address)
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        wait_for(lambda: containers(engine) == 2)
        process.send_signal(how)
        if how is signal.SIGINT:
            assert process.stdout.readline() == "interrupted\n"
        process.stdout.close()
        process.wait(60)
        assert gone(engine)


def wait_for(condition, *, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestShell:
    def test_code_can_type(self, bk):
        with bk.shell(BUSYBOX) as shell:
            shell.resize(rows=33, cols=111)
            shell.send("stty size; echo $TERM\nexit 5\n")
            assert shell.wait(timeout_s=20) == 5
        assert "33 111" in shell.transcript
        assert "xterm-256color" in shell.transcript
        with pytest.raises(UsageError, match="ended"):
            shell.send("ls\n")

    def test_ctrl_c_interrupts_the_command_and_not_the_shell(self, bk):
        with bk.shell(BUSYBOX) as shell:
            shell.send("echo $((40 + 2)); sleep 60\n")
            wait_for(lambda: "\n42" in shell.transcript)
            shell.send("\x03")
            shell.send("exit 6\n")
            assert shell.wait(timeout_s=20) == 6

    def test_where_a_step_failed(self, bk):
        error = failing(bk, BUSYBOX.run("echo left > /left; exit 1"))
        with error.shell() as shell:
            shell.send("cat /left\nexit\n")
            shell.wait(timeout_s=20)
        assert "\nleft" in shell.transcript

    def test_a_state_without_a_shell_says_so(self, bk):
        shell = bk.shell(llb.scratch().file(llb.mkfile("/a", "x")))
        with pytest.raises(CommandFailed, match="no shell"):
            shell.wait(timeout_s=20)
        assert shell.exit_code is None

    def test_threads_may_type_at_once(self, bk):
        with bk.shell(BUSYBOX, "cat") as shell:
            typists = [threading.Thread(target=shell.send, args=(f"{n}\n",)) for n in range(8)]
            for one in typists:
                one.start()
            for one in typists:
                one.join()
            shell.send("\x04")
            assert shell.wait(timeout_s=20) == 0
        assert all(f"\n{n}" in shell.transcript for n in range(8))
