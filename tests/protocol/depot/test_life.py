"""The life of one build: registered, a machine waited for and kept, finished once with what it came to."""

import asyncio
from contextlib import nullcontext

import pytest

from depotlab._depot import (
    BadReply,
    BuildOptions,
    DaggerEngine,
    DeadlineExceeded,
    DepotError,
    Machine,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    register,
    resume,
)
from depotlab._proto import depot_cli_pb2 as cli
from depotlab.errors import BuildCanceled, BuildTimeout, StepFailed, Unreachable, UsageError
from tests.support.depotmachine import (
    Authority,
    active,
    pending,
    probe,
    refusing_machine,
    serving_machine,
)
from tests.support.depotplane import (
    ALIVE,
    BUILD_TOKEN,
    CREATED,
    FINISHED,
    QUICK,
    TOKEN,
    cancels,
    hold,
    kinds,
    outcomes,
    plane_with,
)
from tests.support.fakeplane import fault, http, message
from tests.support.ports import held_port
from tests.support.virtualtime import run_jumping


@pytest.fixture(scope="module")
def authority():
    return Authority()


def ends_with(error):
    """Run a build that ends so, and return what the plane was told."""

    async def build(connect):
        async with await register(connect, BuildOptions(), "p1"):
            if error is not None:
                raise error

    async def run():
        async with plane_with() as (plane, connect):
            with pytest.raises(type(error)) if error else nullcontext():
                await build(connect)
            return outcomes(plane)

    (told,) = asyncio.run(run())
    return told


# ------------------------------------------------------------------------------- the good life


def test_a_whole_life(authority):
    seen = []

    async def run():
        async with serving_machine(authority) as daemon:
            connection = [message(pending()), message(active(daemon.address, authority))]
            async with plane_with(GetBuildKitConnection=connection) as (plane, connect):
                options = BuildOptions(tags=("me/app:1",), save=True, save_tags=("v1",))
                build = await register(connect, options, "p1", report=seen.append)
                async with build:
                    async with Machine(build, "linux/x86_64", probe=probe) as machine:
                        assert machine.endpoint.address == daemon.address
                        assert machine.gzip
                        assert await machine.guard(asyncio.sleep(0, "result")) == "result"
                    await machine.release()
                await build.finish(build.outcome)
                return plane, build, daemon

    plane, build, daemon = asyncio.run(run())
    names = [asked.name for asked in plane.asked]
    assert names[0] == "CreateBuild"
    assert set(names[1:3]) == {"ReportBuildHealth", "GetBuildKitConnection"}
    assert names[3:] == ["GetBuildKitConnection", "FinishBuild"]
    assert kinds(plane) == ["success"]
    assert daemon.n_asked == 1
    created = plane.asked[0]
    assert created.headers["authorization"] == f"Bearer {TOKEN}"
    assert {a.headers["authorization"] for a in plane.asked[1:]} == {f"Bearer {BUILD_TOKEN}"}
    sent = created.parsed(cli.CreateBuildRequest)
    assert sent.project_id == "p1"
    assert (sent.options[0].command, list(sent.options[0].save_tags)) == (cli.COMMAND_BUILD, ["v1"])
    assert not sent.HasField("required_engine")
    health = plane.named("ReportBuildHealth")[0].parsed(cli.ReportBuildHealthRequest)
    assert (health.build_id, health.platform) == ("b123456789", cli.BUILDER_PLATFORM_AMD64)
    assert [stage.name for stage in seen] == [
        "registered",
        "waiting for machine",
        "connecting",
        "ready",
        "released",
        "finished",
    ]
    assert [stage.at_ns for stage in seen] == sorted(stage.at_ns for stage in seen)
    assert (build.project_id, build.url) == ("p1", "https://depot.test/b")
    assert build.registry.load_using_registry
    assert build.tags_to_save() == ("reg.test/p1:b123456789",)
    assert build.credentials["reg.test"].login == ("x-token", BUILD_TOKEN)


