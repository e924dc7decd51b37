"""Never run, only type-checked: what the public names infer to."""

from typing import Any, assert_type

import depotlab as dl
from depotlab import aio, api, export, frontend, llb, mount, service, telemetry
from depotlab.errors import StepFailed
from depotlab.progress import Steps
from depotlab.widgets import Timeline


def graphs() -> llb.State:
    base = llb.image("busybox")
    src = llb.local(".", include=["app/**"])
    step = base.dir("/app").run(
        "pip install .", mounts=[mount.cache("/root/.cache"), mount.bind("/src", src)], name="deps"
    )
    assert_type(step, llb.Exec)
    assert_type(step.mounted("/src"), llb.State)
    app = step.copy(src, "app", "app").cmd(["python"]).expose(8000)
    assert_type(app, llb.State)
    assert_type(llb.merge(app, base), llb.State)
    assert_type(app.marshal("linux/amd64"), llb.Definition)
    return app


def recordings(app: llb.State) -> None:
    recording = dl.record("x.depotlab", dl.local())
    assert_type(recording, dl.Recording[dl.Client])
    with recording as bk:
        assert_type(bk, dl.Client)
        bk.build(app)
    assert_type(recording.size_bytes, int)
    assert_type(dl.recorded("x.depotlab", speed=10), dl.Client)


async def awaiting_recordings(bk: aio.Client) -> None:
    async with await aio.record("x.depotlab", bk) as client:
        assert_type(client, aio.Client)
    assert_type(await aio.recorded("x.depotlab"), aio.Client)


def blocking(app: llb.State) -> None:
    with dl.connect("unix:///run/x.sock") as bk:
        assert_type(bk, dl.Client)
        result = bk.build(app, output=export.image("localhost/x:1", push=True), timeout_s=60)
        assert_type(result, dl.BuildResult)
        assert_type(result.digest, str)
        assert_type(result.timeline, Timeline)
        assert_type(result.timeline[0].worked_s, float)
        assert_type(result.critical_path, Steps)
        assert_type(result.graph(), llb.Picture)
        handle = bk.submit(dl.dockerfile(".", args={"A": "1"}), tags=["a", "b"])
        assert_type(handle, dl.Build)
        assert_type(handle.result(timeout_s=1), dl.BuildResult)
        try:
            bk.build(app)
        except StepFailed as error:
            assert_type(error.exit_code, int)
            assert_type(error.timeline, Timeline)
            assert_type(error.log_tail, tuple[str, ...])
            assert_type(error.read("/etc/passwd"), bytes)
            assert_type(error.run("make").exit_code, int)
        assert_type(bk.run(app, ["python", "-V"], check=True).stdout, str)
        assert_type(bk.shell(app).wait(timeout_s=1), int)
        assert_type(bk.cache_mount("/root/.cache/pip").read("x"), bytes)
        with bk.debug(app, break_at="deps") as steps:
            assert_type(steps.read("/app/x"), bytes)


def looking(app: llb.State) -> None:
    with dl.local() as bk:
        listing = bk.ls(app, "/app", pattern="*.py", platform="linux/arm64")
        assert_type("x" in listing, bool)
        assert_type(listing["x"].size_bytes, int)
        assert_type(bk.read(app, "/x", offset=1), bytes)
        assert_type(bk.read_text(dl.dockerfile("."), "/x"), str)
        assert_type(bk.layers(app)[0].size_bytes, int)
        assert_type(bk.diff(app, app).added[0].path, str)
        assert_type(bk.exists(bk.build({"linux/amd64": app}).at("deps"), "/x"), bool)
        for piece in bk.read_chunks(app, "/x"):
            assert_type(piece, bytes)


@frontend.function
def app_of(gw: dl.Gateway, source: llb.State) -> llb.State:
    assert_type(gw.read_text(source, "x"), str)
    return gw.solve(source)


@frontend.function
async def app_later(gw: aio.Gateway, source: llb.State) -> llb.State:
    assert_type(await gw.exists(source, "x"), bool)
    return await gw.solve(source)


