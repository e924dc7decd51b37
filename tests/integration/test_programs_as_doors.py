"""Daemons behind a program: `docker exec`, `podman exec`, `nerdctl exec`, `kubectl exec`, `ssh`.

The containers are not there. A program of that name, first on PATH, notes its arguments and runs the real
`buildctl dial-stdio` against the real daemon; ssh is the real one, with a real server.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from depotlab import llb
from depotlab._docker import DockerEngine, find_docker
from depotlab._local import install
from depotlab._rpc import Channel, endpoint_at
from depotlab.buildkit import daemon_info, list_workers
from depotlab.errors import BuildCanceled, ConnectionLost, Unreachable
from tests.conftest import unavailable
from tests.support.doors import begin, dockerfile, on
from tests.support.sshd import running_sshd

PROGRAMS = {
    "docker-container://bk?context=lab": "docker --context=lab exec -i bk buildctl dial-stdio",
    "podman-container://bk": "podman exec -i bk buildctl dial-stdio",
    "nerdctl-container://bk?namespace=n": "nerdctl exec --namespace n -i bk buildctl dial-stdio",
    "kube-pod://pod?namespace=n": (
        "kubectl --context= --namespace=n exec --container= -i pod -- buildctl dial-stdio"
    ),
}


@pytest.fixture(scope="session")
def buildctl():
    return install().buildctl.host_path


class Folder:
    """The front of PATH."""

    def __init__(self, path, monkeypatch):
        self.path = path
        path.mkdir()
        monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")

    def program(self, name, script):
        (self.path / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.path / name).chmod(0o755)

    def dials(self, name, buildctl, address):
        """A program that notes its process id and arguments, and connects to the daemon."""
        self.program(
            name,
            f'echo "$$ {name} $*" >> {self.path}/calls\n'
            f"exec {buildctl} --addr {address} dial-stdio",
        )

    def calls(self):
        """Process ids and commands so far."""
        lines = (self.path / "calls").read_text().splitlines()
        return [(int(line.partition(" ")[0]), line.partition(" ")[2]) for line in lines]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return Folder(tmp_path / "bin", monkeypatch)


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(("address", "command"), PROGRAMS.items())
def test_a_build_goes_through_the_program(engine, buildctl, folder, address, command):
    folder.dials(command.partition(" ")[0], buildctl, engine.address)
    data = os.urandom(3 << 20).hex()
    work = dockerfile(f"FROM busybox\nCOPY a /{time.time_ns()}\n", {"a": data})
    _, moved = on(endpoint_at(address), work)
    assert moved["context"].n_bytes >= len(data)
    calls = folder.calls()
    assert {called for _, called in calls} == {command}
    assert all(is_gone(pid) for pid, _ in calls), "a program outlived its connection"


@pytest.mark.parametrize("address", PROGRAMS)
def test_what_the_program_complains_of_is_the_error(folder, address):
    name = PROGRAMS[address].partition(" ")[0]
    folder.program(name, "echo 'Error: No such container: bk' >&2\nexit 1")
    with pytest.raises(
        Unreachable, match="ended with code 1: Error: No such container: bk"
    ) as caught:
        on(endpoint_at(address), daemon_info)
    assert caught.value.address == address
    assert PROGRAMS[address] in str(caught.value)


def test_a_missing_program_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match="'nerdctl', which is not on the PATH"):
        on(endpoint_at("nerdctl-container://bk"), daemon_info)


def test_a_daemon_that_is_not_in_the_container_is_told_by_its_buildctl(folder, buildctl, tmp_path):
    folder.dials("docker", buildctl, f"unix://{tmp_path}/none")
    with pytest.raises(Unreachable, match="no such file or directory"):
        on(endpoint_at("docker-container://bk"), daemon_info)


def test_a_program_that_never_connects_is_given_up(folder):
    folder.program("docker", "sleep 60")

    async def main():
        channel = Channel(endpoint_at("docker-container://bk"))
        with pytest.raises(Unreachable, match="does not answer"):
            await channel.ready(timeout_s=0.5)
        await channel.close()

    asyncio.run(main())


def test_a_program_that_is_killed_in_mid_build_is_a_lost_connection(engine, buildctl, folder):
    folder.dials("docker", buildctl, engine.address)

    async def work(channel):
        building = await begin(channel)
        for pid, _ in folder.calls():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionLost, match="docker-container://bk"):
            await building

    on(endpoint_at("docker-container://bk"), work)


def test_a_build_that_is_cancelled_leaves_no_program(engine, buildctl, folder):
    folder.dials("docker", buildctl, engine.address)

    async def work(channel):
        building = await begin(channel)
        building.cancel()
        with pytest.raises((asyncio.CancelledError, BuildCanceled)):
            await building

    on(endpoint_at("docker-container://bk"), work)
    assert all(is_gone(pid) for pid, _ in folder.calls())


# ------------------------------------------------------------------------------------------- ssh


@pytest.fixture(scope="session")
def sshd(private_folder, buildctl):
    """A real ssh server whose commands find buildctl and docker."""
    root = private_folder / "ssh"
    root.mkdir()
    try:
        with running_sshd(root, path=f"{buildctl.parent}:/usr/bin:/bin") as running:
            yield running
    except FileNotFoundError as error:
        unavailable(f"not installed: {error}")


@pytest.fixture
def ssh(sshd, monkeypatch):
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    return sshd


def test_a_build_goes_through_a_real_ssh(engine, ssh):
    address = ssh.address + engine.address.removeprefix("unix://")
    data = os.urandom(3 << 20).hex()
    work = dockerfile(f"FROM busybox\nCOPY a /{time.time_ns()}\n", {"a": data})
    _, moved = on(endpoint_at(address), work)
    assert moved["context"].n_bytes >= len(data)


def test_a_host_that_is_not_known_is_told_by_ssh(ssh, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    # Without the test's configuration nobody knows this host; ssh cannot ask, since it has no terminal.
    with pytest.raises(Unreachable, match=r"Host key verification failed|Permission denied"):
        on(endpoint_at(ssh.address), daemon_info)


def test_a_docker_engine_behind_ssh(dockerd, ssh, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", ssh.address + dockerd.host.socket_path)
    assert on(endpoint_at("docker://"), list_workers)[0].id == "moby"
    on(endpoint_at("docker://"), dockerfile("FROM busybox\nCOPY a /a\n", {"a": "x"}))
    assert DockerEngine(find_docker()).version().version.startswith("20.10")


def test_a_graph_of_the_public_client_goes_through_a_program(engine, buildctl, folder, monkeypatch):
    import depotlab as dl

    monkeypatch.setenv("DEPOTLAB_UI", "off")
    folder.dials("docker", buildctl, engine.address)
    with dl.connect("docker-container://bk") as bk:
        assert bk.address == "docker-container://bk"
        result = bk.build(llb.image("busybox").run("echo hello", name="say"), no_cache=True)
        assert result.logs("say") == "hello"
    assert all(is_gone(pid) for pid, _ in folder.calls())
