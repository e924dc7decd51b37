"""Never run, only type-checked: what the public names infer to."""

from typing import assert_type

import depotlab as dl
from depotlab import aio, export, llb, mount
from depotlab.errors import StepFailed


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


def blocking(app: llb.State) -> None:
    with dl.connect("unix:///run/x.sock") as bk:
        assert_type(bk, dl.Client)
        result = bk.build(app, output=export.image("localhost/x:1", push=True), timeout_s=60)
        assert_type(result, dl.BuildResult)
        assert_type(result.digest, str)
        handle = bk.submit(dl.dockerfile(".", args={"A": "1"}), tags=["a", "b"])
        assert_type(handle, dl.Build)
        assert_type(handle.result(timeout_s=1), dl.BuildResult)
        try:
            bk.build(app)
        except StepFailed as error:
            assert_type(error.exit_code, int)
            assert_type(error.log_tail, tuple[str, ...])


async def awaiting(app: llb.State) -> None:
    async with await aio.local() as bk:
        assert_type(await bk.build(app), dl.BuildResult)
        handle = bk.submit(app)
        assert_type(await handle, dl.BuildResult)
