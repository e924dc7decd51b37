"""Going through a graph step by step, on a real daemon."""

from __future__ import annotations

import asyncio
import time

import pytest

import depotlab as dl
from depotlab import llb, mount
from depotlab.errors import StepFailed, UsageError

BUSYBOX = llb.image("busybox")


def graph(unique: object) -> llb.State:
    base = BUSYBOX.env(UNIQUE=str(unique)).dir("/app")
    deps = base.run("echo deps > deps", name="install deps")
    return deps.run("cat deps > out; echo built >> out", name="build it", env={"V": "3"})


def test_each_step_is_looked_at_before_it_runs(bk):
    with bk.debug(graph(time.time_ns())) as steps:
        assert steps.steps[1:] == ("install deps", "build it")
        assert steps.stop is not None
        assert steps.stop.kind == "source"
        assert steps.next().name == "install deps"
        assert steps.run("ls /app | wc -l").stdout.strip() == "0"
        stop = steps.next()
        assert (stop.name, stop.env["V"], stop.cwd) == ("build it", "3", "/app")
        assert stop.location is not None
        assert 'name="build it"' in stop.location.excerpt(around=0)
        assert steps.read("deps") == b"deps\n"
        assert [file.name for file in steps.ls()] == ["deps"]
        assert steps.next() is None
        assert steps.read("/app/out") == b"deps\nbuilt\n"


def test_it_runs_to_a_name_a_line_and_the_end(bk):
    with bk.debug(graph(time.time_ns()), break_at="build it") as steps:
        assert steps.stop.name == "build it"
        assert "▶ 3 build it" in str(steps)
        assert "✔ 2 install deps" in str(steps)
        assert "build it" in steps._repr_html_()
        assert steps.run_to() is None
    text = f"FROM busybox\nENV A=1\nRUN echo {time.time_ns()} > /a\nRUN cat /a > /b\n"
    with bk.debug(dl.dockerfile(text=text), break_at=4) as steps:
        assert steps.stop.location.line == 4
        assert steps.read("/a")
        assert steps.run("echo $A").stdout == "1\n"


def test_it_stays_at_a_step_that_fails(bk):
    app = BUSYBOX.run(
        f"echo {time.time_ns()}; echo half > /half; exit 3",
        name="breaks",
        mounts=[mount.cache("/c", id="debug"), mount.secret("s")],
    )
    with bk.debug(app.run("true"), secrets={"s": "hush"}) as steps:
        with pytest.raises(StepFailed) as failed:
            steps.run_to()
        assert failed.value.exit_code == 3
        assert steps.stop.failed
        assert steps.read("/half") == b"half\n"
        assert steps.run("cat /run/secrets/s; test -d /c").stdout == "hush"
        with pytest.raises(UsageError, match="no way on"):
            steps.next()
        with steps.shell() as shell:
            shell.send("cat /half\nexit\n")
            shell.wait(timeout_s=20)
        assert "\nhalf" in shell.transcript
    with bk.debug(app.run("true", name="after"), break_at="after", secrets={"s": "x"}) as steps:
        assert steps.stop.failed, "a step that fails on the way is where it stops"


def test_iterating_runs_to_the_end(bk):
    with bk.debug(graph(time.time_ns())) as steps:
        names = [stop.name for stop in steps]
    assert names[1:] == ["install deps", "build it"]


def test_a_step_that_is_not_there_is_named_with_those_that_are(bk):
    with pytest.raises(UsageError, match="install deps"):
        bk.debug(graph(1), break_at="nowhere")


def test_what_a_step_brings_with_it_cannot_be_changed(bk):
    with bk.debug(graph(1)) as steps, pytest.raises(UsageError, match="mounts="):
        steps.run("true", mounts=[])


def test_local_directories_are_sent(bk, tmp_path):
    (tmp_path / "f").write_text("mine")
    app = BUSYBOX.copy(llb.local(tmp_path), "f", "/f").run("cat /f > /g", name="use it")
    with bk.debug(app, break_at="use it") as steps:
        assert steps.read("/f") == b"mine"


def test_of_several_platforms_one_is_chosen(bk):
    here, there = graph(1), graph(2)
    with bk.debug({"linux/amd64": here, "linux/arm64": there}, platform="linux/amd64") as steps:
        assert steps.steps[1:] == ("install deps", "build it")
    with pytest.raises(UsageError, match="one platform, and this target has 2") as caught:
        bk.debug({"linux/amd64": here, "linux/arm64": there})
    assert "platform=: linux/amd64, linux/arm64" in caught.value.hint


def test_what_is_decided_while_it_runs_is_debugged_by_its_result(bk):
    @dl.frontend.function
    def decided(gw):
        return graph(3)

    with pytest.raises(
        UsageError, match=r"decided\(\) decides on one only while it runs"
    ) as caught:
        bk.debug(decided())
    assert "llb.load(result.definition.to_bytes())" in caught.value.hint
    result = bk.build(decided(), progress="quiet")
    with bk.debug(llb.load(result.definition.to_bytes()), break_at="build it") as steps:
        assert steps.read("/app/deps") == b"deps\n"


def test_the_awaitable_face(engine):
    async def go() -> list[str]:
        async with (
            await dl.aio.connect(engine.address) as bk,
            await bk.debug(graph(time.time_ns())) as steps,
        ):
            names = [stop.name async for stop in steps]
            assert await steps.read("/app/deps") == b"deps\n"
            assert (await steps.run("cat /app/out")).stdout == "deps\nbuilt\n"
            return names

    assert asyncio.run(go())[1:] == ["install deps", "build it"]