def test_a_build_of_somebody_else_is_continued_and_finished():
    reply = cli.GetBuildResponse(build_id="b9", project_id="p9", build_url="https://u")

    async def run():
        async with plane_with(GetBuild=message(reply)) as (plane, connect):
            async with await resume(connect, "b9", BUILD_TOKEN) as build:
                assert build.tags_to_save(["v1"]) == (
                    "registry.depot.dev/p9:b9",
                    "registry.depot.dev/p9:v1",
                )
                assert build.credentials["registry.depot.dev"].login == ("x-token", BUILD_TOKEN)
            assert [a.name for a in plane.asked] == ["GetBuild", "FinishBuild"]
            assert {a.headers["authorization"] for a in plane.asked} == {f"Bearer {BUILD_TOKEN}"}
            with pytest.raises(UsageError, match="own token"):
                await resume(connect, "b9", "")

    asyncio.run(run())


def test_a_dagger_engine_is_asked_for(authority):
    async def run():
        async with serving_machine(authority) as daemon:
            found = message(active(daemon.address, authority))
            async with plane_with(GetBuildKitConnection=found) as (plane, connect):
                options = BuildOptions(command="dagger")
                async with (
                    await register(connect, options, engine=DaggerEngine("v0.18.4")) as build,
                    Machine(build, "arm64", probe=probe),
                ):
                    pass
                return plane

    plane = asyncio.run(run())
    created = plane.named("CreateBuild")[0].parsed(cli.CreateBuildRequest)
    assert created.required_engine.dagger.version == "0.18.4"
    assert not created.HasField("project_id")
    asked = plane.named("GetBuildKitConnection")[0].parsed(cli.GetBuildKitConnectionRequest)
    assert asked.required_engine.dagger.version == "0.18.4"
    assert asked.platform == cli.BUILDER_PLATFORM_ARM64


# ---------------------------------------------------------------------------- how it is finished


def step_failed():
    return StepFailed("make: exit code 2", step="make", exit_code=2, hint="look at it")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        pytest.param(None, "success", "", id="nothing went wrong"),
        pytest.param(step_failed(), "error", "make: exit code 2", id="a failed step"),
        pytest.param(KeyError("x"), "error", "KeyError: 'x'", id="a mistake in the cell"),
        pytest.param(KeyboardInterrupt(), "canceled", "", id="Ctrl-C"),
        pytest.param(asyncio.CancelledError(), "canceled", "", id="a cancelled task"),
        pytest.param(BuildCanceled("gone"), "canceled", "", id="canceled by the plane"),
        pytest.param(BuildTimeout("late", timeout_s=1.0), "canceled", "", id="took too long"),
        pytest.param(
            RuntimeError(f"bad {BUILD_TOKEN}"), "error", "RuntimeError: bad •••", id="leak"
        ),
        pytest.param(
            ExceptionGroup("two", [BuildCanceled("sibling"), step_failed()]),
            "error",
            "make: exit code 2",
            id="one platform failed, its sibling was cancelled",
        ),
    ],
)
def test_the_plane_is_told_what_happened(error, kind, text):
    told = ends_with(error)
    assert told.WhichOneof("result") == kind
    assert told.error.error == text


def test_a_finish_survives_that_its_caller_is_cancelled():
    async def run():
        release = asyncio.Event()

        async def slow(_):
            await release.wait()
            return FINISHED

        async with plane_with(FinishBuild=slow) as (plane, connect):

            async def build():
                async with await register(connect, BuildOptions()):
                    raise ValueError("failed")

            task = asyncio.create_task(build())
            await plane.until(lambda: plane.named("FinishBuild"))
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0.01)
            assert not task.done()
            release.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert kinds(plane) == ["error"]

    asyncio.run(run())


def test_a_finish_that_was_lost_is_told_again():
    async def run():
        lost = [None, fault(500, "internal", "oops"), None, FINISHED]
        async with plane_with(FinishBuild=lost) as (plane, connect):
            async with await register(connect, BuildOptions()):
                pass
            assert kinds(plane) == ["success"] * 4

    asyncio.run(run())


