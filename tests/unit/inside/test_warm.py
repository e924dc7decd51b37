"""What was looked at stays open for a while: what is shared, what is not, and when it is let go."""

from __future__ import annotations

import asyncio

import pytest

import depotlab as dl
from depotlab import llb, secret
from depotlab._inside import warm
from depotlab._verbs import prepare

BASE = llb.image("busybox")


class Builder:
    """As much of a builder as keeping states open needs."""

    def __init__(self):
        self.before_close = []
        self.before_prune = []


class Opened:
    def __init__(self, request):
        self.request = request
        self.is_open = True

    async def aclose(self):
        self.is_open = False


@pytest.fixture
def opens(monkeypatch):
    """What was opened, in order."""
    made = []

    async def open_state(builder, request, *, step=None, feed=None):
        await asyncio.sleep(0)
        made.append(Opened(request))
        return made[-1]

    monkeypatch.setattr(warm, "open_state", open_state)
    return made


async def look(builder, target, **options):
    async with warm.opened_state(builder, prepare(target, **options)) as opened:
        assert opened.is_open
        return opened


def test_two_looks_open_once(opens):
    async def run():
        builder = Builder()
        assert await look(builder, BASE.run("x")) is await look(builder, BASE.run("x"))

    asyncio.run(run())
    assert len(opens) == 1


def test_looks_at_the_same_time_wait_for_one_solve(opens):
    async def run():
        builder = Builder()
        await asyncio.gather(*(look(builder, BASE.run("x")) for _ in range(5)))

    asyncio.run(run())
    assert len(opens) == 1


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param({}, {"platform": "linux/arm64"}, id="another platform"),
        pytest.param({}, {"secrets": {"a": secret.value("x")}}, id="other secrets"),
    ],
)
def test_what_differs_is_not_shared(opens, one, two):
    async def run():
        builder = Builder()
        await look(builder, BASE, **one)
        await look(builder, BASE, **two)

    asyncio.run(run())
    assert len(opens) == 2


def test_settings_that_no_step_has_are_not_shared(opens):
    async def run():
        builder = Builder()
        await look(builder, BASE.dir("/a"))
        await look(builder, BASE.dir("/b"))

    asyncio.run(run())
    assert len(opens) == 2


def test_what_reads_this_machine_is_never_kept(opens, tmp_path):
    async def run():
        builder = Builder()
        source = llb.local(tmp_path)
        first = await look(builder, BASE.copy(source, ".", "/"))
        await asyncio.sleep(0)
        assert not first.is_open
        await look(builder, BASE.copy(source, ".", "/"))
        (tmp_path / "Dockerfile").write_text("FROM busybox\n")
        target = dl.dockerfile(tmp_path)
        await look(builder, target)
        await look(builder, target)
        await warm.release(builder)

    asyncio.run(run())
    assert len(opens) == 4


def test_a_dockerfile_as_text_is_kept_as_long_as_it_is_the_same_object(opens):
    async def run():
        builder = Builder()
        target = dl.dockerfile(text="FROM busybox")
        await look(builder, target)
        await look(builder, target)
        await look(builder, dl.dockerfile(text="FROM busybox"))

    asyncio.run(run())
    assert len(opens) == 2


def test_only_the_newest_stay_open_and_one_that_is_used_always(opens):
    async def run():
        builder = Builder()
        async with warm.opened_state(builder, prepare(BASE.run("used"))) as used:
            for number in range(10):
                await look(builder, BASE.run(f"{number}"))
            await asyncio.sleep(0)
            assert used.is_open
            still = [o for o in opens if o.is_open]
            assert len(still) == 1 + warm.KEPT
        await warm.release(builder)
        assert not any(o.is_open for o in opens)

    asyncio.run(run())


def test_nobody_looking_for_a_while_lets_go(opens, monkeypatch):
    monkeypatch.setattr(warm, "IDLE_S", 0.02)

    async def run():
        builder = Builder()
        opened = await look(builder, BASE)
        for _ in range(100):
            if not opened.is_open:
                return
            await asyncio.sleep(0.01)
        pytest.fail("it stays open")

    asyncio.run(run())


def test_one_that_has_ended_is_opened_again(opens):
    async def run():
        builder = Builder()
        first = await look(builder, BASE)
        first.is_open = False
        assert (await look(builder, BASE)) is not first

    asyncio.run(run())


def test_a_solve_that_fails_is_tried_again(opens, monkeypatch):
    working = warm.open_state

    async def failing(*args, **options):
        raise OSError("no")

    async def run():
        builder = Builder()
        monkeypatch.setattr(warm, "open_state", failing)
        with pytest.raises(OSError, match="no"):
            await look(builder, BASE)
        monkeypatch.setattr(warm, "open_state", working)
        assert (await look(builder, BASE)).is_open

    asyncio.run(run())


def test_a_client_lets_go_before_it_closes_and_before_it_prunes(opens):
    async def run():
        builder = Builder()
        await look(builder, BASE)
        assert builder.before_close == builder.before_prune == [warm.release]
        await builder.before_prune[0](builder)
        assert not opens[0].is_open

    asyncio.run(run())
