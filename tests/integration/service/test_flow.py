"""The whole way of a build with real parts: curl, HTTP, a Depot of this computer, its registry, SQL."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import depotlab as dl
from depotlab import export
from depotlab import service as build_service
from depotlab._plane import PlaneLease
from depotlab.errors import BuildCanceled
from depotlab.service import BuildService
from tests.support.buildservice import (
    archive,
    counted_by_depot,
    counted_by_us,
    curl,
    curl_json,
    eventually,
    waiting_step,
)
from tests.support.gate import closed_gate
from tests.support.guarded import GuardedServer
from tests.support.pages import ROOT, code_of

EXAMPLE = "shop/1700000000000000000.tar.gz"
"""Where the docs have the path of an upload."""


@pytest.fixture(scope="module")
def server(service: BuildService) -> Iterator[Any]:
    with service.serve() as running:
        yield running


@dataclass(frozen=True)
class Walked:
    """What a customer's program saw: each answer as curl printed it."""

    upload: dict[str, Any]
    asked: dict[str, Any]
    running: dict[str, Any]
    first_line: dict[str, Any]
    lines: list[dict[str, Any]]
    ended: dict[str, Any]


def documented(part: str) -> str:
    """The one command of the docs that has this in it."""
    lines = [line for code in code_of(ROOT / "docs/service.md", "sh") for line in code.splitlines()]
    (found,) = [line for line in lines if line.startswith("curl ") and part in line]
    return found


