"""Machines are real daemons: they start when they are needed, keep their cache, and end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from depotlab import llb
from depotlab._local import find_installed
from depotlab._plane.boundary import CachePolicy, MachineFailed
from depotlab._plane.daemon import LIST_WORKERS
from depotlab._plane.machines import Machines
from depotlab._plane.tap import SOLVE
from depotlab._proto import control_pb2
from depotlab._rpc import Channel, Endpoint, RpcFailed
from depotlab.errors import EngineError, UsageError
from tests.support.machinery import (
    POLICY,
    PROJECT,
    Recorder,
    acquire,
    buildctl,
    daemon_pid,
    docker_context,
    processes_of,
    registry_beside,
    remove,
    running,
    short_folder,
    solve_request,
    tls_of,
    until,
)
from tests.support.processes import sleeping


@pytest.fixture
def folder() -> Iterator[Path]:
    made = short_folder()
    yield made
    assert processes_of(made) == []
    remove(made)


@pytest.fixture
def keeper() -> Recorder:
    return Recorder()


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def a_file(text: str) -> llb.State:
    return llb.scratch().mkfile("/x", text)


async def build(connection, state: llb.State, ref: str) -> None:
    """Solve a graph through the gate with grpcio, as the official clients do it."""
    channel = Channel(Endpoint(connection.endpoint, tls_of(connection)))
    try:
        await channel.unary(SOLVE, solve_request(state, ref), timeout_s=30)
    finally:
        await channel.close()


async def cached(machines, keeper, build_id: str, state: llb.State, **where) -> list[bool]:
    """Build, and say of each step whether it was in the cache."""
    connection = await acquire(machines, build_id, **where)
    await build(connection, state, f"ref-{build_id}")
    await machines.release(build_id)
    return [v.cached for v in keeper.vertexes(build_id).values()]


def test_a_machine_is_pending_until_it_answers_and_then_builds(folder, keeper):
    async def story():
        async with running(folder, keeper) as machines:
            assert machines.states() == []
            first = await machines.connection("b1", PROJECT, "amd64", POLICY)
            assert first is None
            (state,) = machines.states()
            assert (state.state, state.builds, state.emulated) == ("starting", ("b1",), False)
            connection = await acquire(machines, "b1")
            channel = Channel(Endpoint(connection.endpoint, tls_of(connection)))
            request = control_pb2.ListWorkersRequest().SerializeToString()
            # Ready means ready: the first call is answered, with no second try.
            answer = await channel.unary(LIST_WORKERS, request, timeout_s=60)
            await channel.close()
            (worker,) = control_pb2.ListWorkersResponse.FromString(answer).record
            policies = [(p.keepDuration, p.maxUsedSpace, p.all) for p in worker.GCPolicy]
            assert policies == [(3 * 86400 * 10**9, 0, True), (0, 5 << 30, True)]
            assert [s.state for s in machines.states()] == ["ready"]
            await machines.release("b1")
            await machines.release("b1")
            assert [(s.state, s.builds) for s in machines.states()] == [("idle", ())]

    asyncio.run(story())


def test_buildctl_builds_a_dockerfile_through_the_gate_and_its_steps_are_kept(folder, keeper):
    arguments = docker_context(folder / "ctx", "FROM scratch\nCOPY a /\n", a=b"hello")

    async def story():
        async with running(folder, keeper) as machines:
            connection = await acquire(machines, "b1")
            code, said = await buildctl(connection, folder, *arguments)
            assert code == 0, said
            await machines.release("b1")
            names = {v.name for v in keeper.vertexes("b1").values()}
            assert "[1/1] COPY a /" in names
            assert all(v.HasField("completed") for v in keeper.vertexes("b1").values())
            assert machines.refused == ()

    asyncio.run(story())


def test_a_machine_that_nobody_holds_ends_and_its_cache_stays(folder, keeper):
    state = a_file("idle")

    async def story():
        async with running(folder, keeper, idle_s=0.3) as machines:
            assert await cached(machines, keeper, "b1", state) == [False]
            pid = daemon_pid(folder)
            await until(lambda: machines.states() == [], what="idle machine ends")
            assert not runs(pid)
            assert await cached(machines, keeper, "b2", state) == [True]
        async with running(folder, keeper) as machines:  # the plane was started again
            assert await cached(machines, keeper, "b3", state) == [True]

    asyncio.run(story())
    assert keeper.losses == []


def test_a_build_that_holds_its_machine_keeps_it_from_ending(folder, keeper):
    async def story():
        async with running(folder, keeper, idle_s=0.2) as machines:
            await acquire(machines, "b1")
            await acquire(machines, "b2")
            pid = daemon_pid(folder)
            await machines.release("b1")
            await asyncio.sleep(0.6)
            assert [s.builds for s in machines.states()] == [("b2",)]
            assert runs(pid)

    asyncio.run(story())


def test_reset_drops_the_cache_of_one_project_only_and_tells_its_builds(folder, keeper):
    state = a_file("reset")

    async def story():
        async with running(folder, keeper) as machines:
            for build_id, project in (("a1", "project-a"), ("b1", "project-b")):
                assert await cached(machines, keeper, build_id, state, project_id=project) == [
                    False
                ]
            await acquire(machines, "a2", "project-a")
            await machines.reset("project-a")
            assert keeper.losses == [("a2", "the cache of its project was reset")]
            assert [s.project_id for s in machines.states()] == ["project-b"]
            assert list((folder / "trash").iterdir()) == []
            assert await cached(machines, keeper, "a3", state, project_id="project-a") == [False]
            assert await cached(machines, keeper, "b2", state, project_id="project-b") == [True]
            await machines.drop("project-a")
            assert not (folder / "projects" / "project-a").exists()
            await machines.drop("never-was")

    asyncio.run(story())


def test_a_reset_does_not_wait_for_a_machine_that_is_just_starting(folder, keeper):
    async def story():
        async with running(folder, keeper) as machines:
            assert await machines.connection("b1", PROJECT, "amd64", POLICY) is None
            await machines.reset(PROJECT)
            assert machines.states() == []
            assert keeper.losses == [("b1", "the cache of its project was reset")]
            await acquire(machines, "b1")

    asyncio.run(story())


def test_a_folder_whose_path_is_too_long_for_sockets_will_do(folder, keeper):
    deep = folder / ("long-" * 20)
    deep.mkdir()

    async def story() -> Path:
        async with running(deep, keeper) as machines:
            connection = await acquire(machines, "b1")
            await build(connection, a_file("deep"), "ref")
            note = deep / "projects" / PROJECT / "amd64" / "run-dir"
            return Path(note.read_text())

    sockets = asyncio.run(story())
    assert not sockets.is_relative_to(folder)
    assert not sockets.exists()


def test_a_daemon_that_is_killed_in_a_build_is_told_and_the_next_connection_starts_a_fresh_one(
    folder, keeper
):
    mark = "61237"
    slow = llb.image("busybox").run(["sleep", mark])

    async def story():
        async with (
            registry_beside(folder) as registry_host,
            running(folder, keeper, registry_host=registry_host) as machines,
        ):
            connection = await acquire(machines, "b1")
            building = asyncio.create_task(build(connection, slow, "ref-1"))
            await until(lambda: sleeping(mark), timeout_s=30, what="the step runs")
            os.kill(daemon_pid(folder), signal.SIGKILL)
            await until(lambda: keeper.losses, what="the loss is told")
            with pytest.raises(RpcFailed):
                await building
            (loss,) = keeper.losses
            assert loss == ("b1", "its machine died: buildkitd was killed by SIGKILL")
            assert sleeping(mark) == []
            await until(lambda: machines.states() == [], what="the machine is gone")
            again = await acquire(machines, "b1")
            assert [(s.state, s.builds) for s in machines.states()] == [("ready", ("b1",))]
            await build(again, a_file("after"), "ref-2")

    asyncio.run(story())


def test_a_release_cuts_the_connections_of_its_build_and_of_no_other(folder, keeper):
    async def story():
        async with running(folder, keeper) as machines:
            one, two = await acquire(machines, "b1"), await acquire(machines, "b2")
            channels = [Channel(Endpoint(c.endpoint, tls_of(c))) for c in (one, two)]
            request = control_pb2.ListWorkersRequest().SerializeToString()
            for channel in channels:
                await channel.unary(LIST_WORKERS, request, timeout_s=60)
            await machines.release("b1")
            with pytest.raises(RpcFailed):
                await channels[0].unary(LIST_WORKERS, request, timeout_s=2)
            await channels[1].unary(LIST_WORKERS, request, timeout_s=60)
            with pytest.raises(RpcFailed):  # it comes again, and is not let in
                await channels[0].unary(LIST_WORKERS, request, timeout_s=2)
            await until(
                lambda: any("b1 does not hold" in text for text in machines.refused),
                what="the gate says why",
            )
            for channel in channels:
                await channel.close()

    asyncio.run(story())


def test_a_machine_of_another_platform_is_a_daemon_of_its_own_and_copies_files(folder, keeper):
    arguments = docker_context(folder / "ctx", "FROM scratch\nCOPY a /\n", a=b"hello")

    async def story():
        async with running(folder, keeper) as machines:
            connections = await asyncio.gather(
                acquire(machines, "b1", platform="amd64"), acquire(machines, "b1", platform="arm64")
            )
            assert len({c.server_name for c in connections}) == 2
            emulated = {s.platform: s.emulated for s in machines.states()}
            assert sorted(emulated.values()) == [False, True]
            tar = folder / "out.tar"
            code, said = await buildctl(
                connections[1], folder, *arguments, "--output", f"type=oci,dest={tar}"
            )
            assert code == 0, said
            code, said = await buildctl(connections[0], folder, *arguments)
            assert code == 0, said
            config = await asyncio.to_thread(
                subprocess.run,
                ["skopeo", "inspect", "--override-arch", "arm64", "--config", f"oci-archive:{tar}"],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            assert '"architecture": "arm64"' in config.stdout
            await machines.release("b1", "arm64")
            assert [(s.platform, s.builds) for s in machines.states()] == [
                ("amd64", ("b1",)),
                ("arm64", ()),
            ]

    asyncio.run(story())


def test_a_policy_takes_effect_at_the_next_start(folder, keeper):
    toml = folder / "projects" / PROJECT / "amd64" / "buildkitd.toml"

    async def story():
        async with running(folder, keeper, idle_s=0.2) as machines:
            await acquire(machines, "b1", policy=CachePolicy(7, 0))
            assert 'maxUsedSpace = "7GB"' in toml.read_text()
            assert "keepDuration" not in toml.read_text()
            await acquire(machines, "b2", policy=CachePolicy(9, 2))
            assert 'maxUsedSpace = "7GB"' in toml.read_text()
            await machines.release("b1")
            await machines.release("b2")
            await until(lambda: machines.states() == [], what="it ends")
            await acquire(machines, "b3", policy=CachePolicy(9, 2))
            assert 'maxUsedSpace = "9GB"' in toml.read_text()
            assert 'keepDuration = "48h"' in toml.read_text()

    asyncio.run(story())


def test_a_machine_that_cannot_start_tells_each_build_why_and_is_tried_again(folder, keeper):
    broken = folder / "projects" / PROJECT / "amd64" / "root"
    broken.parent.mkdir(parents=True, mode=0o700)
    broken.write_text("a file where the cache should be")

    async def story():
        async with running(folder, keeper) as machines:
            for build_id in ("b1", "b2"):
                assert await machines.connection(build_id, PROJECT, "amd64", POLICY) is None
            await until(lambda: machines.states() == [], what="it fails")
            for build_id in ("b1", "b2"):
                with pytest.raises(MachineFailed, match="cannot be used"):
                    await machines.connection(build_id, PROJECT, "amd64", POLICY)
            broken.unlink()
            await acquire(machines, "b1")

    asyncio.run(story())


def test_a_program_that_does_not_run_is_told_with_its_last_words(folder, keeper):
    script = folder / "buildkitd"
    script.write_text("#!/bin/sh\necho the cache is from the future; exit 7\n")
    script.chmod(0o755)
    found = find_installed()
    assert found is not None
    broken = replace(found, buildkitd=replace(found.buildkitd, host_path=script))

    async def story():
        async with running(folder, keeper, programs=broken) as machines:
            assert await machines.connection("b1", PROJECT, "amd64", POLICY) is None
            await until(lambda: machines.states() == [], what="it fails")
            with pytest.raises(MachineFailed, match="ended with exit code 7") as caught:
                await machines.connection("b1", PROJECT, "amd64", POLICY)
            assert caught.value.log_tail == ("the cache is from the future",)

    asyncio.run(story())


def test_a_computer_that_has_no_room_says_so_and_is_asked_again(folder, keeper):
    n_asked = [0]

    def no_room():
        n_asked[0] += 1
        raise OSError(28, "No space left on device")

    async def story():
        machines = Machines(folder, keeper=keeper, registry_host="127.0.0.1:9", programs=no_room)
        await machines.start()
        for _ in range(2):
            assert await machines.connection("b1", PROJECT, "amd64", POLICY) is None
            await until(lambda: machines.states() == [], what="it fails")
            with pytest.raises(MachineFailed, match="No space left"):
                await machines.connection("b1", PROJECT, "amd64", POLICY)
        await machines.close()

    asyncio.run(story())
    assert n_asked == [2]


def test_one_folder_has_one_plane(folder, keeper):
    async def story():
        async with running(folder, keeper):
            other = Machines(folder, keeper=keeper, registry_host="127.0.0.1:9")
            with pytest.raises(EngineError, match="running these machines"):
                await other.start()
            await other.close()

    asyncio.run(story())


def test_bad_input_is_named(folder, keeper):
    async def story():
        async with running(folder, keeper) as machines:
            for bad in (
                ("b1", "../x", "amd64", POLICY),
                ("b1", PROJECT, "s390x", POLICY),
                ("b/1", PROJECT, "amd64", POLICY),
                ("b1", PROJECT, "amd64", CachePolicy(0, 1)),
            ):
                with pytest.raises(UsageError):
                    await machines.connection(*bad)
            with pytest.raises(UsageError):
                await machines.reset("..")
            assert machines.states() == []

    asyncio.run(story())


def test_closing_leaves_nothing_behind_whatever_runs(folder, keeper):
    before = set(threading.enumerate())

    async def story():
        async with running(folder, keeper) as machines:
            connection = await acquire(machines, "b1")
            channel = Channel(Endpoint(connection.endpoint, tls_of(connection)))
            request = control_pb2.ListWorkersRequest().SerializeToString()
            await channel.unary(LIST_WORKERS, request, timeout_s=60)
            # One that is just starting, too.
            assert await machines.connection("b1", "another", "amd64", POLICY) is None
            await asyncio.sleep(0.05)
            await machines.close()
            assert processes_of(folder) == []
            await channel.close()
            with pytest.raises(MachineFailed):
                await machines.connection("b1", PROJECT, "amd64", POLICY)
        await asyncio.sleep(0)
        return [t.get_name() for t in asyncio.all_tasks() if t is not asyncio.current_task()]

    assert asyncio.run(story()) == []
    assert not [p for p in folder.rglob("*") if p.is_socket()]
    left = set(threading.enumerate()) - before
    assert not [t for t in left if t.name.startswith("asyncio_")]


DYING_PLANE = """
import asyncio, sys
from pathlib import Path
from tests.support.machinery import Recorder, acquire, running

