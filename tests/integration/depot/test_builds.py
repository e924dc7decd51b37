"""`depotlab.depot(local=...)`: builds on a Depot of this test run's own, and what that Depot heard of them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import depotlab as dl
from depotlab import aio, export, llb
from depotlab._depot import Api, Connect
from depotlab._plane import background, lease_plane, status
from depotlab.errors import BuildCanceled, BuildTimeout, StepFailed, UsageError
from depotlab.progress import StepState
from tests.support.certificates import Authority
from tests.support.registry import private_registry


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plane")


@pytest.fixture(scope="module")
def plane(state: Path):
    lease = lease_plane(state)
    yield lease
    lease.close()


@pytest.fixture
def bk(plane):
    with dl.depot(local=plane.state) as client:
        yield client


def ask(plane, question):
    """Ask the API with its own token."""

    async def main():
        connect = Connect(plane.url, token=plane.token)
        try:
            return await question(Api(connect))
        finally:
            connect.close()

    return asyncio.run(main())


def outcome(plane, build_id: str) -> str:
    """What Depot says that a build came to; the end is told before the build returns."""
    return ask(plane, lambda api: api.builds.get(build_id)).status


def newest(plane) -> str:
    async def first(api):
        async for build in api.builds.list(plane.project):
            return build.id
        raise AssertionError("there is no build")

    return ask(plane, first)


def shell() -> llb.State:
    """Something that can run a command, with no registry."""
    return llb.scratch().copy(llb.local("/bin", include=["busybox"]), "/busybox", "/bin/sh")


def test_a_build_is_registered_run_and_finished(bk, plane) -> None:
    made = bk.build(llb.scratch().mkfile("/a", b"hi"), output=export.tar(None), progress="quiet")
    assert b"hi" in made.read()
    assert made.depot is not None
    assert made.depot.project_id == plane.project
    assert made.depot.url.startswith(plane.url)
    assert outcome(plane, made.depot.build_id) == "success"
    names = [step.name for step in made.steps]
    assert names[:2] == ["[depot] launch amd64 machine", "[depot] connect to amd64 machine"]
    assert plane.token not in repr(bk) + repr(made) + repr(made.depot) + str(vars(made))


def test_a_failed_step_points_at_the_line_and_is_no_success(bk, plane) -> None:
    with pytest.raises(StepFailed) as caught:
        bk.build(shell().run("echo no >&2; exit 3"), progress="quiet")  # this line
    assert caught.value.exit_code == 3
    assert "# this line" in str(caught.value)
    assert caught.value.log_tail == ("no",)
    assert outcome(plane, newest(plane)) == "failed"


def test_steps_and_logs_are_kept_by_the_plane(bk, plane) -> None:
    made = bk.build(shell().run(f"echo seen {time.time_ns()}"), progress="quiet")
    line = made.logs().strip().splitlines()[-1]

    async def look(api):
        steps = await api.builds.steps(plane.project, made.depot.build_id)
        logs = []
        for step in steps:
            if step.has_logs:
                logs += await api.builds.logs(plane.project, made.depot.build_id, step.digest)
        return [step.name for step in steps], [log.message for log in logs]

    names, messages = ask(plane, look)
    assert any("echo seen" in name for name in names)
    assert any(line in message for message in messages)


def test_a_cancelled_build_is_told_as_canceled(bk, plane) -> None:
    running = bk.submit(shell().run(f"sleep 60; echo {time.time_ns()}"), progress="quiet")
    _until(lambda: any("sleep" in s.name for s in running.snapshot.steps))
    running.cancel()
    with pytest.raises(BuildCanceled):
        running.result(timeout_s=60)
    assert outcome(plane, newest(plane)) == "canceled"


def test_a_build_that_takes_too_long_is_no_success(bk, plane) -> None:
    with pytest.raises(BuildTimeout):
        bk.build(shell().run(f"sleep 60; echo {time.time_ns()}"), timeout_s=2, progress="quiet")
    assert outcome(plane, newest(plane)) in ("canceled", "failed")


def test_the_plane_can_cancel_a_build(bk, plane) -> None:
    running = bk.submit(shell().run(f"sleep 60; echo {time.time_ns()}"), progress="quiet")
    _until(lambda: any("sleep" in s.name for s in running.snapshot.steps))
    _cancel_on_the_page(plane, newest(plane))
    with pytest.raises(BuildCanceled, match="cancel"):
        running.result(timeout_s=30)
    assert outcome(plane, newest(plane)) == "canceled"


def test_saved_images_are_in_the_projects_registry(bk, plane) -> None:
    made = bk.build(llb.scratch().mkfile("/b", b"kept"), save="v1", progress="quiet")
    assert made.depot.saved == (
        f"{plane.registry}/{plane.project}:{made.depot.build_id}",
        f"{plane.registry}/{plane.project}:v1",
    )
    tags = [image.tag for image in ask(plane, lambda api: _images(api, plane.project))]
    assert {made.depot.build_id, "v1"} <= set(tags)
    assert "saved as" in repr(made)


def test_an_image_is_pushed_and_saved_at_once(bk, plane) -> None:
    name = f"{plane.registry}/{plane.project}:pushed"
    auth = {plane.registry: ("x-token", plane.token)}
    made = bk.build(
        llb.scratch().mkfile("/c", b"both"), tags=name, push=True, save=True, auth=auth,
        progress="quiet",
    )  # fmt: skip
    tags = [image.tag for image in ask(plane, lambda api: _images(api, plane.project))]
    assert {made.depot.build_id, "pushed"} <= set(tags)


@pytest.mark.parametrize("save", ["a b", ["x", "y:z"], ["ghcr.io/me/app"]])
def test_a_name_to_save_under_is_a_bare_tag(bk, save) -> None:
    with pytest.raises(UsageError, match="is no tag"):
        bk.build(llb.scratch().mkfile("/a", b""), save=save, progress="quiet")


def test_only_depot_saves(engine) -> None:
    with (
        dl.connect(engine.address) as client,
        pytest.raises(UsageError, match="this builder is not there"),
    ):
        client.build(llb.scratch().mkfile("/a", b""), save=True, progress="quiet")


def test_a_platform_has_its_machine_and_emulation_is_said(bk) -> None:
    arm = bk.build(llb.scratch().mkfile("/a", b""), platform="linux/arm64", progress="quiet")
    assert arm.steps[0].name == "[depot] launch arm64 machine"
    assert arm.warnings == ()
    odd = bk.build(llb.scratch().mkfile("/a", b""), platform="linux/riscv64", progress="quiet")
    assert any("emulated on the amd64 machine" in text for text in odd.warnings)


BOTH = ["linux/amd64", "linux/arm64"]


def test_one_image_for_two_architectures_comes_from_two_machines(bk, plane) -> None:
    names = [f"{plane.registry}/{plane.project}:both", f"{plane.registry}/{plane.project}:also"]
    made = bk.build(
        llb.scratch().mkfile("/a", b"hi"), tags=names, push=True, save=True, platform=BOTH,
        auth={plane.registry: ("x-token", plane.token)}, progress="quiet",
    )  # fmt: skip
    index = manifest(plane, "both")
    assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "arm64"]
    assert manifest(plane, "also") == index == manifest(plane, made.depot.build_id)
    assert made.digest == f"sha256:{hashlib.sha256(raw_manifest(plane, 'both')).hexdigest()}"
    assert {"[amd64] mkfile /a", "[arm64] mkfile /a"} <= {step.name for step in made.steps}
    assert outcome(plane, made.depot.build_id) == "success"


def test_the_index_reaches_a_registry_that_cannot_prove_who_it_is(bk, tmp_path) -> None:
    made = Authority().write(tmp_path, "registry")
    with private_registry(user="me", password="s3cr3t", tls=made) as host:
        built = bk.build(
            llb.scratch().mkfile("/a", b"hi"), platform=BOTH, auth={host: ("me", "s3cr3t")},
            output=export.image(f"{host}/app:both", push=True, insecure=True), progress="quiet",
        )  # fmt: skip
        context = ssl.create_default_context(cafile=made / "ca.pem")
        request = urllib.request.Request(
            f"https://{host}/v2/app/manifests/both",
            headers={
                "Authorization": "Basic " + base64.b64encode(b"me:s3cr3t").decode(),
                "Accept": "application/vnd.oci.image.index.v1+json, "
                "application/vnd.docker.distribution.manifest.list.v2+json",
            },
        )
        with urllib.request.urlopen(request, timeout=100, context=context) as answer:
            index = answer.read()
    assert built.digest == f"sha256:{hashlib.sha256(index).hexdigest()}"
    assert len(json.loads(index)["manifests"]) == 2


def test_what_fails_on_one_machine_stops_the_other(bk, plane) -> None:
    text = (
        "FROM scratch\nCOPY --chmod=755 busybox /bin/sh\nARG TARGETARCH\n"
        f"RUN test $TARGETARCH = amd64 && sleep 600; echo {time.time_ns()}; exit 3\n"
    )
    target = dl.dockerfile({"busybox": Path("/bin/busybox").read_bytes()}, text=text)
    began_s = time.monotonic()
    with pytest.raises(StepFailed) as caught:
        bk.build(target, platform=BOTH, progress="quiet")
    assert time.monotonic() - began_s < 100
    assert "[arm64]" in caught.value.step
    assert outcome(plane, newest(plane)) == "failed"


def test_what_comes_to_this_machine_comes_from_one(bk) -> None:
    made = bk.build(
        llb.scratch().mkfile("/a", b"hi"), platform=BOTH, output=export.oci(None), progress="quiet"
    )
    assert made.outputs[0].size_bytes
    assert any("linux/arm64 are emulated on the amd64 machine" in text for text in made.warnings)


def test_questions_to_a_machine_are_builds_of_their_own(bk, plane) -> None:
    assert bk.info().version
    assert any(p.startswith("linux/") for p in bk.workers()[0].platforms)
    assert bk.disk_usage().in_use_bytes >= 0
    assert outcome(plane, newest(plane)) == "success"


def test_the_cache_of_a_project_outlives_its_plane(state: Path, tmp_path: Path) -> None:
    target = llb.scratch().mkfile("/stays", os.urandom(4).hex().encode())
    folder = tmp_path / "p"
    with dl.depot(local=folder) as first:
        assert not _cached(first.build(target, progress="quiet"))
    assert not status(folder).running
    with dl.depot(local=folder) as again:
        assert _cached(again.build(target, progress="quiet"))


def test_many_builds_at_once(bk, plane) -> None:
    running = [
        bk.submit(llb.scratch().mkfile(f"/{n}", b"x"), progress="quiet", name=f"build {n}")
        for n in range(20)
    ]
    ids = {build.result(timeout_s=60).depot.build_id for build in running}
    assert len(ids) == 20
    assert {outcome(plane, one) for one in ids} == {"success"}


def test_the_awaitable_face_builds_too(plane) -> None:
    async def main() -> str:
        async with await aio.depot(local=plane.state) as client:
            made = await client.build(llb.scratch().mkfile("/a", b"hi"), progress="quiet")
            return made.depot.build_id

    assert outcome(plane, asyncio.run(main())) == "success"


def test_a_plane_of_another_process_is_joined(tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    folder = tmp_path / "plane"
    process = subprocess.Popen(
        [sys.executable, "-m", "depotlab.cli", "up", "--state", str(folder), "--env-file", str(env_file)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _until(env_file.exists, limit_s=60)
        assert env_file.stat().st_mode & 0o777 == 0o600
        with dl.depot(local=folder) as client:
            made = client.build(llb.scratch().mkfile("/a", b"hi"), progress="quiet")
            assert made.depot.build_id
        assert status(folder).running, "it is that process's own"
        assert folder not in background._running
    finally:
        process.terminate()
        assert process.wait(200) == 0
    assert not status(folder).running


def test_local_brings_its_own_token(plane) -> None:
    with pytest.raises(UsageError, match="of its own"):
        dl.depot(local=plane.state, token="other")


def raw_manifest(plane, tag: str) -> bytes:
    login = base64.b64encode(f"x-token:{plane.token}".encode()).decode()
    request = urllib.request.Request(
        f"http://{plane.registry}/v2/{plane.project}/manifests/{tag}",
        headers={
            "Authorization": f"Basic {login}",
            "Accept": "application/vnd.oci.image.index.v1+json, "
            "application/vnd.docker.distribution.manifest.list.v2+json",
        },
    )
    with urllib.request.urlopen(request, timeout=100) as answer:
        return answer.read()


def manifest(plane, tag: str):
    return json.loads(raw_manifest(plane, tag))


async def _images(api, project):
    return await api.images.list(project)


def _cached(result) -> bool:
    return next(s for s in result.steps if s.name.startswith("mkfile")).state is StepState.CACHED


def _cancel_on_the_page(plane, build_id: str) -> None:
    request = urllib.request.Request(
        f"{plane.url}/page/cancel",
        data=json.dumps({"build_id": build_id}).encode(),
        headers={"X-Depotlab-Page": "1", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=100).close()


def _until(ready, limit_s: float = 30.0) -> None:
    until_s = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < until_s, "it does not come"
        time.sleep(0.05)