@pytest.fixture(scope="module")
def walked(service: BuildService, server: Any, tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """One build, from the upload to its last line, by the commands of the docs and nothing else."""
    token = service.tokens.create("the shop", projects=["shop"]).secret
    folder = tmp_path_factory.mktemp("upload")
    known = {"PATH": os.environ["PATH"], "URL": server.url, "TOKEN": token}

    def said(command: str) -> str:
        return subprocess.run(
            ["sh", "-ec", command], cwd=folder, env=known, stdout=PIPE, text=True, check=True
        ).stdout

    with closed_gate() as gate:
        dockerfile = (
            "FROM busybox\nCOPY app.txt /app.txt\n"
            f"RUN echo first line && {waiting_step(gate)} && cat /app.txt && echo last line\n"
        )
        (folder / "context.tar.gz").write_bytes(
            archive({"Dockerfile": dockerfile, "app.txt": "an app\n"})
        )
        upload = json.loads(said(documented("/v1/uploads")))
        known["UPLOAD_URL"] = upload["upload_url"]
        said(documented("--upload-file"))
        order = documented('/v1/builds"').replace(EXAMPLE, upload["build_context_path"])
        asked = json.loads(said(order))
        known["BUILD"] = asked["build_id"]
        following = subprocess.Popen(
            ["sh", "-ec", f"exec {documented('/logs')}"], env=known, stdout=PIPE, text=True
        )
        with following:
            assert following.stdout is not None
            lines = map(json.loads, following.stdout)
            first = next(line for line in lines if line["text"] == "first line")
            running = json.loads(said(documented('/v1/builds/$BUILD"')))
            gate.open()
            rest = list(lines)
        assert following.returncode == 0
        return Walked(
            upload, asked, running, first, rest, json.loads(said(documented('/v1/builds/$BUILD"')))
        )


def test_lines_arrive_while_the_build_runs_and_the_stream_ends_with_it(walked: Walked) -> None:
    assert walked.asked["state"] in ("queued", "running")
    assert walked.running["state"] == "running"
    assert "last line" in [line["text"] for line in walked.lines]
    offsets = [walked.first_line["offset"], *(line["offset"] for line in walked.lines)]
    assert offsets == sorted(set(offsets))


def test_the_answer_says_what_the_build_came_to(walked: Walked) -> None:
    ended = walked.ended
    assert ended["state"] == "succeeded"
    assert ended["digest"].startswith("sha256:")
    assert ended["image"].endswith(":shop-d5")
    assert ended["attempts"] == 1
    assert set(ended["stages"]) == {
        "queued", "context", "project", "machine", "solve", "drain", "finish",
    }  # fmt: skip


def test_the_image_can_be_pulled_back(
    walked: Walked, service_plane: PlaneLease, tmp_path: Path
) -> None:
    pulled = dl.pull(
        f"{walked.ended['depot_project_id']}:shop-d5",
        output=export.oci(tmp_path / "image", tar=False),
        local=service_plane.state,
    )
    assert pulled.digest == walked.ended["digest"]


def test_steps_and_lines_are_rows_and_none_is_lost(
    walked: Walked, service: BuildService, service_api: dl.DepotApi
) -> None:
    ended = walked.ended
    daemons = counted_by_depot(service_api, ended["depot_project_id"], ended["depot_build_id"])
    assert counted_by_us(service.telemetry, ended["build_id"]) == daemons
    n_lines = sum(n for _, n in daemons.n_lines)
    assert n_lines >= 3
    rows = service.telemetry.sql(
        "SELECT status, project_id, log_lines FROM builds_v1 WHERE build_id = ?",
        [ended["build_id"]],
    )
    assert list(rows) == [{"status": "succeeded", "project_id": "shop", "log_lines": n_lines}]


def test_the_address_of_the_context_is_nowhere(walked: Walked, service: BuildService) -> None:
    told = json.dumps([walked.ended, walked.lines])
    kept = str(service.telemetry.sql("SELECT name, error FROM build_steps_v1").rows())
    assert "signature" not in (told + kept).lower()


def test_another_project_does_not_learn_that_the_build_exists(
    walked: Walked, service: BuildService, server: Any
) -> None:
    stranger = service.tokens.create("somebody else", projects=["other"]).secret
    said = curl_json(f"{server.url}/v1/builds/{walked.ended['build_id']}", stranger)
    assert said["code"] == "not_found"


# --------------------------------------------------------------------------------------- endings

FAILING = [
    pytest.param(
        {"Dockerfile": "FROM busybox\nRUN echo broken && exit 3\n"},
        "exit code 3",
        id="a command fails",
    ),
    pytest.param({"app.txt": ""}, "Dockerfile", id="there is no Dockerfile"),
    pytest.param(
        {"Dockerfile": "FROM busybox\nCOPY missing.txt /\n"},
        "missing.txt",
        id="a file is missing",
    ),
]


@pytest.mark.parametrize(("files", "words"), FAILING)
def test_a_customer_is_told_what_to_mend(
    files: dict[str, str], words: str, service: BuildService, service_api: dl.DepotApi
) -> None:
    context = service.upload("shop", archive(files))
    failed = service.build(context, project="shop", deployment="wrong")
    assert failed.state == "failed"
    assert words in failed.error.message + failed.error.raw
    assert failed.attempts == 1
    assert service_api.builds.get(failed.depot_build_id).status == "failed"


def test_what_is_no_archive_never_gets_a_machine(service: BuildService, tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("this is a letter, not an archive\n" * 40)
    upload = service.generate_upload_url("shop")
    curl("--fail", "--upload-file", str(letter), upload.upload_url)
    failed = service.build(upload.build_context_path, project="shop", deployment="wrong")
    assert failed.state == "failed"
    assert failed.depot_build_id == ""
    assert "archive" in failed.error.message


def test_cancelling_stops_the_step_and_tells_depot(
    service: BuildService, service_api: dl.DepotApi
) -> None:
    with closed_gate() as gate:
        text = f"FROM busybox\nRUN echo begun && {waiting_step(gate)}\n"
        context = service.upload("shop", archive({"Dockerfile": text}))
        build = service.create_build(context, project="shop", deployment="stopped")
        lines = service.get_build_logs(build.build_id)
        assert next(line for line in lines if line.text == "begun")
        canceled = service.cancel_build(build.build_id)
    assert canceled.state == "canceled"
    assert "begun" not in [line.text for line in lines], (
        "the stream has ended, and says nothing twice"
    )
    found = eventually(
        lambda: service_api.builds.get(canceled.depot_build_id).status, what="an end at Depot"
    )
    assert found == "canceled"
    with pytest.raises(BuildCanceled):
        canceled.check()


def test_a_commit_is_built_with_a_token_that_only_its_host_sees(
    service: BuildService, tmp_path: Path
) -> None:
    token = "ghs_planted_and_never_shown"
    (tmp_path / "acme").symlink_to(tmp_path)
    forge = GuardedServer(tmp_path)
    forge.content = "FROM busybox\nRUN echo built from a commit\n"
    forge.accepts = {"basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()}
    with forge:
        commit = build_service.git(forge.host, "acme", "repo", "main")
        order = {"project": "forged", "dockerfile_path": "README"}
        refused = service.build(commit, deployment="no-token", **order)
        built = service.build(commit, deployment="d1", git_token=token, **order)
    assert refused.state == "failed"
    assert refused.error.category == "git_access"
    assert built.state == "succeeded", built.error
    lines = [line.text for line in service.get_build_logs(built.build_id)]
    assert "built from a commit" in lines
    assert token not in repr([built, lines])
    for table in ("builds_v1", "build_steps_v1", "build_step_logs_v1"):
        rows = service.telemetry.sql(f"SELECT * FROM {table} WHERE build_id = ?", [built.build_id])
        assert len(rows) > 0
        assert token not in repr(list(rows))
