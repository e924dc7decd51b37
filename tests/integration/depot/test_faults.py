"""What may go wrong between our client and a real plane with real machines: a typed error, and no false success."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from depotlab import aio, llb
from depotlab._depot import Api, Connect
from depotlab._local import find_installed
from depotlab._plane import authority, lease_plane, machines
from depotlab._plane.health import Limits
from depotlab._plane.up import Plane
from depotlab._proto import depot_cli_pb2 as cli
from depotlab.errors import ConnectionLost, LinkError, Unreachable
from tests.conftest import unavailable
from tests.support.depotmachine import Authority
from tests.support.fakeplane import body_of, fault, forwarded, message, serving
from tests.support.machinery import daemon_pid
from tests.support.officialclients import running_plane
from tests.support.processes import sleeping


@pytest.fixture(scope="module")
def folder():
    """A folder for planes; short, because sockets live in it."""
    found = find_installed()
    if found is None or found.runtime is None:
        unavailable("the engine is not installed: run `depotlab engine install`")
    path = Path(tempfile.mkdtemp(prefix="dlf-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def plane(folder: Path):
    lease = lease_plane(folder / "p")
    yield lease
    lease.close()


def slow(seconds: str) -> llb.State:
    """A step that runs for long, and that no cache has."""
    shell = llb.scratch().copy(llb.local("/bin", include=["busybox"]), "/busybox", "/bin/sh")
    return shell.run(f"echo {time.time_ns()}; exec sleep {seconds}")


def a_file() -> llb.State:
    return llb.scratch().mkfile("/a", str(time.time_ns()))


async def asked(url, token, question):
    connect = Connect(url, token=token)
    try:
        return await question(Api(connect))
    finally:
        connect.close()


async def newest(url, token, project):
    async def first(api):
        async for build in api.builds.list(project):
            return build
        raise AssertionError("there is no build")

    return await asked(url, token, first)


async def until(true, timeout_s=30.0):
    async with asyncio.timeout(timeout_s):
        while not true():  # noqa: ASYNC110 - there is no event for what other processes do
            await asyncio.sleep(0.02)


def through(plane, work, **answers):
    """Run `work(client, gate)` with a client whose calls go through a gate that answers some of them itself."""

    async def run():
        async with serving(answers, before=plane.url) as gate:
            client = await aio.depot(plane.project, url=gate.url, token=plane.token)
            async with client:
                return await work(client, gate)

    return asyncio.run(run())


# ------------------------------------------------------------------------------- lost machines and planes


def test_a_machine_that_is_killed_in_mid_step_is_an_error_and_the_next_build_has_a_fresh_one(plane):
    async def run():
        async with await aio.depot(plane.project, url=plane.url, token=plane.token) as client:
            building = client.submit(slow("71001"), progress="quiet")
            await until(lambda: sleeping("71001"))
            os.kill(daemon_pid(plane.state / "machines", plane.project), signal.SIGKILL)
            with pytest.raises(LinkError) as caught:
                await building
            lost = await newest(plane.url, plane.token, plane.project)
            again = await client.build(a_file(), progress="quiet")
            return caught.value, lost, again

    error, lost, again = asyncio.run(run())
    assert isinstance(error, ConnectionLost)
    assert lost.status == "failed"
    assert sleeping("71001") == []
    assert again.depot.build_id != lost.id


def test_a_plane_that_is_killed_in_mid_build_and_comes_back_calls_it_no_success(folder):
    state = folder / "killed"
    state.mkdir()

    async def run(running):
        of = running.environment
        token, project = of["DEPOT_TOKEN"], of["DEPOT_PROJECT_ID"]
        async with await aio.depot(project, url=running.url, token=token) as client:
            building = client.submit(slow("71002"), progress="quiet")
            await until(lambda: sleeping("71002"))
            running.process.kill()
            running.process.wait()
            await until(lambda: not sleeping("71002"))
            async with Plane(state / "state", limits=Limits(missed_s=2.0)) as back:
                with pytest.raises(LinkError) as caught:
                    await building
                (build,) = back.parts.history.builds(project, _page())
                await until(lambda: back.parts.history.build(build.build_id).status != "running")
                return caught.value, back.parts.history.build(build.build_id).status

    with running_plane(state) as running:
        error, status = asyncio.run(run(running))
    assert isinstance(error, LinkError)
    assert status in ("failed", "canceled")


def _page():
    from depotlab._plane.pages import Window

    return Window("", 10, None)


# ------------------------------------------------------------------------------------------- the last word


def test_a_finish_whose_answer_is_lost_is_told_again_and_counts_once(plane):
    n_lost = 0

    async def finish(gate_asked):
        nonlocal n_lost
        reply = await forwarded(plane.url, gate_asked)
        n_lost += 1
        return None if n_lost == 1 else reply

    async def work(client, gate):
        made = await client.build(a_file(), progress="quiet")
        found = await asked(plane.url, plane.token, lambda api: api.builds.get(made.depot.build_id))
        return found, len(gate.named("FinishBuild"))

    found, n_told = through(plane, work, FinishBuild=finish)
    assert (found.status, n_told) == ("success", 2)


def test_a_finish_that_never_arrives_leaves_a_build_that_is_given_up(folder, monkeypatch, caplog):
    monkeypatch.setattr("depotlab._depot.build._FINISH_S", 1.0)

    async def run():
        limits = Limits(missed_s=9.0)  # longer than a client lets pass between two reports
        async with (
            Plane(folder / "silent", limits=limits) as plane,
            serving({"FinishBuild": None}, before=plane.url) as gate,
        ):
            of = plane.environment
            client = await aio.depot(of["DEPOT_PROJECT_ID"], url=gate.url, token=of["DEPOT_TOKEN"])
            async with client:
                made = await client.build(a_file(), progress="quiet")
            history = plane.parts.history
            build_id = made.depot.build_id
            assert history.build(build_id).status == "running"
            await until(lambda: history.build(build_id).status != "running")
            await until(lambda: not plane.parts.machines.states()[0].builds)
            return history.build(build_id)

    record = asyncio.run(run())
    assert (record.status, record.error) == ("canceled", "its client fell silent")
    assert "could not be told" in caplog.text


# -------------------------------------------------------------------------------- certificates and clocks


def spoiled(plane, spoil):
    """Answer where the machine is as the plane does, with other certificates."""

    async def connection(gate_asked):
        told = await forwarded(plane.url, gate_asked)
        assert told is not None
        reply = cli.GetBuildKitConnectionResponse.FromString(body_of(told))
        if reply.WhichOneof("connection") == "active":
            spoil(reply.active)
        return message(reply)

    return connection


def with_another_authority(active):
    active.ca_cert.cert = Authority().pem


def with_a_strangers_certificate(active):
    leaf = Authority().leaf("build")
    active.cert.cert, active.cert.key = leaf.cert, leaf.key


def with_another_name(active):
    active.server_name = "other.test"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (with_another_authority, "certificate of the machine .* is not accepted"),
        (with_a_strangers_certificate, "does not accept the certificate"),
        (with_another_name, "does not know the name 'other.test'"),
    ],
)
def test_a_certificate_that_does_not_fit_is_told_soon_and_fails_the_build(plane, spoil, said):
    async def work(client, gate):
        await client.build(a_file(), progress="quiet")  # the machine is up
        gate.answers["GetBuildKitConnection"] = spoiled(plane, spoil)
        began_s = time.monotonic()
        with pytest.raises(Unreachable, match=said):
            await client.build(a_file(), progress="quiet")
        took_s = time.monotonic() - began_s
        return took_s, await newest(plane.url, plane.token, plane.project)

    took_s, build = through(plane, work)
    assert build.status == "failed"
    assert took_s < 60


@pytest.mark.parametrize("ahead_h", [0.5, -0.5, 72.0])
def test_clocks_that_differ(folder, ahead_h, monkeypatch):
    """An hour does not matter; with more, the certificate is not yet valid, and the hint says to look at the clock."""

    def now():
        return datetime.now(UTC) + timedelta(hours=ahead_h)

    monkeypatch.setattr(machines, "Authority", partial(authority.Authority, now=now))

    async def run():
        async with Plane(folder / f"clock{ahead_h}") as plane:
            of = plane.environment
            async with await aio.depot(
                of["DEPOT_PROJECT_ID"], url=plane.url, token=of["DEPOT_TOKEN"]
            ) as client:
                if ahead_h < 1:
                    made = await client.build(a_file(), progress="quiet")
                    return plane.parts.history.build(made.depot.build_id).status
                with pytest.raises(Unreachable, match="not yet valid") as caught:
                    await client.build(a_file(), progress="quiet")
                assert "date and time" in caught.value.hint
                (build,) = plane.parts.history.builds(of["DEPOT_PROJECT_ID"], _page())
                return build.status

    assert asyncio.run(run()) == ("success" if ahead_h < 1 else "failed")


# ---------------------------------------------------------------------------------- our steps, for the API


def test_the_api_is_told_our_own_steps_of_a_build(plane):
    async def work(client, gate):
        made = await client.build(a_file(), progress="quiet")
        order = [asked.name for asked in gate.asked]
        assert order.index("ReportStatusStream") < order.index("FinishBuild")
        return await asked(
            plane.url,
            plane.token,
            lambda api: _listed(api.builds.steps(plane.project, made.depot.build_id)),
        )

    steps = {step.name: step for step in through(plane, work)}
    for name in ("[depot] launching amd64 machine", "[depot] connecting to amd64 machine"):
        assert steps[name].completed_at is not None
        assert steps[name].error == ""


async def _listed(pages):
    return [one async for one in pages]


@pytest.mark.parametrize(
    ("answer", "n_asked"),
    [
        pytest.param(fault(404, "unimplemented", "no such method"), 1, id="it has no such method"),
        pytest.param(fault(500, "internal", "broken"), None, id="it fails"),
        pytest.param(None, None, id="it closes the connection"),
        pytest.param(lambda _: asyncio.sleep(600), None, id="it hangs"),
    ],
)
def test_an_api_that_does_not_take_our_steps_fails_and_delays_nothing(plane, answer, n_asked):
    async def work(client, gate):
        await client.build(a_file(), progress="quiet")
        began_s = time.monotonic()
        made = await client.build(a_file(), progress="quiet")
        took_s = time.monotonic() - began_s
        found = await asked(plane.url, plane.token, lambda api: api.builds.get(made.depot.build_id))
        return found.status, took_s, len(gate.named("ReportStatusStream"))

    status, took_s, n_told = through(plane, work, ReportStatusStream=answer)
    assert status == "success"
    assert took_s < 60
    assert n_told >= 1
    assert n_asked is None or n_told == n_asked