async def awaiting(app: llb.State) -> None:
    async with await aio.local() as bk:
        assert_type(await bk.exists(app_of(app), "/x"), bool)
        async for piece in bk.read_chunks(app_later(app), "/x"):
            assert_type(piece, bytes)
        assert_type(await bk.build(app), dl.BuildResult)
        handle = bk.submit(app)
        assert_type(await handle, dl.BuildResult)
        assert_type((await bk.run(app, "make")).stdout, str)
        assert_type(await bk.cache_mount("/root/.cache/pip").read("x"), bytes)
        async with await bk.debug(app) as steps:
            assert_type(await steps.read("/app/x"), bytes)


def asking() -> None:
    with dl.depot_api() as depot:
        assert_type(depot, dl.DepotApi)
        assert_type(depot.projects.get("p"), api.Project)
        policy = api.CachePolicy(keep_gb=25)
        assert_type(depot.projects.create("app", cache_policy=policy), api.Project)
        for build in depot.builds.list("p"):
            assert_type(build, api.Build)
        assert_type(depot.builds.steps("p", "b")[0], api.BuildStep)
        assert_type(depot.organizations(), api.Listing[api.Organization])
        assert_type(depot.images.pull_token(project_id="p").password, str)
        pulled = dl.pull("b", output=export.oci(None))
        assert_type(pulled.platforms, tuple[str, ...])


async def asking_async() -> None:
    async with await aio.depot_api() as depot:
        assert_type(await depot.projects.get("p"), api.Project)
        assert_type(await depot.builds.list("p"), api.Listing[api.Build])
        async for log in depot.builds.logs("p", "b", "sha256:1"):
            assert_type(log, api.StepLog)


def building_for_others() -> None:
    with service.BuildService(depot=service.Depot(local=True)) as builds:
        assert_type(builds, service.BuildService)
        context = builds.upload("shop", {"Dockerfile": "FROM busybox"})
        assert_type(context, str)
        build = builds.build(context, project="shop", deployment="d1", env={"A": "b"})
        assert_type(build.check(), service.BuildInfo)
        for line in builds.get_build_logs(build.build_id, offset=7):
            assert_type(line, service.LogLine)
        assert_type(builds.list_builds(project="shop")[0], service.BuildInfo)
        assert_type(builds.drain(timeout_s=60), bool)
        with builds.serve() as server:
            assert_type(server.url, str)
            token = builds.tokens.create("CI", projects=["shop"], may="build", expires_s=60)
            assert_type(token, service.MadeToken)
            assert_type(builds.tokens.list()[0], service.TokenInfo)
            with service.RemoteBuildService(server.url, token.secret, ca=server.ca) as elsewhere:
                assert_type(elsewhere, service.RemoteBuildService)
                context = elsewhere.upload("shop", "app")
                build = elsewhere.build(context, project="shop", deployment="d1", args={"A": "1"})
                assert_type(build.check(), service.BuildInfo)
                for line in elsewhere.get_build_logs(build.build_id):
                    assert_type(line, service.LogLine)


async def building_for_others_async() -> None:
    async with service.aio.BuildService(limits=service.Limits(max_machines=2)) as builds:
        build = await builds.create_build(
            service.git("github.com", "acme", "shop", "main"), project="shop", deployment="d1"
        )
        async for line in builds.get_build_logs(build.build_id):
            assert_type(line, service.LogLine)
        assert_type(await builds.cancel_build(build.build_id), service.BuildInfo)
        assert_type(await builds.health(), service.Health)
        async with service.aio.RemoteBuildService("http://127.0.0.1:8080") as elsewhere:
            assert_type(await elsewhere.get_build(build.build_id), service.BuildInfo)
            async for line in elsewhere.get_build_logs(build.build_id):
                assert_type(line, service.LogLine)


def asking_about_builds(result: dl.BuildResult) -> None:
    with telemetry.recording("shop") as t:
        assert_type(t, telemetry.Telemetry)
    assert_type(t.add(result, project="shop"), str)
    assert_type(t.builds()[0].build_id, str)
    assert_type(t.slowest_steps(3)[0].median_s, float)
    assert_type(t.logs(result, contains="ERROR").text, str)
    assert_type(t.sql("SELECT 1")[0], dict[str, Any])
    assert_type(telemetry.open("builds.duckdb"), telemetry.Telemetry)
    telemetry.Several(telemetry.DuckDB("a.duckdb"), telemetry.OpenTelemetry("http://localhost"))
