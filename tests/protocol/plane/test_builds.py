"""The life of a build, as clients drive it over the wire."""

import asyncio
import base64

import pytest

from depotlab._plane.boundary import CachePolicy
from depotlab._plane.health import Limits
from depotlab._proto import control_pb2 as control
from depotlab._proto import depot_build_pb2 as build
from depotlab._proto import depot_buildkit_pb2 as buildkit
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._proto import depot_core_pb2 as core
from tests.support.planeparts import FakeMachines, Refusal, call, plane, until

CLI = "depot.cli.v1.BuildService"
SDK = "depot.build.v1.BuildService"
AMD64 = cli.BUILDER_PLATFORM_AMD64


def running(work, **options):
    """Run `work(plane, machines)` with a fresh plane."""
    machines = options.pop("machines", None) or FakeMachines()

    async def run():
        async with plane(machines=machines, **options) as found:
            return await work(found, machines)

    return asyncio.run(run())


async def create(plane, *options, **fields):
    return await call(
        plane,
        f"{CLI}/CreateBuild",
        cli.CreateBuildRequest(options=options, **fields),
        cli.CreateBuildResponse,
    )


async def finish(plane, made, **result):
    await call(
        plane,
        f"{CLI}/FinishBuild",
        cli.FinishBuildRequest(build_id=made.build_id, **result),
        cli.FinishBuildResponse,
        token=made.build_token,
    )


async def health(plane, made, platform=AMD64):
    return await call(
        plane,
        f"{CLI}/ReportBuildHealth",
        cli.ReportBuildHealthRequest(build_id=made.build_id, platform=platform),
        cli.ReportBuildHealthResponse,
        token=made.build_token,
    )


async def connection(plane, made, platform=AMD64, **fields):
    return await call(
        plane,
        f"{CLI}/GetBuildKitConnection",
        cli.GetBuildKitConnectionRequest(build_id=made.build_id, platform=platform, **fields),
        cli.GetBuildKitConnectionResponse,
        token=made.build_token,
    )


async def refused(asked):
    try:
        await asked
    except Refusal as refusal:
        return refusal
    pytest.fail("this should have been refused")


CANCELED = {"canceled": cli.FinishBuildRequest.Canceled()}
SUCCESS = {"success": cli.FinishBuildRequest.Success()}
FAILURE = {"error": cli.FinishBuildRequest.Error(error="exit code: 1")}


def test_a_build_is_told_where_its_images_may_go():
    async def work(plane, _machines):
        target = cli.BuildOptions(command=cli.COMMAND_BAKE, save=True, save_tags=["a", "b"])
        made = await create(plane, target, target)
        project = plane.environment["DEPOT_PROJECT_ID"]
        assert made.project_id == project
        assert made.registry.load_using_registry
        assert made.build_url == f"{plane.url}/builds/{made.build_id}"
        # Bare, each once: the client adds the target's name.
        repository = f"localhost:5999/{project}"
        assert [tag.tag for tag in made.additional_tags] == [
            f"{repository}:{made.build_id}",
            f"{repository}:a",
            f"{repository}:b",
        ]
        (login,) = made.additional_credentials
        user, _, password = base64.b64decode(login.token).decode().partition(":")
        assert login.host == "localhost:5999"
        assert (user, password) == ("x-token", made.build_token)
        assert plane.parts.tokens.admits(user, password, project, True)

    running(work)


@pytest.mark.parametrize(
    ("result", "status", "in_cli", "in_core"),
    [
        (SUCCESS, "success", cli.BUILD_STATUS_FINISHED, core.Build.STATUS_SUCCESS),
        (FAILURE, "failed", cli.BUILD_STATUS_FAILED, core.Build.STATUS_FAILED),
        (CANCELED, "canceled", cli.BUILD_STATUS_CANCELED, core.Build.STATUS_CANCELED),
        ({}, "error", cli.BUILD_STATUS_FAILED, core.Build.STATUS_ERROR),
    ],
    ids=["success", "failed", "canceled", "no result that is known is no success"],
)
def test_each_end_is_recorded_as_it_was_told_in_the_numbers_of_each_contract(
    result, status, in_cli, in_core
):
    async def work(plane, machines):
        made = await create(plane)
        await finish(plane, made, **result)
        await finish(plane, made, **SUCCESS)  # a second end changes nothing
        assert plane.parts.history.build(made.build_id).status == status
        listed = await call(
            plane,
            f"{CLI}/ListBuilds",
            cli.ListBuildsRequest(project_id=made.project_id),
            cli.ListBuildsResponse,
        )
        assert [b.status for b in listed.builds] == [in_cli]
        assert listed.builds[0].finished_at.seconds >= listed.builds[0].created_at.seconds
        got = await call(
            plane,
            "depot.core.v1.BuildService/GetBuild",
            core.GetBuildRequest(build_id=made.build_id),
            core.GetBuildResponse,
        )
        assert got.build.status == in_core
        await until(lambda: machines.of("release"))
        assert machines.of("release") == [("release", made.build_id, None)], "let go once"

    running(work)


