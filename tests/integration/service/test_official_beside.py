"""The official command line builds on the same Depot at the same time as the service, in its project and in another."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from depotlab.service import BuildService, Depot, LocalStorage
from tests.conftest import unavailable
from tests.support.buildservice import archive, waiting_step
from tests.support.gate import closed_gate
from tests.support.officialclients import Cli, ClientUnavailable, depot_cli, running_plane


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return depot_cli()
    except ClientUnavailable as error:
        unavailable(str(error))
        raise


def test_both_build_at_once_in_one_project_and_in_two(
    program: Path, service_folder: Path, tmp_path: Path
) -> None:
    folder = Path(tempfile.mkdtemp(dir=service_folder))
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo by the command line\n")
    with (
        running_plane(folder) as plane,
        BuildService(
            depot=Depot(local=plane.state),
            storage=LocalStorage(folder / "contexts"),
            state=folder / "service",
        ) as service,
        closed_gate() as gate,
    ):
        text = f"FROM busybox\nRUN echo begun && {waiting_step(gate)}\n"
        uploaded = service.upload("shop", archive({"Dockerfile": text}))
        build = service.create_build(uploaded, project="shop", deployment="beside")
        lines = service.get_build_logs(build.build_id)
        assert next(line for line in lines if line.text == "begun")
        same = service.get_build(build.build_id).depot_project_id
        cli = Cli.at(program, plane, tmp_path)
        there = Cli.at(program, plane, tmp_path, DEPOT_PROJECT_ID=same)
        for each in (cli, there):
            assert "by the command line" in each.run("build", "--progress", "plain", str(context))
        assert service.get_build(build.build_id).state == "running"
        gate.open()
        assert [line.text for line in lines if line.stream] == []
        ended = service.get_build(build.build_id)
        assert ended.state == "succeeded", ended.error
        theirs = {
            project: {
                found["status"]
                for found in plane.rpc("depot.core.v1.BuildService/ListBuilds", projectId=project)[
                    "builds"
                ]
            }
            for project in (same, plane.environment["DEPOT_PROJECT_ID"])
        }
        assert all(statuses == {"STATUS_SUCCESS"} for statuses in theirs.values())
