"""A program as a connection. The programs here are small shell scripts."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from depotlab._rpc.process import KILL_S, ProcessTransport
from depotlab.errors import ConnectionLost, Unreachable
from tests.support.links import read_all
from tests.support.rpc_peers import run


def sh(script):
    return ProcessTransport.start(["sh", "-c", script], address="docker-container://bk")


async def ends(pid):
    """Wait until a process is gone; tests have a time limit."""
    while alive(pid):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_bytes_go_through_in_both_directions():
    async def main():
        link = await sh("cat")
        data = os.urandom(3 << 20)

        async def send():
            for at in range(0, len(data), 100_000):
                await link.write(
                    [memoryview(data)[at : at + 50_000], data[at + 50_000 : at + 100_000]]
                )

        got = bytearray()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            while len(got) < len(data):
                got += await link.read()
        await link.close()
        assert bytes(got) == data

    run(main)


def test_a_slow_program_slows_the_writer():
    async def main():
        link = await sh("sleep 60")
        n_taken = 0

        async def send():
            nonlocal n_taken
            while True:
                await link.write([bytes(64 << 10)])
                n_taken += 64 << 10

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send(), 0.5)
        assert n_taken < 1 << 20
        await link.close()

    run(main)


def test_a_slow_reader_slows_the_program(tmp_path):
    async def main():
        count = tmp_path / "count"
        link = await sh(
            f"head -c 20000000 /dev/zero | (while head -c 1000000; do echo x >> {count}; done)"
        )
        await link.read()
        await asyncio.sleep(0.3)
        n_blocks = len(count.read_text().splitlines()) if count.exists() else 0
        assert n_blocks < 5, "the program could write on while nobody read"
        await link.close()

    run(main)


def test_a_program_that_ends_well_is_a_peer_that_closes():
    async def main():
        link = await sh("echo hello")
        assert await read_all(link) == b"hello\n"
        await link.close()
        await link.close()

    run(main)


def test_a_program_that_fails_before_it_connects_is_unreachable_with_its_words():
    async def main():
        link = await sh("echo 'Error: No such container: bk' >&2; exit 1")
        with pytest.raises(Unreachable, match="No such container: bk") as caught:
            await link.read()
        assert "ended with code 1" in str(caught.value)
        assert caught.value.address == "docker-container://bk"
        await link.close()

    run(main)


def test_a_writer_hears_of_it_too():
    async def main():
        link = await sh("exec <&-; echo nope >&2; exit 7")

        async def send():
            while True:
                await link.write([bytes(64 << 10)])

        with pytest.raises(Unreachable, match="code 7: nope"):
            await send()
        await link.close()

    run(main)


def test_a_program_that_says_nothing_at_all_has_not_connected():
    async def main():
        link = await sh("exit 0")
        with pytest.raises(Unreachable, match="ended with code 0 without a word"):
            await link.read()
        await link.close()

    run(main)


def test_a_program_that_is_killed_later_is_a_lost_connection():
    async def main():
        link = await sh("echo $$; sleep 60")
        pid = int(await link.read())
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionLost, match="was ended by signal 9"):
            await link.read()
        await link.close()

    run(main)


def test_only_the_end_of_long_complaints_is_kept():
    async def main():
        link = await sh("yes complaint | head -c 1000000 >&2; echo the last >&2; exit 1")
        with pytest.raises(Unreachable, match="the last") as caught:
            await link.read()
        assert len(str(caught.value)) < 6000
        await link.close()

    run(main)


def test_a_program_with_manners_ends_when_its_input_does(tmp_path):
    async def main():
        note = tmp_path / "note"
        link = await sh(f"trap '' TERM; echo up; cat > /dev/null; echo ended > {note}")
        await link.read()
        started_s = time.monotonic()
        await link.close()
        assert time.monotonic() - started_s < KILL_S
        assert note.read_text() == "ended\n"

    run(main)


def test_a_program_without_manners_is_killed_with_what_it_started():
    async def main():
        link = await sh(
            "trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & echo $!; wait; wait"
        )
        child = int(await link.read())
        started_s = time.monotonic()
        await link.close()
        assert time.monotonic() - started_s >= KILL_S
        await ends(child)

    run(main)


def test_ctrl_c_does_not_reach_it():
    async def main():
        link = await sh("ps -o sid= -p $$ 2>/dev/null || cut -d' ' -f6 /proc/$$/stat")
        session = int(await read_all(link))
        assert session != os.getsid(0)
        await link.close()

    run(main)


def test_a_missing_program_is_named():
    async def main():
        with pytest.raises(Unreachable, match="'no-such-program', which is not on the PATH"):
            await ProcessTransport.start(["no-such-program", "x"], address="kube-pod://p")

    run(main)


def test_a_program_that_cannot_be_started_is_named(tmp_path):
    async def main():
        broken = tmp_path / "broken"
        broken.write_text("no program")
        broken.chmod(0o755)
        with pytest.raises(Unreachable, match="cannot be started"):
            await ProcessTransport.start([str(broken)], address="kube-pod://p")

    run(main)
