"""The real engine, in state folders of its own: shared, ended, killed, and begun again.

Every process that a test starts is known by its number, and gone at the end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depotlab._local import _programs, _supervisor, find_installed, seed, start, status, stop
from depotlab.errors import EngineError
from tests.conftest import unavailable

CLIENT = """
import sys, time
from depotlab._local import start
engine = start(state_dir=sys.argv[1])
print(engine.pid, engine.address, flush=True)
time.sleep(120)
"""


@pytest.fixture(scope="module", autouse=True)
def programs() -> object:
    found = find_installed()
    if found is None or found.runtime is None:
        unavailable("the engine is not installed: run `depotlab engine install`")
    return found


@pytest.fixture
def state(monkeypatch) -> Iterator[Path]:
    """A folder for one engine that ends soon; nothing of it runs after the test."""
    monkeypatch.setenv("DEPOTLAB_ENGINE_LINGER_S", "0.3")
    with tempfile.TemporaryDirectory(prefix="dl-", dir="/tmp") as name:
        folder = Path(name) / "s"
        yield folder
        before = processes(folder)
        stop(state_dir=folder)
        assert not any(_supervisor.is_same(process) for process in before)


def processes(state: Path) -> list[dict]:
    """Return the supervisor, the registry and buildkitd, as the supervisor recorded them."""
    try:
        record = json.loads((state / "supervisor.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [record["supervisor"], *record["children"]]


def gone(some: list[dict]) -> bool:
    return bool(some) and not any(_supervisor.is_same(process) for process in some)


def until(true: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def client(state: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a process that uses the engine; return it and the number of its buildkitd."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(state)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline().split()[0])


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def build(
    address: str, dockerfile: str, folder: Path, *options: str
) -> subprocess.CompletedProcess:
    """Build with BuildKit's own command line, which knows nothing of ours."""
    buildctl = _programs.find_buildctl(_programs.products()[0])
    assert buildctl is not None, "installing the engine brings buildctl"
    (folder / "Dockerfile").write_text(dockerfile)
    return subprocess.run(
        [
            *(buildctl.host_path, "--addr", address, "build", "--progress=plain"),
            *(
                "--frontend=dockerfile.v0",
                f"--local=context={folder}",
                f"--local=dockerfile={folder}",
            ),
            *options,
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_it_starts_answers_and_ends_when_its_lease_does(state) -> None:
    engine = start(state_dir=state)
    found = status(state_dir=state)
    assert found.running
    assert (found.address, found.registry, found.pid) == (
        engine.address,
        engine.registry,
        engine.pid,
    )
    assert found.lease_pids == (os.getpid(),)
    assert _programs.parse_version(engine.version) is not None
    all_of_it = processes(state)
    assert len(all_of_it) == 3
    engine.close()
    until(lambda: gone(all_of_it))
    until(lambda: status(state_dir=state).last_end == "nobody used it any more")


def test_a_warm_start_waits_for_nothing_that_is_there(state) -> None:
    start(state_dir=state).close()
    took_s = []
    for _ in range(3):  # the best counts: the machine may have something else to do
        stop(state_dir=state)
        began_at = time.monotonic()
        start(state_dir=state).close()
        took_s.append(time.monotonic() - began_at)
    assert min(took_s) < 10


def test_threads_and_processes_that_start_at_once_share_one_daemon(state) -> None:
    found: list[int] = []

    def use() -> None:
        process, pid = client(state)
        found.append(pid)
        end(process)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    with start(state_dir=state) as first, start(state_dir=state) as second:
        for thread in threads:
            thread.join()
        assert {*found, first.pid, second.pid} == {first.pid}
        assert len(found) == 3


def test_it_stays_while_one_of_two_processes_uses_it(state) -> None:
    process, pid = client(state)
    engine = start(state_dir=state)
    assert engine.pid == pid
    engine.close()
    time.sleep(1.0)  # longer than the linger time
    assert status(state_dir=state).lease_pids == (process.pid,)
    end(process)


def test_a_killed_client_counts_as_gone(state) -> None:
    process, _ = client(state)
    all_of_it = processes(state)
    process.send_signal(signal.SIGKILL)
    until(lambda: gone(all_of_it))
    end(process)


def test_a_held_engine_outlives_its_starter_until_it_is_stopped(state) -> None:
    start(state_dir=state, keep=True).close()
    all_of_it = processes(state)
    time.sleep(1.0)
    assert status(state_dir=state).held
    assert stop(state_dir=state)
    assert gone(all_of_it)
    assert not stop(state_dir=state)


def test_a_killed_daemon_is_told_and_the_next_start_is_fresh(state) -> None:
    engine = start(state_dir=state)
    all_of_it = processes(state)
    assert engine.why_ended() is None
    os.kill(engine.pid, signal.SIGKILL)
    until(lambda: engine.why_ended() is not None)
    assert engine.why_ended() == "buildkitd was killed by SIGKILL"
    until(lambda: gone(all_of_it))
    engine.close()
    with start(state_dir=state) as again:
        assert again.pid != engine.pid
        assert again.registry == engine.registry, "image names in a notebook have to stay right"


@pytest.mark.parametrize("victim", ["supervisor", "buildkitd"])
def test_a_running_step_ends_with_whatever_is_killed(state, tmp_path, victim) -> None:
    engine = start(state_dir=state)
    seconds = f"86{os.getpid()}.5"  # so that this one is found among all processes
    builder = threading.Thread(
        target=build, args=(engine.address, f"FROM busybox\nRUN sleep {seconds}\n", tmp_path)
    )
    builder.start()
    until(lambda: running(f"sleep {seconds}"))
    found = status(state_dir=state)
    os.kill(found.supervisor_pid if victim == "supervisor" else found.pid, signal.SIGKILL)
    until(lambda: not running(f"sleep {seconds}"))
    builder.join()
    assert str(state) not in Path("/proc/self/mounts").read_text()
    until(lambda: status(state_dir=state).phase == "stopped")
    assert f"{victim} was killed" in status(state_dir=state).last_end
    engine.close()
    with start(state_dir=state) as again:
        done = build(again.address, "FROM busybox\nRUN echo it works again\n", tmp_path)
    assert done.returncode == 0, done.stderr


def running(command: str) -> bool:
    wanted = command.replace(" ", "\0").encode() + b"\0"
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes() == wanted:
                    return True
            except OSError:
                continue
    return False


def test_stop_in_the_middle_of_a_build_leaves_nothing(state, tmp_path) -> None:
    engine = start(state_dir=state)
    all_of_it = processes(state)
    seconds = f"87{os.getpid()}.5"
    builder = threading.Thread(
        target=build, args=(engine.address, f"FROM busybox\nRUN sleep {seconds}\n", tmp_path)
    )
    builder.start()
    until(lambda: running(f"sleep {seconds}"))
    assert stop(state_dir=state)
    assert gone(all_of_it)
    assert not running(f"sleep {seconds}")
    builder.join()
    assert engine.why_ended() == "it was told to stop"
    engine.close()


def test_the_registry_serves_busybox_to_other_tools(state) -> None:
    with start(state_dir=state) as engine:
        shown = subprocess.run(
            [
                *("skopeo", "inspect", "--tls-verify=false"),
                f"docker://{engine.registry}/library/busybox:stable",
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
        seeded = seed(state_dir=state)
    found = json.loads(shown.stdout)
    assert found["Digest"] == seeded.digest, "seeding twice makes the same image"
    assert found["Os"] == "linux"
    assert "latest" in found["RepoTags"]


def test_busybox_builds_and_pushes_with_no_network(state, tmp_path) -> None:
    with start(state_dir=state) as engine:
        name = f"{engine.registry}/made:1"
        done = build(
            engine.address,
            'FROM busybox\nRUN id -u && ls -ld /tmp && echo made > /made\nCMD ["cat", "/made"]\n',
            tmp_path,
            f"--output=type=image,name={name},push=true",
        )
        assert done.returncode == 0, done.stderr
        assert "drwxrwxrwt" in done.stderr
        config = subprocess.run(
            ["skopeo", "inspect", "--config", "--tls-verify=false", f"docker://{name}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert json.loads(config.stdout)["config"]["Cmd"] == ["cat", "/made"]


def test_an_image_that_docker_hub_does_not_give_comes_from_our_registry(
    state, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("DEPOTLAB_DOCKER_HUB", "first")
    with start(state_dir=state) as engine:
        name = f"{engine.registry}/library/only-here:1"
        pushed = f"--output=type=image,name={name},push=true"
        assert build(engine.address, "FROM busybox\n", tmp_path, pushed).returncode == 0
        done = build(engine.address, "FROM only-here:1\nRUN true\n", tmp_path)
    assert done.returncode == 0, done.stderr


def test_images_and_cache_survive_a_restart(state, tmp_path) -> None:
    dockerfile = "FROM busybox\nRUN echo once\n"
    with start(state_dir=state) as engine:
        assert build(engine.address, dockerfile, tmp_path).returncode == 0
    stop(state_dir=state)
    with start(state_dir=state) as engine:
        assert "CACHED" in build(engine.address, dockerfile, tmp_path).stderr


def test_a_taken_port_is_replaced(state) -> None:
    with start(state_dir=state) as engine:
        port = int(engine.registry.rpartition(":")[2])
    stop(state_dir=state)
    with socket.create_server(("127.0.0.1", port)), start(state_dir=state) as engine:
        assert engine.registry != f"localhost:{port}"


def test_nothing_listens_but_on_loopback_and_private_sockets(state) -> None:
    with start(state_dir=state) as engine:
        listening = set()
        for process in processes(state):
            handles = Path(f"/proc/{process['pid']}/fd").iterdir()
            inodes = {os.readlink(h)[8:-1] for h in handles if os.readlink(h).startswith("socket:")}
            for family in ("tcp", "tcp6"):
                for line in (
                    Path(f"/proc/{process['pid']}/net/{family}").read_text().splitlines()[1:]
                ):
                    fields = line.split()
                    if fields[9] in inodes and fields[3] == "0A":  # listening
                        listening.add(fields[1])
        port = int(engine.registry.rpartition(":")[2])
    assert listening == {f"0100007F:{port:04X}"}  # 127.0.0.1, in the machine's byte order


def test_no_one_else_can_read_its_state(state) -> None:
    with start(state_dir=state) as engine:
        listener = Path(engine.address.removeprefix("unix://"))
        for folder in (state, listener.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for file in state.iterdir():
            assert not stat.S_IMODE(file.stat().st_mode) & 0o077, file
        for log in (state / "logs").iterdir():
            assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_state_folder_with_a_long_path_works(state, tmp_path) -> None:
    deep = tmp_path / ("long" * 25) / "state"
    try:
        with start(state_dir=deep) as engine:
            listener = Path(engine.address.removeprefix("unix://"))
            assert len(bytes(listener)) < 108
            assert build(engine.address, "FROM busybox\nRUN true\n", tmp_path).returncode == 0
            assert status(state_dir=deep).running
    finally:
        stop(state_dir=deep)
    assert not listener.parent.exists()


def test_a_folder_with_odd_characters_in_its_name_works(state) -> None:
    odd = state / 'a "b" \\ é $(x)'
    try:
        with start(state_dir=odd) as engine:
            assert status(state_dir=odd).address == engine.address
    finally:
        stop(state_dir=odd)


def test_a_daemon_that_cannot_start_shows_its_log_and_leaves_nothing(state, monkeypatch) -> None:
    monkeypatch.setattr("depotlab._local._config._BUILDKITD", "this is no TOML {root}")
    with pytest.raises(EngineError, match="buildkitd ended with exit code 1") as caught:
        start(state_dir=state)
    assert any("parse config" in line for line in caught.value.log_tail)
    until(lambda: status(state_dir=state).phase == "stopped")
    assert not processes(state)


def test_without_a_runtime_the_error_names_the_package(state, monkeypatch) -> None:
    monkeypatch.setattr("depotlab._local._provision.find_runtime", lambda: (None, "none"))
    with pytest.raises(EngineError, match="runc or crun") as caught:
        start(state_dir=state)
    assert "runc" in caught.value.hint
    assert not state.exists()


@pytest.mark.parametrize("name", ["DEPOTLAB_DOCKER_HUB", "DEPOTLAB_ENGINE_LINGER_S"])
def test_a_variable_with_a_wrong_value_is_named(state, monkeypatch, name) -> None:
    monkeypatch.setenv(name, "sometimes")
    with pytest.raises(EngineError, match=f"{name} is 'sometimes'"):
        start(state_dir=state)


def test_a_state_folder_that_cannot_be_used_is_one_clear_error(state) -> None:
    state.write_text("a file")
    with pytest.raises(EngineError, match="cannot be used"):
        start(state_dir=state)


def test_the_engine_of_a_forked_child_is_its_parents(state) -> None:
    engine = start(state_dir=state)
    all_of_it = processes(state)
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        engine.close()
        until(lambda: gone(all_of_it))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_notebook_that_is_interrupted_does_not_interrupt_the_engine(state) -> None:
    process, _ = client(state)
    all_of_it = processes(state)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.1)
    assert not any(os.getpgid(p["pid"]) == os.getpgid(process.pid) for p in all_of_it)
    end(process)
