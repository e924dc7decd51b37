"""The emulated link is what it says: otherwise figures measured over it mean nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.support.link import Link, NoLink, Shape


@pytest.fixture
def link() -> Iterator[Link]:
    try:
        made = Link()
    except NoLink as error:
        unavailable(f"no emulated link: {error}")
    with made:
        yield made


def test_a_round_trip_takes_as_long_as_it_should(link):
    link.shape(Shape(80))
    # The best of several: a busy machine adds to each, and a slow one to all.
    assert 80 <= min(link.rtt_ms() for _ in range(5)) < 160


def test_bytes_come_no_faster_than_the_rate_and_many_times_faster_without(link):
    free = link.throughput_mbit_s(duration_s=1.0)
    link.shape(Shape(10, 20))
    limited = link.throughput_mbit_s(duration_s=1.0)
    # How much slower, and how fast without, depends on the machine and who else uses it.
    assert limited <= 21
    assert free > 2 * limited


def test_the_other_end_reaches_nothing_else(link):
    command = [*link.enter, "ip", "-brief", "-4", "address"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) == 1
    assert f"{link.there} peer {link.here}/32" in lines[0]


def test_two_links_do_not_meet(link):
    with Link() as other:
        link.shape(Shape(40))
        other.shape(Shape(120))
        assert min(link.rtt_ms() for _ in range(5)) < 120 <= other.rtt_ms()


def test_its_end_leaves_no_device(link):
    devices = Path("/proc/net/dev")
    name = f"dl{link.enter[1].split('/')[2]}a"
    assert name in devices.read_text()
    link.close()
    assert name not in devices.read_text()
