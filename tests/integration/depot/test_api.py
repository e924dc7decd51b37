"""The API, pulls and logins of a user, on a Depot of this test run's own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tarfile
import threading
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import depotlab as dl
from depotlab import aio, api, export, llb
from depotlab._plane import lease_plane
from depotlab._session import find_credentials
from depotlab.errors import RegistryError


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plane")


@pytest.fixture(scope="module")
def plane(state: Path):
    lease = lease_plane(state)
    yield lease
    lease.close()


@pytest.fixture
def client(plane):
    with dl.depot_api(local=plane.state) as made:
        yield made


def graph() -> llb.State:
    """Something that can run, with no registry."""
    return (
        llb.scratch()
        .copy(llb.local("/bin", include=["busybox"]), "/busybox", "/bin/busybox")
        .mkfile("/said", "of Depot\n")
        .cmd(["/bin/busybox", "cat", "/said"])
    )


@pytest.fixture(scope="module")
def saved(plane):
    """A build that saved an image under a tag of its own too."""
    with dl.depot(local=plane.state) as bk:
        return bk.build(graph(), save="v1", progress="quiet")


def test_a_project_lives(client) -> None:
    made = client.projects.create("app", cache_policy=api.CachePolicy(25, 7))
    assert client.projects.get(made.id).cache_policy == api.CachePolicy(25, 7)
    assert client.projects.update(made.id, name="app2").name == "app2"
    assert made.id in {project.id for project in client.projects.list(page_size=1)}
    token = client.projects.create_token(made.id, "for CI")
    assert [t.description for t in client.projects.tokens(made.id)] == ["for CI"]
    with (
        dl.depot_api(url=client.url, token=token.secret) as theirs,
        pytest.raises((api.PermissionDenied, api.Unauthenticated)) as caught,
    ):
        theirs.projects.create("another")
    assert caught.value.hint
    client.projects.delete_token(token.id)
    policy = client.projects.add_trust_policy(made.id, api.TrustPolicy.github("octo/app"))
    assert list(client.projects.trust_policies(made.id)) == [policy]
    client.projects.remove_trust_policy(made.id, policy.id)
    client.projects.reset(made.id)
    client.projects.delete(made.id)
    with pytest.raises(api.NotFound):
        client.projects.get(made.id)


def test_a_build_is_looked_at(client, plane, saved) -> None:
    build = client.builds.get(saved.depot.build_id)
    assert build.status == "success"
    assert build.id in {one.id for one in client.builds.list(plane.project, page_size=1)}
    steps = client.builds.steps(plane.project, build.id)
    assert any("exporting" in step.name for step in steps)
    logs = client.builds.logs(plane.project, build.id)
    assert {log.digest for log in logs} <= {step.digest for step in steps if step.has_logs}
    url = client.builds.share(build.id)
    assert urllib.request.urlopen(url).status == 200
    client.builds.stop_sharing(build.id)
    images = client.images.list(plane.project)
    assert {"v1", build.id} <= {image.tag for image in images}
    end_at = datetime.now(UTC) + timedelta(minutes=1)
    usage = client.usage.project(plane.project, start_at=end_at - timedelta(days=1), end_at=end_at)
    assert usage.n_builds >= 1
    assert len(client.organizations()) == 1
    for shown in (steps, images, client.organizations()):
        assert "<table>" in shown._repr_html_()


def test_the_awaited_face_says_the_same(plane, saved) -> None:
    async def main():
        async with await aio.depot_api(local=plane.state) as client:
            builds = await client.builds.list(plane.project)
            return builds, [image.tag async for image in client.images.list(plane.project)]

    builds, tags = asyncio.run(main())
    assert saved.depot.build_id in {build.id for build in builds}
    assert "v1" in tags


def test_a_project_by_name_is_made_once_and_found_again(plane, client) -> None:
    threads = [
        threading.Thread(target=lambda: dl.depot("by-name", create=True, local=plane.state).close())
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (only,) = [project for project in client.projects.list() if project.name == "by-name"]
    with dl.depot("by-name", create=True, local=plane.state) as bk:
        made = bk.build(llb.scratch().mkfile("/a", "b"), progress="quiet")
    assert made.depot.project_id == only.id


# ------------------------------------------------------------------------------------------ pulls


def test_what_was_saved_comes_back_as_it_was_pushed(plane, saved, tmp_path) -> None:
    pulled = dl.pull(
        saved.depot.build_id,
        output=export.oci(tmp_path / "app.tar"),
        local=plane.state,
        progress="quiet",
    )
    assert pulled.digest == saved.digest
    assert pulled.platforms == ("linux/amd64",)
    assert pulled.reference == saved.depot.saved[0]
    with tarfile.open(tmp_path / "app.tar") as archive:
        assert {"index.json", "oci-layout"} <= set(archive.getnames())
    again = dl.pull(
        saved.depot.saved[1],
        output=export.oci(tmp_path / "layout", tar=False),
        local=plane.state,
        progress="quiet",
    )
    assert again.digest == saved.digest
    with dl.depot(local=plane.state) as bk:  # the layout is one that builds take
        base = llb.oci_layout(f"me/x@{again.digest}", store_id="me/x")
        made = bk.build(
            base.mkfile("/more", ""),
            oci_layouts={"me/x": tmp_path / "layout"},
            output=export.tar(None),
            progress="quiet",
        )
    assert b"of Depot" in made.read()


def test_a_docker_engine_runs_what_was_pulled(plane, saved, dockerd, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", dockerd.host.address)
    pulled = dl.pull("v1", project=plane.project, load=True, tags="pulled:1", local=plane.state)
    assert pulled.loaded == ("pulled:1",)
    assert dockerd.run("pulled:1", "/bin/busybox", "cat", "/said").strip() == "of Depot"


def test_a_token_of_the_project_is_enough(client, plane, saved) -> None:
    token = client.projects.create_token(plane.project, "for a pull").secret
    for image in (saved.depot.build_id, f"{plane.project}:v1"):
        pulled = dl.pull(
            image, output=export.oci(None), url=plane.url, token=token, progress="quiet"
        )
        assert pulled.digest == saved.digest


def test_podman_takes_it_too(plane, saved, podman) -> None:
    pulled = dl.pull(
        saved.depot.build_id,
        load=podman.host.address,
        tags="localhost/pulled:1",
        local=plane.state,
        progress="quiet",
    )
    assert pulled.loaded == ("localhost/pulled:1",)
    assert podman.image_inspect("localhost/pulled:1")["Architecture"] == "amd64"


def test_an_image_for_two_platforms_comes_whole_or_in_part(plane, tmp_path) -> None:
    with dl.depot(local=plane.state) as bk:
        made = bk.build(
            llb.scratch().mkfile("/a", "both"),
            save="both",
            platform=["linux/amd64", "linux/arm64"],
            progress="quiet",
        )
    options = {"project": plane.project, "local": plane.state, "progress": "quiet"}
    whole = dl.pull("both", output=export.oci(None), **options)
    assert whole.digest == made.digest
    assert set(whole.platforms) == {"linux/amd64", "linux/arm64"}
    part = dl.pull("both", output=export.docker(None), platform="linux/arm64", **options)
    assert part.platforms == ("linux/arm64",)
    assert part.digest != whole.digest


def test_wrong_tokens_and_unknown_builds_are_told(plane, saved) -> None:
    options = {"output": export.oci(None), "url": plane.url, "progress": "quiet"}
    with pytest.raises(api.Unauthenticated):
        dl.pull(saved.depot.build_id, token="depot_wrong_0123456789", **options)
    with pytest.raises(api.NotFound):
        dl.pull("0123456789", token=plane.token, **options)
    with pytest.raises(RegistryError, match="404") as caught:
        dl.pull("none", project=plane.project, token=plane.token, **options)
    assert caught.value.code == "NOT_FOUND"
    with dl.depot(local=plane.state) as bk:
        unsaved = bk.build(llb.scratch().mkfile("/u", ""), progress="quiet")
    with pytest.raises(api.DepotError, match="did not save it") as told:
        dl.pull(unsaved.depot.build_id, token=plane.token, **options)
    assert "save=True" in told.value.hint


def test_a_layer_that_the_registry_has_lost_bits_of_is_not_kept(plane, tmp_path) -> None:
    with dl.depot(local=plane.state) as bk:
        made = bk.build(
            llb.scratch().mkfile("/b", os.urandom(5000).hex()), save=True, progress="quiet"
        )
    options = {"local": plane.state, "progress": "quiet"}
    build = made.depot.build_id
    whole = dl.pull(build, output=export.oci(tmp_path / "layout", tar=False), **options)
    layout = dl.OciLayout(tmp_path / "layout")
    (layer,) = [n.descriptor for n in layout.walk() if n.role == "layer"]
    digits = layer.digest.partition(":")[2]
    (stored,) = (plane.state / "registry").rglob(f"{digits}/data")
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)
    with pytest.raises(RegistryError, match="not what its digest says"):
        dl.pull(build, output=export.oci(tmp_path / "x.tar"), **options)
    assert not (tmp_path / "x.tar").exists()
    again = dl.pull(build, output=export.oci(tmp_path / "layout", tar=False), **options)
    assert again.digest == whole.digest, "what is here already need not come again"


def test_the_command_pulls_and_its_arguments_hold_no_token(plane, saved, tmp_path) -> None:
    environment = {**os.environ, "DEPOT_API_URL": plane.url, "DEPOT_TOKEN": plane.token}
    place = tmp_path / "app.tar"
    argv = [sys.executable, "-m", "depotlab.cli", "pull", saved.depot.build_id, "-o", "-"]
    with place.open("wb") as output:
        done = subprocess.run(
            argv, env=environment, stdout=output, stderr=subprocess.PIPE, text=True, timeout=300
        )
    assert done.returncode == 0, done.stderr
    assert saved.digest in done.stderr
    assert plane.token not in done.stderr
    with tarfile.open(place) as archive:
        assert "index.json" in archive.getnames()
    refused = subprocess.run(
        [*argv[:4], "0123456789", "-o", str(place)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert refused.returncode == 1
    assert "not_found" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_docker_is_logged_in_when_asked(plane, client, saved, tmp_path, monkeypatch) -> None:
    path = client.images.docker_login(project_id=plane.project, host_folder=tmp_path)
    assert path == tmp_path / "config.json"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    found = find_credentials(plane.registry, {}, report=print)
    assert found.username == "x-token"
    assert client.images.pull_token(project_id=plane.project).registry_host == plane.registry
    assert list(json.loads(path.read_text())["auths"]) == [plane.registry]


# ----------------------------------------------------------------------------------------- logins


def test_a_login_is_approved_on_the_page(plane, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("DEPOT_API_URL", plane.url)
    for name in ("DEPOT_TOKEN", "DEPOT_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    async def main():
        login = asyncio.create_task(aio.depot_login())
        said = ""
        while "/login/" not in said:
            await asyncio.sleep(0.02)
            said += capfd.readouterr().err
        fields = {"login_id": said.split("/login/")[1].split()[0], "token": plane.token}
        request = urllib.request.Request(
            f"{plane.url}/page/login",
            data=json.dumps(fields).encode(),
            headers={"content-type": "application/json", "x-depotlab-page": "1"},
        )
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=100).close())
        return await login

    made = asyncio.run(main())
    assert made.host_path == tmp_path / "depot" / "depot.yaml"
    with dl.depot_api() as client:
        assert client.organizations()
    assert dl.depot_logout()
    with pytest.raises(api.NoToken):
        dl.depot_api()
