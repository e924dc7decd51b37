"""The official `depot` command line, unmodified, against a real plane with real machines."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import tarfile
import urllib.error
import urllib.request

import pytest

from tests.support.httpproxy import proxying
from tests.support.officialclients import Cli
from tests.support.registry import private_registry


def tags(cli: Cli) -> list[str]:
    said = cli.run("image", "list", "--output", "csv")
    return [line.split(",")[0] for line in said.splitlines()[1:]]


def manifest(up, repository: str, reference: str, token: str):
    """Fetch a manifest from the plane's registry, as any client of it would."""
    login = base64.b64encode(f"x-token:{token}".encode()).decode()
    request = urllib.request.Request(
        f"http://{up.registry}/v2/{repository}/manifests/{reference}",
        headers={
            "authorization": f"Basic {login}",
            "accept": "application/vnd.oci.image.index.v1+json,"
            "application/vnd.oci.image.manifest.v1+json",
        },
    )
    with urllib.request.urlopen(request, timeout=100) as answer:
        return json.load(answer)


def test_projects_are_created_listed_and_deleted(cli):
    made = json.loads(
        cli.run("projects", "create", "shop", "--cache-storage-policy", "25", "--region", "here")
    )
    assert made["cache_policy"] == {"keep_bytes": 25 << 30, "keep_days": 14}
    listed = json.loads(cli.run("projects", "list", "--output", "json"))
    assert [project["name"] for project in listed] == ["default", "shop"]
    cli.run("projects", "update", "--project-id", made["project_id"], "--name", "market")
    assert "market" in cli.run("projects", "get", made["project_id"])
    cli.run("projects", "delete", "--yes", "--project-id", made["project_id"])
    listed = json.loads(cli.run("projects", "list", "--output", "json"))
    assert [project["name"] for project in listed] == ["default"]


def test_a_build_runs_and_leaves_its_steps_and_its_output(cli, up, context):
    said = cli.run("build", "--progress", "plain", str(context))
    assert "launching amd64 machine" in said
    build = up.builds()[0]
    assert build["status"] == "STATUS_SUCCESS"
    steps = {step["name"]: step for step in up.steps(build["buildId"])}
    ran = next(step for name, step in steps.items() if "RUN cat /word" in name)
    assert ran["cacheState"] == "CACHE_STATE_UNCACHED"
    logs = up.rpc(
        "depot.build.v1.BuildService/GetBuildStepLogs",
        projectId=up.environment["DEPOT_PROJECT_ID"],
        buildId=build["buildId"],
        buildStepDigest=ran["digest"],
    )
    assert "word of" in "".join(log["message"] for log in logs["logs"])
    assert any("launching" in name for name in steps), "what only the client knows is there too"

    cli.run("build", "--progress", "plain", str(context))
    again = {step["name"]: step for step in up.steps(up.builds()[0]["buildId"])}
    assert again[ran["name"]]["cacheState"] == "CACHE_STATE_CACHED"


def test_a_build_that_fails_is_recorded_so_with_its_reason(cli, up, context):
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo no && exit 7\n")
    said = cli.fails("build", "--progress", "plain", str(context))
    assert "exit code: 7" in said
    build = up.builds()[0]
    assert build["status"] == "STATUS_FAILED"
    shown = up.page(f"builds/{build['buildId']}")
    assert "exit code: 7" in shown["error"]
    assert any("exit code: 7" in step["error"] for step in shown["steps"])


def test_push_goes_to_the_registry_that_the_tag_names(depot_program, up, context, tmp_path):
    login = {"DEPOT_PUSH_REGISTRY_USERNAME": "me", "DEPOT_PUSH_REGISTRY_PASSWORD": "not-a-secret"}
    cli = Cli.at(depot_program, up, tmp_path, **login)
    with private_registry(user="me", password="not-a-secret") as host:
        cli.run("build", "--push", "-t", f"{host}/app:1", "--progress", "plain", str(context))
        basic = base64.b64encode(b"me:not-a-secret").decode()
        request = urllib.request.Request(
            f"http://{host}/v2/app/tags/list", headers={"authorization": f"Basic {basic}"}
        )
        with urllib.request.urlopen(request, timeout=100) as answer:
            assert json.load(answer)["tags"] == ["1"]


