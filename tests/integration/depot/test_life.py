"""Our client against our plane, with real machines: they share nothing but the wire."""

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from depotlab import llb
from depotlab._depot import (
    Api,
    BuildOptions,
    Machine,
    NotFound,
    StatusMirror,
    find_config,
    register,
    resume,
    table,
)
from depotlab._local import find_installed
from depotlab._plane.up import Plane
from depotlab._rpc import TLS, Channel, Endpoint
from depotlab._verbs import prepare
from depotlab._verbs.builder import Builder
from depotlab.buildkit import list_workers
from depotlab.errors import BuildCanceled, DaemonError, LinkError
from depotlab.progress import Fold
from tests.conftest import unavailable
from tests.support.depotmachine import probe


@pytest.fixture(autouse=True)
def programs():
    found = find_installed()
    if found is None or found.runtime is None:
        unavailable("the engine is not installed: run `depotlab engine install`")


@asynccontextmanager
async def on_a_plane():
    """A plane of our own, and a client that is configured as the plane says."""
    with tempfile.TemporaryDirectory(prefix="dlp-") as folder:
        async with Plane(Path(folder) / "plane") as plane:
            config = await find_config(environ=plane.environment, home=Path(folder))
            connect = config.connect()
            try:
                yield plane, connect, config.project.value
            finally:
                connect.close()


async def workers_at(endpoint):
    channel = Channel(endpoint)
    try:
        return await list_workers(channel)
    finally:
        await channel.close()


async def build(machine, graph):
    builder = Builder(machine.endpoint, {})
    try:
        return await machine.guard(builder.build(prepare(graph), Fold()))
    finally:
        await builder.close()


def test_a_whole_life_on_a_real_machine():
    stages = []

    async def run():
        async with on_a_plane() as (_, connect, project):
            options = BuildOptions(tags=("me/app:1",), save=True, save_tags=("v1",))
            async with await register(connect, options, project, report=stages.append) as made:
                assert made.project_id == project
                assert all(
                    name.partition("/")[0] in made.credentials for name in made.tags_to_save()
                )
                async with StatusMirror(made) as mirror, Machine(made, probe=probe) as machine:
                    made.report = mirror.stage
                    (worker, *_) = await workers_at(machine.endpoint)
                    assert worker.platforms
                    await build(machine, llb.scratch().mkfile("/hello", "hi"))
            api = Api(connect.another())
            try:
                found = await api.builds.get(made.id)
                steps = await api.builds.steps(project, made.id)
                listed = await api.builds.list(project)
            finally:
                api.close()
            return made, found, steps, listed

    made, found, steps, listed = asyncio.run(run())
    assert (found.id, found.status) == (made.id, "success")
    assert [one.id for one in listed] == [made.id]
    assert any("mkfile" in step.name for step in steps)
    assert table(steps).rows
    assert [stage.name for stage in stages][:4] == [
        "registered",
        "waiting for machine",
        "connecting",
        "ready",
    ]


def test_a_failed_build_is_no_success_and_a_canceled_one_neither():
    async def run():
        async with on_a_plane() as (_, connect, project):
            failing = await register(connect, BuildOptions(), project)
            with pytest.raises(DaemonError):
                async with failing, Machine(failing, probe=probe) as machine:
                    await build(machine, llb.scratch().copy(llb.scratch(), "/missing", "/"))
            stopped = await register(connect, BuildOptions(), project)

            async def work():
                async with stopped, Machine(stopped, probe=probe) as machine:
                    await machine.guard(asyncio.sleep(60))

            task = asyncio.create_task(work())
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            api = Api(connect.another())
            try:
                return [(await api.builds.get(b.id)).status for b in (failing, stopped)]
            finally:
                api.close()

    assert asyncio.run(run()) == ["failed", "canceled"]


def test_the_plane_cancels_a_build_that_holds_a_machine():
    async def run():
        async with on_a_plane() as (plane, connect, project):
            made = await register(connect, BuildOptions(), project)

            async def work():
                async with made, Machine(made, probe=probe) as machine:
                    await machine.guard(asyncio.sleep(60))

            task = asyncio.create_task(work())
            await asyncio.sleep(0.5)
            plane.parts.builds.cancel(made.id)
            with pytest.raises(BuildCanceled):
                await asyncio.wait_for(task, 60)
            return made.outcome.kind

    assert asyncio.run(run()) == "canceled"


def test_a_machine_lets_nobody_in_without_the_certificate_of_a_running_build():
    async def run():
        async with on_a_plane() as (_, connect, project):
            async with (
                await register(connect, BuildOptions(), project) as made,
                Machine(made, probe=probe) as machine,
            ):
                endpoint = machine.endpoint
                naked = TLS(ca=endpoint.tls.ca, server_name=endpoint.tls.server_name)
                with pytest.raises(LinkError):
                    await workers_at(Endpoint(endpoint.address, tls=naked))
                assert await workers_at(endpoint)
            with pytest.raises(LinkError):
                await workers_at(endpoint)

    asyncio.run(run())


def test_a_machine_that_is_lost_is_an_error_and_no_success():
    async def work(plane, build, project):
        async with build, Machine(build, probe=probe) as machine:
            await plane.parts.machines.reset(project)
            await machine.guard(workers_at(machine.endpoint))

    async def run():
        async with on_a_plane() as (plane, connect, project):
            made = await register(connect, BuildOptions(), project)
            with pytest.raises(LinkError):
                await work(plane, made, project)
            return made.outcome.kind

    assert asyncio.run(run()) == "error"


def test_a_build_is_continued_with_its_token_and_by_nobody_else():
    async def run():
        async with on_a_plane() as (_, connect, project):
            first = await register(connect, BuildOptions(), project)
            token = first.connect._token
            async with await resume(connect, first.id, token) as again:
                assert again.project_id == project
                async with Machine(again, probe=probe):
                    pass
            other = await register(connect, BuildOptions(), project)
            async with other:
                with pytest.raises(NotFound):
                    await resume(connect, "0000000000", token)
            return again.outcome.kind

    assert asyncio.run(run()) == "success"