def test_a_result_of_a_future_version_is_no_success():
    async def work(plane, _machines):
        made = await create(plane)
        unknown = cli.FinishBuildRequest.FromString(
            cli.FinishBuildRequest(build_id=made.build_id).SerializeToString() + b"\x82\x01\x00"
        )
        await call(plane, f"{CLI}/FinishBuild", unknown, cli.FinishBuildResponse)
        assert plane.parts.history.build(made.build_id).status == "error"

    running(work)


def test_unknown_fields_do_no_harm():
    async def work(plane, _machines):
        odd = cli.CreateBuildRequest.FromString(b"\x82\x7d\x03abc")
        assert odd.SerializeToString()
        made = await call(plane, f"{CLI}/CreateBuild", odd, cli.CreateBuildResponse)
        assert made.build_id

    running(work)


def test_a_connection_is_pending_until_the_machine_answers():
    async def work(plane, machines):
        machines.pending = 2
        made = await create(plane)
        waits = [await connection(plane, made) for _ in range(2)]
        assert all(50 <= reply.pending.wait_ms <= 250 for reply in waits)
        active = (await connection(plane, made)).active
        assert active.endpoint == "tcp://127.0.0.1:1"
        assert (active.cert.cert, active.cert.key) == (f"cert {made.build_id}", "key")
        assert active.ca_cert.cert == "ca"
        asked = machines.of("connection")[0]
        assert asked == ("connection", made.build_id, made.project_id, "amd64", CachePolicy())
        assert plane.parts.history.build(made.build_id).started_ns is not None

    running(work)


def test_a_machine_that_cannot_start_is_said_with_the_reason():
    async def work(plane, _machines):
        made = await create(plane)
        refusal = await refused(connection(plane, made))
        assert refusal.code == "unavailable"
        assert "there is no runc" in refusal.text
        assert plane.parts.history.build(made.build_id).note == "there is no runc"

    running(work, machines=FakeMachines(fails="there is no runc"))


def test_a_build_that_has_ended_gets_no_machine():
    async def work(plane, machines):
        made = await create(plane)
        await finish(plane, made, **CANCELED)
        refusal = await refused(connection(plane, made))
        assert refusal.code == "failed_precondition"
        assert machines.of("connection") == []
        assert not machines.keeper.allowed(made.build_id)
        assert not machines.keeper.allowed("unknown")

    running(work)


def test_engines_other_than_buildkit_are_refused_and_naming_buildkit_is_not():
    async def work(plane, _machines):
        dagger = cli.RequiredEngine(dagger=cli.RequiredEngine.Dagger(version="v0.18"))
        assert (await refused(create(plane, required_engine=dagger))).code == "unimplemented"
        ours = cli.RequiredEngine(buildkit=cli.RequiredEngine.BuildKit())
        made = await create(plane, required_engine=ours)
        assert (await connection(plane, made, required_engine=ours)).HasField("active")

    running(work)


def test_a_platform_that_is_none_is_refused():
    async def work(plane, _machines):
        made = await create(plane)
        for ask in (connection, health):
            refusal = await refused(ask(plane, made, cli.BUILDER_PLATFORM_UNSPECIFIED))
            assert refusal.code == "invalid_argument"

    running(work)


def test_a_build_token_is_good_for_its_build_only():
    async def work(plane, _machines):
        mine, other = await create(plane), await create(plane)
        for ask in (
            call(
                plane,
                f"{CLI}/GetBuild",
                cli.GetBuildRequest(build_id=other.build_id),
                cli.GetBuildResponse,
                token=mine.build_token,
            ),
            call(
                plane,
                f"{CLI}/CreateBuild",
                cli.CreateBuildRequest(),
                cli.CreateBuildResponse,
                token=mine.build_token,
            ),
            call(
                plane,
                "depot.core.v1.ProjectService/ListProjects",
                core.ListProjectsRequest(),
                core.ListProjectsResponse,
                token=mine.build_token,
            ),
        ):
            assert (await refused(ask)).code == "permission_denied"
        mine.build_id = other.build_id
        assert (await refused(finish(plane, mine, **SUCCESS))).code == "permission_denied"
        assert plane.parts.history.build(other.build_id).status == "running"

    running(work)


