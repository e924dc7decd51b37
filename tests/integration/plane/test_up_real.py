"""`depotlab up` with real machines through what happens to it: restarts, kills, many clients, TLS."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from depotlab._plane.health import Limits
from depotlab._plane.presence import status
from depotlab._plane.up import Plane
from tests.support.officialclients import Cli, RunningPlane, running_plane

SLOW = "FROM busybox\nCOPY word /word\nRUN echo zzz && sleep 90\n"


@pytest.fixture
def folder(plane_folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=plane_folder))


def until(holds, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
    return found


def command_lines() -> dict[int, bytes]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_bytes()
        except OSError:
            continue  # it has ended
    return found


def daemons(plane: RunningPlane) -> list[int]:
    state = str(plane.state).encode()
    return [
        pid
        for pid, line in command_lines().items()
        if state in line and line.split(b"\0")[0].endswith(b"/buildkitd")
    ]


def test_a_restart_keeps_projects_builds_and_caches(folder, depot_program, tmp_path, context):
    with running_plane(folder) as first:
        cli = Cli.at(depot_program, first, tmp_path)
        cli.run("projects", "create", "kept")
        cli.run("build", "--save", "--save-tag", "kept", str(context))
        environment, registry = dict(first.environment), first.registry
    assert not status(folder / "state").running
    until(lambda: not daemons(first))
    with running_plane(folder) as again:
        assert dict(again.environment) == environment
        assert again.registry == registry, "names of saved images stay true"
        cli = Cli.at(depot_program, again, tmp_path)
        assert "kept" in cli.run("projects", "list")
        assert "kept" in cli.run("image", "list")
        cli.run("build", str(context))
        newest, before = again.builds()
        assert before["status"] == "STATUS_SUCCESS"
        steps = again.steps(newest["buildId"])
        ran = next(step for step in steps if "RUN cat /word" in step["name"])
        assert ran["cacheState"] == "CACHE_STATE_CACHED"


def test_a_plane_that_is_killed_in_a_build_never_calls_it_a_success(
    folder, depot_program, tmp_path, context
):
    with running_plane(folder) as plane:
        process = Cli.at(depot_program, plane, tmp_path).start_slow_build(context)
        build = plane.builds()[0]["buildId"]
        plane.process.kill()
        plane.process.wait()
        process.communicate(timeout=500)
        assert process.returncode == 1
        until(lambda: not daemons(plane))

    async def again():
        async with Plane(folder / "state", limits=Limits(missed_s=1.0)) as back:
            assert back.parts.history.build(build).status == "running"
            async with asyncio.timeout(60):
                while back.parts.history.build(build).status == "running":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            return back.parts.history.build(build).status

    assert asyncio.run(again()) == "canceled"


def test_a_machine_that_is_killed_in_a_step_fails_the_build_and_the_next_one_has_a_fresh_one(
    folder, depot_program, tmp_path, context
):
    with running_plane(folder) as plane:
        cli = Cli.at(depot_program, plane, tmp_path)
        process = cli.start_slow_build(context)
        (pid,) = daemons(plane)
        os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=500)
        assert process.returncode == 1
        build = plane.builds()[0]
        assert build["status"] == "STATUS_FAILED"
        assert "Unavailable" in plane.page(f"builds/{build['buildId']}")["error"]
        (context / "Dockerfile").write_text("FROM busybox\nRUN true\n")
        cli.run("build", str(context))
        assert plane.builds()[0]["status"] == "STATUS_SUCCESS"


def test_a_client_that_is_killed_is_noticed_by_its_silence(
    folder, depot_program, tmp_path, context
):
    (context / "Dockerfile").write_text(SLOW)

    async def work():
        # The command line reports each 5 s, on a busy computer later.
        async with Plane(folder / "state", limits=Limits(missed_s=10.0)) as plane:
            process = await asyncio.create_subprocess_exec(
                depot_program,
                *("build", "--progress", "plain", str(context)),
                env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **plane.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            async with asyncio.timeout(60):
                async for line in process.stdout:
                    if b" zzz" in line and b"RUN" not in line:
                        break
            process.kill()
            await process.wait()
            (record,) = plane.parts.history.running()
            async with asyncio.timeout(60):
                while plane.parts.history.running():  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.05)
                while plane.parts.machines.states()[0].builds:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            return plane.parts.history.build(record.build_id)

    record = asyncio.run(work())
    assert (record.status, record.error) == ("canceled", "its client fell silent")


def test_tokens_are_in_no_command_line_and_in_no_file_but_the_one_that_is_for_it(
    folder, depot_program, tmp_path, context
):
    with running_plane(folder) as plane:
        home = plane.environment["DEPOT_PROJECT_ID"]
        made = plane.rpc("depot.core.v1.ProjectService/CreateToken", projectId=home)
        cli = Cli.at(depot_program, plane, tmp_path, DEPOT_TOKEN=made["secret"])
        cli.run("build", "--save", str(context))
        process = cli.start_slow_build(context)
        build = plane.builds()[0]["buildId"]
        secrets = [plane.environment["DEPOT_TOKEN"].encode(), made["secret"].encode()]
        # Of tokens that nobody shows, such as this build's, what all of their kind begin with.
        secrets += [b"depotlab_build_", b"depotlab_pull_"]
        lines = command_lines()
        assert [pid for pid, line in lines.items() if any(s in line for s in secrets)] == []
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=500)
        assert plane.rpc("depot.cli.v1.BuildService/GetBuild", buildId=build)["buildId"] == build
        holders = {
            path.relative_to(folder).name
            for path in folder.rglob("*")
            if path.is_file()
            and not path.is_symlink()
            and any(secret in path.read_bytes() for secret in secrets)
        }
        assert holders == {"env", "organization-token"}


def test_eight_clients_at_once(folder, depot_program, tmp_path, context):
    with running_plane(folder) as plane:
        cli = Cli.at(depot_program, plane, tmp_path)
        processes = [cli.start("build", str(context)) for _ in range(8)]
        said = [process.communicate(timeout=500)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * 8, said
        assert [build["status"] for build in plane.builds()] == ["STATUS_SUCCESS"] * 8
        assert len(daemons(plane)) == 1, "one project and platform is one machine"


def test_the_command_line_builds_over_tls_too(folder, depot_program, tmp_path, context):
    with running_plane(folder, "--tls") as plane:
        found = status(plane.state)
        assert found.tls_url.startswith("https://localhost:")
        cli = Cli.at(
            depot_program,
            plane,
            tmp_path,
            DEPOT_API_URL=found.tls_url,
            SSL_CERT_FILE=str(plane.state / "tls" / "ca.pem"),
        )
        cli.run("build", str(context))
        assert plane.builds()[0]["status"] == "STATUS_SUCCESS"
