"""What daemons can do, asked of fakes that stand for daemons of many ages."""

import asyncio
import itertools

import pytest

from depotlab import llb
from depotlab._proto import gateway_pb2
from depotlab._rpc import Channel, Endpoint
from depotlab.buildkit import capabilities
from depotlab.buildkit.caps import known_capabilities
from depotlab.buildkit.gateway import Bridge
from depotlab.buildkit.needs import Need, graph_needs, require
from depotlab.errors import GraphError, Unreachable, UsageError
from tests.support.fakebuildkitd import BRIDGE, FakeBuildkitd
from tests.support.rpc_peers import run

MERGE = [Need("mergeop")]


@pytest.fixture
def on_channel(tmp_path):
    """Run a coroutine with a channel to a fake; every fake has an address of its own."""
    numbers = itertools.count()

    def run_it(daemon, work):
        async def main():
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            async with daemon.serve(folder) as address:
                channel = Channel(Endpoint(address))
                try:
                    return await work(channel)
                finally:
                    await channel.close()

        return run(main)

    return run_it


def test_a_daemon_is_asked_once_however_many_builds_wait(on_channel):
    daemon = FakeBuildkitd(llb=["mergeop"])

    async def work(channel):
        await asyncio.gather(*(require(channel, MERGE) for _ in range(10)))
        await require(channel, MERGE)
        return known_capabilities(channel)

    assert on_channel(daemon, work).has("mergeop")
    assert daemon.n_asked == 1


def test_nobody_is_asked_for_what_every_daemon_has(on_channel):
    daemon = FakeBuildkitd()
    plan = llb.image("busybox").run("true").mkfile("/x", b"").marshal("linux/amd64")

    async def work(channel):
        await require(channel, graph_needs(plan), plan=plan)
        await require(channel, [])

    on_channel(daemon, work)
    assert daemon.calls == []


def test_an_old_daemon_is_refused_before_anything_is_sent(on_channel):
    daemon = FakeBuildkitd(llb=["exec.secretenv"], version="v0.10.6")

    async def work(channel):
        await require(channel, [Need("exporter.multiple")])

    with pytest.raises(UsageError, match=r"0\.13 or newer for more than one output.* is 0\.10\.6"):
        on_channel(daemon, work)


def test_a_daemon_without_a_version_is_named_by_what_it_has(on_channel):
    daemon = FakeBuildkitd(llb=["exec.secretenv"], version=None)

    async def work(channel):
        await require(channel, [Need("exporter.multiple")])

    with pytest.raises(UsageError, match=r"does not say its version, but has that of 0\.10"):
        on_channel(daemon, work)


def test_a_disabled_feature_is_refused_with_the_daemons_reason_and_the_line(on_channel):
    daemon = FakeBuildkitd(llb={"mergeop": "only with the containerd store"})
    graph = llb.merge(llb.scratch().mkfile("/a", b""), llb.scratch().mkfile("/b", b""))  # here
    plan = graph.marshal("linux/amd64", source="calls")

    async def work(channel):
        await require(channel, graph_needs(plan), plan=plan)

    with pytest.raises(GraphError, match="switched off: only with the containerd store") as caught:
        on_channel(daemon, work)
    assert "# here" in str(caught.value)


def test_what_is_remembered_never_refuses_a_daemon_that_was_updated(on_channel):
    daemon = FakeBuildkitd(llb=["exec.secretenv"])

    async def work(channel):
        with pytest.raises(UsageError):
            await require(channel, MERGE)
        assert daemon.n_asked == 1
        daemon.llb = ["exec.secretenv", "mergeop"]
        await require(channel, MERGE)
        assert daemon.n_asked == 2
        await require(channel, MERGE)

    on_channel(daemon, work)
    assert daemon.n_asked == 2


@pytest.mark.parametrize("has_bridge", [True, False])
def test_a_daemon_that_lists_nothing_has_what_was_there_at_first(on_channel, has_bridge):
    daemon = FakeBuildkitd(has_bridge=has_bridge, version=None)

    async def work(channel):
        found = await capabilities(channel)
        with pytest.raises(UsageError, match="older than all that list"):
            await require(channel, MERGE)
        return found

    found = on_channel(daemon, work)
    assert found.is_assumed
    assert found.has("exec.mount.bind")
    assert found.has("readfile")
    assert not found.has("mergeop")


def test_a_daemon_that_is_not_there_is_unreachable(tmp_path):
    async def main():
        channel = Channel(Endpoint(f"unix://{tmp_path}/none.sock"))
        try:
            with pytest.raises(Unreachable):
                await capabilities(channel)
        finally:
            await channel.close()

    run(main)


def test_asking_leaves_no_build_behind_when_it_is_interrupted(on_channel):
    daemon = FakeBuildkitd(llb=["mergeop"])

    async def work(channel):
        asking = asyncio.create_task(capabilities(channel))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return await capabilities(channel)  # and the next one may ask

    assert on_channel(daemon, work).has("mergeop")


@pytest.mark.parametrize(
    ("can_evaluate", "methods"), [(True, ["Solve"]), (False, ["Solve", "StatFile"])]
)
def test_a_daemon_that_puts_solves_off_is_made_to_do_them_now(on_channel, can_evaluate, methods):
    daemon = FakeBuildkitd()
    imports = [("registry", {"ref": "r/c:1"})]

    async def work(channel):
        bridge = Bridge(channel, "ref1", cache_imports=imports, can_evaluate=can_evaluate)
        return await bridge.solve(b"")

    assert on_channel(daemon, work) == "the result"
    assert [m for m, _ in daemon.calls] == [f"/{BRIDGE}/{name}" for name in methods]
    asked = gateway_pb2.SolveRequest.FromString(daemon.calls[0][1])
    assert asked.Evaluate is can_evaluate
    assert [(e.Type, dict(e.Attrs)) for e in asked.CacheImports] == imports
    if not can_evaluate:
        look = gateway_pb2.StatFileRequest.FromString(daemon.calls[1][1])
        assert (look.Ref, look.Path) == ("the result", ".")
