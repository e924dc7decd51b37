"""A Python function as a frontend: it looks, decides, and its build is a build like any other."""

from __future__ import annotations

import asyncio
import json
import tarfile
import threading
import time

import pytest

import depotlab as dl
from depotlab import aio, export, frontend, llb, mount, secret
from depotlab.errors import (
    BuildCanceled,
    CommandFailed,
    GraphError,
    ImageNotFound,
    StepFailed,
    UsageError,
)

BASE = llb.image("busybox")


@frontend.function
def app(gw: dl.Gateway, source: llb.State, *, version: str = "3"):
    made = BASE.copy(source, ".", "/app/")
    if "requirements.txt" in gw.ls(source):
        wanted = gw.read_text(source, "requirements.txt").strip()
        made = made.run(f"echo {version} {wanted} > /installed", name="install")
    return made.cmd(["run"])


def image_of(path):
    """The configurations of the images in an archive, by architecture."""
    with tarfile.open(path) as archive:

        def blob(descriptor):
            name = f"blobs/{descriptor['digest'].replace(':', '/')}"
            return json.load(archive.extractfile(name))

        (top,) = json.load(archive.extractfile("index.json"))["manifests"]
        document = blob(top)
        manifests = document.get("manifests", [top])
        configs = [blob(blob(each)["config"]) for each in manifests if "config" in blob(each)]
        return {config["architecture"]: config for config in configs}


@pytest.mark.parametrize("has_file", [True, False])
def test_a_function_reads_files_and_decides(bk, tmp_path, has_file):
    (tmp_path / "main.py").write_text("print()")
    if has_file:
        (tmp_path / "requirements.txt").write_text("flask\n")
    target = app(llb.local(tmp_path), version="4")
    result = bk.build(target, output=export.oci(tmp_path / "app.tar"), progress="quiet")
    assert ("install" in [step.name for step in result.steps]) is has_file
    assert image_of(tmp_path / "app.tar")["amd64"]["config"]["Cmd"] == ["run"]
    assert bk.exists(target, "/installed") is has_file
    if has_file:
        assert bk.read_text(target, "/installed") == "4 flask\n"


def test_a_directory_that_only_the_function_names_is_sent(bk, tmp_path):
    (tmp_path / "f").write_text("one")

    @frontend.function
    def own(gw):
        source = llb.local(tmp_path)
        assert gw.read(source, "f") == (tmp_path / "f").read_bytes()
        return llb.scratch().copy(source, "f", "/f")

    assert bk.read_text(own(), "/f") == "one"
    (tmp_path / "f").write_text("two")
    assert bk.read_text(own(), "/f") == "two"


