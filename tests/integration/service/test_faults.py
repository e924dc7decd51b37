"""The service with real parts when something breaks: nothing is stuck, lost or done twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import depotlab as dl
from depotlab._plane import PlaneLease
from depotlab.errors import ServiceError
from depotlab.service import BuildInfo, BuildService, S3Storage
from depotlab.telemetry import ClickHouse
from tests.conftest import unavailable
from tests.support.buildservice import (
    archive,
    counted_by_depot,
    counted_by_us,
    eventually,
    running_depot,
    waiting_step,
)
from tests.support.buildserviceworker import service_in
from tests.support.clickhouse_http import clickhouse_engine
from tests.support.gate import closed_gate
from tests.support.machinery import daemon_pid
from tests.support.officialclients import ClientUnavailable
from tests.support.ports import held_port
from tests.support.s3stores import gateway_program
from tests.support.s3stores import running as s3_store

# A client reports every five seconds, on a busy computer later; who is silent for longer is gone.
MISSED_S = 9.0


@pytest.fixture
def folder(service_folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=service_folder))


def test_a_build_whose_service_was_killed_goes_on_and_its_machine_is_given_up(folder: Path) -> None:
    plane = folder / "p"
    with running_depot(plane, missed_s=MISSED_S), closed_gate() as gate:
        text = f"FROM busybox\nRUN echo begun && {waiting_step(gate)} && echo ended\n"
        command = [sys.executable, "-m", "tests.support.buildserviceworker", plane, folder / "s"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
            try:
                assert worker.stdin is not None
                assert worker.stdout is not None
                worker.stdin.write(archive({"Dockerfile": text}))
                worker.stdin.close()
                build_id = worker.stdout.readline().decode().strip()
                assert build_id
            finally:
                worker.kill()
        with service_in(folder / "s", plane) as service, dl.depot_api(local=plane) as api:
            texts: list[str] = []
            for line in service.get_build_logs(build_id):
                texts.append(line.text)
                # Not before: the killed attempt's step would end too, and the second find it in the cache.
                if texts.count("begun") == 2:
                    gate.open()
            ended = service.get_build(build_id)
            assert ended.state == "succeeded", ended.error
            assert ended.attempts == 2
            assert texts.count("begun") == 2
            assert texts.count("ended") == 1
            attempts = service.telemetry.sql(
                "SELECT attempts, status FROM builds_v1 WHERE build_id = ?", [build_id]
            )
            assert list(attempts) == [{"attempts": 2, "status": "succeeded"}]
            theirs = [b.status for b in api.builds.list(ended.depot_project_id)]
            assert "success" in theirs
            eventually(
                lambda: (
                    "running" not in [b.status for b in api.builds.list(ended.depot_project_id)]
                ),
                what="the killed attempt is given up, and lets its machine go",
            )


def test_a_build_whose_machine_was_killed_is_tried_again(
    service: BuildService, service_plane: PlaneLease
) -> None:
    with closed_gate() as gate:
        text = f"FROM busybox\nRUN echo begun && {waiting_step(gate)} && echo ended\n"
        context = service.upload("struck", archive({"Dockerfile": text}))
        build = service.create_build(context, project="struck", deployment="d1")
        lines = service.get_build_logs(build.build_id)
        assert next(line for line in lines if line.text == "begun")
        depot_project = service.get_build(build.build_id).depot_project_id
        os.kill(daemon_pid(service_plane.state / "machines", depot_project), signal.SIGKILL)
        gate.open()
        rest = list(lines)
    ended = service.get_build(build.build_id)
    assert (ended.state, ended.attempts) == ("succeeded", 2), ended.error
    assert "tried again" in next(line.text for line in rest if line.stream == 0)
    assert [line.text for line in rest if line.stream] == ["begun", "ended"]


def test_one_request_sent_eight_times_at_once_is_one_build(service: BuildService) -> None:
    context = service.upload("twice", archive({"Dockerfile": "FROM busybox\nRUN echo once\n"}))

    def ask(_n: int) -> str:
        return service.create_build(
            context, project="twice", deployment="d1", idempotency_key="order 1"
        ).build_id

    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(ask, range(8)))
    assert len(ids) == 1
    assert len(service.list_builds(project="twice")) == 1
    with pytest.raises(ServiceError) as caught:
        service.create_build(context, project="twice", deployment="d2", idempotency_key="order 1")
    assert caught.value.code == "already_exists"


def test_draining_ends_what_runs_and_keeps_what_waits_for_the_next_start(
    folder: Path, service_plane: PlaneLease
) -> None:
    with closed_gate() as gate:
        text = f"FROM busybox\nRUN echo begun && {waiting_step(gate)}\n"
        with service_in(folder, service_plane.state) as service:
            context = service.upload("slow", archive({"Dockerfile": text}))
            asked = [
                service.create_build(context, project="slow", deployment=f"d{n}") for n in range(3)
            ]
            for running in asked[:2]:  # as many of one project as run at once
                next(
                    line
                    for line in service.get_build_logs(running.build_id)
                    if line.text == "begun"
                )
            with ThreadPoolExecutor(1) as threads:
                draining = threads.submit(service.drain, 60.0)
                eventually(lambda: not service.health().takes_builds, what="the service drains")
                with pytest.raises(ServiceError) as caught:
                    service.create_build(context, project="slow", deployment="late")
                assert caught.value.code == "unavailable"
                gate.open()
                draining.result(60)
            states = [service.get_build(build.build_id).state for build in asked]
            assert states == ["succeeded", "succeeded", "queued"]
        with service_in(folder, service_plane.state) as again:
            for _line in again.get_build_logs(asked[2].build_id):
                pass
            assert again.get_build(asked[2].build_id).state == "succeeded"


def test_forty_builds_at_once_lose_no_step_and_no_line(
    service: BuildService, service_api: dl.DepotApi
) -> None:
    asked = []
    for n in range(40):
        project = f"crowd-{n % 4}"
        text = (
            f"FROM busybox\nRUN for i in 1 2 3 4 5 6 7 8 9 10; do echo {n} $i; done\n"
            f"RUN echo no newline at the end of {n} | tr -d '\\n'\n"
        )
        context = service.upload(project, archive({"Dockerfile": text}))
        asked.append(service.create_build(context, project=project, deployment=f"d{n}"))
    for build in asked:
        offsets = [line.offset for line in service.get_build_logs(build.build_id)]
        assert offsets == sorted(set(offsets))
    ended = [service.get_build(build.build_id) for build in asked]
    assert Counter(build.state for build in ended) == {"succeeded": 40}
    for build in ended:
        theirs = counted_by_depot(service_api, build.depot_project_id, build.depot_build_id)
        assert sum(n for _, n in theirs.n_lines) >= 11
        assert counted_by_us(service.telemetry, build.build_id) == theirs


def test_no_row_is_lost_or_doubled_while_clickhouse_is_away(
    folder: Path, service_plane: PlaneLease, service_api: dl.DepotApi
) -> None:
    with clickhouse_engine() as engine:
        sink = ClickHouse(engine.address, user=engine.user, password=engine.password)
        with service_in(folder, service_plane.state, telemetry=sink) as service:

            def build(word: str) -> BuildInfo:
                text = f"FROM busybox\nRUN for n in 1 2 3 4 5; do echo {word} $n; done\n"
                context = service.upload("away", archive({"Dockerfile": text}))
                return service.build(context, project="away", deployment=word).check()

            built = [build("before")]
            engine.kill()
            built += [build("during"), build("still")]
            engine.start()
            built += [build("after")]
            eventually(
                lambda: service.health().telemetry["waiting"] == 0, what="ClickHouse has all rows"
            )
            for each in built:
                theirs = counted_by_depot(service_api, each.depot_project_id, each.depot_build_id)
                assert counted_by_us(service.telemetry, each.build_id) == theirs
            rows = service.telemetry.sql("SELECT build_id, log_lines FROM builds_v1")
            assert sorted(row["build_id"] for row in rows) == sorted(b.build_id for b in built)
            assert all(row["log_lines"] >= 5 for row in rows)


def test_a_build_waits_for_a_store_that_is_down(folder: Path, service_plane: PlaneLease) -> None:
    buckets = folder / "s3"
    buckets.mkdir()
    try:
        gateway_program()
    except ClientUnavailable as error:
        unavailable(str(error))
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(held_port()).getsockname()[1]
        with s3_store(buckets, port) as store:
            storage = S3Storage(
                store.bucket,
                endpoint_url=store.endpoint_url,
                region="us-east-1",
                access_key_id=store.access_key_id,
                secret_access_key=store.secret_access_key,
            )
            service = stack.enter_context(service_in(folder, service_plane.state, storage=storage))
            text = "FROM busybox\nRUN echo built in the end\n"
            context = service.upload("patient", archive({"Dockerfile": text}))
        build = service.create_build(context, project="patient", deployment="d1")
        eventually(lambda: service.health().storage, what="the service says that the store is down")
        assert service.get_build(build.build_id).depot_build_id == "", "no machine was asked for"
        stack.enter_context(s3_store(buckets, port))
        lines = [line.text for line in service.get_build_logs(build.build_id)]
        ended = service.get_build(build.build_id)
        assert ended.state == "succeeded", ended.error
        assert "built in the end" in lines
        assert service.health().storage == ""


def test_a_build_is_tried_again_until_depot_is_back(folder: Path) -> None:
    plane = folder / "p"
    with contextlib.ExitStack() as stack:
        with running_depot(plane, missed_s=30.0):
            service = stack.enter_context(service_in(folder, plane))
            text = "FROM busybox\nRUN echo built in the end\n"
            context = service.upload("patient", archive({"Dockerfile": text}))
        build = service.create_build(context, project="patient", deployment="d1")
        lines = service.get_build_logs(build.build_id)
        assert "tried again" in next(lines).text
        with running_depot(plane, missed_s=30.0):
            texts = [line.text for line in lines if line.stream]
            ended = service.get_build(build.build_id)
            stack.close()
    assert ended.state == "succeeded", ended.error
    assert ended.attempts >= 2
    assert texts == ["built in the end"]
