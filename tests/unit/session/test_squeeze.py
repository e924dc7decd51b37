"""When files are compressed: links that are simulated, without a clock."""

import gzip
import itertools
import random

import pytest

from depotlab._session.squeeze import LEAST_BYTES, PAUSE_BYTES, Squeeze, squeeze

MIB = 1 << 20
BATCH_BYTES = 1 << 20


class Link:
    """A link, a machine that compresses, and files, in numbers.

    Args:
        link_mb_s: What the link takes.
        squeeze_mb_s: What the machine compresses.
        share: To which files shrink.
        source_mb_s: What the daemon or the disk allow.
    """

    def __init__(self, link_mb_s, *, squeeze_mb_s=90.0, share=0.36, source_mb_s=1e6):
        self.link_mb_s = link_mb_s
        self.squeeze_mb_s = squeeze_mb_s
        self.share = share
        self.source_mb_s = source_mb_s
        self.squeeze = Squeeze()
        self.took_s = 0.0
        self.n_bytes = 0
        self.n_squeezed_bytes = 0

    def send(self, mib):
        """Send files of so many MiB; return how long that took, in seconds."""
        before_s = self.took_s
        for _ in range(mib * MIB // BATCH_BYTES):
            on = self.squeeze.is_on
            squeezing_s = BATCH_BYTES / self.squeeze_mb_s / 1e6 if on else 0.0
            wire_bytes = int(BATCH_BYTES * self.share) if on and self.share < 0.8 else BATCH_BYTES
            link_s = wire_bytes / self.link_mb_s / 1e6
            source_s = BATCH_BYTES / self.source_mb_s / 1e6
            took_s = max(link_s, squeezing_s, source_s)  # a queue lets them overlap
            self.took_s += took_s
            self.n_squeezed_bytes += BATCH_BYTES if on else 0
            self.squeeze.sent(
                BATCH_BYTES,
                wire_bytes,
                took_s=took_s,
                held_up=link_s > source_s,
                squeezing_s=squeezing_s,
            )
        return self.took_s - before_s


def test_a_slow_link_is_compressed_for_most_of_the_time():
    link = Link(12.0)
    assert link.send(200) < 0.5 * 200 * MIB / 12e6


@pytest.mark.parametrize("link_mb_s", [31.0, 60.0, 120.0, 1000.0])
def test_a_fast_link_loses_next_to_nothing(link_mb_s):
    link = Link(link_mb_s)
    assert link.send(1000) < 1.01 * 1000 * MIB / (link_mb_s * 1e6)


@pytest.mark.parametrize("link_mb_s", [1.0, 12.0, 25.0, 60.0, 1000.0])
def test_what_cannot_be_compressed_loses_next_to_nothing(link_mb_s):
    link = Link(link_mb_s, share=1.0)
    assert link.send(1000) < 1.02 * 1000 * MIB / (link_mb_s * 1e6)
    assert link.n_squeezed_bytes < 16 * MIB


def test_a_daemon_that_is_slow_behind_a_fast_link_is_no_slow_link():
    link = Link(1000.0, source_mb_s=10.0)
    link.send(500)
    assert link.n_squeezed_bytes == 0


def test_nothing_is_decided_while_the_speed_still_rises():
    squeeze = Squeeze()
    speed = 2.0
    while speed < 20:
        for _ in range(4):
            took_s = BATCH_BYTES / speed / 1e6
            squeeze.sent(BATCH_BYTES, BATCH_BYTES, took_s=took_s, held_up=True, squeezing_s=0.0)
        assert not squeeze.is_on
        speed *= 1.5


def test_a_link_that_becomes_fast_is_noticed():
    link = Link(12.0)
    link.send(100)
    link.link_mb_s = 500.0
    link.send(600)
    squeezed_bytes = link.n_squeezed_bytes
    link.send(200)
    assert link.n_squeezed_bytes == squeezed_bytes


def test_files_that_become_compressible_are_noticed():
    link = Link(12.0, share=1.0)
    link.send(50)
    link.share = 0.36
    assert link.send(400) < 0.7 * 400 * MIB / 12e6


def test_after_a_trial_that_failed_the_next_one_waits_twice_as_long():
    link = Link(12.0, share=1.0)
    trials_at = []
    for number in range(400):
        was_on = link.squeeze.is_on
        link.send(1)
        if link.squeeze.is_on and not was_on:
            trials_at.append(number)
    gaps = [b - a for a, b in itertools.pairwise(trials_at)]
    assert len(gaps) >= 3
    assert all(b > 1.5 * a for a, b in itertools.pairwise(gaps))
    assert gaps[0] * MIB >= PAUSE_BYTES


@pytest.mark.parametrize("seed", range(8))
def test_a_busy_machine_does_not_end_what_pays(seed):
    """One batch in four takes three times as long, in compressing and in sending."""
    chance = random.Random(seed)
    link = Link(12.0)
    plain = 0.0
    for _ in range(250):
        slow = 3.0 if chance.random() < 0.25 else 1.0
        link.link_mb_s, link.squeeze_mb_s = 12.0 / slow, 90.0 / slow
        plain += MIB * slow / 12e6
        link.send(1)
    assert link.took_s < 0.65 * plain


def test_a_comparison_that_was_lost_by_nothing_is_soon_made_again():
    link = Link(12.0)
    while not link.n_squeezed_bytes > 8 * MIB:
        link.send(1)
    # For a moment somebody else wants the processors: no gain, and no loss.
    link.squeeze_mb_s = 12.0
    before = link.n_squeezed_bytes
    link.send(60)
    link.squeeze_mb_s = 90.0
    link.send(40)
    assert link.n_squeezed_bytes - before > 20 * MIB


def test_a_batch_without_files_decides_nothing():
    squeeze = Squeeze()
    for _ in range(1000):
        squeeze.sent(0, 0, took_s=0.1, held_up=True, squeezing_s=0.0)
    assert not squeeze.is_on


def test_a_trial_waits_for_a_batch_that_says_something():
    link = Link(12.0)
    while not link.squeeze.is_on:
        link.send(1)
    link.squeeze.sent(100, 100, took_s=0.1, held_up=True, squeezing_s=1.0)
    assert link.squeeze.is_on, "a hundred bytes do not judge a machine"


def test_what_is_squeezed_can_be_read_and_is_smaller():
    message = b"def f():\n    return 1\n" * 100
    squeezed = squeeze(message)
    assert gzip.decompress(squeezed) == message
    assert len(squeezed) < 0.2 * len(message)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"a" * (LEAST_BYTES - 1), id="too short"),
        pytest.param(random.Random(1).randbytes(10_000), id="random"),
    ],
)
def test_what_gains_nothing_stays_as_it_is(message):
    assert squeeze(message) == b""