def test_a_function_solves_a_dockerfile_and_goes_on_from_it(bk, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(
            f"FROM busybox\nENV NAME={name}\nCOPY f /f\nRUN cp /f /made\n"
        )
        (tmp_path / name / "f").write_text(name)

    @frontend.function
    def both(gw):
        one = gw.solve(dl.dockerfile(tmp_path / "one"))
        two = gw.solve(dl.dockerfile(tmp_path / "two"))
        assert one.image_config().env["NAME"] == "one"
        assert gw.find(one, "mad?").paths == ("/made",)
        assert gw.du(two, "/f").total_bytes == 3
        assert "/made" in [node.info.path for node in gw.tree(two, depth=1)]
        return one.copy(two, "/made", "/other").run("echo $NAME > /name")

    assert bk.read_text(both(), "/other") == "two"
    assert bk.read_text(both(), "/name") == "one\n"


def test_a_function_runs_commands_in_what_it_has_solved(bk):
    said = []

    @frontend.function
    def asked(gw):
        base = llb.image("busybox").env(NAME="me").dir("/app")
        done = gw.run(
            base, "echo $NAME in $PWD; cat; exit 3", stdin="typed\n", on_output=said.append
        )
        assert (done.exit_code, done.stdout) == (3, "me in /app\ntyped\n")
        with pytest.raises(CommandFailed, match="exit code 4"):
            gw.run(base, ["sh", "-c", "exit 4"], check=True)
        with pytest.raises(UsageError, match="neither a shell command nor a list"):
            gw.run(base, [])
        text = "FROM busybox\nENV A=1\nWORKDIR /w\nRUN echo made > f\n"
        made = gw.run(dl.dockerfile(text=text), "echo $A; cat f", env={"B": 2})
        return base.mkfile("/said", made.stdout)

    assert bk.read_text(asked(), "/said") == "1\nmade\n"
    assert said == ["me in /app", "typed"]


def test_coroutines_run_commands_at_the_same_time(bk):
    @frontend.function
    async def asked(gw):
        base = llb.image("busybox")
        both = await asyncio.gather(gw.run(base, "echo one"), gw.run(base, "echo two"))
        return base.mkfile("/said", "".join(one.stdout for one in both))

    assert bk.read_text(asked(), "/said") == "one\ntwo\n"


def test_a_function_may_return_a_dockerfile(bk, tmp_path):
    @frontend.function
    def file(gw):
        return dl.dockerfile(text='FROM busybox\nRUN echo 1 > /one\nCMD ["x"]\n')

    bk.build(file(), output=export.oci(tmp_path / "a.tar"), progress="quiet")
    assert image_of(tmp_path / "a.tar")["amd64"]["config"]["Cmd"] == ["x"]


def test_coroutines_look_at_several_things_at_a_time(bk):
    @frontend.function
    async def later(gw: aio.Gateway, n: int):
        names, there = await asyncio.gather(gw.ls(BASE, "/etc"), gw.exists(BASE, "/bin/sh"))
        assert there
        return llb.scratch().mkfile("/n", f"{n} {'passwd' in names}")

    assert bk.read_text(later(3), "/n") == "3 True"


def test_the_registry_is_asked_for_an_image(bk):
    seen = []

    @frontend.function
    def look(gw):
        seen.append(gw.resolve_image("busybox").cmd)
        with pytest.raises(ImageNotFound):
            gw.resolve_image("busybox:no-such-tag")
        return llb.scratch()

    bk.build(look(), progress="quiet")
    assert seen == [("sh",)]


def test_each_platform_has_a_state_and_a_configuration_of_its_own(bk, tmp_path):
    @frontend.function
    def each(gw):
        return {
            platform: llb.scratch().mkfile("/arch", platform).cmd([platform])
            for platform in gw.platforms
        }

    result = bk.build(
        each(),
        platform=["linux/amd64", "linux/arm64"],
        output=export.oci(tmp_path / "both.tar"),
        progress="quiet",
    )
    configs = image_of(tmp_path / "both.tar")
    assert {name: config["config"]["Cmd"] for name, config in configs.items()} == {
        "amd64": ["linux/amd64"],
        "arm64": ["linux/arm64"],
    }
    assert result.digest


def test_a_mapping_of_states_is_one_index(bk, tmp_path):
    states = {
        "linux/amd64": BASE.run("echo amd > /arch", name="amd"),
        "linux/arm64": llb.scratch().mkfile("/arch", "arm").cmd(["arm"]),
    }
    result = bk.build(states, output=export.oci(tmp_path / "both.tar"), progress="quiet")
    configs = image_of(tmp_path / "both.tar")
    assert configs["arm64"]["config"]["Cmd"] == ["arm"]
    assert configs["amd64"]["config"]["Cmd"] == ["sh"], "the base's configuration is resolved"
    assert bk.read_text(states, "/arch", platform="linux/arm64") == "arm"
    assert bk.read_text(result.at("amd"), "/arch") == "amd\n"


def test_a_mapping_of_states_is_one_of_many_targets(bk):
    both = {"linux/amd64": llb.scratch().mkfile("/a"), "linux/arm64": llb.scratch().mkfile("/b")}
    built = dl.build_all({"both": both, "one": {"target": BASE}}, bk, progress="quiet")
    assert bk.exists(built["both"].at("mkfile /b"), "/b")


@pytest.mark.parametrize(
    ("target", "platform", "message"),
    [
        ({"linux/amd64": "x"}, None, "needs a graph for each platform"),
        ({"amd64": BASE}, None, "is not a platform"),
        ({}, None, "cannot build {}"),
        ({"linux/amd64": BASE}, "linux/arm64", "has no graph for"),
    ],
)
def test_a_wrong_mapping_is_refused(bk, target, platform, message):
    with pytest.raises(UsageError, match=message):
        bk.build(target, platform=platform, progress="quiet")


def test_a_secret_and_a_cache_go_with_it_as_with_any_target(bk):
    @frontend.function
    def guarded(gw):
        return BASE.run(
            "wc -c < /run/secrets/token > /n",
            mounts=[mount.secret("token", "/run/secrets/token"), mount.cache("/c")],
        )

    result = bk.build(guarded(), secrets={"token": secret.value("12345")}, progress="quiet")
    assert bk.read_text(result.at("wc -c"), "/n").strip() == "5"
    with pytest.raises(GraphError, match="token"):
        bk.build(guarded(), progress="quiet")


def test_an_exception_in_the_function_comes_out_as_it_is(bk):
    @frontend.function
    def broken(gw):
        raise KeyError("a value that is nobody's business")

    with pytest.raises(KeyError, match="nobody's business") as caught:
        bk.build(broken(), progress="quiet")
    assert any("broken" in str(frame) for frame in caught.traceback)
    newest = bk.history()[0]
    assert "raised KeyError" in str(newest.error)
    assert "business" not in str(newest.error)


def test_a_failed_solve_is_an_error_that_can_be_caught(bk):
    @frontend.function
    def careful(gw, catch: bool):
        try:
            gw.solve(BASE.run("echo why; exit 3"))
        except StepFailed as error:
            if not catch:
                raise
            return llb.scratch().mkfile("/code", str(error.exit_code))
        return llb.scratch()

    assert bk.read_text(careful(catch=True), "/code") == "3"
    with pytest.raises(StepFailed) as caught:
        bk.build(careful(catch=False), progress="quiet")
    assert caught.value.exit_code == 3
    assert caught.value.log_tail == ("why",)
    assert any("careful" in str(frame) for frame in caught.traceback)


def test_the_step_that_failed_in_a_function_is_still_there(bk):
    @frontend.function
    def broken(gw):
        return BASE.run("echo left > /left; exit 3")

    with pytest.raises(StepFailed) as caught:
        bk.build(broken(), progress="quiet")
    assert caught.value.read("/left") == b"left\n"
    with pytest.raises(StepFailed) as caught:
        bk.ls(broken())
    assert caught.value.read("/left") == b"left\n"


def test_what_it_returns_is_checked(bk):
    @frontend.function
    def odd(gw, what: object):
        return what

    for wrong in (None, "busybox", {}, {"linux/amd64": 3}):
        with pytest.raises(UsageError, match=r"odd\(\) returned"):
            bk.build(odd(wrong), progress="quiet")
    with pytest.raises(UsageError, match="returned nothing for linux/arm64"):
        bk.build(odd({"linux/amd64": BASE}), platform="linux/arm64", progress="quiet")
    with pytest.raises(UsageError, match="call it with its arguments: odd"):
        bk.build(odd, progress="quiet")


def test_a_build_whose_function_computes_is_cancelled_at_once(bk):
    begun, end = threading.Event(), threading.Event()
    errors = []

    @frontend.function
    def slow(gw):
        begun.set()
        end.wait()
        try:
            gw.ls(BASE)
        except BuildCanceled as error:
            errors.append(error)
            raise

    build = bk.submit(slow(), progress="quiet")
    assert begun.wait(60)
    build.cancel()
    with pytest.raises(BuildCanceled):
        build.result()  # while the function still computes
    end.set()
    deadline = time.monotonic() + 60
    while not errors:
        assert time.monotonic() < deadline, "the gateway of a build that is over still answers"
        time.sleep(0.02)


def test_who_made_it_big_is_told_of_what_a_function_returns(bk, tmp_path):
    (tmp_path / "requirements.txt").write_text("flask\n")
    names = [layer.name for layer in bk.layers(app(llb.local(tmp_path))).in_order]
    assert names[-1] == "install"
