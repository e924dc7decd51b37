"""Never run, only type-checked: what the public names infer to."""

from typing import assert_type

import depotlab as dl
from depotlab import aio, api, export, frontend, llb, mount
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