@pytest.mark.parametrize(
    "reply", [None, fault(403, "permission_denied", "no"), lambda _: asyncio.sleep(100)]
)
def test_a_plane_that_cannot_be_told_fails_no_build_and_is_logged(reply, caplog):
    async def run():
        async with plane_with(FinishBuild=reply) as (_, connect):
            loop = asyncio.get_running_loop()
            started = loop.time()
            async with await register(connect, BuildOptions()):
                pass
            return loop.time() - started

    assert run_jumping(run()) < 20
    (record,) = caplog.records
    assert "b123456789 ended with success" in record.getMessage()
    assert BUILD_TOKEN not in caplog.text


def test_a_registration_that_nobody_waits_for_any_more_is_finished_as_canceled():
    async def run():
        async def slow(_):
            await asyncio.sleep(0.1)
            return message(CREATED)

        async with plane_with(CreateBuild=slow) as (plane, connect):
            task = asyncio.create_task(register(connect, BuildOptions()))
            await plane.until(lambda: plane.named("CreateBuild"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert kinds(plane) == ["canceled"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"build_id": ""}, "build_id is empty"),
        ({"build_token": ""}, "build_token is empty"),
        (
            {"additional_credentials": [{"host": "h", "token": "c2VjcmV0"}]},
            r"additional_credentials\[0\]\.token is not base64 of user:password",
        ),
    ],
)
def test_a_registration_that_cannot_be_used_names_the_field_and_leaves_no_build(change, said):
    reply = cli.CreateBuildResponse()
    reply.CopyFrom(CREATED)
    for name in change:
        reply.ClearField(name)
    reply.MergeFrom(cli.CreateBuildResponse(**change))

    async def run():
        async with plane_with(CreateBuild=message(reply)) as (plane, connect):
            with pytest.raises(BadReply, match=said):
                await register(connect, BuildOptions())
            assert kinds(plane) == (["error"] if reply.build_id and reply.build_token else [])

    asyncio.run(run())


def test_a_save_without_a_place_is_loud():
    reply = cli.CreateBuildResponse(build_id="b", build_token=BUILD_TOKEN)

    async def run():
        async with plane_with(CreateBuild=message(reply)) as (plane, connect):
            with pytest.raises(DepotError, match="cannot be saved"):
                async with await register(connect, BuildOptions(save=True)) as build:
                    build.tags_to_save()
            assert kinds(plane) == ["error"]

    asyncio.run(run())


# --------------------------------------------------------------------------- faults of the plane


def acquire(connection, *, jumping=True, timeout_s=300.0, **answers):
    """Try to get a machine and hold it for a second; return error, plane, stages and seconds."""
    stages = []

    async def run():
        async with plane_with(GetBuildKitConnection=connection, **answers) as (plane, connect):
            loop = asyncio.get_running_loop()
            started = loop.time()
            life = hold(connect, 1.0, report=stages.append, timeout_s=timeout_s, platform="amd64")
            (failure,) = await asyncio.gather(life, return_exceptions=True)
            took_s = loop.time() - started
            assert not [task for task in asyncio.all_tasks() if "depotlab" in task.get_name()]
            return failure, plane, [stage.name for stage in stages], took_s

    return (run_jumping if jumping else asyncio.run)(run())


