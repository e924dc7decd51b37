"""Several machines of one build at the same time."""

import asyncio
from collections import Counter

import pytest

from depotlab._depot import BuildOptions, Fleet, PermissionDenied, register
from depotlab._proto import depot_cli_pb2 as cli
from depotlab.errors import BuildCanceled, UsageError
from tests.support.depotmachine import Authority, active, pending, probe, serving_machine
from tests.support.depotplane import cancels, kinds, plane_with
from tests.support.fakeplane import fault, message

BOTH = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
AUTHORITY = Authority()


async def use(connect, work, platforms=BOTH, **options):
    async with (
        await register(connect, BuildOptions()) as build,
        Fleet(build, platforms, probe=probe, **options) as fleet,
    ):
        return await fleet.each(work)


def running(answers, work):
    """Run work on a plane whose machines are one daemon; return its outcome and the plane."""

    async def run():
        async with serving_machine(AUTHORITY) as daemon:
            found = {"GetBuildKitConnection": message(active(daemon.address, AUTHORITY))}
            async with plane_with(**{**found, **answers}) as (plane, connect):
                (result,) = await asyncio.gather(use(connect, work), return_exceptions=True)
                assert not [t for t in asyncio.all_tasks() if "depotlab" in t.get_name()]
                return result, plane

    return asyncio.run(run())


def test_each_architecture_has_a_machine_and_does_its_platforms():
    here = asyncio.Barrier(2)

    async def work(machine, platforms):
        async with asyncio.timeout(60):
            await here.wait()  # both are there at the same time
        return machine.machine, platforms

    result, plane = running({}, work)
    assert result == {
        "amd64": ("amd64", ("linux/amd64",)),
        "arm64": ("arm64", ("linux/arm64", "linux/arm/v7")),
    }
    asked = [
        a.parsed(cli.GetBuildKitConnectionRequest).platform
        for a in plane.named("GetBuildKitConnection")
    ]
    assert Counter(asked) == {cli.BUILDER_PLATFORM_AMD64: 1, cli.BUILDER_PLATFORM_ARM64: 1}
    health = {
        a.parsed(cli.ReportBuildHealthRequest).platform for a in plane.named("ReportBuildHealth")
    }
    assert health == {cli.BUILDER_PLATFORM_AMD64, cli.BUILDER_PLATFORM_ARM64}
    assert kinds(plane) == ["success"]


def test_what_fails_on_one_stops_the_other_and_is_what_is_raised():
    ended = []

    async def work(machine, _):
        if machine.machine == "arm64":
            await asyncio.sleep(0.05)
            raise ValueError("on arm64")
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(machine.machine)

    result, plane = running({}, work)
    assert isinstance(result, ValueError)
    assert ended == ["amd64"]
    assert kinds(plane) == ["error"]


def test_a_machine_that_cannot_be_had_gives_up_the_other():
    def connection(asked):
        if asked.parsed(cli.GetBuildKitConnectionRequest).platform == cli.BUILDER_PLATFORM_ARM64:
            return fault(403, "permission_denied", "no arm64 for you")
        return message(pending(60_000))

    async def work(*_):
        raise AssertionError

    result, plane = running({"GetBuildKitConnection": connection}, work)
    assert type(result) is PermissionDenied
    assert kinds(plane) == ["error"]


def test_a_cancellation_of_the_plane_stops_all():
    async def work(*_):
        await asyncio.sleep(60)

    result, plane = running({"ReportBuildHealth": cancels(1)}, work)
    assert type(result) is BuildCanceled
    assert kinds(plane) == ["canceled"]


def test_all_of_it_can_be_forced_onto_one():
    async def run():
        async with plane_with() as (_, connect), await register(connect, BuildOptions()) as build:
            fleet = Fleet(build, BOTH, probe=probe, forced="linux/arm64")
            assert dict(fleet.platforms) == {"arm64": tuple(BOTH)}
            assert "not acquired" in repr(fleet)
            with pytest.raises(UsageError):
                Fleet(build, ["a/b/c/d/e"], probe=probe)

    asyncio.run(run())