def test_save_keeps_the_image_under_the_builds_id_and_the_tags_asked_for(cli, up, context):
    meta = context.parent / "meta.json"
    cli.run(
        *("build", "--save", "--save-tag", "one", "--save-tag", "two"),
        *("--metadata-file", str(meta), str(context)),
    )
    build = json.loads(meta.read_text())["depot.build"]
    assert build["projectID"] == up.environment["DEPOT_PROJECT_ID"]
    assert {build["buildID"], "one", "two"} <= set(tags(cli))
    token = cli.run("pull-token", build["buildID"]).strip()
    assert manifest(up, build["projectID"], "one", token)["manifests"]

    cli.run("image", "rm", "one")
    assert "one" not in tags(cli)
    assert "two" in tags(cli)


def test_a_pull_token_reads_its_project_and_nothing_else(cli, up, context):
    cli.run("build", "--save", "--save-tag", "readable", str(context))
    home = up.environment["DEPOT_PROJECT_ID"]
    token = cli.run("pull-token").strip()
    assert manifest(up, home, "readable", token)["manifests"]
    other = json.loads(cli.run("projects", "create", "other"))["project_id"]
    for repository, secret in ((other, token), (home, "nonsense")):
        with pytest.raises(urllib.error.HTTPError) as caught:
            manifest(up, repository, "readable", secret)
        caught.value.close()
        assert caught.value.code in (401, 403)
    with pytest.raises(urllib.error.HTTPError) as caught:
        up.rpc("depot.core.v1.ProjectService/ListProjects", token)
    caught.value.close()
    assert caught.value.code == 403


def test_load_brings_the_image_to_docker_through_the_registry(
    depot_program, up, tmp_path, context, dockerd
):
    cli = Cli.at(
        depot_program,
        up,
        tmp_path,
        DOCKER_HOST=dockerd.host.address,
        DOCKER_API_VERSION="1.41",
    )
    said = cli.run("build", "--load", "-t", "loaded:1", "--progress", "plain", str(context))
    assert "fast load failed" not in said
    assert dockerd.run("loaded:1", "cat", "/made").strip() == "made"
    build = up.builds()[0]["buildId"]
    cli.run("pull", build, "-t", "pulled:1")
    assert dockerd.run("pulled:1", "cat", "/made").strip() == "made"


def test_two_platforms_are_built_on_two_machines_and_merged(cli, up, context):
    (context / "Dockerfile").write_text("FROM scratch\nCOPY word /word\n")
    cli.run(
        *("build", "--platform", "linux/amd64,linux/arm64", "--save", "--save-tag", "both"),
        *("--provenance=false", str(context)),
    )
    token = cli.run("pull-token").strip()
    found = manifest(up, up.environment["DEPOT_PROJECT_ID"], "both", token)
    platforms = {entry["platform"]["architecture"] for entry in found["manifests"]}
    assert platforms == {"amd64", "arm64"}
    machines = {machine["platform"] for machine in up.page("state")["machines"]}
    assert machines == {"amd64", "arm64"}


def test_bake_builds_a_group_and_saves_each_target(cli, up, context):
    (context / "docker-bake.hcl").write_text(
        'group "default" { targets = ["app", "web"] }\n'
        'target "app" { args = { N = "1" } }\n'
        'target "web" { args = { N = "2" } }\n'
    )
    (context / "Dockerfile").write_text("FROM busybox\nARG N\nRUN echo $N > /n\n")
    cli.run("bake", "-f", "docker-bake.hcl", "--save", "--save-tag", "baked", cwd=context)
    build = up.builds()[0]["buildId"]
    wanted = {f"{tag}-{target}" for tag in (build, "baked") for target in ("app", "web")}
    assert wanted <= set(tags(cli))


def test_builds_are_listed(cli, up, context):
    cli.run("build", str(context))
    listed = json.loads(cli.run("list", "builds", "--output", "json"))
    assert listed[0]["id"] == up.builds()[0]["buildId"]
    assert listed[0]["status"] == "finished"


def test_a_cache_that_was_reset_is_empty(cli, up, context):
    cli.run("build", str(context))
    assert "Cache reset" in cli.run("cache", "reset")
    cli.run("build", str(context))
    steps = up.steps(up.builds()[0]["buildId"])
    ran = next(step for step in steps if "RUN cat /word" in step["name"])
    assert ran["cacheState"] == "CACHE_STATE_UNCACHED"


def test_outputs_come_to_the_client(cli, context, tmp_path):
    cli.run("build", "-o", f"type=local,dest={tmp_path}/out", str(context))
    assert (tmp_path / "out" / "made").read_text() == "made\n"
    cli.run("build", "-o", f"type=oci,dest={tmp_path}/image.tar", str(context))
    with tarfile.open(tmp_path / "image.tar") as archive:
        assert "index.json" in archive.getnames()