# ----------------------------------------------------------------------------- health and cancel


def test_silence_ends_a_build_and_frees_its_machine():
    async def work(plane, machines):
        made = await create(plane)
        await connection(plane, made)
        await health(plane, made)
        await until(lambda: plane.parts.history.build(made.build_id).status != "running")
        record = plane.parts.history.build(made.build_id)
        assert (record.status, record.error) == ("canceled", "its client fell silent")
        await until(lambda: machines.of("release"))
        late = await health(plane, made)
        assert late.HasField("cancels_at"), "a client that comes back is told to stop"

    running(work, limits=Limits(missed_s=0.2))


def test_a_build_of_the_plane_before_goes_on_when_its_client_reports(tmp_path):
    async def run():
        async with plane(tmp_path) as first:
            made, silent = await create(first), await create(first)
        async with plane(tmp_path, limits=Limits(missed_s=3.0)) as again:
            assert (await health(again, made)).HasField("cancels_at") is False
            assert again.parts.history.build(made.build_id).status == "running"
            for _ in range(60):
                await health(again, made)
                await asyncio.sleep(0.1)
                if again.parts.history.build(silent.build_id).status != "running":
                    break
            assert again.parts.history.build(silent.build_id).status == "canceled"
            assert again.parts.history.build(made.build_id).status == "running"

    asyncio.run(run())


def test_a_build_that_is_asked_to_stop_hears_it_at_its_next_report():
    async def work(plane, machines):
        made = await create(plane)
        assert not (await health(plane, made)).HasField("cancels_at")
        plane.parts.builds.cancel(made.build_id)
        told = await health(plane, made)
        assert 0 < told.cancels_at.ToNanoseconds() <= plane.parts.history.now_ns()
        assert machines.keeper.allowed(made.build_id), "it may still say goodbye"
        await finish(plane, made, **CANCELED)
        assert plane.parts.history.build(made.build_id).error == "canceled by its client"

    running(work)


def test_a_build_that_does_not_stop_is_stopped():
    async def work(plane, machines):
        made = await create(plane)
        plane.parts.builds.cancel(made.build_id)
        await until(lambda: machines.of("release"))
        record = plane.parts.history.build(made.build_id)
        assert (record.status, record.error) == ("canceled", "canceled on the plane")
        await finish(plane, made, **SUCCESS)
        assert plane.parts.history.build(made.build_id).status == "canceled"

    running(work, limits=Limits(cancel_s=0.1))


def test_a_machine_that_died_is_noted_and_its_client_says_how_it_ends():
    async def work(plane, machines):
        made = await create(plane)
        machines.keeper.lost(made.build_id, "buildkitd ended with signal 9")
        assert plane.parts.history.build(made.build_id).status == "running"
        await finish(plane, made, **FAILURE)
        record = plane.parts.history.build(made.build_id)
        assert (record.status, record.note) == ("failed", "buildkitd ended with signal 9")

    running(work)


# ------------------------------------------------------------------------------- steps and logs


def status(name, *, message=b"", done=True):
    found = control.StatusResponse()
    vertex = found.vertexes.add(digest=f"sha256:{name}", name=name)
    vertex.started.seconds = 1
    if done:
        vertex.completed.seconds = 2
    if message:
        log = found.logs.add(vertex=f"sha256:{name}", msg=message, stream=1)
        log.timestamp.seconds = 1
    return found


async def steps_of(plane, made, **fields):
    return await call(
        plane,
        f"{SDK}/GetBuildSteps",
        build.GetBuildStepsRequest(project_id=made.project_id, build_id=made.build_id, **fields),
        build.GetBuildStepsResponse,
    )


