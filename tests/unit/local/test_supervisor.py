"""The supervisor as a process, with made-up children in the place of buildkitd and the registry."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from depotlab._local import _lease, _supervisor

CHILD = """
import os, signal, socket, sys
if sys.argv[2] == "crash":
    print("cannot do this"); sys.exit(4)
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("serving now", flush=True)
while True:
    client, _ = server.accept()
    client.recv(100)
    client.sendall(b"\\0\\0\\0\\4\\0\\0\\0\\0\\0")
    client.close()
"""


class Lab:
    """One state folder with a plan for two made-up children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "child.py").write_text(CHILD)
        self.plan = {
            "main": "b",
            "socket": str(folder / "supervisor.sock"),
            "sockets": [str(folder / name) for name in ("supervisor.sock", "a.sock", "b.sock")],
            "run_dir": str(folder),
            "remove_run_dir": False,
            "lock": str(folder / "lock"),
            "record": str(folder / "record.json"),
            "last_end": str(folder / "last-end.json"),
            "log": str(folder / "supervisor.log"),
            "log_limit_bytes": 1000,
            "linger_s": 10.0,  # a busy machine may take long to come back
            "ready_s": 60.0,
            "grace_s": 0.5,
            "lock_wait_s": 60.0,
            "cgroup": "depotlab-test-none",
            "info": {"address": "unix:///x"},
            "children": [self.child("a"), self.child("b")],
        }

    def child(self, name: str, how: str = "well") -> dict:
        socket = str(self.folder / f"{name}.sock")
        return {
            "name": name,
            "argv": [sys.executable, "-I", "-S", str(self.folder / "child.py"), socket, how],
            "env": {},
            "log": str(self.folder / f"{name}.log"),
            "own_namespaces": False,
            "probe": {"kind": "http2", "address": socket},
        }

    def launch(self) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-I", "-S", _supervisor.__file__],
            input=json.dumps(self.plan),
            text=True,
            capture_output=True,
            check=False,
            timeout=100,
        )

    def take(self) -> tuple[_lease.Line, dict]:
        return _lease.take(self.folder / "supervisor.sock", timeout_s=60)

    def processes(self) -> list[dict]:
        record = json.loads((self.folder / "record.json").read_text())
        return [record["supervisor"], *record["children"]]

    def last_end(self) -> dict:
        return json.loads((self.folder / "last-end.json").read_text())