def test_a_build_that_the_sdk_registered_is_carried_on(depot_program, up, tmp_path, context):
    home = up.environment["DEPOT_PROJECT_ID"]
    made = up.rpc("depot.build.v1.BuildService/CreateBuild", projectId=home)
    cli = Cli.at(
        depot_program,
        up,
        tmp_path,
        DEPOT_BUILD_ID=made["buildId"],
        DEPOT_TOKEN=made["buildToken"],
    )
    cli.run("build", str(context))
    assert (up.builds()[0]["buildId"], up.builds()[0]["status"]) == (
        made["buildId"],
        "STATUS_SUCCESS",
    )


def test_cancel_on_the_page_stops_the_client(cli, up, context):
    process = cli.start_slow_build(context)
    build = up.builds()[0]["buildId"]
    up.page("cancel", build_id=build)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 1
    # Its own words, or those of its gRPC library: it translates only one of the forms in which that error comes.
    assert "build canceled" in said or "Canceled: grpc: the client connection is closing" in said
    assert up.builds()[0]["status"] == "STATUS_CANCELED"


def test_an_interrupted_client_cancels(cli, up, context):
    process = cli.start_slow_build(context)
    build = up.builds()[0]["buildId"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=200)
    assert (up.builds()[0]["buildId"], up.builds()[0]["status"]) == (build, "STATUS_CANCELED")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"DEPOT_TOKEN": "depotlab_user_nonsense"}, "unauthenticated: the token is not known"),
        ({"DEPOT_TOKEN": ""}, "missing API token"),
        ({"DEPOT_PROJECT_ID": "unknown000"}, "missing project ID"),
    ],
)
def test_what_is_wrong_is_said(depot_program, up, tmp_path, context, changed, said):
    cli = Cli.at(depot_program, up, tmp_path, **changed)
    assert said in cli.fails("build", str(context))


def test_a_project_token_builds_in_its_project_without_naming_it(
    depot_program, up, tmp_path, context
):
    home = up.environment["DEPOT_PROJECT_ID"]
    made = up.rpc("depot.core.v1.ProjectService/CreateToken", projectId=home, description="ci")
    cli = Cli.at(depot_program, up, tmp_path, DEPOT_TOKEN=made["secret"], DEPOT_PROJECT_ID="")
    cli.run("build", str(context))
    assert up.builds()[0]["status"] == "STATUS_SUCCESS"


def test_organisations_are_listed_for_a_stored_token(depot_program, up, tmp_path):
    environment = {k: v for k, v in up.environment.items() if k != "DEPOT_TOKEN"}
    token = up.environment["DEPOT_TOKEN"]
    cli = Cli.at(depot_program, up, tmp_path, DEPOT_TOKEN="", DEPOT_API_TOKEN=token)
    assert environment["DEPOT_ORG_ID"] in cli.run("org", "list")
    # Without any it sends an empty bearer, which must not break the connection.
    bare = Cli.at(depot_program, up, tmp_path, DEPOT_TOKEN="")
    assert "unauthenticated" in bare.fails("org", "list")


def test_a_login_is_approved_on_the_page_and_stored(depot_program, up, tmp_path):
    cli = Cli.at(depot_program, up, tmp_path, DEPOT_TOKEN="")
    process = cli.start("login")
    address = next(line.strip() for line in process.stdout if f"{up.url}/login/" in line)
    login_id = address.rpartition("/")[2]
    up.page("login", login_id=login_id, token=up.environment["DEPOT_TOKEN"])
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    stored = tmp_path / "config" / "depot" / "depot.yaml"
    assert stored.stat().st_mode & 0o077 == 0
    assert "depotlab_user_" in stored.read_text()
    assert "default" in cli.run("projects", "list")


def test_a_build_asks_nobody_but_the_plane(depot_program, up, tmp_path, context):
    async def work():
        async with proxying(1) as proxy:
            address = f"http://{proxy.address}"
            cli = Cli.at(
                *(depot_program, up, tmp_path),
                HTTP_PROXY=address,
                HTTPS_PROXY=address,
                NO_PROXY="127.0.0.1",
            )
            await asyncio.to_thread(cli.run, "build", "--save", str(context))
            return proxy.heads

    assert asyncio.run(work()) == []
