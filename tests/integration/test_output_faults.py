"""Outputs of a real daemon that cannot be kept: nothing is left behind, and the error says why."""

from __future__ import annotations

import asyncio
import io
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab import export
from depotlab.buildkit.tunnel import Tunnel
from depotlab.errors import ConnectionLost, DepotlabError, SessionError, StepFailed
from tests.support.outputbuilds import OutputBuild
from tests.support.ownbuildkitd import own_buildkitd, small_disk
from tests.support.trees import snapshot

BIG = "FROM busybox\nRUN mkdir /big && for n in $(seq 32); do dd if=/dev/urandom of=/big/$n bs=1M count=8; done\n"
BIG_BYTES = 256 << 20


@pytest.fixture
def build(engine) -> OutputBuild:
    return OutputBuild(engine.address, BIG)


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk(64 << 20) as folder:
        yield folder


class Gate(io.RawIOBase):
    """A file object that takes nothing until it is opened, and remembers how much it got."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.n_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.reached.set()
        assert self.opened.wait(60)
        self.n_bytes += len(data)
        return len(data)


@pytest.mark.parametrize("make", [export.tar, export.oci, export.docker, export.local])
def test_a_full_disk_is_named_with_its_space_and_is_left_as_it_was(build, disk, make) -> None:
    with pytest.raises(
        SessionError, match=r"no space left on device \(\d+ bytes are free"
    ) as caught:
        build.run(make(disk / "out"))
    assert caught.value.path.startswith(str(disk / "out"))
    assert "free some space" in caught.value.hint
    assert list(disk.iterdir()) == []


def test_a_full_disk_leaves_an_existing_directory_as_it_was(build, disk) -> None:
    (disk / "out/big").mkdir(parents=True)
    (disk / "out/big/1").write_text("old")
    before = snapshot(disk, directory_times=False)
    with pytest.raises(SessionError, match="no space left"):
        build.run(export.local(disk / "out", mode="delete"))
    assert snapshot(disk, directory_times=False) == before


@pytest.mark.parametrize("make", [export.tar, export.local])
def test_a_read_only_destination_fails_before_the_build(build, disk, make) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(SessionError, match="permission denied") as caught:
        build.run(make(disk / "out"))
    assert caught.value.path == str(disk)
    assert build.response == {}


def test_a_destination_that_goes_read_only_meanwhile_fails_the_build(build, disk) -> None:
    output = export.tar(disk / "out")
    build.received = None

    async def run() -> None:
        def on_events(events) -> None:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

        await build.build(output, on_events=on_events)

    with pytest.raises(SessionError, match="read-only file system") as caught:
        asyncio.run(run())
    assert "choose another destination" in caught.value.hint


def test_a_build_that_fails_leaves_nothing(engine, tmp_path: Path) -> None:
    stream = io.BytesIO()
    failing = OutputBuild(engine.address, "FROM busybox\nRUN exit 3\n")
    with pytest.raises(StepFailed):
        failing.run(export.tar(tmp_path / "x"), export.local(tmp_path / "out"), export.tar(stream))
    assert list(tmp_path.iterdir()) == []
    assert stream.getvalue() == b""


def test_an_output_that_fails_keeps_the_others_from_appearing(build, disk, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="no space left"):
        build.run(
            export.local(tmp_path / "tree"), export.tar(disk / "x"), export.oci(tmp_path / "oci")
        )
    assert list(tmp_path.iterdir()) == []


async def _cancel_when(build: OutputBuild, output: export.Output, ready) -> None:
    building = asyncio.create_task(build.build(output))
    await ready(building)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building


async def _some_bytes(build: OutputBuild, building: asyncio.Task) -> None:
    while not (getattr(build, "received", None) and build.received.received_bytes > 10 << 20):
        assert not building.done()
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("make", [export.tar, export.local])
def test_a_build_that_is_cancelled_in_mid_transfer_leaves_nothing(
    build, tmp_path: Path, make
) -> None:
    build.run(export.image("warm"))  # so that the transfer begins at once
    asyncio.run(_cancel_when(build, make(tmp_path / "out"), lambda task: _some_bytes(build, task)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_object_that_does_not_take_anything_can_be_cancelled(build) -> None:
    gate = Gate()

    async def run() -> None:
        await _cancel_when(
            build, export.tar(gate), lambda _: asyncio.to_thread(gate.reached.wait, 60)
        )
        gate.opened.set()

    asyncio.run(run())
    assert gate.n_bytes < BIG_BYTES / 4


def test_a_slow_file_object_makes_the_daemon_wait_and_gets_everything(build, monkeypatch) -> None:
    gate = Gate()
    tunnels: list[Tunnel] = []
    init = Tunnel.__init__

    def remember(self, *args, **named) -> None:
        init(self, *args, **named)
        tunnels.append(self)

    monkeypatch.setattr(Tunnel, "__init__", remember)

    async def run() -> tuple[export.Artifact, ...]:
        building = asyncio.create_task(build.build(export.tar(gate)))
        await asyncio.to_thread(gate.reached.wait, 60)
        # Longer than two health questions, which have to be answered, and than it takes to send it all.
        await asyncio.sleep(11)
        assert not building.done()
        # What is on its way: our window, and what an inbox may hold.
        assert tunnels[-1].received_bytes < 64 << 20
        gate.opened.set()
        return await building

    (made,) = asyncio.run(run())
    assert made.size_bytes == gate.n_bytes > BIG_BYTES


def test_a_file_object_that_fails_fails_the_build_and_says_what_it_has(build) -> None:
    class Closing(io.BytesIO):
        def write(self, data) -> int:
            if self.tell() > 20 << 20:
                raise BrokenPipeError(32, "Broken pipe")
            return super().write(data)

    with pytest.raises(
        SessionError, match=r"failed after \d{8} bytes, which it keeps: BrokenPipe"
    ) as caught:
        build.run(export.tar(Closing()))
    assert any("bytes of an output went to the Closing" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("make", [export.tar, export.local])
def test_a_result_beyond_the_limit_fails_the_build(build, tmp_path: Path, make) -> None:
    with pytest.raises(SessionError, match=r"longer than|more than") as caught:
        build.run(make(tmp_path / "out", limit_bytes=100 << 20))
    assert "limit_bytes" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [export.tar, export.local])
def test_a_daemon_that_is_killed_in_mid_transfer_leaves_nothing(
    engine, tmp_path: Path, make
) -> None:
    with own_buildkitd(mirror=engine.registry) as daemon:
        build = OutputBuild(daemon.address, BIG)

        async def run() -> None:
            building = asyncio.create_task(build.build(make(tmp_path / "out")))
            await _some_bytes(build, building)
            await asyncio.to_thread(daemon.kill)
            with pytest.raises(DepotlabError) as caught:
                await building
            assert isinstance(caught.value, ConnectionLost)

        asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