@pytest.mark.parametrize(
    ("reply", "kind", "n_asked"),
    [
        pytest.param(fault(401, "unauthenticated", "who"), Unauthenticated, 1, id="401"),
        pytest.param(fault(403, "permission_denied", "no"), PermissionDenied, 1, id="403"),
        pytest.param(fault(429, "resource_exhausted", "quota"), ResourceExhausted, 1, id="429"),
        pytest.param(
            fault(429, "resource_exhausted", "slow", retry_after="1"),
            ResourceExhausted,
            QUICK.n_tries,
            id="429 with a time to wait",
        ),
        pytest.param(fault(500, "internal", "no machine"), DepotError, 2, id="500"),
        pytest.param(fault(503, "unavailable", "down"), Unavailable, 2 * QUICK.n_tries, id="down"),
        pytest.param(None, Unavailable, 2 * QUICK.n_tries, id="no word"),
        pytest.param(http(200, b"\xff\xff", "application/proto"), BadReply, 1, id="no message"),
        pytest.param(
            message(cli.GetBuildKitConnectionResponse()),
            BadReply,
            1,
            id="neither pending nor active",
        ),
    ],
)
def test_a_machine_that_is_refused_is_an_error_of_its_class_and_the_plane_is_told(
    reply, kind, n_asked
):
    error, plane, stages, _ = acquire(reply)
    assert type(error) is kind
    assert error.hint
    assert kinds(plane) == ["error"]
    assert outcomes(plane)[0].error.error == error.message
    assert len(plane.named("GetBuildKitConnection")) == n_asked
    assert stages.count("retry") == (n_asked // QUICK.n_tries == 2 or n_asked == 2)
    assert stages[-2:] == ["released", "finished"]


def test_a_build_that_is_not_known_everywhere_yet_is_waited_for(authority):
    error, plane, *_ = acquire(fault(404, "not_found", "no such build"))
    assert type(error) is NotFound
    assert len(plane.named("GetBuildKitConnection")) > 5

    async def run():
        async with serving_machine(authority) as daemon:
            found = message(active(daemon.address, authority))
            reply = [fault(404, "not_found", "not yet"), found]
            async with plane_with(GetBuildKitConnection=reply) as (plane, connect):
                await hold(connect)
                return kinds(plane)

    assert asyncio.run(run()) == ["success"]


def test_a_minute_of_pending_is_waited_as_told_and_health_goes_on(authority):
    async def run():
        async with serving_machine(authority) as daemon:
            found = message(active(daemon.address, authority))
            replies = [message(pending(10_000))] * 6 + [found]
            async with plane_with(GetBuildKitConnection=replies) as (plane, connect):
                return plane, await hold(connect)

    plane, took_s = run_jumping(run())
    assert 60 <= took_s < 70
    assert len(plane.named("GetBuildKitConnection")) == 7
    assert len(plane.named("ReportBuildHealth")) == pytest.approx(13, abs=1)
    assert kinds(plane) == ["success"]


def test_pending_has_an_end():
    error, plane, _, took_s = acquire(message(pending(70_000)), timeout_s=90)
    assert type(error) is DeadlineExceeded
    assert "no amd64 machine within 90 s" in error.message
    assert 90 <= took_s < 110
    assert kinds(plane) == ["error"]


def test_a_plane_that_does_not_answer_has_an_end():
    error, plane, stages, took_s = acquire(lambda _: asyncio.sleep(1000), timeout_s=100)
    assert type(error) is DeadlineExceeded
    assert took_s < 110
    assert "retry" in stages
    assert kinds(plane) == ["error"]


def test_waiting_can_be_cancelled():
    async def run():
        async with plane_with(GetBuildKitConnection=message(pending(60_000))) as (plane, connect):
            task = asyncio.create_task(hold(connect))
            await plane.until(lambda: plane.named("GetBuildKitConnection"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 30)
            return kinds(plane)

    assert asyncio.run(run()) == ["canceled"]


# ------------------------------------------------------------------------------ cancel, and clocks


@pytest.mark.parametrize("clock_s", [0.0, 86400.0, -86400.0])
def test_a_cancellation_of_the_plane_ends_the_build_whatever_the_clocks_say(clock_s, authority):
    error, plane, _, took_s = acquire(
        message(pending(60_000)), jumping=False, ReportBuildHealth=cancels(0, clock_s=clock_s)
    )
    assert type(error) is BuildCanceled
    assert "Depot cancels the build" in error.message
    assert took_s < 30  # and not as long as it was told to wait
    assert kinds(plane) == ["canceled"]


@pytest.mark.parametrize("clock_s", [0.0, 86400.0, -86400.0])
def test_a_limit_in_the_future_is_no_cancellation_whatever_the_clocks_say(clock_s):
    error, *_ = acquire(
        message(pending(1000)),
        timeout_s=1.2,
        jumping=False,
        ReportBuildHealth=cancels(3600, clock_s=clock_s),
    )
    assert type(error) is DeadlineExceeded


def test_a_plane_without_a_date_is_compared_with_our_clock():
    error, *_ = acquire(
        message(pending(1000)), jumping=False, ReportBuildHealth=cancels(-1, dated=False)
    )
    assert type(error) is BuildCanceled


def test_a_build_that_is_already_canceled_gets_no_machine():
    error, plane, stages, _ = acquire(fault(499, "canceled", "stopped in the browser"))
    assert type(error) is BuildCanceled
    assert "stopped in the browser" in error.message
    assert kinds(plane) == ["canceled"]
    assert "retry" not in stages


def test_work_that_breaks_because_the_plane_cancels_is_a_cancellation(authority):
    async def work(machine):
        await machine.canceled.wait()
        raise ConnectionError("the channel broke")

    async def build(connect):
        async with (
            await register(connect, BuildOptions()) as build,
            Machine(build, probe=probe) as machine,
        ):
            await machine.guard(work(machine))

    async def run():
        async with serving_machine(authority) as daemon:
            found = message(active(daemon.address, authority))
            async with plane_with(GetBuildKitConnection=found, ReportBuildHealth=cancels(1)) as (
                plane,
                connect,
            ):
                with pytest.raises(BuildCanceled, match="Depot cancels"):
                    await build(connect)
                return kinds(plane)

    assert asyncio.run(run()) == ["canceled"]


def test_health_that_fails_never_fails_a_build_and_goes_over_a_new_connection(authority):
    async def run():
        async with serving_machine(authority) as daemon:
            found = message(active(daemon.address, authority))
            health = [None, fault(500, "internal", "x"), fault(404, "not_found", "y"), ALIVE]
            async with plane_with(GetBuildKitConnection=found, ReportBuildHealth=health) as (
                plane,
                connect,
            ):
                await hold(connect, 21)
                return plane

    plane = run_jumping(run())
    reports = plane.named("ReportBuildHealth")
    assert len(reports) == 5
    assert len({report.connection for report in reports[:4]}) == 4
    assert reports[3].connection == reports[4].connection
    assert kinds(plane) == ["success"]


def test_health_that_hangs_does_not_hold_up_the_next(authority):
    async def run():
        async with serving_machine(authority) as daemon:
            found = message(active(daemon.address, authority))

            async def hang(_):
                await asyncio.sleep(1000)

            async with plane_with(GetBuildKitConnection=found, ReportBuildHealth=hang) as (
                plane,
                connect,
            ):
                await hold(connect, 31)
                return plane

    plane = run_jumping(run())
    assert len(plane.named("ReportBuildHealth")) == 7
    assert kinds(plane) == ["success"]


def test_a_plane_that_dies_in_mid_build_fails_no_build_that_goes_on_without_it(authority, caplog):
    async def run():
        async with serving_machine(authority) as daemon:
            found = message(active(daemon.address, authority))
            async with plane_with(GetBuildKitConnection=found) as (plane, connect):

                async def work():
                    plane.answers.update(dict.fromkeys(plane.answers))  # closes every connection
                    await asyncio.sleep(58)
                    return "built"

                async with (
                    await register(connect, BuildOptions()) as build,
                    Machine(build, probe=probe) as machine,
                ):
                    result = await machine.guard(work())
                return result, plane

    result, plane = run_jumping(run())
    assert result == "built"
    assert len(plane.named("ReportBuildHealth")) == 12, "it may come back at any time"
    assert set(kinds(plane)) == {"success"}
    assert "could not be told" in caplog.text


# ------------------------------------------------------------------------------ faults of machines


def test_an_active_machine_that_does_not_listen_yet_is_dialled_until_it_does(authority):
    async def run():
        held = held_port()
        port = held.getsockname()[1]
        found = message(active(f"tcp://127.0.0.1:{port}", authority))
        async with plane_with(GetBuildKitConnection=found) as (plane, connect):

            async def late():
                await asyncio.sleep(1.0)
                async with serving_machine(authority, port=port):
                    await asyncio.Event().wait()

            listening = asyncio.create_task(late())
            loop = asyncio.get_running_loop()
            started = loop.time()
            async with (
                await register(connect, BuildOptions()) as build,
                Machine(build, probe=probe),
            ):
                took_s = loop.time() - started
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            held.close()
            return plane, took_s

    plane, took_s = asyncio.run(run())
    assert 1.0 <= took_s < 30
    assert len(plane.named("GetBuildKitConnection")) == 1
    assert kinds(plane) == ["success"]


def test_a_machine_that_never_listens_is_given_up_and_another_asked_for_once(authority):
    found = message(active("tcp://127.0.0.1:9", authority))
    error, plane, stages, took_s = acquire(found, timeout_s=120)
    assert type(error) is Unreachable
    assert 100 < took_s < 120
    assert stages.count("retry") == 1
    assert len(plane.named("GetBuildKitConnection")) == 2
    assert kinds(plane) == ["error"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(
            lambda a: {"server": Authority().leaf()}, "issuer certificate", id="another authority"
        ),
        pytest.param(
            lambda a: {"server": a.leaf(from_days=-3, to_days=-1)}, "has expired", id="expired"
        ),
        pytest.param(
            lambda a: {"server": a.leaf(from_days=1, to_days=3)}, "not yet valid", id="clock skew"
        ),
        pytest.param(
            lambda a: {"server": a.leaf("other.test")}, "Hostname mismatch", id="wrong server name"
        ),
    ],
)
def test_a_certificate_that_does_not_fit_fails_at_once_and_says_why(spoil, said, authority):
    async def run():
        async with serving_machine(authority, **spoil(authority)) as daemon:
            found = message(active(daemon.address, authority))
            async with plane_with(GetBuildKitConnection=found) as (plane, connect):
                loop = asyncio.get_running_loop()
                started = loop.time()
                with pytest.raises(Unreachable, match=said) as caught:
                    await hold(connect)
                assert caught.value.address == daemon.address
                assert ("date and time" in caught.value.hint) == ("valid" in said or "exp" in said)
                assert loop.time() - started < 30  # not as long as a machine may take
                assert len(plane.named("GetBuildKitConnection")) == 2
                return kinds(plane), daemon

    told, daemon = asyncio.run(run())
    assert told == ["error"]
    assert daemon.n_asked == 0


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(lambda _: Authority().leaf("build"), id="of another authority"),
        pytest.param(lambda a: a.leaf("build", from_days=-3, to_days=-1), id="that has expired"),
    ],
)
def test_a_machine_that_says_that_our_certificate_does_not_fit_is_an_error_at_once(
    client, authority
):
    async def run():
        with refusing_machine(authority) as address:
            found = message(active(address, authority, client(authority)))
            async with plane_with(GetBuildKitConnection=found) as (plane, connect):
                loop = asyncio.get_running_loop()
                started = loop.time()
                with pytest.raises(Unreachable, match="does not accept the certificate") as caught:
                    await hold(connect)
                assert caught.value.address == address
                assert "date and time" in caught.value.hint
                assert loop.time() - started < 30  # not as long as a machine may take
                return kinds(plane)

    assert asyncio.run(run()) == ["error"]


def test_a_machine_that_closes_the_door_without_a_word_is_not_dialled_for_ever(authority):
    """gRPC's own server does not tell why it refuses a certificate."""

    async def run():
        async with serving_machine(authority) as daemon:
            stranger = Authority().leaf("build")
            found = message(active(daemon.address, authority, stranger))
            async with plane_with(GetBuildKitConnection=found) as (plane, connect):
                loop = asyncio.get_running_loop()
                started = loop.time()
                with pytest.raises(Unreachable, match="ends every connection"):
                    await hold(connect)
                assert loop.time() - started < 60  # not as long as a machine may take
                return kinds(plane), daemon

    told, daemon = asyncio.run(run())
    assert told == ["error"]
    assert daemon.n_asked == 0