def until(true, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def all_gone(processes: list[dict]) -> bool:
    return not any(_supervisor.is_same(process) for process in processes)


@pytest.fixture
def lab(short_dir):
    made = Lab(short_dir)
    yield made
    record = short_dir / "record.json"
    if record.exists():
        for process in made.processes():
            if _supervisor.is_same(process):
                os.kill(process["pid"], signal.SIGKILL)


def test_children_run_while_there_is_a_lease_and_end_after_it(lab) -> None:
    lab.plan["linger_s"] = 0.6
    assert lab.launch().returncode == 0
    line, facts = lab.take()
    processes = lab.processes()
    assert facts["address"] == "unix:///x"
    assert facts["pid"] == processes[2]["pid"]
    time.sleep(0.6)  # longer than the linger time
    assert all(_supervisor.is_same(process) for process in processes)
    line.close()
    until(lambda: all_gone(processes))
    until(lambda: not (lab.folder / "record.json").exists())
    assert lab.last_end()["reason"] == "nobody used it any more"
    assert sorted(p.name for p in lab.folder.glob("*.sock")) == []


def test_a_held_engine_stays_until_it_is_stopped(lab) -> None:
    lab.plan["linger_s"] = 0.6
    lab.launch()
    line, _ = lab.take()
    line.say("hold")
    assert line.hear(timeout_s=60)["event"] == "held"
    line.close()
    processes = lab.processes()
    time.sleep(0.6)
    assert not all_gone(processes)
    stopper = _lease.Line(lab.folder / "supervisor.sock")
    stopper.say("stop")
    with pytest.raises(_lease.Gone):
        stopper.hear(timeout_s=60)
    assert all_gone(processes[1:]), "it hung up while children ran"
    stopper.close()


def test_leases_hear_that_it_was_stopped(lab) -> None:
    lab.launch()
    line, _ = lab.take()
    stopper = _lease.Line(lab.folder / "supervisor.sock")
    stopper.say("stop")
    assert line.hear(timeout_s=60) == {
        "event": "gone",
        "reason": "it was told to stop",
        "failed": False,
        "log_tail": [],
    }
    line.close()
    stopper.close()


def test_status_counts_the_leases(lab) -> None:
    lab.launch()
    first, _ = lab.take()
    second, _ = lab.take()
    asker = _lease.Line(lab.folder / "supervisor.sock")
    asker.say("status")
    facts = asker.hear(timeout_s=60)
    assert facts["lease_pids"] == [os.getpid()] * 2
    assert (facts["phase"], facts["held"]) == ("up", False)
    for line in (first, second, asker):
        line.close()


def test_a_second_supervisor_is_turned_away(lab) -> None:
    lab.launch()
    line, _ = lab.take()
    lab.plan["lock_wait_s"] = 0.2
    second = lab.launch()
    assert second.returncode == 3
    assert second.stderr
    assert not all_gone(lab.processes())
    line.close()


def test_a_successor_waits_until_its_predecessor_has_left(lab) -> None:
    lab.plan["children"] = [lab.child("a"), lab.child("b", "stubborn")]
    lab.plan["linger_s"] = 0.6
    lab.launch()
    line, _ = lab.take()
    old = lab.processes()
    line.close()
    until(lambda: not (lab.folder / "supervisor.sock").exists())  # it is stopping; b takes its time
    lab.plan["linger_s"] = 10.0
    assert lab.launch().returncode == 0
    line, _ = lab.take()  # the new one is up: by then the old one must be gone
    assert all_gone(old)
    line.close()


def test_a_child_that_cannot_start_fails_the_lease_with_its_last_words(lab) -> None:
    lab.plan["children"] = [lab.child("a"), lab.child("b", "crash")]
    lab.launch()
    with pytest.raises(Exception, match="b ended with exit code 4") as caught:
        lab.take()
    assert caught.value.log_tail == ("cannot do this",)


def test_a_program_that_is_not_there_fails_the_lease(lab) -> None:
    lab.plan["children"][1]["argv"] = ["/no/such/program"]
    lab.launch()
    with pytest.raises(Exception, match="No such file"):
        lab.take()
    until(lambda: lab.last_end()["failed"])


def test_a_child_that_is_killed_ends_everything_and_the_leases_hear_why(lab) -> None:
    lab.launch()
    line, facts = lab.take()
    processes = lab.processes()
    os.kill(facts["pid"], signal.SIGKILL)
    heard = line.hear(timeout_s=60)
    assert (heard["event"], heard["reason"]) == ("gone", "b was killed by SIGKILL")
    assert heard["log_tail"] == ["serving now"]
    until(lambda: all_gone(processes))
    line.close()


def test_a_killed_supervisor_takes_its_children_with_it_and_can_be_replaced(lab) -> None:
    lab.launch()
    line, facts = lab.take()
    processes = lab.processes()
    os.kill(facts["supervisor_pid"], signal.SIGKILL)
    until(lambda: all_gone(processes))
    assert (lab.folder / "supervisor.sock").exists(), "a stale socket is what the next one finds"
    line.close()
    assert lab.launch().returncode == 0
    line, _ = lab.take()
    line.close()


def test_what_a_killed_supervisor_left_is_killed_by_the_next_one(lab) -> None:
    left = subprocess.Popen(["/bin/sleep", "60"])
    record = {
        "supervisor": {"pid": 1, "start_ticks": 0},
        "children": [_supervisor.identify(left.pid)],
    }
    (lab.folder / "record.json").write_text(json.dumps(record))
    lab.launch()
    assert left.wait(timeout=60) == -signal.SIGKILL
    line, _ = lab.take()
    line.close()


def test_a_process_that_only_has_the_number_is_left_alone(lab) -> None:
    other = subprocess.Popen(["/bin/sleep", "60"])
    stranger = {**_supervisor.identify(other.pid), "start_ticks": 7}
    (lab.folder / "record.json").write_text(json.dumps({"children": [stranger]}))
    lab.launch()
    line, _ = lab.take()
    assert other.poll() is None
    line.close()
    other.kill()
    other.wait()


def test_a_client_that_talks_nonsense_is_hung_up_on_and_nobody_else_notices(lab) -> None:
    lab.launch()
    line, _ = lab.take()
    for nonsense in (b"nonsense\n", b'{"no": 1}\n', b"[]\n", b"x" * 100_000):
        rude = _lease.Line(lab.folder / "supervisor.sock")
        try:
            for start in range(0, len(nonsense), 4096):
                os.write(rude._handle, nonsense[start : start + 4096])
        except BrokenPipeError:
            pass
        with pytest.raises(_lease.Gone):
            rude.hear(timeout_s=60)
        rude.close()
    assert line.poll_end() is None
    line.close()


def test_everything_it_writes_is_for_its_owner_only(lab) -> None:
    lab.launch()
    line, _ = lab.take()
    made = {p.name: p.stat().st_mode & 0o077 for p in lab.folder.iterdir()}
    del made["child.py"]
    assert {"lock", "record.json", "supervisor.sock", "a.log"} <= made.keys()
    assert set(made.values()) == {0}
    line.close()


def test_a_large_log_is_moved_aside_when_the_engine_starts(lab) -> None:
    (lab.folder / "b.log").write_text("old\n" * 1000)
    lab.launch()
    line, _ = lab.take()
    assert (lab.folder / "b.log").read_text() == "serving now\n"
    assert (lab.folder / "b.log.1").read_text() == "old\n" * 250
    line.close()


def test_a_writer_goes_on_in_the_emptied_log(tmp_path) -> None:
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        _supervisor.rotate(path, 50)
        writer.write(b"after\n")
    assert path.read_bytes() == b"after\n"
    assert (tmp_path / "log.1").read_bytes() == b"x" * 50


def test_a_small_log_and_a_missing_one_stay_as_they_are(tmp_path) -> None:
    (tmp_path / "log").write_text("short")
    _supervisor.rotate(tmp_path / "log", 50)
    _supervisor.rotate(tmp_path / "none", 50)
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


def test_the_last_words_of_a_log_leave_out_the_stack_below_an_error(tmp_path) -> None:
    (tmp_path / "log").write_text(
        "time=1 level=info msg=hello\n"
        "buildkitd: failed to parse config\n"
        "github.com/moby/buildkit/cmd/buildkitd/config.Load\n"
        "\tgithub.com/moby/buildkit/cmd/buildkitd/config/load.go:14\n"
        "runtime.goexit\n"
    )
    assert _supervisor.tail_of(tmp_path / "log", 1) == ["buildkitd: failed to parse config"]
    assert _supervisor.tail_of(tmp_path / "none") == []