def test_steps_come_from_the_machine_and_from_the_client_and_can_be_paged():
    async def work(plane, machines):
        made = await create(plane)
        for name in ("FROM busybox", "RUN make"):
            found = status(name, message=b"hello \xff\n")
            machines.keeper.status(made.build_id, found.SerializeToString())
            machines.keeper.status(made.build_id, found.SerializeToString())
        await finish(plane, made, **SUCCESS)
        # Late, after the end, and as older clients report.
        await call(
            plane,
            f"{CLI}/ReportStatus",
            cli.ReportStatusRequest(build_id=made.build_id, statuses=[status("[depot] connect")]),
            cli.ReportStatusResponse,
            token=made.build_token,
        )
        first = await steps_of(plane, made, page_size=2)
        second = await steps_of(plane, made, page_size=2, page_token=first.next_page_token)
        assert [s.name for s in first.build_steps] == ["FROM busybox", "RUN make"]
        assert [s.name for s in second.build_steps] == ["[depot] connect"]
        assert not second.HasField("next_page_token")
        assert [s.has_logs for s in (*first.build_steps, *second.build_steps)] == [
            True,
            True,
            False,
        ]
        logs = await call(
            plane,
            f"{SDK}/GetBuildStepLogs",
            build.GetBuildStepLogsRequest(
                build_id=made.build_id, build_step_digest=first.build_steps[1].digest
            ),
            build.GetBuildStepLogsResponse,
        )
        assert [log.message for log in logs.logs] == ["hello \ufffd\n"]
        other = build.GetBuildStepsRequest(project_id="another000", build_id=made.build_id)
        asked = call(plane, f"{SDK}/GetBuildSteps", other, build.GetBuildStepsResponse)
        assert (await refused(asked)).code == "not_found"

    running(work)


def test_who_asks_after_the_end_finds_the_last_words_of_the_machine():
    class Talkative(FakeMachines):
        async def release(self, build_id, platform=None):
            await asyncio.sleep(0.1)
            self.keeper.status(build_id, status("RUN last").SerializeToString())

    async def work(plane, _machines):
        made = await create(plane)
        await finish(plane, made, **SUCCESS)
        assert [s.name for s in (await steps_of(plane, made)).build_steps] == ["RUN last"]

    running(work, machines=Talkative())


def test_a_machine_that_is_slow_to_let_go_does_not_hold_up_the_end():
    class Slow(FakeMachines):
        async def release(self, build_id, platform=None):
            await asyncio.sleep(60)

    async def work(plane, _machines):
        made = await create(plane)
        async with asyncio.timeout(50):
            await finish(plane, made, **SUCCESS)
        assert plane.parts.history.build(made.build_id).status == "success"

    running(work, machines=Slow())


def test_status_that_is_none_or_of_a_build_that_is_gone_stops_nothing():
    async def work(plane, machines):
        made = await create(plane)
        machines.keeper.status(made.build_id, b"\xff\xff")
        machines.keeper.status("gone000000", status("a").SerializeToString())
        assert not (await steps_of(plane, made)).build_steps

    running(work)


def test_timings_add_the_steps_that_nobody_else_saw():
    async def work(plane, machines):
        made = await create(plane)
        machines.keeper.status(made.build_id, status("RUN make").SerializeToString())
        report = cli.ReportTimingsRequest(
            build_id=made.build_id,
            build_steps=[
                cli.BuildStep(name="RUN make", duration_ms=5),
                cli.BuildStep(name="COPY", duration_ms=5),
            ],
        )
        await call(plane, f"{CLI}/ReportTimings", report, cli.ReportTimingsResponse)
        found = await steps_of(plane, made)
        assert [s.name for s in found.build_steps] == ["RUN make", "COPY"]

    running(work)


def test_the_dockerfiles_of_a_build_are_taken():
    async def work(plane, _machines):
        made = await create(plane)
        report = cli.ReportBuildContextRequest(build_id=made.build_id)
        report.dockerfiles.add(target="default", filename="Dockerfile", contents="FROM scratch")
        await call(plane, f"{CLI}/ReportBuildContext", report, cli.ReportBuildContextResponse)

    running(work)


# ----------------------------------------------------------------------------------- pull, push


def test_pulling_a_build_names_its_image_and_a_login_that_can_only_read():
    async def work(plane, _machines):
        made = await create(plane, cli.BuildOptions(load=True, tags=["app:1"]))
        info = await call(
            plane,
            f"{CLI}/GetPullInfo",
            cli.GetPullInfoRequest(build_id=made.build_id),
            cli.GetPullInfoResponse,
            token=made.build_token,
        )
        assert info.reference == f"localhost:5999/{made.project_id}:{made.build_id}"
        assert (info.username, info.registry_host) == ("x-token", "localhost:5999")
        assert info.save_for_load
        assert list(info.options[0].tags) == ["app:1"]
        admits = plane.parts.tokens.admits
        assert admits("x-token", info.password, made.project_id, False)
        assert not admits("x-token", info.password, made.project_id, True)
        assert not admits("x-token", info.password, "another000", False)
        unknown = cli.GetPullInfoRequest(build_id="nope")
        asked = call(plane, f"{CLI}/GetPullInfo", unknown, cli.GetPullInfoResponse)
        assert (await refused(asked)).code == "not_found"

    running(work)