async def story():
    async with running(Path(sys.argv[1]), Recorder()) as machines:
        await acquire(machines, "b1")
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(story())
"""


def test_a_plane_that_is_killed_leaves_no_daemon_behind(folder, keeper):
    plane = subprocess.Popen(
        [sys.executable, "-c", DYING_PLANE, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert plane.stdout is not None
    with plane, plane.stdout:
        assert plane.stdout.readline() == "up\n"
        assert processes_of(folder)
        plane.kill()

    async def story():
        # The next plane does not have to wait for that.
        async with running(folder, keeper) as machines:
            await acquire(machines, "b1")
            before = daemon_pid(folder)
            await asyncio.sleep(0.2)
            assert daemon_pid(folder) == before

    asyncio.run(story())


def test_daemons_of_a_killed_plane_end_by_themselves(folder):
    plane = subprocess.Popen(
        [sys.executable, "-c", DYING_PLANE, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert plane.stdout is not None
    with plane, plane.stdout:
        assert plane.stdout.readline() == "up\n"
        plane.kill()
    lock = folder / "projects" / PROJECT / "amd64" / "supervisor.lock"
    asyncio.run(
        until(lambda: is_free(lock), timeout_s=20, what="the daemon and its supervisor end")
    )
    assert processes_of(folder) == []


def is_free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