@pytest.mark.parametrize("fields", [{}, {"project_id": "", "build_id": ""}])
def test_a_pull_token_is_for_the_default_project_when_none_is_named(fields):
    async def work(plane, _machines):
        got = await call(
            plane,
            f"{CLI}/GetPullToken",
            cli.GetPullTokenRequest(**fields),
            cli.GetPullTokenResponse,
        )
        caller = plane.parts.tokens.check(got.token)
        assert (caller.kind, caller.project_id) == ("pull", plane.environment["DEPOT_PROJECT_ID"])
        assert got.registry_host == "localhost:5999"

    running(work)


def test_a_push_begins_and_ends():
    async def work(plane, _machines):
        made = await create(plane)
        path = "depot.cli.v1.PushService"
        request = cli.StartPushRequest(tag="ghcr.io/me/app:1", build_id=made.build_id)
        push = await call(plane, f"{path}/StartPush", request, cli.StartPushResponse)
        end = cli.FinishPushRequest(push_id=push.push_id, build_id=made.build_id)
        await call(plane, f"{path}/FinishPush", end, cli.FinishPushResponse)
        end.push_id = "nope"
        asked = call(plane, f"{path}/FinishPush", end, cli.FinishPushResponse)
        assert (await refused(asked)).code == "not_found"

    running(work)


# ---------------------------------------------------------------------------------------- the SDKs


def test_a_build_of_the_sdk_is_carried_on_by_another_program():
    async def work(plane, machines):
        project = plane.environment["DEPOT_PROJECT_ID"]
        made = await call(
            plane,
            f"{SDK}/CreateBuild",
            build.CreateBuildRequest(project_id=project),
            build.CreateBuildResponse,
        )
        found = await call(
            plane,
            f"{CLI}/GetBuild",
            cli.GetBuildRequest(build_id=made.build_id),
            cli.GetBuildResponse,
            token=made.build_token,
        )
        assert (found.build_id, found.project_id) == (made.build_id, project)
        await call(
            plane,
            "depot.buildkit.v1.BuildKitService/ReleaseEndpoint",
            buildkit.ReleaseEndpointRequest(
                build_id=made.build_id, platform=buildkit.PLATFORM_ARM64
            ),
            buildkit.ReleaseEndpointResponse,
            token=made.build_token,
        )
        await until(lambda: machines.of("release"))
        assert machines.of("release") == [("release", made.build_id, "arm64")]
        await call(
            plane,
            f"{SDK}/FinishBuild",
            build.FinishBuildRequest(build_id=made.build_id),
            build.FinishBuildResponse,
        )
        assert plane.parts.history.build(made.build_id).status == "error"

    running(work)


@pytest.mark.parametrize(
    ("completed", "again", "status", "why"),
    [
        pytest.param(False, False, "error", "lost in mid-step: it died", id="a step was cut"),
        pytest.param(True, False, "success", "", id="all steps had ended"),
        pytest.param(False, True, "success", "", id="it was done on another machine"),
    ],
)
def test_a_success_is_not_believed_when_the_machine_was_lost_in_mid_step(
    completed, again, status, why
):
    """The vendor's client for Python says success whatever happened."""

    async def work(plane, machines):
        made = await create(plane)
        await connection(plane, made)
        vertex = control.Vertex(digest="sha256:a", name="RUN make")
        vertex.started.FromSeconds(1)
        if completed:
            vertex.completed.FromSeconds(2)
        message = control.StatusResponse(vertexes=[vertex]).SerializeToString()
        machines.keeper.status(made.build_id, message)
        machines.keeper.lost(made.build_id, "it died")
        if again:
            await connection(plane, made)
        await finish(plane, made, success={})
        return plane.parts.history.build(made.build_id)

    record = running(work)
    assert record.status == status
    assert why in record.error


def test_a_success_is_not_believed_when_the_plane_was_stopped_in_mid_step(tmp_path):
    async def run():
        async with plane(tmp_path / "state") as first:
            made = await create(first)
            vertex = control.Vertex(digest="sha256:a", name="RUN make")
            vertex.started.FromSeconds(1)
            message = control.StatusResponse(vertexes=[vertex]).SerializeToString()
            first.parts.builds.status(made.build_id, message)
        async with plane(tmp_path / "state") as back:
            await finish(back, made, success={})
            return back.parts.history.build(made.build_id)

    record = asyncio.run(run())
    assert (record.status, "the plane was stopped" in record.error) == ("error", True)
